"""The ladder of controls: the same rationales rewritten, with less feedback or with none."""

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter

import numpy as np
import numpy.typing as npt

from redistill.diagnosis.nearest import Cases
from redistill.rationales.refine import (
    NO_CASES,
    NOT_WRONG,
    STOPPED,
    RefineSettings,
    Requests,
    informed,
    on_train,
    repairing,
    to_rewrite,
)
from redistill.rationales.teacher import Request
from redistill.records import spool
from redistill.records.fingerprint import digest
from redistill.records.grouped import Groups
from redistill.records.lazy import Changed, Picked
from redistill.records.types import Error, Problem, Rationale
from redistill.rounds.branches import Arm, Branch, Round, depth
from redistill.rounds.targets import Tailored
from redistill.solutions import gaps
from redistill.solutions.gaps import Diagnosis

AFRESH = 1000  # the first draw of a text that is written afresh, times the depth of its arm


def requests(
    name: str,
    rewrite: Round | Tailored,
    branches: Mapping[str, Branch],
    problems: Mapping[str, Problem],
    before: Sequence[Rationale],
    like: Sequence[Rationale],
    errors: Sequence[Error],
    diagnosis: Diagnosis,
    settings: RefineSettings,
    cases: Cases = NO_CASES,
) -> Requests:
    """
    Choose what the teacher is asked for *rewrite*, the one called *name*, and with what feedback.

    For a round, and for rationales tailored to other errors, that is what `refine.to_rewrite` says.
    An arm asks about what the round rewrote whose rationales are *like*, so that every arm makes
    as many calls; what differs is the feedback. *errors* and *diagnosis* are those of the arm's own
    student, and only the feedbacks ``error`` and ``repair`` show them as they are. Like a round,
    they alone show dev *cases* where a problem has no error.
    """
    if not isinstance(rewrite, Arm):
        return to_rewrite(problems, before, errors, diagnosis, settings, cases)
    afresh = AFRESH * depth(name, branches) if rewrite.feedback == "none" else None
    likes = spool.named(like, attrgetter("problem"))

    def asked(old: Rationale) -> bool:
        row = likes.get(old.problem)
        return row is not None and row.reason not in (NOT_WRONG, STOPPED)

    places = array("q", (place for place, old in enumerate(before) if asked(old)))
    if not places:
        return Requests([], afresh)
    if rewrite.scope == "all":
        places = array("q", range(len(before)))
    names = Changed(places, lambda place: before[place].problem)
    told = _told(names, on_train(errors), errors, rewrite)
    informs = rewrite.feedback in ("error", "repair")
    profile = list(diagnosis.common) if informs and settings.extend else []
    evidence = cases if informs else NO_CASES

    def made(number: int) -> tuple[int, Request]:
        old = before[places[number]]
        shown = told(number, old.problem)
        return places[number], informed(problems[old.problem], old, shown, profile, evidence)

    found = Requests(Changed(range(len(places)), made), afresh)
    return repairing(found) if rewrite.feedback == "repair" else found


def _told(
    names: Sequence[str], by_problem: Groups[Error], errors: Sequence[Error], arm: Arm
) -> Callable[[int, str], list[Error]]:
    """What finds the errors that the teacher is shown for the problem at a place of *names*."""
    match arm.feedback:
        case "none":
            return lambda number, name: []
        case "error" | "repair":
            return lambda number, name: by_problem.of(name)
        case "verdict":
            return lambda number, name: [_hidden(error) for error in by_problem.of(name)[:1]]
        case _:
            return _shuffled(names, by_problem, errors)


def _hidden(error: Error) -> Error:
    """*error* with nothing left but that there was one; not how many, so one stands for all."""
    return error.model_copy(
        update={
            "completion": "(not shown)",
            "answer": None,
            "verdict": "wrong",
            "gap": gaps.HIDDEN,
            "first_wrong_step": None,
            "exemplars": [],
            "student": None,
        }
    )


def _shuffled(
    names: Sequence[str], by_problem: Groups[Error], errors: Sequence[Error]
) -> Callable[[int, str], list[Error]]:
    """
    What finds for each of *names* the errors on another problem, those of each as often.

    The order is that of hashes, so that it does not depend on that of the rows.
    """
    firsts = by_problem.firsts()
    pool = Changed(
        Picked(firsts, _ordered("shuffled", (errors[place].problem for place in firsts))),
        lambda place: errors[place].problem,
    )
    order = _ordered("place", names)
    turns = np.empty(len(order), dtype=np.int64)
    turns[order] = np.arange(len(order))

    def told(number: int, name: str) -> list[Error]:
        others = (pool[(int(turns[number]) + skip) % len(pool)] for skip in range(len(pool)))
        other = next((problem for problem in others if problem != name), None)
        return by_problem.of(other) if other is not None else []

    return told


def _ordered(salt: str, names: Iterable[str]) -> npt.NDArray[np.int64]:
    """The places of *names* in the order of the hashes of *salt* and each."""
    hashes = np.fromiter((int(digest(salt, name), 16) for name in names), dtype=np.uint64)
    return np.argsort(hashes, kind="stable")
