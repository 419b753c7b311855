"""A small data set as the stage publish makes it, for the tests of what becomes of it."""

from pathlib import Path
from typing import Any

from redistill.analysis import summary
from redistill.analysis.scores import score
from redistill.analysis.summary import Measured, Training
from redistill.datasets import card, files, rows
from redistill.datasets import views as dataset_views
from redistill.records.types import Lessons, Prediction, Problem, Rationale, Version
from redistill.rounds.branches import Branch
from tests.settings import PLAIN

BRANCHES = {
    "r0": Branch(from_="r0", rationales="r0", start="base", times=1, **PLAIN),
    "r1": Branch(from_="r0", rationales="r1", start="base", times=1, **PLAIN),
    "r2": Branch(from_="r1", rationales="r2", start="base", times=1, **PLAIN),
}
ORIGIN = {
    "task": {"name": "jsonl", "source": "your files", "licence": "yours"},
    "teach": {"teacher": "tutor", "refiner": "tutor"},
    "prompts": {"explain-math.txt": "0" * 64},
    "student": {"model": "embedded", "revision": None},
    "near_duplicates": {"alike": 0.4, "dev": 1, "test": 2, "at_least": False, "dropped": None},
}
COMPLETION = Prediction(
    id="t1", problem="t1", split="test", completion="#### 7", answer="7", verdict="correct",
    strict=True, lenient=True, eos=True, tokens=9,
)  # fmt: skip
TESTED = [
    COMPLETION,
    COMPLETION.model_copy(update={"id": "t2", "problem": "t2", "verdict": "wrong"}),
]
MEASURED = Measured(
    train=score(TESTED), dev=score(TESTED), test=score(TESTED), outside={},
    training=Training(rewritten=1), nll_before=1.0, steps_so_far=1,
)  # fmt: skip
FIGURES = {"r0": MEASURED, "r1": MEASURED}
VERDICT = summary.verdict("r1", "r0", FIGURES, {"r0": TESTED, "r1": TESTED})
SUMMARY = summary.summary(["r1"], FIGURES, VERDICT, None)


def problem(identity: str, answer: str = "7", question: str = "", source: str = "here") -> Problem:
    """A problem of its own question."""
    return Problem(
        id=identity, question=question or f"How many is {identity}?", answer=answer, source=source
    )


def first(identity: str, text: str = "#### 7", teacher: str = "tutor") -> Rationale:
    """The first rationale of a problem."""
    return Rationale(
        id=identity, problem=identity, text=text, round="r0", teacher=teacher, status="first"
    )


def refined(identity: str, text: str = "3+4=7\n#### 7", round: str = "r1") -> Rationale:
    """A rationale that replaced another."""
    old = first(identity)
    history = [Version(round="r0", text=old.text)]
    change = {"text": text, "round": round, "status": "refined", "reason": "add", "gaps": ["add"]}
    return old.model_copy(update={**change, "history": history, "parent": "0" * 16})


def answered(identity: str, completion: str = "#### 8", **change: Any) -> Prediction:
    """What a student wrote, wrong if not told otherwise."""
    told = Prediction(
        id=identity, problem=identity, split="train", completion=completion, answer="8",
        verdict="wrong", strict=False, lenient=False, eos=True, tokens=3,
    )  # fmt: skip
    return told.model_copy(update=change)


def views(
    problems: list[Problem],
    lessons: list[Rationale],
    *answers: Prediction,
    taught: Lessons = "latest",
) -> dataset_views.Views:
    """The views of *lessons*, the student of r0 having given *answers*."""
    students = {"r0": list(answers), "r1": []}
    return dataset_views.views(problems, lessons, students, BRANCHES, taught)


def provenance(
    made: dataset_views.Views,
    license: str | None = None,
    origin: dict[str, Any] | None = None,
    rounds: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The provenance of the views *made*."""
    overlap = {split: {"questions": 2, "exact": 0, "overlapping": 0} for split in ("dev", "test")}
    settings = rows.PublishSettings(name="small", license=license)
    row = {"round": "r1", "errors_of": "r0", "accepted": 1, "rejected": {}, "kept": {}}
    return rows.provenance(
        settings,
        made,
        rows.Tally.of(made.each()),
        overlap,
        origin or ORIGIN,
        rounds or [row],
        SUMMARY,
    )


def publish(folder: Path, made: dataset_views.Views, license: str | None = None) -> Path:
    """The data set *made* in *folder*."""
    return write(folder, made, provenance(made, license))


def write(folder: Path, made: dataset_views.Views, found: dict[str, Any]) -> Path:
    """The data set *made* in *folder*, with the provenance *found*."""
    each = ((view, row) for view, rows in made.rows.items() for row in rows)
    files.write(folder, each, lambda: (found, card.card(found)))
    return folder


def small(folder: Path, license: str | None = None) -> Path:
    """A data set of two problems, one of them refined after an error."""
    problems = [problem("p1"), problem("p2")]
    made = views(problems, [refined("p1"), first("p2")], answered("p1"))
    return publish(folder, made, license)
