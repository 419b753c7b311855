"""The transfer table on predictions made up for it, and the shares that targets keep."""

import json
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner

from redistill.analysis import plots, summary, transfer
from redistill.checks import check_params
from redistill.cli.main import main
from redistill.console.exceptions import RefusedError
from redistill.records import json_file
from redistill.records.types import Prediction
from redistill.rounds import branches as branching
from redistill.rounds.branches import Branch, Cell
from tests.settings import PLAIN, changed, shipped

N = 200


def branch(rationales: str, times: int = 1) -> Branch:
    return Branch(from_="r0", rationales=rationales, start="base", times=times, **PLAIN)


def cell(target: str, version: str, rationales: str, first: str = "", start: str = "") -> Cell:
    return Cell.model_validate(
        {
            "from_": first or f"{target}-r0", "rationales": rationales, "start": start or target,
            "times": 4 if version == "matched" else 1, "target": target,
            "version": version, **PLAIN,
        }
    )  # fmt: skip


BRANCHES = {
    "r0": branch("r0"),
    "r1": branch("r1"),
    "r2": branch("r2"),
    "one-shot-matched": branch("r0", 4),
    "base-joint": cell("base", "joint", "for-all", "r0"),
    "wide-r0": cell("wide", "first", "r0"),
    "wide-matched": cell("wide", "matched", "r0"),
    "wide-refined": cell("wide", "refined", "r1"),
    "wide-self": cell("wide", "self", "for-wide"),
    "wide-joint": cell("wide", "joint", "for-all"),
    "deep-r0": cell("deep", "first", "r0"),
    "deep-refined": cell("deep", "refined", "r1"),
    "deep-other": cell("deep", "first", "given-first", "deep-other"),
    "deep-given": cell("deep", "refined", "given", "deep-other"),
    "deep-self": cell("deep", "self", "for-deep"),
}
SOLVED = {
    "r0": range(60), "r1": range(140), "r2": range(130), "one-shot-matched": range(80),
    "base-joint": range(120), "wide-r0": range(80), "wide-matched": range(90),
    "wide-refined": range(20, 140), "wide-self": range(130), "wide-joint": range(150),
    "deep-r0": range(100), "deep-refined": range(101), "deep-other": range(50),
    "deep-given": range(110), "deep-self": (),
}  # fmt: skip


def predictions(solved, n: int = N) -> list[Prediction]:
    return [
        Prediction(
            id=f"p{i}", problem=f"p{i}", split="test", completion="", answer=None,
            verdict="correct" if i in solved else "wrong", strict=i in solved,
            lenient=i in solved, tokens=1, eos=True,
        )
        for i in range(n)
    ]  # fmt: skip


TESTS = {name: predictions(solved) if solved else [] for name, solved in SOLVED.items()}


def made(chosen: str | None = "r1", branches=BRANCHES, names=("r0", "r1", "r2")) -> transfer.Table:
    tests = {name: TESTS[name] for name in branches}
    return transfer.transfer(branches, names, chosen, "one-shot-matched", tests, 0.01)


whole = cache(made)


def row(name: str, against: str) -> transfer.Row:
    rows = [r for r in whole().rows if (r.cell, r.against) == (name, against)]
    assert len(rows) == 1
    return rows[0]


def test_each_version_is_held_against_its_kin_of_the_same_target_and_data():
    pairs = {name: [r.against for r in whole().rows if r.cell == name] for name in BRANCHES}

    assert pairs["wide-refined"] == ["wide-r0", "wide-matched", "wide-self"]
    assert pairs["wide-self"] == ["wide-r0", "wide-matched"]
    assert pairs["wide-joint"] == ["wide-r0", "wide-matched", "wide-refined"]
    assert pairs["deep-refined"] == ["deep-r0"]  # the loop of its own was passed through
    assert pairs["deep-given"] == ["deep-other"]  # another data set is another chain
    assert pairs["base-joint"] == ["r0", "one-shot-matched", "r1"]
    assert pairs["wide-r0"] == pairs["r1"] == []
    assert whole().passed_through == ("deep-self",)


def test_a_row_counts_what_the_target_gains():
    found = row("wide-refined", "wide-r0")

    assert (found.n, found.k, found.k_against) == (N, 120, 80)
    assert (found.fixed, found.broken) == (60, 20)
    assert found.gain_points == 20.0
    assert found.low_points < 20 < found.high_points
    assert found.chosen
    assert row("wide-self", "wide-r0").chosen is None


def test_p_is_corrected_over_the_targets_of_one_comparison():
    p = {r.cell: (r.p, r.p_holm) for r in whole().rows if r.against_version == "first"}

    least = sorted(["wide-refined", "deep-refined", "deep-given"], key=lambda name: p[name][0])
    assert [round(p[n][1] / p[n][0]) for n in least[:2]] == [3, 2]
    assert p["wide-self"][0] == p["wide-self"][1]  # the only one of its kind


def test_the_share_that_a_target_keeps_is_its_gain_over_that_of_the_source():
    found = row("wide-refined", "wide-r0")

    assert found.ratio == 0.5  # 40 problems of the 80 that r1 has over r0
    assert 0.3 < found.ratio_low < 0.5 < found.ratio_high < 0.75
    assert row("wide-joint", "wide-r0").ratio == pytest.approx(70 / 60, abs=1e-3)  # base-joint
    assert row("wide-refined", "wide-self").ratio is None
    assert row("deep-given", "deep-other").because.startswith("no student of the source")


@pytest.mark.parametrize(
    ("source", "target", "ratio", "because"),
    [
        ((range(50), range(50)), (range(10), range(30)), None, "the source gains nothing"),
        ((range(50), range(40)), (range(10), range(30)), None, "the source gains nothing"),
        ((range(50), range(1, 52)), (range(10), range(9)), -1.0, "not sure enough"),
        ((range(50), range(150)), (range(50), range(150)), 1.0, None),
        ((range(50), range(150)), (range(50), range(50)), 0.0, None),
        ((range(50), range(150)), (range(50), range(25)), -0.25, None),
    ],
)
def test_a_share_is_stated_only_where_the_source_gains(source, target, ratio, because):
    pairs = [tuple(predictions(solved) for solved in pair) for pair in (source, target)]

    found = transfer.kept(*pairs)

    assert found.ratio == ratio
    assert (found.ratio_low is None) == (because is not None)
    assert found.because is None if because is None else because in found.because


def test_the_interval_of_a_share_keeps_what_both_students_gain_together():
    """A target that gains exactly where the source does keeps all of it in every resample."""
    same = predictions(range(50)), predictions(range(90))
    apart = predictions(range(40, 100)), predictions(range(100))

    assert transfer.kept(same, same).ratio_low == 1.0
    assert transfer.kept(same, same).ratio_high == 1.0
    spread = transfer.kept(same, apart)
    assert spread.ratio == 1.0
    assert spread.ratio_high - spread.ratio_low > 0.4


def test_tests_on_other_problems_are_refused():
    with pytest.raises(RefusedError, match="not tested on the same problems"):
        transfer.kept(
            (predictions((), 3), predictions((0,), 3)), (predictions((), 4), predictions((0,), 4))
        )


def test_without_a_source_there_are_gains_but_no_shares():
    cells = {name: BRANCHES[name] for name in ("deep-other", "deep-given")}

    found = made(None, cells, ())

    assert found.source is None
    assert [r.gain_points for r in found.rows] == [30.0]
    assert found.rows[0].ratio is None
    assert transfer.lines(found)[1][0] == "deep"


def test_a_round_that_dev_did_not_choose_is_named_in_the_sentence():
    assert "dev chose r2, they were taught r1" in transfer.sentence(made("r2"))
    assert "dev chose" not in transfer.sentence(made("r1"))


def test_the_sentence_counts_the_comparisons_that_are_better_and_hides_none():
    told = transfer.sentence(whole())

    assert "better than the first ones in 2 of 3 comparisons" in told
    assert "deep +0.5 points" in told
    assert "wide 50 %" in told
    assert "their own errors: wide -5.0 points" in told


def test_the_source_stands_first_in_the_files_for_plots():
    rows = transfer.table(whole())
    text = summary.as_csv(rows, transfer.COLUMNS)

    assert [row["target"] for row in rows[:4]] == ["source"] * 4
    assert rows[0]["rationales"] == "r1"
    assert text.split("\n")[1].startswith("source: refined over first,source,refined,r1,r0,first,")
    assert "wide - refined (r1)" in plots.forest(transfer.bars(whole()), "t")


def test_the_command_prints_table_and_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("tables: {transfer: {alpha: 0.01}}\n")
    json_file.write_json(tmp_path / "metrics/transfer.json", whole().as_dict())

    shown = CliRunner().invoke(main, ["transfer"])
    as_json = CliRunner().invoke(main, ["transfer", "--json"])
    other = CliRunner().invoke(main, ["transfer", "--table", "none"])

    assert shown.exit_code == 0, shown.output
    assert "2 of 3 comparisons" in shown.output
    assert "Passed through: deep-self" in shown.output
    assert json.loads(as_json.output) == whole().as_dict()
    assert other.exit_code == 65


CELLS = "embedded-transfer"


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("target: wide, version: first", "target: huge, version: first", "target: there is none"),
        ("version: joint, from: wide-r0", "version: best, from: wide-r0", "version: Input should"),
        ("rationales: for-wide, start: wide", "rationales: for-wide, start: deep", "not a student"),
        ("version: self, from: wide-r0", "version: self, from: deep-r0", "not a student of wide"),
        ("version: self, from: wide-r0", "version: self, from: wide-self", "only if it is a first"),
        ("rationales: for-wide, start", "rationales: for-whom, start", "there is no 'for-whom'"),
        ("two: {of: r0,", "two: {of: r7,", "pools.two.of: there is no 'r7'"),
        ("two: {of: r0,", "two: {off: r0,", "pools.two.off: unknown key"),
        ("two: {of: r0,", "two: {of: wide-r0,", "the errors of 'wide-r0' are in it twice"),
        ("three: {of: two,", "three: {of: all,", "is a part of itself"),
        ("\n  wide-r0: {", "\n  wi.de-r0: {", "is not a name such as r1"),
        ("\n  r0: {from: r0, rationales: r0,", "\n  r0: {from: r0, rationales: for-all,",
         "branches.r0: a round is taught its own"),
        ("one-shot-matched: {from: r0, rationales: r0,", "one-shot-matched: {from: r0, "
         "rationales: for-all,", "one-shot-matched.rationales: there is no 'for-all'"),
        ("one-shot-matched: {from: r0,", "one-shot-matched: {from: wide-r0,", "is a cell of"),
        ("control: one-shot-matched", "control: wide-matched", "report.control: there is no"),
        ("two: {of: r0,", "r0: {of: r0,", "'r0' is taken already"),
        ("for-wide: {from: wide-r0,", "for-wide: {from: wid-r0,", "no 'wid-r0'"),
        ("for-wide: {from: wide-r0,", "for-wide: {errors: wide-r0,", "errors: unknown key"),
        ("for-wide: {from: wide-r0, of: r0", "for-wide: {from: wide-r0, of: for-wide",
         "rewrites.for-wide.of: there is no 'for-wide'"),
        ("for-wide: {from: wide-r0, of: r0, like: r0", "for-wide: {from: wide-r0, of: r0, like: r1",
         "rewrites.for-wide.like: there is no 'r1'"),
        ("\ntables:", "\nsources: {a: {folder: x, hub: a/b, revision: null, version: last, "
         "max_loss: 0.1}}\ntables:", "either folder or hub"),
        ("\ntables:", "\nsources: {a: {folder: ../x, hub: null, revision: null, version: last, "
         "max_loss: 0.1}}\ntables:", "sources.a.folder"),
        ("\ntables:", "\nsources: {a: {folder: null, hub: a/b, revision: null, version: last, "
         "max_loss: 0.1}}\ntables:", "revision: a commit"),
        ("\ntargets:\n", "\ntargets:\n  thin: {model: embedded, revision: null, seed: 5, "
         "shape: null}\n", "targets.thin.shape: what an embedded student needs"),
        ("deep: {model: embedded,", "deep: {model: other/model,", "targets.deep.shape"),
        ("alpha: 0.01", "alpha: 2", "tables.transfer.alpha"),
        ("architecture: gpt_neox", "architecture: gpt_9", "architecture"),
    ],
)  # fmt: skip
def test_a_cell_that_cannot_be_is_refused_by_name(old: str, new: str, fault: str):
    with pytest.raises(RefusedError, match=fault) as refusal:
        check_params.check(changed(old, new, CELLS))
    assert refusal.value.code == 78


def test_the_cells_of_the_shipped_settings_are_three_unlike_students_and_every_version():
    params = shipped(CELLS)
    cells = branching.cells_of(branching.branches(params))
    targets = params.content["targets"]
    shapes = {name: target["shape"] for name, target in targets.items()}
    source = params.content["embedded"]

    assert {c.target for c in cells.values()} == {"base", *targets}
    for name in targets:
        versions = {cell.version for cell in cells.values() if cell.target == name}
        assert versions == {"first", "matched", "refined", "self", "joint"}
    assert shapes["wide"]["hidden"] > source["hidden"]
    assert shapes["deep"]["layers"] > source["layers"]
    assert shapes["neox"]["architecture"] != source["architecture"]
    assert len({1, *(target["seed"] for target in targets.values())}) == 4


def test_the_settings_of_the_targets_are_the_shipped_ones_and_cells():
    ours, theirs = dict(shipped().content), dict(shipped(CELLS).content)
    more = {name: theirs.pop(name) for name in ("branches", "rewrites")}
    for name, lines in more.items():
        own = ours.pop(name)
        assert {key: line for key, line in lines.items() if key in own} == own
        assert len(lines) > len(own)
    for name in ("targets", "pools", "tables"):
        assert not ours.pop(name, {})
        assert theirs.pop(name)
    assert theirs.pop("lora") is None  # nothing there reads it
    assert ours.pop("lora")
    assert theirs == ours


def test_a_shape_differs_from_that_of_the_base_student_only_in_what_makes_it_another():
    params = shipped(CELLS)
    source = params.content["embedded"]
    changes = {
        name: {key for key, value in target["shape"].items() if value != source[key]}
        for name, target in params.content["targets"].items()
    }

    assert changes == {
        "wide": {"hidden", "feed_forward"},
        "deep": {"layers"},
        "neox": {"architecture", "feed_forward"},
    }
