"""Why a round did not help: runs that fail in one way each, and the cause that is named first."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from redistill.causes import evidence
from redistill.causes import why as causes
from redistill.causes.why import Why
from redistill.cli.main import main
from redistill.console.exceptions import RefusedError
from redistill.records import json_file
from redistill.records.types import Rationale
from redistill.rounds import branches
from tests import settings, whys
from tests.imports import ROOT
from tests.whys import CONTROL, Tree, ladder, planted, rewritten, row, scores, training

PARAMS = settings.shipped()
STOPPED = {
    "stop": True, "because": "not better than the round before", "gain_points": -1.0, "p": 0.4,
    "fixed": 4, "broken": 8, "n": 400,
}  # fmt: skip
FORGOTTEN = scores(1928, 47, 436)  # a student that has learnt its lessons by heart
HELD = whys.score(1000, 2000)
ENDLESS: Any = scores(660, 132, 1320, eos=0.35)
UNREAD = scores(400, 80, 800)
for one in UNREAD["scores"].values():
    one["lenient"] = 0.86

FAILING: dict[str, tuple[Tree, str]] = {
    "the loop had stopped": (
        planted(
            gaps_r0={"profile": {"n": 400, "gaps": whys.GAPS}, "decision": STOPPED},
            rationales_r1=rewritten(0, 0, stopped=2000),
            rounds_r1={"passed_through": True, "scores": {}},
            ladder=ladder(chosen="r0"),
        ),
        "mine.stop",
    ),
    "ceiling": (
        planted(
            rounds_r0=scores(1990, 396, 3950), rounds_r1=scores(1995, 397, 3955),
            rounds_control=scores(1995, 397, 3960),
        ),
        "prepare.task",
    ),
    "near-duplicates": (planted(problems_all=whys.alike()), "prepare.near_duplicates"),
    "errors hidden by lessons learnt by heart": (
        planted(
            rounds_r0=FORGOTTEN, rounds_r1=scores(1940, 40, 440), rounds_control=FORGOTTEN,
            rationales_r1=rewritten(72, 70, not_wrong=1928, too_long=2),
            shown={"add": 40, "multiply": 32}, new={"add": 39, "multiply": 31},
        ),
        "mine.folds",
    ),
    "too few errors asked about": (
        planted(rationales_r1=rewritten(24, 24, not_wrong=1976), shown={"add": 14, "multiply": 10},
                new={"add": 14, "multiply": 10}),
        "mine.most",
    ),
    "teacher's losses": (
        planted(rationales_r1=rewritten(240, 60, not_wrong=1760, too_long=180),
                new={"add": 38, "multiply": 22}),
        "guard.max_growth",
    ),
    "gaps not reached": (
        planted(
            gaps_r0={
                "profile": {"n": 400, "gaps": {"add": 20, "multiply": 40}}, "decision": STOPPED,
            },
            rationales_r1=rewritten(240, 150, not_wrong=1760, unchanged=90),
            new={"add": 150, "multiply": 0},
        ),
        "refine.extend",
    ),
    "texts longer and less likely": (
        planted(training_r1=training(nll=2.9, tokens=120), rounds_r1=scores(1700, 320, 3300)),
        "branches.r1.lessons",
    ),
    "floor": (
        planted(
            rounds_r0=scores(20, 4, 40), rounds_r1=scores(22, 4, 41),
            rounds_control=scores(60, 8, 60), training_control=training(400, left=0.3),
        ),
        "student.model",
    ),
    "under-trained": (
        planted(
            rounds_r0=scores(700, 138, 1400), rounds_r1=scores(800, 156, 1560),
            rounds_control=scores(1100, 160, 1580), training_r1=training(left=0.4),
            rationales_r1=rewritten(1300, 1240, not_wrong=700, unchanged=60),
        ),
        "train.steps",
    ),
    "learnt by heart": (
        planted(
            rounds_r0={
                "passed_through": False,
                "scores": scores(1950, 200, 2000)["scores"] | {"held-out": HELD},
            },
            rounds_r1=scores(1985, 196, 1990), rounds_control=scores(1990, 198, 1990),
            rationales_r1=rewritten(1000, 950, not_wrong=1000, too_long=50),
        ),
        "branches.r1.lessons",
    ),
    "cut off": (planted(rounds_r1=ENDLESS), "evaluate.max_new_tokens"),
    "not in the answer format": (planted(rounds_r1=UNREAD), "teach.prompts"),
    "test set too small": (planted(ladder=ladder(row(5, 3, 40))), "wordproblems.test"),
}  # fmt: skip


def asked(root: Path, tree: Tree, name: str | None = "r1", **options: str) -> Why:
    whys.lay_out(root, tree, **options)
    return causes.of_run(PARAMS, root / "metrics", root / "data", name)


@pytest.mark.parametrize("cause", FAILING)
def test_a_run_that_fails_in_one_way_has_that_as_its_first_cause(cause: str, tmp_path: Path):
    tree, setting = FAILING[cause]

    found = asked(tmp_path, tree)

    assert found.helped is False
    first = found.lines[0]
    assert (first.cause, first.state) == (cause, "found"), found.of("found")
    assert setting in first.change
    assert re.search(r"\d", first.told)
    assert (tmp_path / "metrics").as_posix() in first.file


def test_every_cause_is_planted_somewhere():
    assert {found.name for found in causes.CAUSES} == {*FAILING}


def test_a_run_in_which_nothing_stands_in_the_way_says_so(tmp_path: Path):
    found = asked(tmp_path, whys.healthy())

    assert found.of("found", "missing") == []
    assert len(found.of("clear")) == len(causes.CAUSES)
    assert found.lead.startswith("Nothing in these files stands in its way")


def test_a_round_that_helped_says_so_first_and_then_what_limits_it(tmp_path: Path):
    tree = planted(ladder=ladder(row(400, 100, 4000)), rounds_r1=scores(1500, 300, 3740))

    found = asked(tmp_path, tree)

    assert found.helped is True
    assert found.said[0].startswith(f"r1 helped against {CONTROL} on test: +7.5 points")
    assert found.lead == "What still limits r1, the likeliest first"
    assert found.lines[0].cause == "under-trained"


def test_a_gain_out_of_domain_alone_is_help(tmp_path: Path):
    outside = [row(383, 228, 4565)]

    found = asked(tmp_path, planted(ladder=ladder(row(20, 22, 696), outside=outside)))

    assert found.helped is True
    assert found.said[0].startswith("r1 is not told apart from")
    assert found.said[1].startswith(f"r1 helped against {CONTROL} on the out-of-domain tests")
    assert "together: +3.4 points" in found.said[1]


def test_a_round_that_does_harm_says_so(tmp_path: Path):
    found = asked(tmp_path, planted(ladder=ladder(row(100, 300, 4000))))

    assert found.said[0].startswith(f"r1 did harm against {CONTROL} on test: -5.0 points")


def test_what_takes_more_comes_first_and_of_equals_what_comes_first_in_the_chain(tmp_path: Path):
    twice = whys.alike(questions={"train": {"train": 1000}})
    tree = planted(
        rationales_r1=rewritten(240, 120, too_long=120), new={"add": 75, "multiply": 45},
        problems_all=twice,
        rounds_r1=scores(1000, 190, 1900),
    )  # fmt: skip

    found = asked(tmp_path, tree).of("found")

    assert [x.cause for x in found] == ["near-duplicates", "teacher's losses", "under-trained"]
    assert [x.share for x in found[:2]] == [0.5, 0.5]


ABSENT = {
    "rounds/r1": ("under-trained", "dvc repro grade@r1"),
    "rounds/r0": ("errors hidden by lessons learnt by heart", "dvc repro grade@r0"),
    f"rounds/{CONTROL}": ("ceiling", f"dvc repro grade@{CONTROL}"),
    "training/r1": ("texts longer and less likely", "dvc repro train@r1"),
    "rationales/r1": ("teacher's losses", "dvc repro refine@r1"),
    "rationales/r0": ("teacher's losses", "dvc repro generate"),
    "gaps/r0": ("gaps not reached", "dvc repro mine@r0"),
    "problems/all": ("near-duplicates", "dvc repro prepare"),
    "ladder": ("test set too small", "dvc repro report"),
    "data": ("gaps not reached", "dvc pull"),
}


@pytest.mark.parametrize("file", ABSENT)
def test_a_cause_whose_data_are_absent_says_which_stage_brings_them(file: str, tmp_path: Path):
    cause, way = ABSENT[file]

    found = asked(tmp_path, whys.healthy(), without=file)

    lines = {x.cause: x for x in found.of("missing")}
    assert cause in lines
    assert way in lines[cause].change
    assert lines[cause].share is None


def test_near_duplicates_that_were_dropped_are_none_any_more(tmp_path: Path):
    found = asked(tmp_path, planted(problems_all=whys.alike(dropped={"train": 1500})))

    line = next(x for x in found.lines if x.cause == "near-duplicates")
    assert (line.state, line.share) == ("clear", 0.0)
    assert line.told.endswith("1,500 were left out")


def test_near_duplicates_in_a_test_out_of_domain_count(tmp_path: Path):
    whole = {"rows_in": 50, "rows_out": 40, "rejected": {"too long": 10}}
    alike = whys.alike(questions={"outside/svamp": {"train": 30}})

    first = asked(tmp_path, planted(problems_all=alike | {"outside": {"svamp": whole}})).lines[0]

    assert (first.cause, first.share) == ("near-duplicates", 0.75)
    assert "30 of 40 in outside/svamp" in first.told


def test_near_duplicates_that_nobody_looked_for_name_the_setting(tmp_path: Path):
    found = asked(tmp_path, planted(problems_all={"sizes": whys.SIZES}))

    (line,) = found.of("missing")
    assert (line.cause, line.change) == ("near-duplicates", "prepare.near_duplicates: report")


def test_figures_of_another_version_name_the_field_and_the_stage(tmp_path: Path):
    tree = planted(rationales_r0={"rewritten": 2000}, gaps_r1={"profile": {}})

    found = asked(tmp_path, tree)

    lines = {x.cause: x for x in found.of("missing")}
    assert "rationales/r0.json: balance" in lines["teacher's losses"].told
    assert lines["teacher's losses"].change == "dvc repro generate"
    assert "gaps/r1.json: profile" in found.said[-1]


def test_before_anything_is_compared_nobody_says_that_it_did_not_help(tmp_path: Path):
    found = asked(tmp_path, FAILING["under-trained"][0], without="ladder")

    assert found.helped is None
    assert found.lead == "What limits r1, as far as the run has come, the likeliest first"


def test_nll_that_was_not_measured_names_its_setting(tmp_path: Path):
    tree = planted(training_r1=training() | {"nll_before": None})

    missing = {x.cause: x for x in asked(tmp_path, tree).of("missing")}

    assert missing["texts longer and less likely"].change.startswith("train.nll_rows")


def test_nll_of_students_that_start_elsewhere_is_not_compared(tmp_path: Path):
    text = settings.text()
    for line in re.findall(r"  r1: .*\n", text):
        text = text.replace(line, line.replace("start: base", "start: r0"))
    whys.lay_out(tmp_path, whys.healthy())
    folders = tmp_path / "metrics", tmp_path / "data"

    found = causes.of_run(settings.written(text), *folders, "r1")

    missing = {x.cause: x for x in found.of("missing")}
    assert "start from different students" in missing["texts longer and less likely"].told


def test_errors_that_are_held_out_hide_nothing(tmp_path: Path):
    found = asked(tmp_path, FAILING["learnt by heart"][0])

    hidden = next(x for x in found.lines if x.cause.startswith("errors hidden"))
    assert (hidden.state, hidden.share) == ("clear", 0.0)
    assert "50.0 % (1,000/2,000)" in hidden.told


def test_without_the_data_the_losses_are_what_is_lost_at_least(tmp_path: Path):
    tree = planted(rationales_r1=rewritten(240, 180, unchanged=60), new={"add": 100, "multiply": 0})

    counted = asked(tmp_path / "whole", tree)
    least = asked(tmp_path / "metrics alone", tree, without="data")

    shares = [
        next(x.share for x in found.lines if x.cause == "teacher's losses")
        for found in (counted, least)
    ]
    assert shares == [pytest.approx(140 / 240, abs=1e-4), 0.25]


def test_gaps_that_a_new_text_is_said_to_treat_are_reached_without_an_error_on_train():
    lesson = Rationale(
        id="p", problem="p", text="#### 1", round="r1", teacher="t", status="refined",
        gaps=["multiply", "finer add"],
    )  # fmt: skip

    found = evidence.reach([], [lesson], "r1")

    assert found.treated == {"multiply": 1, "add": 1}
    assert [causes.teaching._is_reached(found, gap) for gap in ("add", "divide")] == [True, False]


def test_gaps_that_hidden_errors_do_not_show_are_laid_to_these_alone(tmp_path: Path):
    tree = FAILING["errors hidden by lessons learnt by heart"][0]
    shown = {"shown": {"add": 72, "multiply": 0}, "new": {"add": 70, "multiply": 0}}

    found = asked(tmp_path, tree | shown)

    gaps = next(x for x in found.lines if x.cause == "gaps not reached")
    assert (gaps.state, gaps.told[:17]) == ("clear", "0 of 40 errors on")


def test_problems_without_a_first_text_count_as_lost(tmp_path: Path):
    balance = {"rejected": {"wrong answer": 500}, "rows_in": 2000, "rows_out": 1500}
    tree = planted(rationales_r0={"balance": balance, "rewritten": 1500})

    first = asked(tmp_path, tree).lines[0]

    assert (first.cause, first.share) == ("teacher's losses", 0.25)
    assert "500 problems without any text since r0" in first.told


def test_a_test_set_that_shows_the_gain_sought_is_not_too_small(tmp_path: Path):
    whys.lay_out(tmp_path, FAILING["test set too small"][0])
    folders = tmp_path / "metrics", tmp_path / "data"

    sought = [causes.of_run(PARAMS, *folders, "r1", gain).lines for gain in (3.0, 45.0)]

    states = [next(x.state for x in found if x.cause == "test set too small") for found in sought]
    assert states == ["found", "clear"]


def test_a_gain_on_few_problems_counts_only_if_the_exact_test_says_so(tmp_path: Path):
    tree = whys.healthy()
    tree["ladder"] = ladder(row(4, 0, 11))

    found = asked(tmp_path, tree)

    assert found.helped is False
    assert "is not told apart from" in found.said[0]
    assert "4 fixed, 0 broken of 11, p = 0.125" in found.said[0]


def test_of_a_test_set_on_which_nothing_can_show_nothing_comes_through(tmp_path: Path):
    tree = whys.healthy()
    tree["ladder"] = ladder(row(2, 0, 5))

    first = asked(tmp_path, tree).lines[0]

    assert (first.cause, first.share) == ("test set too small", 1.0)
    assert first.told.endswith("not even 5 fixed and none broken would")


def test_half_as_wide_a_doubt_makes_a_missed_gain_less_likely():
    few, many = (evidence.Row.model_validate(row(n // 8, n // 8, n)) for n in (40, 4000))

    chances = [causes.measuring.missed(found, 3.0) for found in (few, many)]

    assert chances[0] == pytest.approx(0.355, abs=0.01)
    assert chances[1] < 1e-4


# ---- which round is asked about


def test_asked_about_none_it_is_the_round_that_dev_chose(tmp_path: Path):
    assert asked(tmp_path, whys.healthy(), None).branch == "r1"


def test_where_dev_chose_the_first_round_it_is_the_best_refined_one(tmp_path: Path):
    tree = planted(ladder=ladder(row(1, 1, 4000), chosen="r0"))
    tree["ladder"]["rounds"]["r2"] = []
    tree["rounds/r2"] = scores(1800, 350, 3300)

    assert asked(tmp_path, tree, None).branch == "r2"


@pytest.mark.parametrize("name", ["r0", CONTROL, "r9"])
def test_a_branch_for_which_nothing_is_rewritten_is_refused(name: str, tmp_path: Path):
    with pytest.raises(RefusedError, match=r"no branch of rewritten rationales.* r1, r2, r3"):
        asked(tmp_path, whys.healthy(), name)


def test_a_run_without_a_refined_round_is_refused(tmp_path: Path):
    known = branches.branches(PARAMS)

    with pytest.raises(RefusedError, match="no round after r0"):
        causes.chosen({"r0": known["r0"]}, tmp_path, None)


# ---- runs that there were


def test_the_default_run_helped_and_is_not_at_its_limit():
    found = causes.of_run(PARAMS, ROOT / "metrics", Path("nowhere"))

    best = json_file.read_json(ROOT / "metrics/best.json")
    assert (found.branch, found.helped) == (best["round"], True)
    assert f"{best['against_control']['gain_points']:+.1f} points" in found.said[0]
    assert [x.cause for x in found.of("found")] == ["under-trained"]


def test_of_the_default_run_the_round_passed_through_names_the_stop():
    found = causes.of_run(PARAMS, ROOT / "metrics", Path("nowhere"), "r3")

    assert [x.cause for x in found.lines] == ["the loop had stopped"]
    assert "-4.0 points on dev, p = 0.068" in found.lines[0].told


def real(root: Path, run: str) -> Why:
    """A run of docs/results, whose summary is of an older form."""
    folder = ROOT / "docs/results" / run
    known = json_file.read_json(folder / "summary.json")
    for name, found in known["branches"].items():
        splits = {split: found[split] for split in whys.SIZES}
        json_file.write_json(root / f"rounds/{name}.json", {"scores": splits})
        json_file.write_json(root / f"training/{name}.json", found["training"])
    for name in ("r0", "r1"):
        content = json_file.read_json(folder / f"rationales/{name}.json")
        json_file.write_json(root / f"rationales/{name}.json", content)
    return causes.of_run(PARAMS, root, Path("nowhere"), "r1")


def test_smollm2_on_a_few_gsm8k_problems_is_at_the_floor(tmp_path: Path):
    found = real(tmp_path, "gsm8k-smollm2-ladder")

    named = [x.cause for x in found.of("found")]
    assert named == ["floor", "cut off", "texts longer and less likely"]


def test_smollm2_on_worded_sums_is_under_trained(tmp_path: Path):
    assert real(tmp_path, "wordproblems-smollm2").of("found")[0].cause == "under-trained"


def test_a_student_of_400_steps_shows_no_errors_on_train(tmp_path: Path):
    sizes = {"train": 1600, "dev": 400, "test": 696}

    def measured(train: float, dev: float, test: float) -> dict[str, Any]:
        shares = {"train": train, "dev": dev, "test": test}
        found = {s: whys.score(round(x * sizes[s]), sizes[s]) for s, x in shares.items()}
        return {"passed_through": False, "scores": found}

    memorised = measured(0.96, 0.118, 0.109)
    tree = planted(
        rounds_r0=memorised, rounds_control=memorised, rounds_r1=measured(0.96, 0.088, 0.088),
        ladder=ladder(row(33, 48, 696)), rationales_r1=rewritten(64, 64, not_wrong=1536),
        shown={"add": 32, "multiply": 32}, new={"add": 32, "multiply": 32},
    )  # fmt: skip

    named = [x.cause for x in asked(tmp_path, tree).of("found")]

    assert named[:2] == ["errors hidden by lessons learnt by heart", "learnt by heart"]


# ---- the command


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text("utf-8"), "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(*words: str) -> str:
    ran = CliRunner().invoke(main, ["why", *words])
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def test_the_page_has_the_gain_first_then_causes_then_what_is_unknown_and_what_is_clear(
    project: Path,
):
    whys.lay_out(project, FAILING["cut off"][0], without="problems/all")

    page = told("--branch", "r1")

    places = [
        page.index(part)
        for part in (
            "r1 is not told apart", "Why r1 did not help", "cut off", "Unknown, and what",
            "dvc repro prepare", "Not in the way:", "ceiling:",
        )
    ]  # fmt: skip
    assert places == sorted(places)
    assert len(page.splitlines()) < 50


def test_the_page_as_json_is_all_that_is_known(project: Path):
    whys.lay_out(project, FAILING["floor"][0])

    content = json.loads(told("--branch", "r1", "--json"))

    assert Why.model_validate(content) == causes.of_run(PARAMS, Path("metrics"), Path("data"), "r1")
    assert content["lines"][0]["cause"] == "floor"


def test_the_gain_that_is_sought_can_be_said(project: Path):
    whys.lay_out(project, FAILING["test set too small"][0])

    assert "20 are sought" in told("--branch", "r1", "--gain", "20")


def test_every_setting_that_is_named_is_one(tmp_path: Path):
    known = YAML(typ="safe").load(ROOT / "params.yaml")
    named = set()
    for number, (tree, _) in enumerate(FAILING.values()):
        for found in asked(tmp_path / str(number), tree).of("found", "clear"):
            keys = re.findall(r"\b[a-z]+(?:\.[a-z_0-9-]+)+", found.change)
            assert keys, found
            named.update(keys)

    for key in named:
        place = known
        for part in key.split("."):
            assert part in place, key
            place = place[part]
