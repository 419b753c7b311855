"""Held-out answers: who gives them, what was taught before, and what a kill leaves."""

from pathlib import Path

import pytest

from redistill.analysis.scores import memorised
from redistill.console.exceptions import RefusedError
from redistill.diagnosis import mine
from redistill.grading.grader import load_grader
from redistill.grading.predictions import graded
from redistill.problems.sets import ProblemSet
from redistill.rationales.refine import RefineSettings, to_rewrite
from redistill.records import jsonl
from redistill.records.types import Completion, Prediction, Problem, Rationale, Version
from redistill.solutions.gaps import Diagnosis
from redistill.students import probe
from redistill.students.answer import exam
from redistill.students.answer.settings import EvaluateSettings
from redistill.students.train import fit
from tests.loop.training import ASKED, FIRST, LESSONS, PROBLEMS, RULES, base
from tests.unit.test_loop_rules import MINE

EXAM = EvaluateSettings(
    engine="local", max_new_tokens=40, batch_size=32, precision="fp32", samples=0,
    temperature=0.7, top_p=0.95,
)  # fmt: skip
PROBED = FIRST.model_copy(update={"probe": True})
QUICK = RULES.model_copy(update={"steps": 6, "save_every": 0, "accumulate": 1})


def way(**changes: object) -> fit.Way:
    rules = QUICK.model_copy(update=changes)
    return fit.Way(ASKED, rules, 1, None, rules.steps, 150)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REDISTILL_CHECKPOINTS", str(tmp_path / "checkpoints"))
    return base(tmp_path / "base")


def probed(start: Path, out: Path, **changes: object) -> probe.Probed:
    asked = {"branch": PROBED, "folds": 2, "lessons": LESSONS} | changes
    return probe.probe(
        [*PROBLEMS.values()], asked["lessons"], start, "r0", asked["branch"], asked["folds"],
        way(), EXAM, out,
    )  # fmt: skip


def test_every_train_problem_is_answered_by_a_student_that_was_not_taught_it(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    taught: list[set[str]] = []
    real = fit.teach

    def watched(known: dict, lessons: list, *rest: object):
        taught.append({lesson.rationale.problem for lesson in lessons})
        return real(known, lessons, *rest)

    monkeypatch.setattr(fit, "teach", watched)
    asked: list[set[str]] = []
    monkeypatch.setattr(exam, "answer", _noting(asked))

    found = probed(start, tmp_path / "r0.jsonl", folds=3)

    assert [t & a for t, a in zip(taught, asked, strict=True)] == [set()] * 3
    assert set.union(*asked) == {*PROBLEMS}
    assert all(t | a == {*PROBLEMS} for t, a in zip(taught, asked, strict=True))
    rows = jsonl.read(tmp_path / "r0.jsonl", Completion)
    assert [row.problem for row in rows] == sorted(PROBLEMS)
    assert {row.split for row in rows} == {"train"}
    sizes = [len(t) for t in taught]
    assert [s["steps"] for s in found.figures["students"]] == [round(6 * n / 18) for n in sizes]
    assert found.figures["balance"]["holds"]


def _noting(asked: list[set[str]]):
    real = exam.answer

    def noted(student: Path, sets: dict[str, ProblemSet], *rest: object, **more: object):
        asked.append({p.id for p in sets["train"].problems})
        return real(student, sets, *rest, **more)

    return noted


@pytest.mark.parametrize(
    ("engine", "here"),
    [("local", "local"), ("transformers", "transformers"), ("auto", "auto"), ("server", "local"),
     ("vllm", "local")],
)  # fmt: skip
def test_students_of_folds_answer_in_the_process_whatever_engine_the_others_are_answered_by(
    engine: str, here: str, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    engines: list[str] = []

    def answers(*words: object, **_: object) -> None:
        engines.append(words[3].engine)
        _stop()

    monkeypatch.setattr(fit, "teach", lambda *_: ({}, None))
    monkeypatch.setattr(exam, "answer", answers)
    monkeypatch.setattr(
        "tests.students.test_probe.EXAM", EXAM.model_copy(update={"engine": engine})
    )

    with pytest.raises(StopIteration):
        probed(start, tmp_path / "r0.jsonl")

    assert engines == [here]


def test_all_texts_of_a_problem_lie_in_one_fold(start: Path, tmp_path: Path, monkeypatch):
    taught: list[list[str]] = []
    monkeypatch.setattr(fit, "teach", lambda known, lessons, *rest: taught.append(
        [lesson.rationale.problem for lesson in lessons]) or _stop())  # fmt: skip
    both = [
        row.model_copy(update={"history": [Version(round="r0", text="4+3=7\n#### 7")]})
        for row in LESSONS
    ]
    everything = PROBED.model_copy(update={"lessons": "all"})

    with pytest.raises(StopIteration):
        probed(start, tmp_path / "r0.jsonl", lessons=both, branch=everything)

    assert all(taught[0].count(name) == 2 for name in taught[0])
    assert {probe.fold(name, 2) for name in taught[0]} == {1}


def _stop():
    raise StopIteration


def test_a_fold_that_has_answered_is_not_taught_again_after_a_kill(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = tmp_path / "whole.jsonl"
    probed(start, whole)
    real, calls = fit.teach, []

    def dies_in_the_second(*args: object):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(fit, "teach", dies_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        probed(start, tmp_path / "r0.jsonl")
    assert not (tmp_path / "r0.jsonl").exists()

    probed(start, tmp_path / "r0.jsonl")

    assert len(calls) == 3
    assert (tmp_path / "r0.jsonl").read_bytes() == whole.read_bytes()
    assert not list((tmp_path / "checkpoints").glob("*/*"))


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"folds": None}, "mine.folds is null"),
        ({"branch": FIRST}, "probe is false: nothing is refined by its errors"),
        ({"branch": PROBED.model_copy(update={"rationales": "r1"})}, "passed through"),
    ],
)
def test_what_is_not_probed_has_no_answers_and_says_why(
    changes: dict, because: str, tmp_path: Path
):
    found = probed(tmp_path / "none", tmp_path / "r0.jsonl", **changes)

    assert found.figures["because"] == because
    assert str(found) == f"no held-out answers: {because}"
    assert (tmp_path / "r0.jsonl").read_text() == "\n"
    assert found.figures["balance"]["holds"]


def test_lessons_in_one_fold_are_refused_before_a_step_is_taken(start: Path, tmp_path: Path):
    alike = [row for row in LESSONS if probe.fold(row.problem, 2) == 0]

    with pytest.raises(RefusedError, match=r"mine.folds: 2: all \d lessons lie in one fold"):
        probed(start, tmp_path / "r0.jsonl", lessons=alike)


def test_a_student_that_was_taught_already_is_no_start_for_a_probe(start: Path, tmp_path: Path):
    known = dict(PROBLEMS)
    fit.fit(known, LESSONS, start, tmp_path / "r0", FIRST, ASKED, QUICK, 1, max_new_tokens=150)

    with pytest.raises(RefusedError, match="was taught the train problems already"):
        probed(tmp_path / "r0", tmp_path / "r1.jsonl")


# ---- a student that learns by heart


SUMS = {
    f"p{n}": Problem(id=f"p{n}", question=f"Say {n}.", answer=str((7 * n + 3) % 100))
    for n in range(48)
}
RULE = RefineSettings(manner="rewrite", own=0, scope="wrong", extend=False, max_loss=0.0)


def spelt(problem: Problem) -> Rationale:
    return Rationale(
        id=problem.id, problem=problem.id, text=f"#### {problem.answer}", round="r0",
        teacher="t", status="first",
    )  # fmt: skip


@pytest.mark.slow
def test_a_student_that_learnt_by_heart_is_refined_by_what_it_gets_wrong_held_out(
    start: Path, tmp_path: Path
):
    problems = [*SUMS.values()]
    train, dev = problems[:32], problems[32:]
    lessons = [spelt(problem) for problem in train]
    rules = {"steps": 300, "batch_size": 16, "learning_rate": 0.005, "weight_decay": 0.0}
    settings = QUICK.model_copy(update=rules)
    fit.fit(SUMS, lessons, start, tmp_path / "r0", FIRST, ASKED, settings, 1, max_new_tokens=150)
    asked = {"train": ProblemSet(train, "train"), "dev": ProblemSet(dev, "dev")}
    written = exam.answer(tmp_path / "r0", asked, ASKED, EXAM, seed=1).completions
    out = tmp_path / "probe.jsonl"
    probe.probe(train, lessons, start, "r0", PROBED, 2, way(**rules), EXAM, out)
    numeric = load_grader("numeric")
    on_train, on_dev = (graded(asked[s].problems, written[s], numeric) for s in ("train", "dev"))
    held_out = graded(train, jsonl.read(out, Completion), numeric)

    def asked_about(folds: int | None) -> int:
        rule = MINE.model_copy(update={"folds": folds})
        found = mine.choose(mine.on_train(on_train, held_out, rule), rule)
        errors = mine.mine(SUMS, found.predictions, {}, rule)
        return len(to_rewrite(SUMS, lessons, errors, Diagnosis([], False), RULE).placed)

    assert _right(on_train) == len(train)
    assert memorised((_right(on_train), 32), (_right(on_dev), 16))
    assert "mine.folds to 2" in str(mine.blind(on_train, on_dev, MINE))
    assert asked_about(None) == 0
    assert asked_about(2) == 32 - _right(held_out) > 20


def _right(found: list[Prediction]) -> int:
    return sum(p.verdict == "correct" for p in found)
