"""The ladder on predictions made up for it: who is held against whom, and what is said of it."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from redistill.analysis import ladder as ladders
from redistill.analysis import plots, seeds, summary
from redistill.cli.main import main
from redistill.console.exceptions import RefusedError
from redistill.records import json_file
from redistill.records.types import Prediction
from redistill.rounds import branches
from tests.imports import ROOT
from tests.settings import added, shipped

N = 200
SOLVED = {
    "r0": range(60), "r1": range(120), "r2": range(10, 110), "r3": (),
    "one-shot-matched": range(80), "resample-r1": range(70), "verdict-r1": range(119),
    "shuffled-r1": range(100), "all-r1": range(121), "continued-r1": range(190),
    "resample-r2": range(60, 150), "verdict-r2": range(50, 120), "shuffled-r2": (),
    "continued-r2": range(100),
}  # fmt: skip
PASSED = ("r3", "shuffled-r2")
SHIPPED = branches.branches(shipped("embedded-ladder"))
ALL = {"rationales": "all-r1", "feedback": "error", "scope": "all"}
BRANCHES = SHIPPED | {"all-r1": SHIPPED["verdict-r1"].model_copy(update=ALL)}
ROUNDS = ["r0", "r1", "r2", "r3"]


def predictions(solved, n: int = N) -> list[Prediction]:
    return [
        Prediction(
            id=f"p{i}", problem=f"p{i}", split="test", completion="", answer=None,
            verdict="correct" if i in solved else "wrong", strict=i in solved,
            lenient=i in solved, tokens=1, eos=True,
        )
        for i in range(n)
    ]  # fmt: skip


TEST = {name: [] if name in PASSED else predictions(solved) for name, solved in SOLVED.items()}
STEPS = {name: 0 if name in PASSED else 1500 * BRANCHES[name].times for name in BRANCHES}
TEXTS = {"r1": 40, "resample-r1": 39}
CALLS = {
    name: ladders.Calls(asked=50, replies=60)
    for name in BRANCHES
    if BRANCHES[name].rationales == name
}


def climbed(chosen: str = "r1") -> ladders.Ladder:
    return ladders.ladder(chosen, ROUNDS, BRANCHES, "one-shot-matched", TEST, STEPS, CALLS, TEXTS)


def row(against: str, round: str = "r1") -> ladders.Row:
    return next(r for r in climbed().rounds[round] if r.against == against)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    json_file.write_json(tmp_path / "metrics/ladder.json", climbed().as_dict())
    return tmp_path


def test_a_round_is_held_against_one_shot_the_control_and_the_arms_like_it():
    rungs = {r.against: r.rung for r in climbed().rounds["r1"]}

    assert rungs == {
        "r0": "one-shot",
        "one-shot-matched": "one-shot, step-matched",
        "resample-r1": "resample",
        "verdict-r1": "verdict only",
        "shuffled-r1": "shuffled errors",
        "all-r1": "refine, all",
        "continued-r1": "refine, continued",
    }
    assert list(rungs)[:2] == ["r0", "one-shot-matched"]


def test_the_same_rung_has_the_same_name_at_every_round():
    first, second = ({r.rung for r in climbed().rounds[name]} for name in ("r1", "r2"))

    assert second == first - {"refine, all", "shuffled errors"}


def test_without_arms_a_ladder_has_the_two_one_shot_rows():
    plain = branches.branches(shipped())

    found = ladders.ladder("r1", ROUNDS, plain, "one-shot-matched", TEST, STEPS, CALLS, TEXTS)

    assert [r.against for r in found.rounds["r1"]] == ["r0", "one-shot-matched"]
    assert [r.against for r in found.rounds["r0"]] == ["one-shot-matched"]


def test_branches_that_were_passed_through_are_named_and_left_out():
    assert sorted(climbed().passed_through) == sorted(PASSED)
    assert list(climbed().rounds) == ["r0", "r1", "r2"]


def test_a_row_counts_items_and_states_the_gain_in_points_and_in_percent():
    found = row("one-shot-matched")

    assert (found.k, found.k_against, found.n) == (120, 80, N)
    assert (found.fixed, found.broken, found.unchanged) == (40, 0, 160)
    assert (found.gain_points, found.relative_percent) == (20.0, 50.0)
    assert found.low_points < 20 < found.high_points
    assert row("resample-r2", "r2").broken == 40
    assert 4 < found.smallest_points < 12


def test_p_values_are_corrected_over_the_rows_of_a_round():
    for rows in climbed().rounds.values():
        assert all(r.p_holm >= r.p for r in rows)
    assert row("one-shot-matched").p_holm > row("one-shot-matched").p


def test_calls_and_steps_are_stated_for_both_sides():
    arm, matched = row("resample-r2", "r2"), row("one-shot-matched", "r2")

    assert arm.calls.round == arm.calls.against == ladders.Calls(asked=50, replies=60)
    assert matched.calls.against == ladders.Calls()
    assert arm.steps == ladders.StepsOfBoth(round=4500, against=4500)
    assert matched.steps.against == 6000


def test_calls_are_read_for_rounds_and_arms_alone(tmp_path: Path):
    for name in CALLS.keys() - {"r0"}:
        content = {"asked": 7, "attempts": {"replies": 9}}
        json_file.write_json(tmp_path / f"{name}.json", content)

    found = ladders.calls(tmp_path, BRANCHES)

    assert set(found) == CALLS.keys() - {"r0"}
    assert found["resample-r1"] == ladders.Calls(asked=7, replies=9)


def test_the_sentence_says_what_is_beaten_and_what_is_not():
    told = ladders.sentence(climbed())

    assert told.startswith("r1 (the best on dev) is, with Holm's correction at 0.05, better than")
    assert "worse than continued-r1 (refine, continued) by -35.0 points" in told
    assert "not told apart from verdict-r1 (verdict only) by +0.5 points, all-r1" in told


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ([], 0, "r1 is better than one-shot-matched: +20.0 points on test (+50.0 %;"),
        (["--arm", "verdict-r1"], 1, "r1 is not better than verdict-r1: +0.5 points"),
        (["--arm", "continued-r1"], 1, "r1 is not better than continued-r1: -35.0 points"),
        (["--arm", "resample-r1", "--arm", "shuffled-r1"], 0, "; better than shuffled-r1"),
        (["--alpha", "1e-20"], 1, "not below 1e-20"),
        (["--arm", "resample-r2"], 65, "r1, the chosen round, is not held against 'resample-r2'"),
    ],
)
def test_a_check_ends_with_one_where_the_round_is_not_better(
    words: list[str], code: int, told: str, folder: Path
):
    ran = CliRunner().invoke(main, ["check", *words])

    assert ran.exit_code == code
    assert told in ran.output
    assert ran.output.count("\n") == 1


def test_several_arms_of_a_check_are_corrected_for_each_other():
    rows = tuple(row.model_copy(update={"p": 0.03}) for row in climbed().rows("r1"))
    ladder = climbed().model_copy(update={"rounds": {"r1": rows}})

    assert ladders.check(ladder, ["r0"], 0.05).better
    assert not ladders.check(ladder, ["r0", "resample-r1"], 0.05).better


def test_a_check_says_where_the_control_took_fewer_steps():
    steps = {**STEPS, "one-shot-matched": 1500}
    found = ladders.ladder("r1", ROUNDS, BRANCHES, "one-shot-matched", TEST, steps, CALLS, TEXTS)

    assert "it took only 1500 of 3000 optimiser steps" in ladders.check(found, [], 0.05).told


def test_the_ladder_is_printed_as_a_table_and_a_sentence(folder: Path):
    ran = CliRunner().invoke(main, ["ladder", "--round", "r2"])
    data = CliRunner().invoke(main, ["ladder", "--json"])
    absent = CliRunner().invoke(main, ["ladder", "--round", "r9"])

    assert ran.exit_code == 0, ran.output
    assert "resample-r2" in ran.output
    assert "r2 is, with Holm's correction" in ran.output
    assert json.loads(data.output) == [row.as_dict() for row in climbed().rows("r1")]
    assert absent.exit_code == 65


def test_the_lines_in_docs_are_those_of_the_settings_and_are_read():
    lines = (ROOT / "docs/ladder.md").read_text(encoding="utf-8").split("```yaml\n")[1]
    shown = lines.split("```")[0]
    overlay = (ROOT / "params/embedded-ladder.yaml").read_text(encoding="utf-8").split("\n")
    taught, rewritten = shown.removeprefix("branches:\n").split("rewrites:\n")
    known = branches.branches(added(taught, rewritten))

    arms = [line for line in shown.split("\n") if line.startswith("  ")]
    assert [line for line in arms if not line.startswith("  all-r")] == [
        line for line in overlay if re.match("  [a-z]+-r[12]:", line)
    ]
    assert len(branches.arms_of(known)) == len(arms) / 2 == 10


def test_a_ladder_that_is_not_there_is_refused_with_what_to_do(tmp_path: Path):
    with pytest.raises(RefusedError, match="run dvc repro"):
        json_file.read_json(tmp_path / "ladder.json")


def test_the_csv_for_plots_has_a_row_for_each_comparison():
    text = summary.as_csv(ladders.table(climbed()), ladders.COLUMNS)

    head, first, *rest = text.strip().split("\n")
    assert head.split(",") == list(ladders.COLUMNS)
    assert first.startswith('"r0 - one-shot, step-matched",r0,one-shot-matched,')
    assert len(rest) + 1 == sum(len(rows) for rows in climbed().rounds.values())


def test_gaps_by_round_are_read_with_their_share_of_dev(tmp_path: Path):
    profile = {"profile": {"n": 50, "gaps": {"add": 5, "set_up": 0}, "common": []}}
    json_file.write_json(tmp_path / "r0.json", profile)

    rows = summary.gap_table(["r0"], tmp_path)

    assert [(r.label, r.count, r.share) for r in rows] == [
        ("r0: add", 5, 0.1),
        ("r0: set up", 0, 0.0),
    ]


def test_the_pictures_are_the_same_byte_for_byte_and_name_what_they_show():
    gaps = [
        summary.Gap(label="", round=name, gap=gap, count=count, share=count / 50)
        for name in ("r0", "r1")
        for gap, count in (("add", 5), ("copying", 2), ("format", 0))
    ]

    forest, bars = plots.forest(ladders.bars(climbed()), "A $title"), plots.stacked(gaps, "Gaps")

    assert forest == plots.forest(ladders.bars(climbed()), "A $title")
    assert bars == plots.stacked(gaps, "Gaps")
    assert forest.startswith("<?xml")
    assert "r1 - shuffled errors" in forest
    assert "copying" in bars
    assert "format -->" not in bars
    assert plots.stacked([], "Nothing wrong").startswith("<?xml")


# ---- out of domain


ABROAD = {
    name: [p.model_copy(update={"problem": f"svamp/{p.problem}"}) for p in TEST[name][:60]]
    for name in TEST
}


def abroad() -> ladders.Ladder:
    return ladders.ladder(
        "r1", ROUNDS, BRANCHES, "one-shot-matched", TEST, STEPS, CALLS, TEXTS, ABROAD
    )


def test_rounds_are_held_against_the_same_branches_on_all_out_of_domain_tests_together():
    found = abroad().rows("r1", outside=True)

    assert {row.n for row in found} == {60}
    assert [row.rung for row in found] == [row.rung for row in abroad().rows("r1")]
    assert abroad().rounds == climbed().rounds
    assert ladders.Ladder.model_validate(abroad().as_dict()) == abroad()


def test_a_run_without_out_of_domain_tests_has_no_rows_on_them_and_says_so():
    assert climbed().outside == {}
    with pytest.raises(RefusedError, match=r"no out-of-domain tests \(prepare\.outside\)"):
        climbed().rows(outside=True)


def test_the_command_prints_the_out_of_domain_ladder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    json_file.write_json(tmp_path / "metrics/ladder.json", abroad().as_dict())

    ran = CliRunner().invoke(main, ["ladder", "--outside"])

    assert "on 60 out-of-domain problems" in ran.output
    assert ran.exit_code == 0


def test_a_sweep_has_the_gains_out_of_domain_as_rows_of_their_own(tmp_path: Path):
    for seed in (1, 2):
        json_file.write_json(tmp_path / f"seed{seed}.json", {"ladder": abroad().as_dict()})

    found = seeds.summary(seeds.gather(tmp_path))

    inside, outside = found.comparisons["r1"], found.comparisons["r1, out of domain"]
    assert inside.keys() == outside.keys()
    assert outside["one-shot, step-matched"].n == 120
