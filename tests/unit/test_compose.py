"""Settings composed of overlays, and the projects that begin with them."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from dvc.utils.serialize import load_yaml
from ruamel.yaml import YAML

from redistill.checks import check_params
from redistill.cli import compose, new_project
from redistill.cli.main import main
from redistill.console.exceptions import RefusedError
from redistill.rounds import branches as branching
from redistill.rounds import targets
from redistill.settings import installed
from redistill.settings.sections import Params
from tests.imports import ROOT
from tests.settings import SHIPPED, added, shipped, text, written

OVERLAYS = sorted(file.stem for file in (ROOT / "params").glob("*.yaml"))
TASKS = sorted(file.stem for file in (ROOT / "redistill/tasks").glob("[a-z]*.py"))
TEACHERS = ["tutor", "openai", "vllm", "ollama", "llamacpp", "local", "replay"]
MAX_LINES = 45
COMMENTS = re.compile(r"(?<!\S)#.*$", re.MULTILINE)
PLAIN = "lessons: latest, probe: false"
ARM = f"a: {{from: r0, rationales: a, start: base, times: 1, {PLAIN}}}"
AFRESH = "a: {from: r0, of: r0, like: r1, start: base, feedback: none, scope: all}"


def over(tmp_path: Path, *overlays: str) -> str:
    """The text of the shipped settings with the texts *overlays* over them."""
    files = [tmp_path / f"{place}.yaml" for place in range(len(overlays))]
    for file, overlay in zip(files, overlays, strict=True):
        file.write_text(overlay, encoding="utf-8")
    return new_project.composed(SHIPPED, [str(file) for file in files])


def content(tmp_path: Path, *overlays: str) -> dict[str, Any]:
    return dict(written(over(tmp_path, *overlays)).content)


# ---- the overlays that are shipped


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_overlay_is_short_and_comes_to_settings_that_are_well_formed(name: str):
    lines = (ROOT / f"params/{name}.yaml").read_text(encoding="utf-8").split("\n")

    assert check_params.check(shipped(name)) > 10
    assert len(lines) - 1 <= MAX_LINES
    assert lines[0].startswith("# ")


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_says_only_what_is_not_in_the_settings_already(name: str):
    ours = shipped().content
    overlay = YAML(typ="safe").load((ROOT / f"params/{name}.yaml").read_text(encoding="utf-8"))

    for section, values in overlay.items():
        assert values != ours.get(section), section
        if isinstance(values, dict) and section not in check_params.PLAIN:
            known = ours.get(section) or {}
            assert not {k: v for k, v in values.items() if k in known and known[k] == v}, section


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_comes_out_is_read_by_dvc_as_it_is_by_us(name: str, tmp_path: Path):
    (tmp_path / "params.yaml").write_text(text(name), encoding="utf-8")

    assert load_yaml(str(tmp_path / "params.yaml")) == shipped(name).content


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_is_checked_is_what_is_written(name: str):
    overlay = compose.read_overlay(ROOT / f"params/{name}.yaml")

    document = compose.compose(ROOT / "params.yaml", [overlay])

    written = YAML(typ="safe").load(compose.text(document, "# a head"))
    assert written == compose.params(document, ROOT / "params.yaml").content


# ---- how they are laid over


def test_sections_are_merged_key_by_key_and_the_last_overlay_wins(tmp_path: Path):
    found = content(
        tmp_path, "train: {steps: 7, warmup: 0.5}\nseed: 3\n", "train: {steps: 8}\nseed: 4\n"
    )

    ours = shipped().content
    assert found["train"] == ours["train"] | {"steps": 8, "warmup": 0.5}
    assert found["seed"] == 4
    assert found["mine"] == ours["mine"]


def test_lists_are_replaced_whole(tmp_path: Path):
    sizes = "wordproblems: {sizes: [{up_to: 9, share: 1.0}]}\n"

    found = content(tmp_path, sizes, "tables: {one: {alpha: 0.1}}", "tables: {two: {alpha: 0.1}}")

    assert found["wordproblems"]["sizes"] == [{"up_to": 9, "share": 1.0}]
    assert found["tables"] == {"two": {"alpha": 0.1}}


def test_lines_of_branches_and_rewrites_are_merged_and_null_takes_a_round_away(tmp_path: Path):
    rounds = "branches: {r1: {times: 2}, r2: null, r3: null}\nrewrites: {r2: null, r3: null}\n"
    arm = f"branches: {{{ARM}}}\nrewrites: {{{AFRESH}}}\n"

    found = content(tmp_path, rounds, arm, rounds)

    ours = shipped().content
    assert set(found["branches"]) == {"r0", "r1", "one-shot-matched", "a"}
    assert set(found["rewrites"]) == {"r1", "a"}
    assert found["branches"]["r1"] == ours["branches"]["r1"] | {"times": 2}
    assert found["rewrites"]["r1"] == ours["rewrites"]["r1"]


def test_null_takes_a_branch_away_and_the_others_are_merged(tmp_path: Path):
    extra = {
        "from": "r0",
        "rationales": "r0",
        "start": "r0",
        "times": 2,
        "lessons": "latest",
        "probe": False,
    }
    branches = {"one-shot-matched": None, "extra": extra}
    overlay = json.dumps({"branches": branches, "report": {"control": "extra"}})

    found = content(tmp_path, overlay)
    later = content(tmp_path, overlay, "branches: {extra: {times: 5}}\n")

    assert set(found["branches"]) == {"r0", "r1", "r2", "r3", "extra"}
    assert found["branches"]["extra"] == extra
    assert later["branches"]["extra"] == extra | {"times": 5}


def told(settings: str) -> set[str]:
    """The comments in the text *settings*."""
    return {comment.strip() for comment in COMMENTS.findall(settings)}


def block(name: str) -> str:
    """The section *name* of the shipped settings, with the comment over it."""
    found = re.search(rf"(?:^#.*\n)*^{name}:.*\n(?:^ .*\n)*", text(), re.MULTILINE)
    assert found
    return found[0]


def test_comments_of_the_settings_below_stay_but_those_of_what_is_not_read(tmp_path: Path):
    made = over(tmp_path, "train: {steps: 7}\nevaluate: {samples: 4}\n")

    head, *_ = text().split("\n\n")
    assert told(text()) - told(made) <= told(f"{head}\n{block('lora')}")
    assert made.startswith("# params.yaml with ")
    assert "  steps: 7                 # optimiser steps a round; a branch takes this " in made


def test_a_section_that_is_not_in_the_settings_below_comes_with_its_comments(tmp_path: Path):
    overlay = "teach: {teacher: replay}\nreplay:  # one of three\n  rationales: null\n"

    made = over(tmp_path, f"{overlay}  texts: t.jsonl  # an id a line\n  store: null\n")

    assert {"# one of three", "# an id a line"} <= told(made)


def test_a_section_that_the_run_does_not_read_goes_or_is_null_where_dvc_tracks_it(tmp_path: Path):
    gsm8k = {"folder": "x", "dev_share": 0.1, "take_train": 9, "take_dev": 9, "take_test": 9}
    chosen = {"prepare": {"task": "gsm8k"}, "gsm8k": gsm8k, "student": {"model": "org/name"}}

    found = content(tmp_path, json.dumps(chosen))

    assert "wordproblems" not in found
    assert found["gsm8k"] == gsm8k
    assert [found[name] for name in check_params.OPTIONAL] == [None, None]
    lora = content(tmp_path, "train: {method: lora}\n")["lora"]
    assert lora == shipped().content["lora"]


# ---- a line in one place is enough


@pytest.mark.parametrize("name", ["embedded-ladder", "embedded-transfer", "openai"])
def test_a_further_round_is_a_line_in_each_section_of_what_was_composed(name: str):
    last = branching.rounds(shipped(name))[-1]
    line = f"  r9: {{from: {last}, rationales: r9, start: base, times: 1, {PLAIN}}}\n"
    of = f"  r9: {{from: {last}, of: {last}, like: {last}, start: base}}\n"

    params = added(line, of, name)

    assert check_params.check(params) == check_params.check(shipped(name))
    assert branching.rounds(params) == [*branching.rounds(shipped(name)), "r9"]
    assert branching.branches(params)["r9"].from_ == last
    assert "r9" in targets.rewrites(params)


def test_further_arms_cells_and_tailored_rationales_are_lines_as_well():
    tailored = "t: {from: r0, of: r0, like: r0, start: r0}"
    told = "target: base, version: joint, from: r0, rationales: t, start: base, times: 1"

    params = added(
        f"  {ARM}\n  c: {{{told}, {PLAIN}}}\n", f"  {AFRESH}\n  {tailored}\n", "pretrained"
    )

    assert check_params.check(params) > 10
    assert {"a", "c"} <= set(branching.branches(params))
    assert {"a", "t"} <= set(targets.rewrites(params))


def test_what_is_composed_twice_is_what_is_composed_once(tmp_path: Path):
    (tmp_path / "params.yaml").write_text(text("embedded-ladder"), encoding="utf-8")
    overlay = str(ROOT / "params/embedded-ladder.yaml")

    again = new_project.composed(tmp_path / "params.yaml", [overlay])

    assert written(again).content == shipped("embedded-ladder").content
    assert told(again) - {again.split("\n")[0]} <= told(text("embedded-ladder"))


# ---- what is refused


@pytest.mark.parametrize(
    ("overlay", "fault"),
    [
        ("trian: {steps: 3}", "trian: nothing reads this section; did you mean 'train'"),
        ("trian: 3", "trian: nothing reads this section; did you mean 'train'"),
        ("svamp: {folder: null}", "svamp: nothing reads this section"),
        ("train: {stepps: 3}", "train.stepps: unknown key; did you mean 'steps'"),
        ("train: {steps: many}", "train.steps: Input should be a valid integer"),
        ("train: 3", "train: expected a section, got int"),
        ("train: null", "train: is null, and this run reads it"),
        ("prepare: {task: gsm8k}", "no section 'gsm8k'"),
        ("branches: {a: {from: r0}}", "branches.a.rationales: missing"),
        ("branches: [a]", "branches: expected"),
        ("pools: [a]", "pools: expected"),
        ("rewrites: {r1: {off: r0}}", "rewrites.r1.off: unknown key"),
        ("arms: {a: {from: r0}}", "arms: each of its entries stands in 'branches' or 'rewrites' n"),
        (
            "branches: {extra: {from: r0, rationales: r0, start: r0}}",
            "branches.extra.times: missing",
        ),
        ("branches: {one-shot-matched: {tims: 3}}", "one-shot-matched.tims: unknown key"),
        ("seed: 1\nseed: 2", "duplicate key"),
        ("", "expected sections"),
    ],
)
def test_an_overlay_that_cannot_be_is_refused_by_name(overlay: str, fault: str, tmp_path: Path):
    with pytest.raises(RefusedError, match=re.escape(fault)) as refusal:
        over(tmp_path, overlay)
    assert refusal.value.code == 78


@pytest.mark.parametrize(
    "prompt",
    [f"{text} [[question]]" for text in ("${HOME}", "${", "???", "{{7*7}}", "$x")],
)
def test_a_setting_is_text_whatever_stands_in_it(prompt: str, tmp_path: Path):
    overlay = f"student: {{prompt: {json.dumps(prompt)}}}\n"

    assert content(tmp_path, overlay)["student"]["prompt"] == prompt


def test_an_overlay_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(RefusedError, match=r"nosuch: no file, and none of embedded-ladder, .*vllm"):
        new_project.composed(SHIPPED, ["nosuch"])


# ---- the command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(text(), encoding="utf-8")
    return tmp_path


def test_the_command_prints_what_it_writes_to_a_file(folder: Path):
    words = ["params", "--with", "embedded-ladder", "--with", "pretrained"]

    shown = CliRunner().invoke(main, words)
    silent = CliRunner().invoke(main, [*words, "--out", "runs/params.yaml"])

    assert (shown.exit_code, silent.exit_code) == (0, 0), shown.output + silent.output
    assert (folder / "runs/params.yaml").read_text(encoding="utf-8") == shown.output
    assert silent.output == "runs/params.yaml: params.yaml with embedded-ladder, pretrained\n"
    assert written(shown.output).content == shipped("embedded-ladder", "pretrained").content
    assert (folder / "params.yaml").read_text(encoding="utf-8") == text()


def test_the_command_counts_the_sections_without_overlays_and_refuses_wrong_ones(folder: Path):
    (folder / "wrong.yaml").write_text("trian: {steps: 3}\n", encoding="utf-8")

    counted = CliRunner().invoke(main, ["params"])
    refused = CliRunner().invoke(main, ["params", "--with", "wrong.yaml", "--out", "out.yaml"])

    assert counted.output == f"params.yaml: {len(shipped().content)} sections are well-formed\n"
    assert (refused.exit_code, refused.output.count("\n")) == (78, 1)
    assert "wrong.yaml: trian: nothing reads this section" in refused.output
    assert not (folder / "out.yaml").exists()


# ---- settings of a new project


def begun(
    *overlays: str, task: str | None = None, teacher: str | None = None, student: str | None = None
) -> Params:
    return written(new_project.settings(overlays, task, teacher, student))


@pytest.mark.parametrize("name", TASKS)
def test_a_project_begins_with_any_task_or_is_told_that_it_has_no_beginning(name: str):
    if name == "published":  # which data set, nobody else can say
        with pytest.raises(RefusedError, match="published"):
            begun(task=name)
        return
    params = begun(task=name)

    assert check_params.check(params) > 10
    assert params.content["prepare"]["task"] == name
    assert ("wordproblems" in params.content) == (name == "wordproblems")


@pytest.mark.parametrize("name", TEACHERS)
def test_a_project_begins_with_any_teacher_and_the_rest_stays(name: str):
    params = begun(teacher=name)
    teach = params.content["teach"]

    assert check_params.check(params) > 10
    assert (ROOT / f"redistill/teachers/{teach['teacher']}.py").is_file()
    assert ("tutor" in params.content) == ("tutor" in (teach["teacher"], teach["refiner"]))
    for section in ("prepare", "train", "student", "embedded", "rewrites", "branches"):
        assert params.content[section] == shipped().content[section]


def test_a_project_begins_with_a_student_of_ones_own():
    params = begun(student="org/name")

    assert params.content["student"]["model"] == "org/name"
    assert params.content["embedded"] is None
    assert params.content["train"] == shipped("pretrained").content["train"]


def test_task_teacher_and_student_go_together_and_over_overlays():
    made = new_project.settings(["embedded-ladder"], "aqua", "openai", "org/name")
    found = written(made).content

    assert made.startswith(
        "# The settings of this project, from embedded-ladder, org/name, openai, aqua."
    )
    assert (found["grade"]["grader"], found["teach"]["teacher"]) == ("choice", "openai")
    assert found["student"]["model"] == "org/name"
    assert found["rewrites"] == shipped("embedded-ladder").content["rewrites"]
    assert found["publish"]["name"] == "aqua-refined"


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        ({"task": "nosuch"}, "--task: there is no redistill/tasks/nosuch.py"),
        ({"task": "../tasks/aqua"}, "is not the name of a task"),
        ({"teacher": "nosuch"}, "nosuch: no file, and none of"),
        ({"teacher": "embedded-ladder"}, "these settings are of no teacher"),
    ],
)
def test_what_a_project_cannot_begin_with_is_refused(asked: dict[str, str], fault: str):
    with pytest.raises(RefusedError, match=re.escape(fault)):
        begun(**asked)


# ---- its pipeline, and the code that it was made with


pipeline = cache(new_project.pipeline)


def filled(key: str, params: Params) -> str:
    """*key* with the settings that it names filled in."""

    def value(match: re.Match[str]) -> str:
        section, _, name = match[1].partition(".")
        return str(params.content[section][name])

    return re.sub(r"\$\{([a-z.]+)\}", value, key)


def test_stages_of_a_project_depend_on_the_stamp_where_those_here_depend_on_code():
    stages, ours = (
        YAML(typ="safe").load(document)["stages"]
        for document in (pipeline(), (ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    )

    assert list(stages) == list(ours)
    for name, stage in stages.items():
        theirs, own = (found.get("do", found) for found in (stage, ours[name]))
        code = [dep for dep in own["deps"] if dep.startswith(("redistill/", "stages/"))]
        (stamped,) = [entry for entry in theirs["params"] if isinstance(entry, dict)]
        assert theirs["deps"] == [dep for dep in own["deps"] if dep not in code]
        assert len(stamped[installed.STAMP]) == len(code)
        for key in ("cmd", "desc", "outs", "metrics"):
            assert theirs.get(key) == own.get(key)


@pytest.mark.parametrize("name", ["prepare", "generate", "refine", "publish", "answer", "grade"])
def test_every_entry_that_a_stage_depends_on_is_in_the_stamp(name: str):
    stage = YAML(typ="safe").load(pipeline())["stages"][name]
    (stamped,) = [e for e in stage.get("do", stage)["params"] if isinstance(e, dict)]
    stamp = installed.stamp()

    absent = []
    for key in (filled(key, shipped()) for key in stamped[installed.STAMP]):
        found: Any = stamp
        for part in key.split("."):  # as DVC looks for it
            found = found.get(part) if isinstance(found, dict) else None
        absent += [key] if found is None else []
    assert absent == []


def test_a_stamp_tells_which_modules_differ():
    stamp = installed.stamp()
    edited = json.loads(json.dumps(stamp))
    edited["redistill"]["graders"]["numeric"] = "0" * 16
    edited["stages"].pop("mine")
    edited["version"] = "0"

    assert installed.differences(stamp, stamp) == []
    assert installed.differences(edited, stamp) == [
        "redistill.graders.numeric", "stages.mine", "version",
    ]  # fmt: skip
    assert "project" not in stamp["redistill"]
    assert "__pycache__" not in json.dumps(stamp)


def test_a_project_of_other_code_is_refused_until_it_is_upgraded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    stamp = installed.stamp()
    stamp["redistill"]["graders"]["numeric"] = "0" * 16
    file = folder / installed.STAMP
    file.write_text(json.dumps(stamp), encoding="utf-8")

    with pytest.raises(
        RefusedError, match=r"differs in 1 modules \(redistill.graders.numeric"
    ) as it:
        installed.check(folder)
    assert it.value.code == 78
    said = CliRunner().invoke(main, ["upgrade"])

    assert said.exit_code == 0, said.output
    assert "modules that differ: 1\n  redistill.graders.numeric\n" in said.output
    assert json.loads(file.read_text(encoding="utf-8")) == installed.stamp()
    assert (folder / "dvc.yaml").read_text(encoding="utf-8") == pipeline()
    installed.check(folder)


@pytest.mark.parametrize("stamp", ["", "[1]", "{", "3"])
def test_a_stamp_that_is_none_is_refused_with_what_to_do(stamp: str, tmp_path: Path):
    (tmp_path / installed.STAMP).write_text(stamp, encoding="utf-8")

    with pytest.raises(RefusedError, match=r"not a stamp.*redistill upgrade writes it anew"):
        installed.check(tmp_path)


def test_a_folder_without_a_stamp_is_let_through_and_is_no_project_to_upgrade(folder: Path):
    installed.check(folder)

    said = CliRunner().invoke(main, ["upgrade"])

    assert said.exit_code == 78
    assert "no project of redistill init" in said.output
    assert [entry.name for entry in folder.iterdir()] == ["params.yaml"]


def test_a_project_is_not_laid_out_over_another(folder: Path):
    said = CliRunner().invoke(main, ["init", "."])

    assert said.exit_code == 78
    assert "there is a project already; redistill upgrade" in said.output
    assert [entry.name for entry in folder.iterdir()] == ["params.yaml"]


def test_an_overlay_of_ones_own_lies_on_top_of_what_init_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    mine = 'openai: {base_url: "http://127.0.0.1:8411/v1", model: mine}\ntrain: {steps: 10}\n'
    Path("mine.yaml").write_text(f"{mine}spending: {{budget: {{calls: 600}}}}\n", encoding="utf-8")

    text = new_project.settings(["own-choices", "mine.yaml"], None, "openai", "a/b")

    found = YAML(typ="safe").load(text)
    assert found["spending"]["budget"]["calls"] == 600
    assert (found["openai"]["model"], found["train"]["steps"]) == ("mine", 10)
    assert found["grade"] == {"grader": "choice"}
    assert "tutor" not in found  # a section of the overlay that nothing reads any more
    assert "\n  base_url: " in text  # in a line of its own: DVC takes quotes away


def test_own_choices_and_a_language_model_are_the_command_at_the_head_of_the_overlay():
    head = (ROOT / "params/own-choices.yaml").read_text(encoding="utf-8")
    assert "--with own-choices --teacher openai" in head
    assert new_project.settings(["own-choices"], None, "openai", "a/b")
