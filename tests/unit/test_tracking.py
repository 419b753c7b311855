"""What a tracker is told, which run that is, and that nothing is told twice."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from redistill.console import tracker
from redistill.console.exceptions import CONFIG, RefusedError
from redistill.tracking import figures
from redistill.tracking.identity import identity
from redistill.tracking.secrets import redaction
from redistill.tracking.sent import Sent, kept
from tests.imports import ROOT
from tests.settings import changed, shipped


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder of its own, which git knows nothing of, with one commit."""
    for words in (
        ("init", "-q"),
        ("-c", "user.name=n", "-c", "user.email=e", "commit", "-q", "--allow-empty", "-m", "m"),
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return tmp_path


def test_a_tracker_of_another_name_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(tracker.VARIABLE, "tensorbored")

    with pytest.raises(RefusedError, match="'tensorbored' is none of trackio, wandb, mlflow") as no:
        tracker.begin("grade")
    assert no.value.code == CONFIG


@pytest.mark.parametrize("told", ["soon", "0", "-1", "601", "nan"])
def test_a_wait_that_is_no_number_of_seconds_is_refused(monkeypatch: pytest.MonkeyPatch, told: str):
    monkeypatch.setenv(tracker.LIMIT, told)

    with pytest.raises(RefusedError, match="is no number of seconds from 0 to 600"):
        tracker.limit()


@pytest.mark.parametrize("found", [None, importlib.util.spec_from_loader("wandb", None)])
def test_a_tracker_that_is_not_installed_is_one_line_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, found: object
):
    monkeypatch.setenv(tracker.VARIABLE, "wandb")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)  # or a folder of that name

    with pytest.raises(RefusedError) as no:
        tracker.begin("grade")
    told = "wandb is not installed: pip install 'redistill[wandb]', or unset REDISTILL_TRACKER"
    assert str(no.value) == f"REDISTILL_TRACKER: {told}"


def test_without_a_tracker_nothing_is_followed_and_no_process_started(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv(tracker.VARIABLE, raising=False)
    monkeypatch.setattr(tracker, "Telling", None)  # would be called

    tracker.begin("train")
    tracker.ended({"metrics": Path("metrics/training/r0.json")})

    assert not tracker.follows()


def test_a_process_that_cannot_be_started_costs_the_stage_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv(tracker.VARIABLE, "trackio")
    monkeypatch.setattr(tracker, "check", lambda: "trackio")
    monkeypatch.setattr(sys, "executable", "/no/such/python")

    tracker.begin("train")
    for _ in range(2):  # of the training, and of what it recorded
        tracker.ended({"metrics": Path("metrics/training/r0.json")})

    told = "no process could be started: No such file or directory"
    assert capsys.readouterr().err == (
        f"train: the tracker trackio was not told of this stage: {told}\n"
    )


def test_a_push_tells_the_address_of_the_data_set(monkeypatch: pytest.MonkeyPatch):
    said: list[object] = []
    monkeypatch.setenv(tracker.VARIABLE, "trackio")
    monkeypatch.setattr(tracker, "check", lambda: "trackio")
    monkeypatch.setattr(tracker, "Telling", lambda what: said.append(what) or Ended())

    tracker.link("published", "https://huggingface.co/datasets/me/mine")

    assert said == [{"links": {"published": "https://huggingface.co/datasets/me/mine"}}]


class Ended:
    """Stands in for a process that has told all."""

    def end(self) -> None:
        """Wait for nothing."""


def test_a_run_is_of_branch_commit_seed_and_what_shapes_the_student(checkout: Path):
    first = identity("r1", shipped(), checkout)

    assert first == identity("r1", shipped(), checkout)
    assert first.name == f"r1-{first.id[:6]}"
    assert first.group == f"{first.commit[:12]} seed 1"
    assert identity("r1", changed("title: Embedded", "title: My"), checkout).id == first.id
    others = [
        identity("r2", shipped(), checkout),
        identity("r1", changed("seed: 1", "seed: 2"), checkout),
        identity("r1", changed("steps: 1500", "steps: 1501"), checkout),
        identity("r1", shipped(), ROOT.parent),
    ]
    assert len({first.id, *(other.id for other in others)}) == 5


def test_a_round_that_is_added_leaves_the_runs_of_the_others_what_they_are(checkout: Path):
    line = "  r3: {from: r2, rationales: r3, start: base, times: 1, lessons: latest, probe: true}\n"
    more = changed(line, line + line.replace("r3", "r4").replace("r2", "r3"))

    assert identity("r1", more, checkout).id == identity("r1", shipped(), checkout).id


def test_figures_are_the_numbers_of_the_file_by_their_path():
    file = ROOT / "metrics/rounds/r1.json"
    scores = json.loads(file.read_text(encoding="utf-8"))["scores"]

    (found,) = figures.told("grade", [file])

    assert found.branch == "r1"
    for split, score in scores.items():
        for name, value in score.items():
            assert found.figures[f"rounds/scores/{split}/{name}"] == value


def test_the_report_tells_every_branch_with_its_paired_tests_and_costs():
    names = ("ladder.json", "summary.json", "gaps/r1.json")
    ladder, summary, gaps = (
        json.loads((ROOT / "metrics" / name).read_text(encoding="utf-8")) for name in names
    )

    found = {one.branch: one for one in figures.told("report", [ROOT / "metrics/summary.json"])}

    assert list(found) == [*summary["order"], "all"]
    for row in ladder["rounds"]["r1"]:
        for name in ("gain_points", "low_points", "high_points", "p", "p_holm", "fixed", "broken"):
            assert found["r1"].figures[f"ladder/{row['against']}/{name}"] == row[name]
    counts = gaps["profile"]["gaps"]
    assert found["r1"].figures["gaps/profile/gaps/multiply"] == counts["multiply"]
    assert found["r1"].figures["costs/calls"] > 0
    assert "costs/cost" not in found["r1"].figures  # the ledger does not know it
    for name, why in summary["because"].items():
        assert found[name].words["passed through"] == why
    assert found["all"].tables["every branch"][0][0] == "round"
    assert found["all"].words["best"].startswith(f"Best on dev: {summary['best']['round']}. ")


def test_what_is_of_no_branch_is_told_to_a_run_of_its_own(tmp_path: Path):
    file = tmp_path / "metrics/transfer.json"
    file.parent.mkdir()
    file.write_text('{"gain": {"p": 0.5}}', encoding="utf-8")

    (found,) = figures.told("transfer", [file])

    assert (found.branch, found.figures) == ("all", {"transfer/gain/p": 0.5})


def test_only_what_is_new_or_other_than_before_is_told_again(tmp_path: Path):
    table = {"rounds": [("round", "x" * 300)]}
    with kept(tmp_path, "trackio", "id", "here") as sent:
        assert sent.fresh("figures", {"a": 1, "b": 2.5}) == {"a": 1, "b": 2.5}
        sent.told("figures", {"a": 1, "b": 2.5})
        sent.told("tables", table)

    with kept(tmp_path, "trackio", "id", "here") as sent:
        assert sent.fresh("figures", {"a": 1, "b": 3, "c": 4}) == {"b": 3, "c": 4}
        assert sent.fresh("tables", table) == {}
    with kept(tmp_path, "trackio", "id", "elsewhere") as other:
        assert other.fresh("figures", {"a": 1}) == {"a": 1}


def test_a_curve_goes_on_after_the_last_step_that_was_told(tmp_path: Path):
    with Sent(tmp_path / "x").following() as steps:
        assert [steps.takes(step, over=False) for step in (1, 2, 3)] == [True] * 3
    with Sent(tmp_path / "x").following() as steps:  # from a checkpoint of step 2, or anew
        assert [steps.takes(step, over=False) for step in (2, 3, 4)] == [False, False, True]
        assert steps.takes(4, over=True)
    with Sent(tmp_path / "x").following() as steps:
        assert not steps.takes(4, over=False)
        assert not steps.takes(4, over=True)


def test_no_secret_of_the_environment_is_in_a_reason(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef0123")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:pass-word@host:5000")

    told = redaction().text("401 for 0123456789abcdef0123 at http://me:pass-word@host:5000")

    assert told == "401 for [key] at http://me:[key]@host:5000"
    assert os.environ["WANDB_API_KEY"]
