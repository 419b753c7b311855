"""What a branch is taught of a problem: the latest text, all of them, or those that differ."""

from pathlib import Path

import pytest

from redistill.analysis import ladder, scores, summary
from redistill.checks import check_params
from redistill.console.exceptions import RefusedError
from redistill.datasets import files, load
from redistill.datasets import views as dataset_views
from redistill.datasets.take import take
from redistill.diagnosis import mine, pool
from redistill.grading.grader import load_grader
from redistill.grading.predictions import graded as grade_all
from redistill.problems.held_out import HeldOut, held_out
from redistill.rationales.guards import first as first_guard
from redistill.rationales.refine import with_own as with_own_completions
from redistill.records import jsonl, lessons
from redistill.records.types import (
    Attempt,
    Completion,
    Error,
    Output,
    Prediction,
    Problem,
    Rationale,
    Version,
)
from redistill.rounds import targets
from redistill.solutions import paths
from redistill.students.probe import fold
from tests.publications import BRANCHES, answered, first, problem, provenance, views, write
from tests.settings import changed, shipped
from tests.unit.test_loop_rules import MINE, answer, go, lesson
from tests.unit.test_loop_rules import problem as sum_of

TERSE = "<<48/2=24>>\n#### 24"
WORKED = "48/2: 40/2=20 8/2=4 20+4=24 <<48/2=24>>\n#### 24"
SAID = "So:\n<<48/2=24>>\n#### 24"
HELD_OUT = MINE.model_copy(update={"folds": 2})


def told(*texts: str, identity: str = "p1") -> Rationale:
    """A rationale that was rewritten until it had the last of *texts*."""
    *old, latest = texts
    history: list[Version] = []
    for number, text in enumerate(old):
        history = paths.compared(
            [*history, Version(round=f"r{number}", text=text)], texts[number + 1]
        )
    return Rationale(
        id=identity, problem=identity, text=latest, round=f"r{len(old)}", teacher="tutor",
        status="refined" if old else "first", history=history,
    )  # fmt: skip


def taught(way: str, *texts: str) -> list[str]:
    return [found.text for found in lessons.taught([told(*texts)], way)]  # type: ignore[arg-type]


def test_a_branch_is_taught_the_latest_text_alone_or_every_text_so_far():
    assert taught("latest", TERSE, WORKED) == [WORKED]
    assert taught("all", TERSE, WORKED) == [TERSE, WORKED]
    assert taught("all", TERSE) == taught("distinct", TERSE) == [TERSE]


def test_a_text_that_a_later_one_repeats_is_not_distinct():
    assert taught("distinct", TERSE, SAID) == [SAID]
    assert taught("distinct", TERSE, WORKED, SAID) == [WORKED, SAID]
    assert taught("distinct", TERSE, WORKED, TERSE) == [WORKED, TERSE]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("8 apples + 4 = 12 apples.\n#### 12", "He has 8 + 4 = 12.\n#### 12", True),
        ("8 + 4 = 12.\n#### 12", "4 + 8 = 12.\n#### 12", False),
        ("He has 8 plus 4, which is 12.\n#### 12", "<<8+4=12>>\n#### 12", True),
        ("A cat purrs, so (B) fits.\n#### B", "a cat purrs; so B fits\n#### B", True),
        ("2 + 2 = 4, so (B) fits.\n#### B", "2 + 2 = 4, and not (A).\n#### B", False),
        ("It rains.\n#### yes", "It does not snow.\n#### yes", False),
    ],
)
def test_texts_take_the_same_path_by_their_equations_or_by_their_words(
    one: str, other: str, same: bool
):
    assert (paths.path(one) == paths.path(other)) == same


def test_older_texts_have_their_round_in_their_id_and_come_before_the_latest():
    found = lessons.taught([told(TERSE, WORKED), told(TERSE, identity="p2")], "all")

    assert [(f.id, f.round) for f in found] == [("p1@r0", "r0"), ("p1", "r1"), ("p2", "r0")]


def test_a_rewrite_marks_the_older_text_whose_path_it_takes():
    one = sum_of("p1")
    error = mine.mine(
        {"p1": one}, [answer(one, "<<48+27=74>>\n#### 74")], {"p1": lesson(one)}, MINE
    )

    rewritten = go([one], error).rationales[0]

    assert rewritten.status == "refined"
    assert [v.repeated for v in rewritten.history] == [False]
    again = paths.compared(rewritten.history, rewritten.history[0].text)
    assert [v.repeated for v in again] == [True]


# ---- what others are given


def accumulated(folder: Path) -> Path:
    """A published set of two problems, whose student was taught both texts of one of them."""
    made = views([problem("p1"), problem("p2")], [told("#### 7", "3+4=7\n#### 7"), first("p2")],
                 answered("p1"), taught="all")  # fmt: skip
    found = provenance(made) | {"lessons": "all"}
    return write(folder, made, found)


def test_what_is_published_for_training_is_what_the_student_was_taught(tmp_path: Path):
    from datasets import load_dataset

    folder = accumulated(tmp_path / "set")

    for suffix in ("parquet", "jsonl"):
        loader = {"parquet": "parquet", "jsonl": "json"}[suffix]
        sft = load_dataset(
            loader, data_files=str(folder / f"sft.{suffix}"), cache_dir=str(tmp_path / suffix)
        )["train"]
        assert sft["id"] == ["p1@r0", "p1", "p2"]
        assert sft["completion"] == ["#### 7", "3+4=7\n#### 7", "#### 7"]
    assert [
        row["id"]
        for row in jsonl.read_rows(folder / "records.jsonl", files.SCHEMAS["records"].names)
    ] == ["p1", "p2"]
    assert "Lessons accumulate" in (folder / "README.md").read_text(encoding="utf-8")


def test_a_taken_set_has_the_older_texts_to_teach_and_those_pass_the_guards(tmp_path: Path):
    ours = {found.id: found for found in (problem("p1"), problem("p2"))}
    published = load.read(accumulated(tmp_path / "set"))
    numeric = load_grader("numeric")

    found = take(published, ours, "given", "last", numeric, HeldOut())
    spoilt = [
        row.model_copy(update={"history": [Version(round="r0", text="#### 8")]})
        for row in published
    ]
    guarded = take(spoilt, ours, "given", "last", numeric, held_out([]))

    assert [x.text for x in lessons.taught(found.rationales, "all")] == [
        "#### 7", "3+4=7\n#### 7", "#### 7"
    ]  # fmt: skip
    assert [x.text for x in lessons.taught(guarded.rationales, "all")] == [
        "3+4=7\n#### 7", "#### 7"
    ]  # fmt: skip
    assert guarded.as_dict()["older_texts_rejected"] == 2


def test_a_ladder_says_how_many_texts_both_were_taught_and_where_lessons_differ():
    arms = dict(BRANCHES)
    names = ("r0", "r1")
    right = [answered("p1", "#### 7", verdict="correct", split="test")]
    found = ladder.ladder(
        "r1", names, {n: arms[n] for n in names}, "r0", dict.fromkeys(names, right),
        dict.fromkeys(names, 1), {}, {"r0": 4, "r1": 7},
    )  # fmt: skip

    (row,) = found.rows("r1")

    assert (row.texts.round, row.texts.against) == (7, 4)
    assert ladder.lines([row])[1][-1] == "7, 4"


# ---- errors of students that were not taught the problem


def test_a_problem_stays_in_its_fold_whatever_is_added():
    before = {f"p{n}": fold(f"p{n}", 3) for n in range(300)}

    assert {name: fold(name, 3) for name in [*before, "new"]}.items() >= before.items()
    counts = [list(before.values()).count(number) for number in range(3)]
    assert min(counts) > 70


def test_with_folds_errors_on_train_are_held_out_ones_alone_and_say_so():
    one, other = sum_of("p1"), sum_of("p2", 3, 4)
    by_heart = [answer(p, f"#### {p.answer}") for p in (one, other)]
    held = [answer(one, "<<48+27=74>>\n#### 74"), answer(other, "#### 7")]

    def errors(settings: mine.MineSettings) -> list[Error]:
        chosen = mine.choose(mine.on_train(by_heart, held, settings), settings)
        known = {p.id: p for p in (one, other)}
        return mine.mine(known, chosen.predictions, {}, settings)

    assert errors(MINE) == []
    assert [(e.problem, e.held_out) for e in errors(HELD_OUT)] == [("p1", True)]


def test_a_branch_that_was_not_probed_has_no_errors_on_train_with_folds():
    wrong = [answer(sum_of("p1"), "#### 1")]

    assert mine.on_train(wrong, [], HELD_OUT) == []


def test_lessons_learnt_by_heart_are_told_from_a_student_that_is_good_at_both():
    assert scores.memorised((96, 100), (12, 100))
    assert scores.memorised((400, 400), (120, 400))
    assert not scores.memorised((46, 100), (12, 100))
    assert not scores.memorised((96, 100), (94, 100))
    assert not scores.memorised((4, 4), (0, 4))  # too few to say
    assert not scores.memorised((0, 0), (1, 9))


def test_mining_says_why_there_are_no_errors_and_what_to_do():
    right = [answer(sum_of(f"t{n}"), "#### 75") for n in range(60)]
    wrong = [answer(sum_of(f"d{n}"), "#### 1", split="dev") for n in range(60)]

    told = mine.blind(right, wrong, MINE)

    assert told is not None
    assert "100.0 % of the train problems are right and 0.0 % of dev" in told
    assert "mine.folds to 2" in told
    assert mine.blind(right, wrong, HELD_OUT) is None
    assert mine.blind(right, right, MINE) is None


def measured(train: int, dev: int, held: int | None = None) -> summary.Measured:
    def of(k: int) -> scores.Score:
        found = [answer(sum_of(f"p{n}"), "#### 75" if n < k else "") for n in range(60)]
        return scores.score(found)

    return summary.Measured(
        train=of(train), held_out=None if held is None else of(held), dev=of(dev), test=of(dev),
        outside={}, training=summary.Training(), nll_before=None, steps_so_far=1,
    )  # fmt: skip


def test_the_report_says_so_too_unless_the_errors_are_held_out():
    blind = summary.advice({"r0": measured(60, 10)}, [], ["r0"])

    assert blind is not None
    assert blind.startswith("r0: 100.0 % of the train problems are right and 16.7 % of dev")
    assert summary.advice({"r0": measured(60, 10, held=9)}, [], ["r0"]) is None
    assert summary.advice({"r0": measured(60, 10)}, [], []) is None  # a control


def test_the_table_of_rounds_has_a_column_for_held_out_beside_train():
    figures = {"r0": measured(60, 10, held=9), "r1": measured(50, 20)}
    test: list[Prediction] = [answer(sum_of("p1"), "#### 75", split="test")]
    verdict = summary.verdict("r1", "r0", figures, {"r0": test, "r1": test})

    head, *lines = summary.lines(summary.summary(["r0", "r1"], figures, verdict, None))

    place = head.index("held out")
    assert head[place + 1] == "train"
    assert [line[place : place + 2] for line in lines] == [("15.0 %", "100.0 %"), ("", "83.3 %")]
    splits = [row["split"] for row in summary.table(figures)]
    assert splits == ["train", "held-out", "dev", "test", "train", "dev", "test"]


def test_the_preference_view_rejects_what_the_teacher_saw(tmp_path: Path):
    jsonl.write(tmp_path / "train.jsonl", [answered("p1", "by heart")])
    jsonl.write(tmp_path / "held-out.jsonl", [])
    assert [p.completion for p in dataset_views.shown(tmp_path)] == ["by heart"]

    jsonl.write(tmp_path / "held-out.jsonl", [answered("p1", "held out")])
    assert [p.completion for p in dataset_views.shown(tmp_path)] == ["held out"]


def test_folds_need_a_probe_of_every_branch_whose_errors_are_used():
    targets.check_probes(shipped(), own=True)
    unprobed = changed(
        "times: 1, lessons: latest, probe: true}\n  r2",
        "times: 1, lessons: latest, probe: false}\n  r2",
    )

    with pytest.raises(RefusedError, match=r"rewrites\.r2: is refined by what r1 wrote, and mine"):
        targets.check_probes(unprobed, own=False)


def test_arms_that_write_afresh_need_a_probe_for_own_completions_alone():
    params = shipped("embedded-ladder")
    for name in ("continued-r1", "continued-r2"):
        for section in ("branches", "rewrites"):
            params.content[section][name]["start"] = "base"

    targets.check_probes(params, own=False)
    with pytest.raises(
        RefusedError, match=r"rewrites\.resample-r2: is refined by what resample-r1"
    ):
        targets.check_probes(params, own=True)


def test_a_probe_that_starts_from_a_taught_student_is_refused():
    continued = shipped()
    for section in ("branches", "rewrites"):
        continued.content[section]["r2"]["start"] = "r1"

    with pytest.raises(RefusedError, match="starts from r1 was taught the train problems; start"):
        targets.check_probes(continued, own=False)


# ---- what students solved themselves


def attempt(text: str, number: int = 1) -> Attempt:
    return Attempt(id=f"p1#{number}", problem="p1", student="r0", text=text)


def with_own(
    rationale: Rationale, most: int, *texts: str, seen: list[tuple[Problem, str]] | None = None
) -> list[str]:
    numeric = load_grader("numeric")
    found = with_own_completions(
        [rationale], [attempt(text, n) for n, text in enumerate(texts)],
        {"p1": problem("p1", answer="24")},
        lambda asked, text: first_guard(asked, text, numeric, HeldOut()), most,
        (seen if seen is not None else []).extend,
    )  # fmt: skip
    return [version.text for version in found[0].own]


def test_own_completions_are_shown_to_the_grader_at_once_as_many_as_may_count():
    other, longer = "<<24*1=24>>\n#### 24", "So, <<20+4=24>>\n#### 24"

    for most, shown in ((0, []), (1, [other]), (3, [other, longer])):
        seen: list[tuple[Problem, str]] = []
        with_own(told(TERSE), most, longer, TERSE, other, other, seen=seen)
        assert [text for _, text in seen] == shown


def test_own_right_completions_count_that_take_another_path_the_shortest_first():
    other, longer = "<<24*1=24>>\n#### 24", "So, <<20+4=24>>\n#### 24"

    assert with_own(told(TERSE), 2, longer, SAID, other, other) == [other, longer]
    assert with_own(told(TERSE), 1, longer, other) == [other]
    assert with_own(told(TERSE), 0, longer) == []
    assert (
        with_own(told(TERSE, WORKED), 2, TERSE, WORKED, "#### 25", "the student: 24\n#### 24") == []
    )


def test_an_own_completion_that_a_later_text_repeats_is_not_distinct():
    own = [Version(round="r0", text=TERSE)]
    found = told(WORKED).model_copy(update={"own": paths.compared(own, SAID), "text": SAID})

    assert [x.text for x in lessons.taught([found], "distinct")] == [SAID]
    assert [x.text for x in lessons.taught([found], "all")] == [TERSE, SAID]


def test_own_completions_are_taught_where_lessons_accumulate_and_named_as_what_they_are():
    own = [Version(round="r0", text="<<24*1=24>>\n#### 24")]
    found = told(TERSE, WORKED).model_copy(update={"own": own})

    ids = {way: [x.id for x in lessons.taught([found], way)] for way in ("latest", "all")}

    assert ids == {"latest": ["p1"], "all": ["p1@r0", "p1@r0-own1", "p1"]}


def test_mining_hands_on_what_was_drawn_right_and_grading_kept():
    one = sum_of("p1")
    drawn = [Output(text=text, eos=True, tokens=1) for text in ("#### 1", "7\n#### 75", "#### 75")]
    written = Completion(id="p1", problem="p1", split="train", output=drawn[2], drawn=drawn)

    graded = grade_all([one], [written], load_grader("numeric"))
    found = mine.attempts(graded, "r0", HELD_OUT)

    assert graded[0].solved == ["7\n#### 75"]  # what it writes anyway teaches nothing
    assert [(f.problem, f.student, f.text, f.held_out) for f in found] == [
        ("p1", "r0", "7\n#### 75", True)
    ]


def test_own_completions_without_any_drawn_are_refused():
    params = changed("  own: 0 ", "  own: 2 ")

    with pytest.raises(
        RefusedError, match=r"refine\.own: 2 of the completions .* and evaluate\.samples is 0"
    ):
        check_params.check(params)


def test_attempts_of_a_pool_are_those_of_its_students_each_text_once(tmp_path: Path):
    files_ = [tmp_path / "r0.jsonl", tmp_path / "wide-r0.jsonl"]
    jsonl.write(files_[0], [attempt("a"), attempt("b", 2)])
    jsonl.write(files_[1], [attempt("a").model_copy(update={"student": "wide-r0"})])

    found = pool.attempts(files_)

    assert [(f.id, f.student) for f in found] == [("p1#1@r0", "r0"), ("p1#2@r0", "r0")]
