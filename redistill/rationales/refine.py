"""New rationales in the light of the student's errors; never a worse one than before."""

from array import array
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from operator import attrgetter
from typing import Annotated, Any, Literal

from pydantic import Field

from redistill.diagnosis.nearest import Cases
from redistill.grading.grader import Grader, foresee, paid
from redistill.problems.held_out import HeldOut
from redistill.rationales import guards, probe
from redistill.rationales.attempts import Attempts, Choose, attempt
from redistill.rationales.teacher import Engaged, Reply, Request, replied
from redistill.records import spool
from redistill.records.balance import Balance
from redistill.records.fingerprint import digest
from redistill.records.grouped import Groups
from redistill.records.lazy import Changed
from redistill.records.types import Attempt, Error, Problem, Rationale, Version
from redistill.settings.bounds import Share
from redistill.settings.sections import Section
from redistill.solutions import paths
from redistill.solutions.gaps import Diagnosis
from redistill.solutions.mending import mending

NOT_WRONG, STOPPED = "not wrong", "stopped"  # why a rationale is kept without asking
NO_CASES = Cases([], {}, 0)
UNSEEN = {"pass_rate"}  # of an error: no teacher reads it, so it changes no rewrite


class RefineSettings(Section):
    """
    Section ``refine``: which rationales are rewritten, and in which manner.

    With the manner ``repair`` a teacher keeps the student's own attempt up to its first wrong step
    and mends it from there, as in LEMA (arXiv 2310.20689); where nothing can be kept, it rewrites.
    *own* is how many correct completions that students drew themselves count as lessons of a
    problem, as in rejection-sampling fine-tuning (arXiv 2308.01825).
    """

    manner: Literal["rewrite", "repair"]
    own: Annotated[int, Field(ge=0, le=1000)]
    scope: Literal["wrong", "all"]
    extend: bool
    max_loss: Share


@dataclass(frozen=True)
class Requests:
    """
    What a teacher is asked to rewrite, each by the place of the rationale among those before.

    The places ascend; a request is made when it is asked for.

    *afresh* is the first draw of a control whose teacher is given the problem alone, as for a first
    rationale; None where it rewrites. With *stop* the loop has ended, and nothing is asked.
    """

    placed: Sequence[tuple[int, Request]]
    afresh: int | None = None
    stop: bool = False


@dataclass(frozen=True)
class Refined:
    """
    The rationales of the next round, in the order they came, and what became of each.

    *repaired* of the *rewritten* ones keep the student's own attempt as far as it was right.
    """

    rationales: Sequence[Rationale]
    asked: int
    rewritten: int
    repaired: int
    kept: dict[str, int]
    attempts: Attempts
    balance: Balance

    def as_dict(self) -> dict[str, Any]:
        """Return what a metrics file records: everything but the texts."""
        return {
            "asked": self.asked,
            "repaired": self.repaired,
            "rewritten": self.rewritten,
            "kept": self.kept,
            "balance": self.balance.as_dict(),
            "attempts": self.attempts.as_dict(),
        }


def to_rewrite(
    problems: Mapping[str, Problem],
    before: Sequence[Rationale],
    errors: Sequence[Error],
    diagnosis: Diagnosis,
    settings: RefineSettings,
    cases: Cases = NO_CASES,
) -> Requests:
    """
    Choose which of the rationales *before* the teacher is asked to rewrite.

    Those behind *errors* on train; with *extend* also those in which a gap common on dev can open,
    with scope "all" every one, and none where the *diagnosis* is to stop.
    """
    if diagnosis.stop:
        return Requests([], stop=True)
    by_problem = on_train(errors)
    profile = list(diagnosis.common) if settings.extend else []

    def made(place: int) -> tuple[int, Request]:
        old = before[place]
        shown = by_problem.of(old.problem)
        return place, informed(problems[old.problem], old, shown, profile, cases)

    every = bool(profile) or settings.scope == "all"
    wrong = (n for n, old in enumerate(before) if old.problem in by_problem)
    found = Requests(Changed(range(len(before)) if every else array("q", wrong), made))
    return repairing(found) if settings.manner == "repair" else found


def informed(
    problem: Problem, old: Rationale, errors: Sequence[Error], profile: Sequence[str], cases: Cases
) -> Request:
    """Make the request with *errors*, or with the dev *cases* most like it where there are none."""
    return Request(problem, old, errors, profile, () if errors else cases.like(problem, profile))


def repairing(requests: Requests) -> Requests:
    """Return *requests*, those with an attempt that can be mended as requests to mend it."""

    def mended(placed: tuple[int, Request]) -> tuple[int, Request]:
        place, request = placed
        return place, replace(
            request, mending=mending(request.errors[0]) if request.errors else None
        )

    return replace(requests, placed=Changed(requests.placed, mended))


def on_train(errors: Sequence[Error]) -> Groups[Error]:
    """Return the *errors* on train by their problem, in the order they came."""
    return Groups(errors, lambda error: error.problem if error.split == "train" else None)


def refine(
    requests: Requests,
    before: Sequence[Rationale],
    teacher: Engaged,
    grader: Grader,
    held_out: HeldOut,
    choose: Choose,
    guard: guards.GuardSettings,
    *,
    round: str,
) -> Refined:
    """
    Return the rationales *before*, those of *requests* rewritten by *teacher*.

    Draws that are written afresh are counted from ``requests.afresh`` on, so that none is one that
    the teacher gave before. A rewrite that a guard rejects in every attempt, or that the teacher
    cannot give, leaves the old rationale with the last reason. A language model that was shown a
    rationale and answers with that very text is not asked for it again (`_final`). Where the loop
    has stopped (the round before was not better) every rationale is kept with that as its reason.
    """
    asked = _Asked(requests, teacher, grader, held_out, choose, guard, round)
    out = spool.kept(asked.about(before), Rationale)
    balance = Balance("refine", len(before), len(out))
    rewritten = len(out) - asked.kept.total()
    counts = len(requests.placed), rewritten, asked.repaired, dict(asked.kept)
    return Refined(out, *counts, asked.attempts, balance)


@dataclass
class _Asked:
    """A *teacher* while it is asked what is in *requests*, and what came of it so far."""

    requests: Requests
    teacher: Engaged
    grader: Grader
    held_out: HeldOut
    choose: Choose
    guard: guards.GuardSettings
    round: str
    attempts: Attempts = field(default_factory=Attempts)
    kept: Counter[str] = field(default_factory=Counter)
    repaired: int = 0

    def about(self, before: Sequence[Rationale]) -> Iterator[Rationale]:
        """Return each of the rationales *before* as it is from now on."""
        results = self._results()
        result = next(results, None)
        for place, old in enumerate(before):
            if result is None or result.place != place:
                yield self._old(old, STOPPED if self.requests.stop else NOT_WRONG)
                continue
            if result.reply is None:
                yield self._old(old, result.reason or NOT_WRONG)
            else:
                self.repaired += result.request.mending is not None
                yield _next(result.request, result.reply, self.round, self.teacher)
            result = next(results, None)

    def _old(self, old: Rationale, reason: str) -> Rationale:
        self.kept[reason] += 1
        return old.model_copy(update={"status": "kept", "reason": reason})

    def _results(self) -> Iterator["_Result"]:
        """Ask about all requests, in portions where the teacher can be asked so."""
        for portion in self.teacher.portions(self.requests.placed, bought=paid(self.grader)):
            placed = [*portion]
            found = self._attempt([request for _, request in placed])
            self.attempts.count(found)
            for (place, request), reply, reason in zip(
                placed, found.kept, found.reasons, strict=True
            ):
                yield _Result(place, request, reply, reason)

    def _attempt(self, asked: Sequence[Request]) -> Attempts:
        teacher, afresh = self.teacher, self.requests.afresh

        def ask(places: list[int], draws: range) -> list[list[Reply]]:
            chosen = [asked[place] for place in places]
            first = afresh or 0
            numbers = range(first + draws.start, first + draws.stop)
            sitting = teacher.sitting("refine", self.round, numbers, first)
            problems = [request.problem for request in chosen]
            if afresh is None:
                given = teacher.module.refine(chosen, teacher.settings, sitting)
            else:
                given = teacher.module.explain(problems, teacher.settings, sitting)
            foresee(self.grader, replied(zip(problems, given, strict=True)))
            return given

        def judge(place: int, reply: Reply) -> str | None:
            return fault(asked[place], reply, self.grader, self.held_out, self.guard)

        tried = probe.of_rewrites(teacher, [request.problem.id for request in asked])
        final = _final(teacher, self.requests)
        return attempt(len(asked), ask, judge, self.choose, teacher.rules, tried, final)


@dataclass(frozen=True)
class _Result:
    """What came of a *request*, by the *place* of its rationale: a reply, or the last reason."""

    place: int
    request: Request
    reply: Reply | None
    reason: str | None


def fault(
    request: Request,
    reply: Reply,
    grader: Grader,
    held_out: HeldOut,
    guard: guards.GuardSettings,
) -> str | None:
    """Say why the text of *reply* may not replace the rationale of *request*; None where it may."""
    old, text = request.rationale.text, reply.text or ""
    asked = request.problem, text, old, request.errors, request.mending, reply.kept
    unended = guards.unended(reply.unmarked, grader)
    return unended or guards.refined(*asked, grader, held_out, guard)


def _final(teacher: Engaged, requests: Requests) -> tuple[str, ...]:
    """
    The reasons against a reply for which *teacher* is not asked again.

    A language model writes a whole text again word for word where nearly all its probability lies
    on that text, so a further draw of the same prompt is paid for the same text. A text that is
    written afresh was not asked to differ, and the tutor and `replay` cost nothing to ask: they
    have other texts behind their first.
    """
    return (guards.UNCHANGED,) if teacher.asks and requests.afresh is None else ()


def with_own(
    rationales: Sequence[Rationale],
    attempts: Sequence[Attempt],
    problems: Mapping[str, Problem],
    guard: Callable[[Problem, str], str | None],
    most: int,
    look: Callable[[Iterable[tuple[Problem, str]]], None],
) -> Sequence[Rationale]:
    """
    Return *rationales* with the students' own correct *attempts*, at most *most* of a problem.

    One counts that *guard* has nothing against, and that takes another path than every text that
    the problem has; of more than *most* the shortest. Those are shown to *look* at once, before
    *guard* sees them one by one.
    """
    if not most:
        return rationales
    by_problem = Groups(attempts, attrgetter("problem"))

    def joined(old: Rationale) -> Rationale:
        own, taken = list(old.own), set[Hashable]()
        for path, found in _other(old, by_problem):
            if (
                len(own) < most
                and path not in taken
                and not guard(problems[old.problem], found.text)
            ):
                taken.add(path)
                own.append(Version(round=found.student, text=found.text))
        return old.model_copy(update={"own": own}) if own != old.own else old

    def shortest(old: Rationale) -> Iterator[tuple[Problem, str]]:
        first: dict[Hashable, tuple[Problem, str]] = {}
        for path, found in _other(old, by_problem):
            first.setdefault(path, (problems[old.problem], found.text))
        return islice(first.values(), max(0, most - len(old.own)))

    look(chain.from_iterable(map(shortest, rationales)))
    return Changed(rationales, joined)


def _other(old: Rationale, attempts: Groups[Attempt]) -> Iterator[tuple[Hashable, Attempt]]:
    """The *attempts* whose path is that of no text in *old*, each with it, the shortest first."""
    known = {paths.path(v.text) for v in [*old.history, *old.own]} | {paths.path(old.text)}
    for found in sorted(attempts.of(old.problem), key=lambda a: (len(a.text), a.id)):
        if (path := paths.path(found.text)) not in known:
            yield path, found


def _because(request: Request) -> str:
    return "common on dev" if request.profile else "asked without an error"


def _next(request: Request, reply: Reply, round: str, teacher: Engaged) -> Rationale:
    old, text = request.rationale, reply.text or ""
    own = digest(
        teacher.name,
        teacher.settings.model_dump_json(),
        request.problem.model_dump_json(),
        *(error.model_dump_json(exclude=UNSEEN) for error in request.errors),
        *request.profile,
        *(case.model_dump_json() for case in request.cases),
        *([repr(request.mending)] if request.mending else []),
    )
    return Rationale(
        id=old.id,
        problem=old.problem,
        text=text,
        round=round,
        parent=digest(old.text),
        teacher=reply.teacher or teacher.name,
        status="refined",
        reason=", ".join(dict.fromkeys(e.gap for e in request.errors)) or _because(request),
        gaps=reply.gaps,
        own=paths.compared(old.own, text),
        history=paths.compared([*old.history, Version(round=old.round, text=old.text)], text),
        fingerprint=reply.fingerprint or own,
    )
