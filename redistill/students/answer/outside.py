"""A student's predictions outside of its domain, on tests by which nothing is taught or chosen."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from redistill.grading import grader
from redistill.problems.outside import Outside
from redistill.records import jsonl
from redistill.records.types import Prediction
from redistill.settings import sections


def venture(
    student: Path, tests: Mapping[str, Outside], settings: Path
) -> tuple[dict[str, list[Prediction]], dict[str, Any]]:
    """
    The graded predictions of *student* on every one of *tests*, and the metrics of the round.

    Rules, prompt and the grader of tests without one are those of evaluation, in *settings*. No
    tests cost nothing: what holds models is imported only where there is one.
    """
    if not tests:
        return {}, {"passed_through": False, "tests": {}}
    from redistill.students.answer import exam
    from redistill.students.model import load

    own = sections.load(settings, "grade", grader.GradeSettings).grader
    exams = {
        name: exam.Exam("test", test.problems, grader.load_grader(test.grader or own))
        for name, test in tests.items()
    }
    asked = sections.load(settings, "student", load.StudentSettings)
    rules = sections.load(settings, "evaluate", exam.EvaluateSettings)
    predictions, scores, figures = exam.sit(
        student, exams, asked, rules, seed=sections.seed(settings)
    )
    return predictions, {**figures, "tests": scores}


def write(folder: Path, predictions: Mapping[str, Sequence[Prediction]]) -> None:
    """Write a file of predictions for each test to *folder*, which is there even if none is."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, found in predictions.items():
        jsonl.write(folder / f"{name}.jsonl", found)


def told(figures: Mapping[str, Any]) -> str:
    """One line on what happened."""
    if figures["passed_through"]:
        return "passed through: no student of its own"
    scores = [f"{name} {100 * test['accuracy']:.1f} %" for name, test in figures["tests"].items()]
    return ", ".join(scores) or "no out-of-domain tests"
