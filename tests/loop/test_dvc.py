"""The whole loop through DVC, on a student too small to learn: what reruns, and why."""

import json
import re
import time
from pathlib import Path

import pytest

from redistill.console import timing
from redistill.records import manifest
from tests.imports import ROOT
from tests.loop.projects import ANSWERED, LAST, Finished, Project
from tests.settings import with_lines


@pytest.fixture(scope="module")
def project(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Project:
    made, ran = finished(tmp_path_factory.mktemp("project"))
    assert {
        "prepare",
        "base",
        "generate",
        "train@r0",
        "mine@r0",
        "refine@r2",
        "report",
        "publish",
    } <= set(ran)
    assert "train@one-shot-matched" in ran
    return made


@pytest.fixture
def own(finished: Finished, tmp_path: Path) -> Project:
    """A copy that the test may leave as it likes."""
    return finished(tmp_path)[0]


def test_a_second_repro_runs_nothing_and_takes_little_longer_than_status(project: Project):
    assert project.stale() == set()  # and DVC has seen all files of the copy
    started = time.monotonic()
    project.dvc("status")
    status = time.monotonic() - started
    started = time.monotonic()
    assert project.repro() == []
    repro = time.monotonic() - started

    assert repro < 3 * status + 1


def test_an_edit_of_the_settings_is_checked_and_asks_no_teacher_again(project: Project):
    before = (project.root / "params.yaml").read_text(encoding="utf-8")
    project.change({"evaluate": {"top_p": 0.9}})
    checked = project.dvc("repro", "generate")
    project.change({"evaluate": {"top_p": 9.0}})
    refused = project.dvc("repro", "generate", fails=True)
    (project.root / "params.yaml").write_text(before, encoding="utf-8")

    assert re.findall(r"Running stage '([^']+)'", checked) == ["settings", "check"]
    assert "settings: params.yaml: evaluate.top_p: Input should be less than" in refused
    assert "Running stage 'check'" not in refused
    assert project.repro() == []


def test_every_balance_is_recorded_and_holds(project: Project):
    files = (project.root / "metrics").glob("*/*.json")
    recorded = [file for file in files if file.parent.name != "timing"]
    balances = {file: json.loads(file.read_text()).get("balance") for file in recorded}

    kinds = {"problems", "training", "rationales", "rounds", "gaps", "outside", "published"}
    kinds |= {"completions", "completions-outside", "probes"}
    assert {file.parent.name for file in balances} == kinds
    without = {file for file, balance in balances.items() if balance is None}
    assert without == {project.root / "metrics/training/base.json"}
    assert all(balance["holds"] for balance in balances.values() if balance)


def test_no_test_question_is_in_anything_that_is_taught_shown_to_a_teacher_or_published(
    project: Project,
):
    """Row L1: every question of test is a canary, over all rounds."""
    rows = (project.root / "data/problems/test.jsonl").read_text(encoding="utf-8").splitlines()
    canaries = [json.loads(row)["question"] for row in rows]
    places = ("data/rationales", "data/errors", "data/published", "data/problems/train.jsonl")
    told = (*places, "data/problems/held-out.jsonl")  # what a teacher's stage reads has digests
    files = [file for place in told for file in _files(project.root / place)]
    texts = {file: file.read_bytes() for file in files}
    seen = (project.root / "data/report").rglob("*.js")

    assert len(canaries) == 12
    assert len(files) > 12
    assert [f.name for f, text in texts.items() if any(c.encode() in text for c in canaries)] == []
    assert any(canaries[0] in file.read_text(encoding="utf-8") for file in seen), "it can be found"


def _files(place: Path) -> list[Path]:
    return [place] if place.is_file() else [file for file in place.rglob("*") if file.is_file()]


def test_a_loop_that_gets_nowhere_stops_and_passes_the_rest_through(project: Project):
    decision = json.loads((project.root / "metrics/gaps/r1.json").read_text())["decision"]
    training = json.loads((project.root / "metrics/training/r2.json").read_text())
    best = json.loads((project.root / "metrics/best.json").read_text())

    assert decision["stop"]
    assert training["passed_through"]
    assert best["round"] == "r0"
    assert (project.root / "metrics/pictures/curve.svg").read_text().startswith("<?xml")


def test_how_long_stages_took_is_told_in_files_that_neither_dvc_nor_git_knows(project: Project):
    folder = project.root / "metrics/timing"
    shown = (folder / "timing.js").read_text(encoding="utf-8")  # what the report shows, if there

    branches = ("r0", "r1", "one-shot-matched")  # the others were passed through
    timed = {f"{stage}/{name}" for stage in ("train", "answer") for name in branches}
    assert set(timing.read(folder)) == timed | {"base/base"}
    assert all(name in shown for name in timed)
    lock = (project.root / "dvc.lock").read_text(encoding="utf-8")
    assert "path: metrics/training/base.json" in lock
    assert "path: metrics/timing" not in lock
    assert "metrics/timing" not in project.git("status", "--porcelain", "-uall")


def test_the_command_line_shows_rounds_and_the_life_of_a_problem(project: Project):
    redistill = project.redistill
    assert "passed through" in redistill("rounds")
    assert "== r0" in redistill("show", "wp-train-00000")
    assert "well-formed" in redistill("params")


def test_the_best_round_is_published_whole_and_what_it_says_of_itself_is_so(project: Project):
    folder = project.root / "data/published/wordproblems-refined"
    found = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    train = (project.root / "data/problems/train.jsonl").read_bytes().count(b"\n")

    assert manifest.verify(folder) == []
    assert found["round"] == "r0"  # a student too small to learn: nothing refined, nothing to pair
    whole = dict.fromkeys(("records", "sft", "messages", "privileged_context"), train)
    assert found["views"] == {**whole, "preference": 0, "feedback": 0}
    assert "Nothing was sent" in project.redistill("publish")
    assert "what their manifests say" in project.redistill("verify")


USING = (ROOT / "docs/README.md").read_text(encoding="utf-8").split("## Commands")[1]
COMMANDS = [
    line.split("#")[0].strip() for line in USING.split("```console")[1].split("```")[0].split("\n")
]


@pytest.mark.parametrize("command", [c for c in COMMANDS if c and "exp run" not in c])
def test_the_commands_of_the_index_run(command: str, project: Project):
    name, *words = command.split()
    module = {"dvc": "dvc", "redistill": "redistill.cli"}[name]

    ran = project.run(module, *words)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout


def test_editing_mining_makes_no_earlier_stage_stale(project: Project):
    file = project.root / "redistill/diagnosis/mine.py"
    before = file.read_text(encoding="utf-8")
    file.write_text(before + "\n# a remark\n", encoding="utf-8")

    stale = {name.split("@")[0] for name in project.stale()}
    file.write_text(before, encoding="utf-8")

    assert stale == {"mine"}


@pytest.mark.parametrize(
    ("section", "key", "value", "first"),
    [
        ("mine", "exemplars", 1, {"mine", "refine"}),
        ("mine", "alpha", 0.2, {"mine"}),
        ("refine", "extend", False, {"refine"}),
        ("report", "title", "Another", {"report"}),
        ("publish", "license", "cc-by-4.0", {"publish"}),
    ],
)
def test_a_late_parameter_reruns_nothing_before_it(
    section: str, key: str, value: object, first: set[str], project: Project
):
    before = (project.root / "params.yaml").read_text(encoding="utf-8")
    project.change({section: {key: value}})

    stale = {name.split("@")[0] for name in project.stale()}
    (project.root / "params.yaml").write_text(before, encoding="utf-8")

    assert stale == first


def test_a_change_of_where_it_is_computed_reruns_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("REDISTILL_THREADS", "1")
    monkeypatch.setenv("REDISTILL_DEVICE", "cpu")

    assert project.stale() == set()


def test_adding_a_round_is_a_line_in_each_section_and_runs_only_that_round(own: Project):
    file = own.root / "params.yaml"
    text = file.read_text(encoding="utf-8")
    added = text
    for line in LAST:
        before = line.replace("r2", "r1").replace("r3", "r2")
        assert before in text
        added = added.replace(before, before + line)
    file.write_text(added)

    ran = own.repro()

    stages = ("refine", "train", *ANSWERED, "mine")
    assert set(ran) == {"report", "publish", *(f"{stage}@r3" for stage in stages)}


def test_an_arm_of_the_ladder_runs_only_its_own_stages(own: Project):
    file = own.root / "params.yaml"
    text = file.read_text(encoding="utf-8")
    taught = "from: r0, rationales: told, start: base, times: 1, lessons: latest, probe: false"
    rewritten = "from: r0, of: r0, like: r1, start: base, feedback: verdict, scope: like"
    lines = (f"  told: {{{line}}}\n" for line in (taught, rewritten))
    file.write_text(with_lines(text, *lines), encoding="utf-8")

    ran = own.repro()
    shown = own.redistill("rounds")
    ladder = json.loads((own.root / "metrics/ladder.json").read_text())
    climbed, checked = own.redistill("ladder", "--round", "r1"), own.check("--alpha", "1")
    arm, like = (
        json.loads((own.root / f"metrics/rationales/{name}.json").read_text())
        for name in ("told", "r1")
    )

    stages = {f"{stage}@told" for stage in ("refine", "train", *ANSWERED, "mine")}
    assert set(ran) == {*stages, "report", "publish"}
    assert arm["asked"] == arm["attempts"]["replies"] == like["attempts"]["replies"] > 0
    assert "told" in shown
    rows = {row["against"]: row for row in ladder["rounds"]["r1"]}
    assert list(rows) == ["r0", "one-shot-matched", "told"]
    assert rows["told"]["calls"]["against"]["asked"] == arm["asked"]
    assert rows["told"]["calls"]["round"]["asked"] == like["asked"]
    assert rows["told"]["steps"] == {"round": 4, "against": 4}
    assert "verdict only" in climbed
    assert checked == 1


def _apart(hashes: dict[str, str]) -> dict[str, str]:
    """Those of *hashes* in which out-of-domain tests have no part; the report tells of them."""
    return {p: md5 for p, md5 in hashes.items() if "outside" not in p and p != "data/report"}


@pytest.mark.parametrize("undoes", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_out_of_domain_test_is_answered_by_all_and_asks_nothing_again(
    undoes: bool, own: Project
):
    before = (own.root / "params.yaml").read_text(encoding="utf-8")
    place = own.root / "data/external/further.jsonl"
    train = (own.root / "data/problems/train.jsonl").read_text().split("\n")
    rows = [json.loads(line) | {"id": f"f{i}"} for i, line in enumerate(train[:3])]
    further = [{**row, "question": f"Otherwise: {row['question']}"} for row in rows[:2]]
    place.write_text("".join(json.dumps(row) + "\n" for row in [*further, rows[2]]))
    files = {"train": str(place), "dev": None, "test": str(place), "dev_share": 0.5}
    section = {**files, "take_train": None, "take_dev": None, "take_test": None}
    own.change({"prepare": {"outside": {"jsonl": section}}})
    trained = own.hashes()

    ran = own.repro()
    branches = {"r0", "r1", "r2", "one-shot-matched"}
    outside = ("answer-outside", "grade-outside")
    stages = {f"{stage}@{name}" for stage in outside for name in branches}
    assert set(ran) == {"prepare", "report", "publish", *stages}
    told = json.loads((own.root / "metrics/problems/all.json").read_text())["outside"]
    figures = json.loads((own.root / "metrics/outside/r0.json").read_text())
    answers = own.root / "data/predictions-outside"
    lines = {n: (answers / n / "jsonl.jsonl").read_text().count("{") for n in branches}
    table = own.redistill("rounds").split("Out of domain")[1]
    kept = _apart(own.hashes())
    again = own.repro()

    assert told["jsonl"]["rejected"] == {"asks a question of train": 1}
    assert figures["scores"]["jsonl"]["n"] == figures["balance"]["rows_out"] == 2
    assert lines == {"r0": 2, "r1": 2, "r2": 0, "one-shot-matched": 2}
    assert "jsonl" in table
    assert "/2)" in table
    assert again == []
    assert kept == _apart(trained)
    if undoes:
        (own.root / "params.yaml").write_text(before, encoding="utf-8")
        place.unlink()
        undone = {name.split("@")[0] for name in own.repro()}
        assert own.hashes() == trained
        assert undone <= {"prepare", *outside, "report", "publish"}


def test_settings_that_are_code_are_not_run(project: Project):
    before = (project.root / "params.yaml").read_text(encoding="utf-8")
    project.change({"report": {"title": '"; touch pwned; $(touch pwned)\ntouch pwned'}})

    ran = project.repro()
    (project.root / "params.yaml").write_text(before, encoding="utf-8")

    assert ran == ["report"]
    assert not (project.root / "pwned").exists()
