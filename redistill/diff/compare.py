"""What changed between two versions of the rationales: which problems, and which words."""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, takewhile
from typing import Any, Literal, TypeVar

from rapidfuzz import fuzz
from rapidfuzz.distance import Indel

from redistill.console.exceptions import RefusedError
from redistill.records.types import Prediction, Rationale, Verdict

Kind = Literal["changed", "added", "removed", "kept"]
KINDS: tuple[Kind, ...] = ("changed", "added", "removed", "kept")
Operation = Literal["=", "-", "+"]
Edit = tuple[Operation, str]
Opcode = tuple[str, int, int, int, int]

# Chinese and Japanese are written without spaces: each of their characters is a word.
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"([{_CJK}]|[^\s{_CJK}]+)")
MAX_PAIRS = 100_000  # pairs of equal words that difflib may look at; beyond it takes seconds
MAX_TABLE = 400_000_000  # words x words in the bit table of Indel, 50 MB
MAX_RATIO = 10_000_000_000  # characters x characters that are compared in about 0.1 s
MAX_ROUNDS = 100  # rounds between two versions that are looked into
MAX_REASONS = 1000  # kinds of reason that are counted apart; a foreign file can have one a row
OTHERS = "others"

Row = TypeVar("Row", Rationale, Prediction)
Following = Generator[Row | None, str, None]


@dataclass(frozen=True)
class Change:
    """
    One problem in both versions: its rationale *before* and *after*, one of them maybe absent.

    *verdicts* are those of the student that was taught each version; *similarity* of two texts
    that are both there is 1 where they are the same, 0 where they share nothing. *written* is the
    newer text's record in the round that wrote it, where that is known.
    """

    problem: str
    kind: Kind
    before: Rationale | None
    after: Rationale | None
    verdicts: tuple[Verdict | None, Verdict | None]
    similarity: float | None
    written: Rationale | None = None

    @property
    def texts(self) -> tuple[str, str]:
        """The texts before and after, empty where there is none."""
        return self.before.text if self.before else "", self.after.text if self.after else ""

    @property
    def reason(self) -> str | None:
        """
        Why the newer text was written or, where it is the older one, why it was kept.

        A record has the reason of its own round. So where the text was written in a round between
        the two, the reason is in that round's record, and unknown without it.
        """
        if self.kind == "changed" and self.after and self.after.status == "kept":
            return self.written.reason if self.written else None
        return self.after.reason if self.after else None

    @property
    def gaps(self) -> list[str]:
        """The gaps that the newer text treats, or the older one where it was removed."""
        record = self.after or self.before
        return record.gaps if record else []

    def treats(self, gap: str) -> bool:
        """Say whether *gap* is what the text treats, or what it was rewritten for."""
        return gap in self.gaps or gap in (self.reason or "").split(", ")


@dataclass
class Summary:
    """
    How many problems changed, by how much and why; *similarity* and lengths are sums.

    *texts* are all that the newer version has with those that it replaced, as ``lessons: all``
    teaches them, and *distinct* those of them that no later one repeats.
    """

    counts: Counter[Kind] = field(default_factory=Counter)
    similarity: float = 0.0
    characters: int = 0
    words: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    kept_for: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[tuple[Verdict, Verdict]] = field(default_factory=Counter)
    texts: int = 0
    distinct: int = 0

    @property
    def problems(self) -> int:
        """How many problems there are in both versions together."""
        return self.counts.total()

    def add(self, change: Change) -> None:
        """Count *change*."""
        self.counts[change.kind] += 1
        if change.after:
            older = [*change.after.history, *change.after.own]
            self.texts += 1 + len(older)
            self.distinct += 1 + sum(not version.repeated for version in older)
        if change.kind == "kept" and change.reason:
            _count(self.kept_for, change.reason)
        if change.kind in ("added", "changed") and change.after:
            _count(self.reasons, change.reason or f"written in {change.after.round}")
        if change.kind == "changed":
            before, after = change.texts
            self.similarity += change.similarity or 0.0
            self.characters += len(after) - len(before)
            self.words += len(after.split()) - len(before.split())
            then, now = change.verdicts
            if then and now:
                self.verdicts[then, now] += 1

    def mean(self, name: Literal["similarity", "characters", "words"]) -> float | None:
        """Return the mean of *name* over the changed; None where nothing changed."""
        changed = self.counts["changed"]
        return getattr(self, name) / changed if changed else None

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as JSON holds it."""
        means = {name: self.mean(name) for name in ("similarity", "characters", "words")}
        return {
            "problems": self.problems,
            **{kind: self.counts[kind] for kind in KINDS},
            **{f"mean_{k}": None if v is None else round(v, 4) for k, v in means.items()},
            "reasons": dict(self.reasons.most_common()),
            "kept_for": dict(self.kept_for.most_common()),
            "verdicts": [[*pair, n] for pair, n in self.verdicts.most_common()],
            "texts": self.texts,
            "distinct": self.distinct,
        }


def compare(
    before: Iterable[Rationale],
    after: Iterable[Rationale],
    *,
    then: Iterable[Prediction] = (),
    now: Iterable[Prediction] = (),
    of_round: Callable[[str], Iterable[Rationale]] = lambda _: (),
) -> Iterator[Change]:
    """
    Pair two versions by problem, in the order of the ids, and say what became of each problem.

    *then* and *now* are what the students of the two versions answered, *of_round* gives the
    rationales of a round between them. All are sorted by problem, one row each, and read once, side
    by side: memory does not grow with them. Raises ValueError where rows are out of order.
    """
    thens, nows = _following(then), _following(now)
    rounds: dict[str, Following[Rationale]] = {}

    def written(new: Rationale) -> Rationale | None:
        if new.status != "kept" or (new.round not in rounds and len(rounds) >= MAX_ROUNDS):
            return None
        if new.round not in rounds:
            rounds[new.round] = _following(of_round(new.round))
        found = rounds[new.round].send(new.problem)
        return found if found and found.text == new.text else None

    for problem, old, new in _paired(before, after):
        verdicts = _verdict(thens.send(problem)), _verdict(nows.send(problem))
        if not old or not new:
            yield Change(problem, "removed" if old else "added", old, new, verdicts, None)
        elif old.text == new.text:
            yield Change(problem, "kept", old, new, verdicts, 1.0)
        else:
            alike = similarity(old.text, new.text)
            yield Change(problem, "changed", old, new, verdicts, alike, written(new))


def chosen(
    changes: Iterable[Change], *, gap: str | None = None, problems: Collection[str] = ()
) -> Iterator[Change]:
    """
    Choose those of *changes* that treat *gap* and are about *problems*, where these are given.

    Raises RefusedError at the end for a problem that never came.
    """
    missing = set(problems)
    for change in changes:
        missing.discard(change.problem)
        if (gap is None or change.treats(gap)) and (not problems or change.problem in problems):
            yield change
    if missing:
        raise RefusedError(f"there is no problem {min(missing)!r} in either version")


def listed(changes: Iterable[Change], only: Kind | None = None) -> Iterator[Change]:
    """Choose those of *changes* that are of the kind *only*; without it, all but the kept."""
    return (c for c in changes if (c.kind == only if only else c.kind != "kept"))


def summed(changes: Iterable[Change]) -> Summary:
    """Count all of *changes*."""
    summary = Summary()
    for change in changes:
        summary.add(change)
    return summary


def similarity(before: str, after: str) -> float:
    """
    Measure how alike two texts are, from 0 to 1: twice the characters shared in order, over all.

    Rapidfuzz's ratio (one less the normalised Indel distance); texts of more than about 100,000
    characters are compared by words.
    """
    if len(before) * len(after) <= MAX_RATIO:
        return fuzz.ratio(before, after) / 100
    same = sum(len(text) for operation, text in edits(before, after) if operation == "=")
    return 2 * same / (len(before) + len(after))


def edits(before: str, after: str) -> list[Edit]:
    """
    Find the words that turn *before* into *after*: kept (=), removed (-), added (+).

    Texts marked = and - joined are *before*, those marked = and + are *after*, to the last space.
    Words are compared without the space around them; a removed part stands before the added one
    in its place, and between two parts that were kept.

    >>> edits("so 2 + 2 = 5", "so 2 + 2 = 4.")
    [('=', 'so 2 + 2 = '), ('-', '5'), ('+', '4.')]
    """
    olds, news = _WORD.split(before), _WORD.split(after)  # space, word, space, ..., word, space
    found: list[Edit] = []
    for tag, i1, i2, j1, j2 in _aligned(olds[1::2], news[1::2]):
        if tag == "equal":
            if olds[2 * i1 : 2 * i2] == news[2 * j1 : 2 * j2]:
                found.append(("=", "".join(olds[2 * i1 : 2 * i2])))
                continue
            for i, j in zip(range(i1, i2), range(j1, j2), strict=True):
                found += _spaces(olds[2 * i], news[2 * j])
                found.append(("=", olds[2 * i + 1]))
            continue
        found.append(("-", "".join(olds[2 * i1 : 2 * i2])))
        found.append(("+", "".join(news[2 * j1 : 2 * j2])))
    found += _spaces(olds[-1], news[-1])
    return _merged(found)


def _spaces(old: str, new: str) -> list[Edit]:
    return [("=", old)] if old == new else [("-", old), ("+", new)]


def _merged(found: Iterable[Edit]) -> list[Edit]:
    """*found* with neighbours joined, and what was removed before what was added."""
    parts: list[Edit] = []
    for same, group in groupby((edit for edit in found if edit[1]), lambda edit: edit[0] == "="):
        run = list(group)
        if same:
            parts += run
            continue
        old = "".join(text for operation, text in run if operation == "-")
        new = "".join(text for operation, text in run if operation == "+")
        head = _space(old, new)
        old, new = old[len(head) :], new[len(head) :]
        tail = _space(old[::-1], new[::-1])[::-1]
        end = -len(tail) or None
        parts += [("=", head), ("-", old[:end]), ("+", new[:end]), ("=", tail)]
    whole = groupby((edit for edit in parts if edit[1]), lambda edit: edit[0])
    return [(operation, "".join(text for _, text in run)) for operation, run in whole]


def _space(one: str, other: str) -> str:
    """The space that both texts begin with."""
    if one[:1] != other[:1] or not one[:1].isspace():
        return ""
    pairs = takewhile(
        lambda pair: pair[0] == pair[1] and pair[0].isspace(), zip(one, other, strict=False)
    )
    return "".join(character for character, _ in pairs)


def _aligned(old: Sequence[str], new: Sequence[str]) -> list[Opcode]:
    """
    Opcodes as difflib has them, for any texts in bounded time.

    What both begin and end with is set aside. Where words repeat so often that difflib would take
    seconds, Indel aligns the rest; where even its table would be too large, the rest is replaced.
    """
    start, n, m = 0, len(old), len(new)
    while start < min(n, m) and old[start] == new[start]:
        start += 1
    while n > start and m > start and old[n - 1] == new[m - 1]:
        n, m = n - 1, m - 1
    middle = [
        (tag, i1 + start, i2 + start, j1 + start, j2 + start)
        for tag, i1, i2, j1, j2 in _opcodes(old[start:n], new[start:m])
    ]
    head = [("equal", 0, start, 0, start)]
    return [*head, *middle, ("equal", n, len(old), m, len(new))]


def _opcodes(old: Sequence[str], new: Sequence[str]) -> Sequence[Opcode]:
    n, m = len(old), len(new)
    if not n or not m:
        return [("replace", 0, n, 0, m)]
    if n * m <= MAX_PAIRS or _pairs(old, new) <= MAX_PAIRS:
        return difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    if n * m <= MAX_TABLE:
        numbers: dict[str, int] = {}
        left = [numbers.setdefault(word, len(numbers)) for word in old]
        right = [numbers.setdefault(word, len(numbers)) for word in new]
        return [
            (code.tag, code.src_start, code.src_end, code.dest_start, code.dest_end)
            for code in Indel.opcodes(left, right)
        ]
    return [("replace", 0, n, 0, m)]


def _pairs(old: Sequence[str], new: Sequence[str]) -> int:
    """How many pairs of equal words difflib looks at in its first pass."""
    counts = Counter(new)
    return sum(counts[word] for word in old)


def _paired(
    before: Iterable[Rationale], after: Iterable[Rationale]
) -> Iterator[tuple[str, Rationale | None, Rationale | None]]:
    olds, news = _ascending(before), _ascending(after)
    old, new = next(olds, None), next(news, None)
    while old or new:
        if old and new and old.problem == new.problem:
            yield old.problem, old, new
            old, new = next(olds, None), next(news, None)
        elif old and (not new or old.problem < new.problem):
            yield old.problem, old, None
            old = next(olds, None)
        elif new:
            yield new.problem, None, new
            new = next(news, None)


def _verdict(answer: Prediction | None) -> Verdict | None:
    return answer.verdict if answer else None


def _following(rows: Iterable[Row]) -> "Following[Row]":
    """A generator that is sent problems in ascending order and answers each with its row."""
    generator = _followed(rows)
    next(generator)
    return generator


def _followed(rows: Iterable[Row]) -> "Following[Row]":
    ordered = _ascending(rows)
    row = None
    found: Row | None = None
    problem = yield None
    row = next(ordered, None)
    while True:
        while row and row.problem < problem:
            row = next(ordered, None)
        found = row if row and row.problem == problem else None
        problem = yield found


def _ascending(rows: Iterable[Row]) -> Iterator[Row]:
    last = ""
    for row in rows:
        if row.problem <= last:
            raise ValueError(f"problem {row.problem!r} comes after {last!r}: sort by problem")
        last = row.problem
        yield row


def _count(counter: Counter[str], reason: str) -> None:
    counter[reason if reason in counter or len(counter) < MAX_REASONS else OTHERS] += 1
