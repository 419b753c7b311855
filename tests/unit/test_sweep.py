"""A run over several seeds: what is gathered, what is not run again, and what is said of it."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from click.testing import CliRunner
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML
from scipy import stats

from redistill.analysis import plots, seeds, sweep
from redistill.checks import check_params
from redistill.cli import new_project
from redistill.cli.main import main
from redistill.console.exceptions import RefusedError
from redistill.records import json_file
from redistill.settings import sections
from tests.imports import ROOT

RESULTS = ROOT / "docs" / "results"


def row(rung: str, fixed: int, broken: int, against: str = "a") -> dict:
    return {"against": against, "rung": rung, "n": 100, "fixed": fixed, "broken": broken}


def results(folder: Path, seed: int, chosen: str, rounds: dict) -> None:
    ladder = {"chosen": chosen, "rounds": rounds}
    content = {"seed": seed, "command": f"dvc exp run seed={seed}", "settings": "x"}
    json_file.write_json(folder / f"seed{seed}.json", content | {"best": {}, "ladder": ladder})


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_gains_of_the_chosen_rounds_are_put_together_by_rung_and_seed(tmp_path: Path):
    results(tmp_path, 1, "r1", {"r1": [row("resample", 20, 5, "blind-r1")]})
    results(tmp_path, 2, "r2", {"r1": [row("resample", 9, 9)], "r2": [row("resample", 30, 9, "b")]})

    found = seeds.summary(seeds.gather(tmp_path))

    over = found.comparisons["chosen"]["resample"]
    assert over.by_seed == {"1": 15.0, "2": 21.0}
    assert (over.fixed, over.broken, over.unchanged, over.n) == (50, 14, 136, 200)
    assert over.better_in == 2
    theirs = stats.ttest_1samp([15.0, 21.0], 0).confidence_interval(0.95)
    gain = over.gain_points
    assert (gain.low, gain.high) == pytest.approx((theirs.low, theirs.high), abs=1e-3)
    assert found.comparisons["r1"]["resample"].by_seed == {"1": 15.0, "2": 0.0}
    assert found.commands == {"1": "dvc exp run seed=1", "2": "dvc exp run seed=2"}


def test_the_picture_over_seeds_is_hollow_where_the_interval_has_nothing_in_it():
    found = seeds.summary(seeds.gather(ROOT / "docs/results/ladder"))
    drawn = {bar.label: bar for bar in seeds.bars(found)}
    continued = drawn["chosen - refine, continued"]

    assert drawn["chosen - one-shot"].told_apart
    assert continued.low < 0 < continued.high
    assert not continued.told_apart
    assert not [label for label in drawn if label.startswith("r3")]  # one seed has no interval
    assert "chosen - shuffled errors" in plots.forest([*drawn.values()], "t")


def test_two_branches_of_one_seed_that_are_one_rung_stay_apart(tmp_path: Path):
    rows = [row("resample", 20, 5, "blind"), row("resample", 10, 5, "blind-too")]
    results(tmp_path, 1, "r1", {"r1": rows})

    assert list(seeds.summary(seeds.gather(tmp_path)).comparisons["r1"]) == [
        "blind",
        "blind-too",
    ]


def test_the_results_in_docs_are_gathered_as_they_are(project: Path):
    ran = CliRunner().invoke(main, ["sweep", "--gather", str(RESULTS)])

    found = json.loads((project / "metrics/sweep.json").read_text())
    over = found["comparisons"]["chosen"]["one-shot, step-matched"]
    assert ran.exit_code == 0, ran.output
    assert found["seeds"] == [1, 2, 3]
    assert over["by_seed"] == {
        str(seed): json.loads((RESULTS / f"embedded-seed{seed}.json").read_text())[
            "against_control"
        ]["gain_points"]
        for seed in found["seeds"]
    }
    assert list(found["comparisons"]) == ["chosen"]
    assert f"{fmean(over['by_seed'].values()):+.1f}" in ran.output
    assert "time" not in json.dumps(found)


def test_a_folder_without_seeds_or_with_one_twice_is_refused(tmp_path: Path):
    with pytest.raises(RefusedError, match="no file of a seed"):
        seeds.gather(tmp_path)
    for name in ("a-seed1.json", "b-seed1.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(RefusedError, match="one seed"):
        seeds.gather(tmp_path)
    (tmp_path / "b-seed1.json").unlink()
    with pytest.raises(RefusedError, match="not the results of a run"):
        seeds.gather(tmp_path)


@pytest.mark.parametrize(
    ("pair", "fault"),
    [
        ("train.stepps=3", "params.yaml has no train.stepps"),
        ("seed.deep=3", "has no seed.deep"),
        ("rounds.r1.times=2", "params.yaml has no rounds.r1.times"),
        ("train.steps", "expected section.key=value"),
        ("seed=3", "expected section.key=value"),
        ("--force=1", "expected section.key=value"),
        ("train.steps=[", "the value is not YAML"),
    ],
)
def test_a_setting_that_params_does_not_have_is_refused_before_anything_runs(
    pair: str, fault: str, project: Path
):
    with pytest.raises(RefusedError, match=fault) as it:
        sweep.plan(project, project / "seeds", [pair])
    assert it.value.code == 78


def test_the_command_is_that_of_dvc_and_each_value_one_word(project: Path):
    plan = sweep.plan(project, project, ["train.steps=8", "report.title=a; touch b"])

    assert plan.words(3) == [
        "dvc", "exp", "run", "--set-param=seed=3", "--set-param=train.steps=8",
        "--set-param=report.title=a; touch b",
    ]  # fmt: skip


def test_a_seed_that_was_run_is_not_run_again_unless_forced(project: Path):
    plan = sweep.plan(project, project / "seeds", ["train.steps=8"])
    json_file.write_json(plan.file(2), {"settings": plan.settings()})

    assert sweep.missing(plan, [1, 2, 3, 1], force=False) == [1, 3]
    assert sweep.missing(plan, [1, 2, 3], force=True) == [1, 2, 3]


def test_settings_are_the_same_before_and_after_an_experiment(project: Path):
    plan = sweep.plan(project, project / "seeds", ["train.steps=8"])
    before = plan.settings()
    text = (project / "params.yaml").read_text()
    after = text.replace("seed: 1", "seed: 7").replace("steps: 1500", "steps: 8")
    (project / "params.yaml").write_text(after)

    assert plan.settings() == before


def test_results_of_other_settings_are_refused(project: Path):
    plan = sweep.plan(project, project / "seeds", [])
    json_file.write_json(plan.file(2), {"settings": plan.settings()})
    other = sweep.plan(project, project / "seeds", ["train.steps=8"])

    with pytest.raises(RefusedError, match="from other settings"):
        sweep.missing(other, [2], force=False)


def test_a_queued_experiment_that_has_ended_is_taken_in(project: Path):
    def git(*words: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
        ran = subprocess.run(
            ["git", *who, *words], cwd=project, check=True, capture_output=True, text=True
        )
        return ran.stdout.strip()

    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
        git(*words)
    head = git("rev-parse", "HEAD")
    plan = sweep.plan(project, project / "seeds", [])
    assert sweep.missing(plan, [2], force=False) == [2]
    ladder = {"chosen": "r1", "rounds": {"r1": [row("resample", 20, 5)]}}
    json_file.write_json(project / "metrics/ladder.json", ladder)
    json_file.write_json(project / "metrics/best.json", {"round": "r1"})
    git("add", "-A")
    git("commit", "-qm", "experiment")
    git("update-ref", f"refs/exps/{head[:2]}/{head[2:]}/{plan.name(2)}", "HEAD")
    git("reset", "-q", "--hard", head)

    assert sweep.missing(plan, [2, 3], force=False) == [3]
    (row_found,) = seeds.gather(plan.folder)[0].rounds["r1"]
    assert (row_found.rung, row_found.fixed, row_found.broken) == ("resample", 20, 5)


def test_a_sweep_without_seeds_is_a_wrong_use(project: Path):
    assert CliRunner().invoke(main, ["sweep"]).exit_code == 2
    assert CliRunner().invoke(main, ["sweep", "--seeds", "1", "-2"]).exit_code == 2


def leaves(content: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The place of each value in *content* that names no others, and of each list."""
    if isinstance(content, dict) and content:
        for key, inner in content.items():
            yield from leaves(inner, (*place, key))
    else:
        yield place


@pytest.mark.parametrize(
    "overlay",
    [
        "embedded-ladder",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("embedded-transfer", "own-choices")
        ),
    ],
)
def test_each_key_that_dvc_sets_is_changed_where_it_stands_and_nowhere_else(
    overlay: str, tmp_path: Path
):
    file = tmp_path / "params.yaml"
    text = new_project.settings([overlay], None, None, None)
    content = YAML(typ="safe").load(text)
    places = [place for place in leaves(content) if len(place) > 1]
    assert len(places) > 100

    file.write_text(text)
    apply_overrides(file, [f"{'.'.join(place)}=another" for place in places])
    changed = YAML(typ="safe").load(file)

    for place in places:
        value = changed
        for key in place:
            value = value[key]
        assert value == "another", place
    assert [*leaves(changed)] == [*leaves(content)]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["+branches.r4={from: r3, rationales: r4, start: base, times: 1, lessons: all, "
          "probe: true}", "+rewrites.r4={from: r3, of: r3, like: r3, start: base}"], None),
        (["~branches.r3", "~rewrites.r3"], None),
        (["~branches.r3"], "rewrites.r3: no branch is taught it"),
        (["~rewrites.r3"], "branches.r3: rationales: names itself, and rewrites has no such line"),
        (["branches.r1.start=r0"], "rewrites.r1: start: is base, and r0 in branches.r1"),
        (["~branches.r1.times"], "branches.r1.times: missing"),
        (["+rounds.r1.times=2"], "rounds: each of its entries stands in"),
        (["wordproblems.steps=[0.5,0.5]"], None),
        (["wordproblems.sizes=[{up_to: 9, share: 1.0}]"], None),
    ],
)  # fmt: skip
def test_lines_that_dvc_adds_and_takes_away_hold_or_are_refused(
    words: list[str], fault: str | None, tmp_path: Path
):
    file = tmp_path / "params.yaml"
    file.write_text((ROOT / "params.yaml").read_text())

    apply_overrides(file, words)

    params = sections.read(file)
    assert params.content != sections.read(ROOT / "params.yaml").content
    if fault is None:
        assert check_params.check(params) > 10
    else:
        with pytest.raises(RefusedError, match=re.escape(fault)):
            check_params.check(params)
