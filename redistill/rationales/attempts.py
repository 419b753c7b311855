"""Asking a teacher until a text is accepted: attempts, draws, and what became of each reply."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from redistill.rationales.teacher import Reply, TeachSettings

Ask = Callable[[list[int], range], list[list[Reply]]]  # places and draws to replies, in that order
Judge = Callable[[int, Reply], str | None]  # why a reply to the thing at a place is not accepted
Choose = Callable[[Sequence[tuple[int, Sequence[str]]]], list[int]]  # which of the accepted texts

SILENT = "teacher had nothing to say"
RIGHT_UNMARKED = "right, but not between the markers"


@dataclass(frozen=True)
class Probe:
    """The first *size* places, and who refuses to go on at the sight of the reasons against."""

    size: int
    judge: Callable[[Sequence[str | None]], None]


@dataclass
class Attempts:
    """
    What came of asking: the reply kept at each place (None: none), and the last reason against.

    *rejected* counts every reply that was not accepted by its reason, *replies* all of them, and
    *unmarked* those that were accepted although they have no markers.
    """

    kept: list[Reply | None] = field(default_factory=list)
    reasons: list[str | None] = field(default_factory=list)
    replies: int = 0
    unmarked: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(self.rejected.items()))
        told = f" ({reasons})" if reasons else ""
        rejected = self.rejected.total()
        accepted = self.replies - rejected
        bare = f" ({self.unmarked} without markers)" if self.unmarked else ""
        return f"{self.replies} replies = {accepted} accepted{bare} + {rejected} rejected{told}"

    def count(self, portion: "Attempts") -> None:
        """Count the replies of a *portion* as well, of which neither texts nor reasons are kept."""
        self.replies += portion.replies
        self.unmarked += portion.unmarked
        self.rejected.update(portion.rejected)

    def unsolved(self, names: Sequence[str]) -> list[str]:
        """Return the *names*, one a place, of those that no reply was accepted for."""
        return [name for name, reply in zip(names, self.kept, strict=True) if reply is None]

    def as_dict(self) -> dict[str, Any]:
        """Return the replies as a metrics file records them, *unmarked* where there are any."""
        return {
            "replies": self.replies,
            "accepted": self.replies - self.rejected.total(),
            **({"unmarked": self.unmarked} if self.unmarked else {}),
            "rejected": dict(sorted(self.rejected.items())),
        }


def attempt(
    count: int,
    ask: Ask,
    judge: Judge,
    choose: Choose,
    rules: TeachSettings,
    probe: Probe | None = None,
    final: Collection[str] = (),
) -> Attempts:
    """
    Ask about *count* things, and about those without an accepted reply again.

    An attempt draws *rules.draws* replies for each; *choose* picks among the accepted ones. There
    are *rules.attempts* attempts, each with draws of its own, so that none repeats another. In the
    first the things of a *probe* are asked about before the others, and it may refuse to go on. A
    thing is not asked about again where every reply of an attempt is rejected for one of the
    reasons *final*.
    """
    found = Attempts([None] * count, [None] * count)
    for number in range(rules.attempts):
        pending = [
            place
            for place in range(count)
            if found.kept[place] is None and found.reasons[place] not in final
        ]
        if not pending:
            break
        draws = range(number * rules.draws, (number + 1) * rules.draws)
        first = probe.size if probe and not number else 0
        accepted = _asked(found, pending[:first], draws, ask, judge, rules, final)
        if probe and first:
            taken = {place for place, _ in accepted}
            probe.judge([None if p in taken else found.reasons[p] for p in pending[:first]])
        accepted += _asked(found, pending[first:], draws, ask, judge, rules, final)
        texts = [(place, [reply.text or "" for reply in good]) for place, good in accepted]
        for (place, good), chosen in zip(accepted, choose(texts), strict=True):
            found.kept[place], found.reasons[place] = good[chosen], None
    return found


def _asked(
    found: Attempts,
    places: list[int],
    draws: range,
    ask: Ask,
    judge: Judge,
    rules: TeachSettings,
    final: Collection[str],
) -> list[tuple[int, list[Reply]]]:
    """Ask about *places*: those with a reply that is accepted, and the reasons against others."""
    accepted: list[tuple[int, list[Reply]]] = []
    for place, replies in zip(places, ask(places, draws) if places else [], strict=True):
        good, against = _accepted(found, place, replies, judge, rules)
        if good:
            accepted.append((place, good))
        elif against:  # one that is final stands only where there is no other
            found.reasons[place] = ([r for r in against if r not in final] or against)[-1]
        elif found.reasons[place] is None:
            found.reasons[place] = SILENT
    return accepted


def _accepted(
    found: Attempts, place: int, replies: Sequence[Reply], judge: Judge, rules: TeachSettings
) -> tuple[list[Reply], list[str]]:
    """Count the *replies* about *place*: those accepted, and the reasons against the others."""
    good, against = [], []
    for given in replies:
        reply, reason = judged(given, lambda marked: judge(place, marked), rules)
        found.replies += 1
        if reply.text is not None and reason is None:
            found.unmarked += reply.unmarked is not None
            good.append(reply)
        else:
            against.append(reason or "no text")
    found.rejected.update(against)
    return good, against


def judged(
    reply: Reply, judge: Callable[[Reply], str | None], rules: TeachSettings
) -> tuple[Reply, str | None]:
    """
    Return *reply* as it would be taken, and the reason why it is not, as *judge* says it.

    One without markers that *judge* has nothing against is taken by a setting, and else told apart
    from those that no setting makes a rationale of.
    """
    if reply.text is not None:
        return reply, judge(reply)
    if reply.unmarked is None:
        return reply, reply.reason
    bare = replace(reply, text=reply.unmarked, reason=None)
    if judge(bare) is not None:
        return reply, reply.reason
    return (bare, None) if rules.unmarked == "take" else (reply, RIGHT_UNMARKED)
