"""The dev cases most like a problem, which a teacher is shown beside it."""

from bisect import insort
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from rapidfuzz import fuzz

from redistill.records.types import Error, Exemplar, Problem

WHOLE = 512  # cases that are all compared with a question; of more, those that share most with it
COMPARED = 256  # of more than WHOLE, so many are compared
LETTERS = 96  # kinds of letters: those of ASCII that are printed, and others with one of these
FREQUENT = 16_000  # a letter that a question has more often counts as often
ROUNDING = 1e-6  # of a likeness, which is a percentage

Counts = npt.NDArray[np.int64]


class Likeness:
    """
    The dev cases among *errors*, found by how like their questions are to another.

    A dev problem that several students failed at is one case, the first of its errors. Likeness is
    rapidfuzz's token_set_ratio. It is computed for few cases only: what words and letters two
    questions share bounds it from above, and costs a thousandth.
    """

    def __init__(self, errors: Iterable[Error], problems: Mapping[str, Problem]) -> None:
        """Keep the cases of *errors*, each with the question of its problem among *problems*."""
        cases: dict[str, Error] = {}
        for error in errors:
            cases.setdefault(error.problem, error)
        self._cases = [*cases.values()]
        self._problems = [problems[name] for name in cases]
        self._places, self._sizes, self._letters = _index([p.question for p in self._problems])
        self.compared = 0  # questions of which the likeness was computed, since this was made

    def __len__(self) -> int:
        """Count the cases."""
        return len(self._cases)

    def nearest(self, question: str, most: int) -> list[Exemplar]:
        """
        Find the *most* cases whose questions share most words with *question*, nearest first.

        Of cases that are equally like the first is taken. Of more than WHOLE cases only the
        COMPARED are looked at that have most of their text in words of *question*, of equals the
        first: where a word differs in a letter, one that is nearer can be missed.
        """
        if most < 1 or not self._cases:
            return []
        words = {*question.split()}
        shared = self._shared(words)
        places = self._looked_at(shared)
        bounds = self._bounds(words, shared, places)
        best: list[tuple[float, int]] = []
        for number in np.argsort(-bounds, kind="stable"):
            if len(best) >= most and bounds[number] < -best[most - 1][0] - ROUNDING:
                break
            place = int(places[number])
            insort(best, (-self._likeness(question, place), place))
            del best[most:]
        return [self._exemplar(place) for _, place in best]

    def _likeness(self, question: str, place: int) -> float:
        self.compared += 1
        return fuzz.token_set_ratio(question, self._problems[place].question)

    def _shared(self, words: Collection[str]) -> Counts:
        """How much text of each case stands in *words*: their letters, and one for each word."""
        shared = np.zeros(len(self._cases), dtype=np.int64)
        for word in words:
            if (places := self._places.get(word)) is not None:
                shared[places] += len(word) + 1
        return shared

    def _looked_at(self, shared: Counts) -> Counts:
        """The places of the cases to look at, in their order."""
        if len(shared) <= WHOLE:
            return np.arange(len(shared))
        least = np.iinfo(np.uint16).max - np.minimum(shared, np.iinfo(np.uint16).max)
        order = np.argsort(least.astype(np.uint16), kind="stable")  # of 16 bits: in linear time
        return np.sort(order[:COMPARED])

    def _bounds(
        self, words: Collection[str], shared: Counts, places: Counts
    ) -> npt.NDArray[np.float64]:
        """
        What the likeness of the cases at *places* is at most.

        token_set_ratio is the largest of three similarities: of the shared words with themselves
        and the rest of either question, and of both questions whole. Of the last, which is slow to
        compute, the edits are at least the letters that one has and the other has not.
        """
        size, sizes, shared = _size(words), self._sizes[places], shared[places]
        edits = np.abs(self._letters[places] - _letters(words)).sum(axis=1, dtype=np.int64)
        whole = 1 - edits / np.maximum(size + sizes - 2, 1)
        rest = np.minimum(size, sizes) - shared
        part = np.where(shared > 0, 1 - rest / np.maximum(2 * shared - 2 + rest, 1), 0)
        bounds = np.where(rest > 0, np.maximum(whole, part), 1)
        return 100 * bounds

    def _exemplar(self, place: int) -> Exemplar:
        problem, error = self._problems[place], self._cases[place]
        return Exemplar(
            problem=problem.id,
            question=problem.question,
            completion=error.completion,
            choices=problem.choices,
            gap=error.gap,
        )


@dataclass(frozen=True)
class Cases:
    """The *errors* of a student on dev *problems*, of which a prompt shows at most *most*."""

    errors: Sequence[Error]
    problems: Mapping[str, Problem]
    most: int
    _found: dict[frozenset[str], Likeness] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def on_dev(
        cls, errors: Iterable[Error], problems: Iterable[Problem], most: int, *, asks: bool
    ) -> "Cases":
        """Take those of *errors* that are on dev, or none for a teacher that *asks* no model."""
        own = [error for error in errors if error.split == "dev"] if asks else []
        return cls(own, {problem.id: problem for problem in problems} if own else {}, most)

    def like(self, problem: Problem, gaps: Collection[str]) -> list[Exemplar]:
        """Find those nearest to *problem*, among errors of one of *gaps*, or all without any."""
        among = frozenset(gaps)
        if among not in self._found:
            alike = [error for error in self.errors if not gaps or error.gap in gaps]
            self._found[among] = Likeness(alike, self.problems)
        return self._found[among].nearest(problem.question, self.most)


def _index(
    questions: Sequence[str],
) -> tuple[dict[str, npt.NDArray[np.int64]], Counts, npt.NDArray[np.int16]]:
    """The places of *questions* by each of their words, their sizes, and counts of letters."""
    places: dict[str, list[int]] = {}
    sizes = np.zeros(len(questions), dtype=np.int64)
    letters = np.zeros((len(questions), LETTERS), dtype=np.int16)
    for place, question in enumerate(questions):
        words = {*question.split()}
        for word in words:
            places.setdefault(word, []).append(place)
        sizes[place] = _size(words)
        letters[place] = _letters(words)
    return {word: np.array(found) for word, found in places.items()}, sizes, letters


def _size(words: Iterable[str]) -> int:
    """How long *words* are, each with the space before it."""
    return sum(len(word) + 1 for word in words)


def _letters(words: Iterable[str]) -> npt.NDArray[np.int16]:
    """How often each kind of letter stands in *words*, at most FREQUENT times."""
    codes = np.frombuffer("".join(words).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    counts = np.bincount(codes % LETTERS, minlength=LETTERS)
    return np.minimum(counts, FREQUENT).astype(np.int16)
