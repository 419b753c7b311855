"""The life of every problem over the branches, as the report's explorer finds and shows it."""

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar, cast, overload

from redistill.analysis import costs
from redistill.analysis.scores import HELD_OUT
from redistill.console.safe_text import safe_text
from redistill.diff import render
from redistill.problems import sources
from redistill.records import jsonl, spool
from redistill.records.lazy import Joined
from redistill.records.types import Error, Prediction, Problem, Rationale, Record, Split
from redistill.rounds.branches import FIRST, Branch
from redistill.solutions import gaps, mending

SPLITS: tuple[Split, ...] = ("train", "dev", "test")
VERDICTS = {"correct": "c", "wrong": "w", "no_answer": "n", "cut_off": "x"}
STATUSES = {"first": "f", "refined": "r", "kept": "k"}
NONE, ABSENT = -1, "-"
MAX_SEARCHED = 2000  # characters of a question that are searched and listed; its life has it all
MAX_REASONS = 60  # reasons that can be chosen; a foreign file can have one a row

S = TypeVar("S", bound=Record)
Key = tuple[Split, str]
Part = tuple[str, str]  # an edit, or "!" and the step that is wrong


class Asked(Sequence[tuple[Split, Problem]]):
    """The problems of all splits, each with its split."""

    def __init__(self, splits: Mapping[Split, Sequence[Problem]]) -> None:
        """Put the problems of *splits* one after the other."""
        self._splits = splits
        self._all = Joined(*splits.values())

    def __len__(self) -> int:
        """Count the problems."""
        return len(self._all)

    @overload
    def __getitem__(self, place: int) -> tuple[Split, Problem]: ...
    @overload
    def __getitem__(self, place: slice) -> list[tuple[Split, Problem]]: ...
    def __getitem__(
        self, place: int | slice
    ) -> tuple[Split, Problem] | list[tuple[Split, Problem]]:
        """Return the problem at *place* with its split, or those of a slice."""
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        left = range(len(self))[place]
        for split, problems in self._splits.items():
            if left < len(problems):
                return split, problems[left]
            left -= len(problems)
        raise IndexError(place)

    def __iter__(self) -> Iterator[tuple[Split, Problem]]:
        """Return the problems in their order."""
        return ((split, one) for split, problems in self._splits.items() for one in problems)


class Keyed(Mapping[Key, S]):
    """Records by split and problem, which need not be in memory."""

    def __init__(self, rows: Mapping[Split, Sequence[S]]) -> None:
        """Have the *rows* of each split by themselves."""
        self.rows = rows
        by_problem = attrgetter("problem")
        self.parts = {split: spool.named(found, by_problem) for split, found in rows.items()}

    def __len__(self) -> int:
        """Count the records."""
        return sum(len(part) for part in self.parts.values())

    def __iter__(self) -> Iterator[Key]:
        """Return the splits and problems that there are records for."""
        return ((split, name) for split, part in self.parts.items() for name in part)

    def __getitem__(self, key: Key) -> S:
        """Return the record for a split and problem."""
        part = self.parts.get(key[0])
        if part is None:
            raise KeyError(key)
        return part[key[1]]


class Failures(Mapping[Key, Error]):
    """
    The first error of each problem, by split and problem.

    It is that of the greedy completion where this is wrong.
    """

    def __init__(self, errors: Sequence[Error]) -> None:
        """Find the first of *errors* for each problem."""
        self._index = spool.named(errors, lambda e: f"{e.split} {e.problem}", first=True)

    def __len__(self) -> int:
        """Count the problems that there is an error for."""
        return len(self._index)

    def __iter__(self) -> Iterator[Key]:
        """Return the splits and problems of the errors."""
        for name in self._index:
            split, _, problem = name.partition(" ")
            yield cast(Split, split), problem

    def __getitem__(self, key: Key) -> Error:
        """Return the first error for a split and problem."""
        return self._index[" ".join(key)]


@dataclass(frozen=True)
class Run:
    """
    The records of a run: *problems* in order, the others by branch and then by problem.

    *held_out* are answers to train problems by students that were not taught them, *outside* those
    to all out-of-domain tests.
    """

    branches: Mapping[str, Branch]
    rounds: Sequence[str]
    problems: Sequence[tuple[Split, Problem]]
    rationales: Mapping[str, Mapping[str, Rationale]]
    predictions: Mapping[str, Mapping[Key, Prediction]]
    errors: Mapping[str, Mapping[Key, Error]]
    held_out: Mapping[str, Mapping[str, Prediction]] = field(default_factory=dict)
    outside: Mapping[str, Sequence[Prediction]] = field(default_factory=dict)

    def lesson(self, branch: str, problem: str) -> Rationale | None:
        """Return the rationale of *problem* that the student of *branch* was taught."""
        return self.rationales[self.branches[branch].rationales].get(problem)

    def of_split(self, split: Split) -> dict[str, Sequence[Prediction]]:
        """Return the predictions of every branch for the problems of *split*."""
        return {
            name: rows.rows[split]
            if isinstance(rows, Keyed)
            else [row for (kind, _), row in rows.items() if kind == split]
            for name, rows in self.predictions.items()
        }


def read(
    problems: Path,
    rationales: Path,
    predictions: Path,
    errors: Path,
    outside: Path,
    branches: Mapping[str, Branch],
    rounds: Sequence[str],
) -> Run:
    """
    Check the records in these folders; they stay there until they are asked for.

    Those of a branch that was passed through are empty files.
    """
    lessons = dict.fromkeys(branch.rationales for branch in branches.values())
    return Run(
        branches,
        rounds,
        Asked(
            {
                s: sources.restored(spool.read(problems / f"{s}.jsonl", Problem), problems)
                for s in SPLITS
            }
        ),
        {name: _by_problem(rationales / f"{name}.jsonl", Rationale) for name in lessons},
        {name: _keyed(predictions / name) for name in branches},
        {name: Failures(spool.read(errors / f"{name}.jsonl", Error)) for name in branches},
        {
            name: _by_problem(file, Prediction)
            for name in branches
            if (file := predictions / name / f"{HELD_OUT}.jsonl").is_file()
        },
        {name: _outside(outside / name) for name in branches},
    )


def _by_problem(file: Path, kind: type[S]) -> Mapping[str, S]:
    return spool.named(spool.read(file, kind), attrgetter("problem"))


def _keyed(folder: Path) -> Keyed[Prediction]:
    files = {split: folder / f"{split}.jsonl" for split in SPLITS}
    return Keyed({split: spool.read(file, Prediction) for split, file in files.items()})


def _outside(folder: Path) -> list[Prediction]:
    """The answers to all tests in *folder*, each by an id that no other test has."""
    return [
        row.model_copy(update={"problem": f"{file.stem}/{row.problem}"})
        for file in sorted(folder.glob("*.jsonl"))
        for row in jsonl.read(file, Prediction)
    ]


def index(run: Run) -> dict[str, Any]:
    """
    List what the explorer filters by, in columns: one entry a problem, in the order of *run*.

    Verdicts and the status of rationales are a letter each, gaps and reasons places in their lists.
    """
    known, reasons = _gaps(run), _reasons(run)
    columns = {name: _Columns() for name in run.branches}
    sizes: Counter[str] = Counter()
    ids: list[str] = []
    for split, problem in run.problems:
        sizes[split] += 1
        ids.append(safe_text(problem.id))
        for name, column in columns.items():
            answer = run.predictions[name].get((split, problem.id))
            error = run.errors[name].get((split, problem.id))
            lesson = run.lesson(name, problem.id) if split == "train" else None
            column.add(answer, error, lesson, known, reasons)
    return {
        "branches": [
            {
                "name": safe_text(name),
                "kind": costs.kind(name, run.branches, run.rounds),
                "taught": safe_text(branch.rationales),
                "passed": not run.predictions[name],
                **columns.pop(name).as_dict(),
            }
            for name, branch in run.branches.items()
        ],
        "gaps": [safe_text(gap) for gap in known],
        "reasons": [safe_text(reason) for reason in reasons],
        "splits": [[split, sizes[split]] for split in SPLITS],
        "ids": ids,
    }


@dataclass
class _Columns:
    """What the explorer filters a branch by: an entry a problem, of a byte or two."""

    verdicts: "array[int]" = field(default_factory=lambda: array("b"))
    gaps: "array[int]" = field(default_factory=lambda: array("h"))
    statuses: "array[int]" = field(default_factory=lambda: array("b"))
    reasons: "array[int]" = field(default_factory=lambda: array("h"))

    def add(
        self,
        answer: Prediction | None,
        error: Error | None,
        lesson: Rationale | None,
        gaps: Sequence[str],
        reasons: Sequence[str],
    ) -> None:
        """Add the entry of one more problem, by its places among *gaps* and *reasons*."""
        self.verdicts.append(ord(VERDICTS[answer.verdict] if answer else ABSENT))
        self.gaps.append(gaps.index(error.gap) if error else NONE)
        self.statuses.append(ord(STATUSES[lesson.status] if lesson else ABSENT))
        reason = lesson.reason if lesson and lesson.status == "kept" else None
        self.reasons.append(reasons.index(reason) if reason and reason in reasons else NONE)

    def as_dict(self) -> dict[str, Any]:
        """Return the columns as the page reads them."""
        return {
            "verdicts": self.verdicts.tobytes().decode("ascii"),
            "gaps": self.gaps.tolist(),
            "statuses": self.statuses.tobytes().decode("ascii"),
            "reasons": self.reasons.tolist(),
        }


def questions(run: Run) -> Iterator[str]:
    """Write the question of every problem, as the explorer lists and searches it."""
    return (safe_text(problem.question, MAX_SEARCHED) for _, problem in run.problems)


def lives(run: Run) -> Iterator[dict[str, Any]]:
    """Tell the life of every problem in the order of *run*; docs/report.md says what is in it."""
    for split, problem in run.problems:
        content = {
            "id": safe_text(problem.id),
            "split": split,
            "question": _text(problem.question),
            "answer": _text(problem.answer),
            "source": safe_text(problem.source),
            "solution": _text(problem.solution or ""),
            "choices": [[_text(k), _text(v)] for k, v in (problem.choices or {}).items()],
            "branches": list(_branches(run, (split, problem.id))),
        }
        yield {key: value for key, value in content.items() if value}


def parts(completion: str, step: str | None) -> list[Part]:
    """
    Cut *completion* into parts.

    The *step* that `locate` names has "!" before it, where it is found.
    """
    start, end = mending.place(completion, step) or (0, 0)
    cut = [("=", completion[:start]), ("!", completion[start:end]), ("=", completion[end:])]
    return [(sign, _text(text)) for sign, text in cut if text]


def _branches(run: Run, key: Key) -> Iterator[dict[str, Any]]:
    for number, (name, branch) in enumerate(run.branches.items()):
        content: dict[str, Any] = {"branch": number}
        if key[0] == "train" and branch.rationales != name:
            content["taught"] = safe_text(branch.rationales)
        elif key[0] == "train" and (lesson := run.lesson(name, key[1])):
            before = run.lesson(branch.from_, key[1]) if name != FIRST else None
            content["lesson"] = _lesson(lesson, before)
        answer, error = run.predictions[name].get(key), run.errors[name].get(key)
        held = run.held_out.get(name, {}).get(key[1]) if key[0] == "train" else None
        if answer:
            content["answer"] = _answer(answer, None if held else error)
        if held:
            content["held"] = _answer(held, error)
        if error:
            content["error"] = _error(error)
        if len(content) > 1:
            yield content


def _lesson(lesson: Rationale, before: Rationale | None) -> dict[str, Any]:
    """A rationale with what it changes; without a text where it is the one before."""
    content: dict[str, Any] = {
        "status": lesson.status,
        "round": safe_text(lesson.round),
        "teacher": safe_text(lesson.teacher),
        "reason": safe_text(lesson.reason or ""),
        "gaps": [safe_text(gap) for gap in lesson.gaps],
    }
    if before is None:
        content["edits"] = [("=", _text(lesson.text))]
    elif before.text != lesson.text:
        content["edits"] = render.words(before.text, lesson.text)
    return {key: value for key, value in content.items() if value}


def _answer(answer: Prediction, error: Error | None) -> dict[str, Any]:
    """A completion with its first wrong step; where drawn ones were mined, the slip that was."""
    step = error.first_wrong_step if error else None
    mined = answer.slips[0] if answer.verdict == "correct" and answer.slips else None
    content: dict[str, Any] = {
        "verdict": answer.verdict,
        "read": _text(answer.answer or ""),
        "tokens": answer.tokens,
        "endless": not answer.eos,
        "lenient": answer.lenient and answer.verdict != "correct",
        "parts": parts(answer.completion, None if mined else step),
    }
    if answer.samples is not None and answer.passes is not None:
        content["passes"] = [answer.passes, answer.samples]
    if mined:
        content["slip"] = {"verdict": mined.verdict, "parts": parts(mined.completion, step)}
    return {key: value for key, value in content.items() if value or key == "tokens"}


def _error(error: Error) -> dict[str, Any]:
    content = {
        "gap": safe_text(error.gap),
        "step": _text(error.first_wrong_step or ""),
        "like": [safe_text(exemplar.problem) for exemplar in error.exemplars],
    }
    return {key: value for key, value in content.items() if value}


def _text(text: str) -> str:
    return safe_text(text, render.LIMIT)


def _gaps(run: Run) -> list[str]:
    """The gaps that occur, the known ones first and in their order."""
    found = {error.gap for errors in run.errors.values() for error in errors.values()}
    return [*(gap for gap in gaps.ALL if gap in found), *sorted(found - set(gaps.ALL))]


def _reasons(run: Run) -> list[str]:
    """Why rationales were kept, most frequent first."""
    counts: dict[str, int] = {}
    for lessons in run.rationales.values():
        for lesson in lessons.values():
            if lesson.status == "kept" and lesson.reason:
                counts[lesson.reason] = counts.get(lesson.reason, 0) + 1
    return sorted(counts, key=lambda reason: (-counts[reason], reason))[:MAX_REASONS]
