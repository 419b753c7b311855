"""The ladder of controls: the same rationales rewritten, with less feedback or with none."""

from collections.abc import Mapping, Sequence

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
from redistill.records.fingerprint import digest
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
    rewritten = {row.problem for row in like if row.reason not in (NOT_WRONG, STOPPED)}
    if not rewritten:
        return Requests([], afresh)
    every = rewrite.scope == "all"
    places = [n for n, row in enumerate(before) if every or row.problem in rewritten]
    told = _told([before[place].problem for place in places], on_train(errors), rewrite)
    informs = rewrite.feedback in ("error", "repair")
    profile = list(diagnosis.common) if informs and settings.extend else []
    evidence = cases if informs else NO_CASES
    placed = [
        (place, informed(problems[before[place].problem], before[place], shown, profile, evidence))
        for place, shown in zip(places, told, strict=True)
    ]
    found = Requests(placed, afresh)
    return repairing(found) if rewrite.feedback == "repair" else found


def _told(
    names: Sequence[str], by_problem: Mapping[str, Sequence[Error]], arm: Arm
) -> list[list[Error]]:
    """The errors that the teacher is shown for each of the problems *names*."""
    match arm.feedback:
        case "none":
            return [[] for _ in names]
        case "error" | "repair":
            return [[*by_problem.get(name, [])] for name in names]
        case "verdict":
            return [[_hidden(error) for error in by_problem.get(name, [])[:1]] for name in names]
        case _:
            return _shuffled(names, by_problem)


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


def _shuffled(names: Sequence[str], by_problem: Mapping[str, Sequence[Error]]) -> list[list[Error]]:
    """
    For each of *names* the errors on another problem, those of each problem as often as the others.

    The order is that of hashes, so that it does not depend on that of the rows.
    """
    pool = sorted(by_problem, key=lambda problem: digest("shuffled", problem))
    order = sorted(range(len(names)), key=lambda place: digest("place", names[place]))
    found: list[list[Error]] = [[] for _ in names]
    for turn, place in enumerate(order):
        others = (pool[(turn + skip) % len(pool)] for skip in range(len(pool)))
        other = next((problem for problem in others if problem != names[place]), None)
        found[place] = [*by_problem[other]] if other is not None else []
    return found
