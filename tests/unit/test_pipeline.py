"""What dvc.yaml says of the stages, held against what they really are."""

import json
import re
import resource
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from dvc.utils.serialize import load_yaml

from redistill.cli import check_params
from tests.imports import ROOT, imported

WHOLE = load_yaml(str(ROOT / "dvc.yaml"))
PIPELINE = WHOLE["stages"]
BLANK = re.compile(r"\$\{[^}]+\}")
PATTERN = re.compile(r"\$\{(key|item\.(from|rationales|start|of|like|and))\}")
RUN = re.compile(r"exec python -m stages\.([a-z]+) ")
BY_NAME = ("graders", "tasks", "teachers")  # whose modules are found by their names
EXPENSIVE = ("base", "target", "train", "answer", "probe", "answer-outside")
WITHOUT_TORCH = ["prepare", "generate", "answer", "probe", "grade", "mine", "refine", "report",
                 "publish", "take", "pool", "transfer"]  # fmt: skip
OUTSIDE = ("data/problems/outside", "data/completions-outside", "data/predictions-outside",
           "metrics/completions-outside", "metrics/outside")  # fmt: skip
TIMING = "metrics/timing"


def body(stage: str) -> dict:
    return PIPELINE[stage].get("do", PIPELINE[stage])


def outs(stage: str) -> set[str]:
    listed = body(stage).get("outs", []) + body(stage).get("metrics", [])
    return {next(iter(out)) if isinstance(out, dict) else out for out in listed}


def file(stage: str) -> Path:
    """The file that the stage runs, which is not always of its own name."""
    run = RUN.match(body(stage)["cmd"])
    assert run, f"{stage}: {body(stage)['cmd']}"
    return Path(f"stages/{run[1]}.py")


def ours(stage: str) -> list[str]:
    """The deps of the stage that are files or folders of the project's own code."""
    return [dep for dep in body(stage)["deps"] if dep.startswith(("redistill/", "stages/"))]


def held(dep: str) -> set[Path]:
    """The files that *dep* stands for: itself, what is in it, or all that a name in it may be."""
    if BLANK.search(dep):
        return {path.relative_to(ROOT) for path in ROOT.glob(BLANK.sub("[a-z]*", dep))}
    files = (ROOT / dep).rglob("*.py") if (ROOT / dep).is_dir() else [ROOT / dep]
    return {path.relative_to(ROOT) for path in files if path.stat().st_size}


def named(stage: str) -> set[Path]:
    """The modules that the stage finds by their names: which, its settings say."""
    folders = {Path("redistill") / kind for kind in BY_NAME}
    return {
        path
        for dep in ours(stage)
        for path in held(dep)
        if path.parent in folders and path.suffix == ".py"
    }


def needed(stage: str) -> set[Path]:
    """Every file of ours that the stage may import, and what those import that it names."""
    known = {file(stage), *imported(ROOT / file(stage)), *named(stage)}
    return known.union(*(imported(ROOT / path) for path in named(stage)))


def uncovered(paths: Iterable[Path], deps: Iterable[str]) -> set[str]:
    """Those of *paths* that no dep stands for."""
    known = {path for dep in deps for path in held(dep)}
    return {str(path) for path in paths if path not in known}


@pytest.mark.parametrize("stage", PIPELINE)
def test_every_import_of_a_stage_lies_under_one_of_its_deps(stage: str):
    assert uncovered(needed(stage), ours(stage)) == set()


@pytest.mark.parametrize("stage", PIPELINE)
def test_every_dep_on_our_code_holds_something_that_the_stage_imports(stage: str):
    known = needed(stage)

    for dep in ours(stage):
        assert held(dep), f"{stage}: there is no {dep}"
        if not dep.startswith("redistill/prompts/"):  # texts, which are read by their names
            assert held(dep) & known, f"{stage}: nothing in {dep} is imported"


@pytest.mark.parametrize("stage", EXPENSIVE)
def test_what_takes_hours_depends_on_no_module_that_it_does_not_import(stage: str):
    listed = {path for dep in ours(stage) for path in held(dep)}

    assert listed == needed(stage)


def test_a_missing_dep_and_a_needless_one_are_found():
    deps = [dep for dep in ours("mine") if dep != "redistill/records"]

    missing = uncovered(needed("mine"), deps)

    assert "redistill/records/jsonl.py" in missing
    assert all(path.startswith("redistill/records/") for path in missing)
    assert not held("redistill/llm") & needed("mine")


@pytest.mark.parametrize("kind", BY_NAME)
def test_no_module_that_is_found_by_its_name_imports_another_of_its_kind(kind: str):
    """A dep with a name in it stands for one of them."""
    for path in sorted((ROOT / "redistill" / kind).glob("[a-z]*.py")):
        assert not {found for found in imported(path) if found.parent.name == kind}


def test_the_prompts_that_a_stage_fills_or_publishes_are_deps():
    prompts = {
        stage: [dep for dep in ours(stage) if dep.startswith("redistill/prompts/")]
        for stage in PIPELINE
    }

    explain, *refine = (
        f"redistill/prompts/{verb}-${{teach.prompts}}.txt"
        for verb in ("explain", "refine", "repair")
    )
    assert {stage: texts for stage, texts in prompts.items() if texts} == {
        "prepare": [explain],  # whether it shows choices, as the problems have them
        "generate": [explain],
        "refine": [explain, *refine],  # what is written afresh is a first rationale
        "publish": [explain, *refine],
    }


def test_compiled_modules_do_not_make_a_folder_of_modules_another():
    ignored = (ROOT / ".dvcignore").read_text(encoding="utf-8").split("\n")

    assert "__pycache__/" in ignored


def touches(stage: str, place: str) -> list[str]:
    """The deps and outs of the stage that lie in *place*, or in which it lies."""
    paths = {*body(stage)["deps"], *outs(stage)}
    return [p for p in paths if f"{p}/".startswith(f"{place}/") or place.startswith(f"{p}/")]


@pytest.mark.parametrize("stage", ["prepare", "base", "generate", "train", "answer"])
def test_an_edit_of_the_diagnosis_never_makes_a_stage_before_it_stale(stage: str):
    assert touches(stage, "redistill/diagnosis") == []
    assert [param for param in body(stage)["params"] if str(param).startswith("mine")] == []


@pytest.mark.parametrize("stage", ["base", "train", "answer", "answer-outside"])
def test_an_edit_of_a_grader_answers_nothing_anew(stage: str):
    assert touches(stage, "redistill/graders") == touches(stage, "redistill/grading") == []
    assert [param for param in body(stage)["params"] if str(param).startswith("grade")] == []


@pytest.mark.parametrize("stage", PIPELINE)
def test_every_path_of_cmd_is_a_dep_or_an_out(stage: str):
    known = set(body(stage)["deps"]) | outs(stage)
    words = [word for word in body(stage)["cmd"].split() if word.startswith(("data/", "metrics"))]
    paths = [word for word in words if not f"{word}/".startswith(f"{TIMING}/")]

    assert paths
    for path in paths:
        inside = any(k == path or k.startswith(f"{path}/") for k in known)
        assert inside, f"{stage}: {path} stands in cmd, but neither in deps nor in outs"
    for out in outs(stage):
        assert any(out == path or out.startswith(f"{path}/") for path in paths)


@pytest.mark.parametrize("stage", PIPELINE)
def test_what_is_timed_is_neither_a_dep_nor_an_out(stage: str):
    known = {*body(stage)["deps"], *outs(stage)}

    assert not [path for path in known if f"{path}/".startswith(f"{TIMING}/")]
    assert (TIMING in body(stage)["cmd"]) == (stage in (*EXPENSIVE, "report"))


def test_what_is_timed_is_known_to_neither_git_nor_dvc():
    for name in (".gitignore", ".dvcignore"):
        assert f"/{TIMING}/" in (ROOT / name).read_text(encoding="utf-8").split("\n")


@pytest.mark.parametrize("stage", PIPELINE)
def test_cmd_runs_the_stage_of_its_name_and_interpolates_only_names(stage: str):
    cmd = body(stage)["cmd"]

    assert file(stage).stem == stage.removesuffix("-outside")
    assert "${" not in PATTERN.sub("", cmd)
    assert body(stage)["desc"]


def test_there_is_a_file_for_every_stage_and_a_stage_for_every_file():
    files = {f.stem for f in (ROOT / "stages").glob("*.py")} - {"__init__"}

    assert files == {file(stage).stem for stage in PIPELINE}


def test_lists_of_names_that_a_run_may_do_without_are_empty_where_they_are_absent():
    (absent,) = WHOLE["vars"]
    lists = {BLANK.match(stage["foreach"])[0] for stage in PIPELINE.values() if "foreach" in stage}

    assert absent == {name: {} for name in check_params.ABSENT}
    assert lists <= {f"${{{name}}}" for name in (*check_params.ABSENT, *check_params.NEEDED)}


def test_the_plots_are_of_tables_that_the_report_writes():
    files = {name for plot in WHOLE["plots"] for told in plot.values() for name in told["y"]}

    assert files
    assert {str(Path(name).parent) for name in files} <= outs("report")


def test_what_teaches_never_reads_test():
    for stage in ("generate", "train", "mine", "refine", "take", "pool"):
        assert not [dep for dep in body(stage)["deps"] if "test" in dep]
        assert touches(stage, "data/problems/test.jsonl") == []
        assert touches(stage, "data/predictions/${key}/test.jsonl") == []


def test_what_reads_the_problems_of_test_answers_grades_or_reports_them():
    reading = {stage for stage in PIPELINE if touches(stage, "data/problems/test.jsonl")}

    assert reading == {"prepare", "answer", "grade", "report", "publish"}


def test_only_prepare_the_stages_of_their_own_and_report_touch_out_of_domain_tests():
    touching = {
        stage: sorted(path for place in OUTSIDE for path in touches(stage, place))
        for stage in PIPELINE
    }

    assert {stage for stage, paths in touching.items() if paths} == {
        "prepare", "answer-outside", "grade-outside", "report",
    }  # fmt: skip
    assert touching["prepare"] == ["data/problems/outside"]
    assert touching["report"] == ["data/predictions-outside", "metrics/outside"]


def test_stages_without_a_student_do_not_import_torch():
    heavy = ["torch", "transformers", "datasets", "matplotlib"]
    code = (
        "import importlib, json, sys\n"
        f"for stage in {WITHOUT_TORCH}:\n"
        "    importlib.import_module(f'stages.{stage}')\n"
        f"    print(json.dumps([stage, [m for m in {heavy} if m in sys.modules]]))\n"
    )

    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

    told = [json.loads(line) for line in ran.stdout.splitlines()]
    assert told == [[stage, []] for stage in WITHOUT_TORCH], ran.stderr


@pytest.mark.parametrize("stage", ["mine", "refine"])
def test_stages_without_a_student_end_within_a_second_on_empty_input(stage: str, tmp_path: Path):
    for name in ("params.yaml",):
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    gaps = tmp_path / "gaps.json"
    gaps.write_text('{"profile": {"common": []}, "decision": {"stop": false}}')
    options = (
        {
            "mine": "--train-problems e --dev-problems e --rationales e --train e --dev e"
            " --held-out e --before e --attempts a.jsonl",
            "refine": "--name r1 --problems e --dev-problems e --held-out e --rationales e"
            " --like e --errors e --gaps g --attempts e --student s",
        }[stage]
        .replace(" e", f" {empty}")
        .replace(" g", f" {gaps}")
    )
    command = f"{sys.executable} -m stages.{stage} {options} --out out.jsonl --metrics m.json"

    before = _used()
    ran = subprocess.run(
        command.split(),
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
    )
    seconds = _used() - before

    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "out.jsonl").read_bytes() == b""
    assert seconds < 1.0


def _used() -> float:
    """Seconds of processor time that ended children took: what else runs here does not count."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime
