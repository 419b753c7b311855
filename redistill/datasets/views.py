"""The chosen round as a data set for others: views of the same rows, for several trainers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redistill.analysis.scores import HELD_OUT
from redistill.console.exceptions import RefusedError
from redistill.records import lessons, spool
from redistill.records.balance import Balance
from redistill.records.lessons import Lesson
from redistill.records.types import Lessons, Prediction, Problem, Rationale
from redistill.rounds.branches import FIRST, Branch
from redistill.solutions import gaps
from redistill.students.model.tokens import question

VIEWS = ("records", "sft", "messages", "preference", "privileged_context", "feedback")
NOT_ONE = {"correct": "the student was right", "cut_off": "the student was cut off"}
KNOWN = frozenset(gaps.ALL) - {"unknown"}
FEEDBACK = "An earlier answer to this, which is wrong:"

Row = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """The rows of every view that a *problem* has, and why it has none of the preference view."""

    problem: Problem
    rows: dict[str, list[Row]]
    unpaired: str | None


@dataclass(frozen=True)
class Views:
    """
    Views of the *rationales* of a round, made entry by entry in the order of their ids.

    *problems* are those of train, *students* the predictions that the teacher saw, by branch.
    """

    problems: Mapping[str, Problem]
    rationales: Sequence[Rationale]
    students: Mapping[str, Mapping[str, Prediction]]
    branches: Mapping[str, Branch]
    taught: Lessons

    def each(self) -> Iterator[Entry]:
        """Make the rows of one problem after the other."""
        for lesson in self.rationales:
            yield self._entry(self.problems[lesson.problem], lesson)

    @property
    def rows(self) -> dict[str, list[Row]]:
        """All rows of every view."""
        found: dict[str, list[Row]] = {name: [] for name in VIEWS}
        for entry in self.each():
            for name, rows in entry.rows.items():
                found[name] += rows
        return found

    @property
    def balance(self) -> Balance:
        """Where the train problems went."""
        lost = len(self.problems) - len(self.rationales)
        rejected = {"no rationale": lost} if lost else {}
        return Balance("publish", len(self.problems), len(self.rationales), rejected)

    def _entry(self, problem: Problem, lesson: Rationale) -> Entry:
        prompt = question(problem)
        texts = lessons.taught([lesson], self.taught)
        rows: dict[str, list[Row]] = {
            "records": [_record(problem, lesson)],
            "sft": [{"id": t.id, "prompt": f"{prompt}\n", "completion": t.text} for t in texts],
            "messages": [_messages(text, prompt) for text in texts],
            "preference": [],
            "privileged_context": [_told(lesson, prompt, lesson.text)],
            "feedback": [],
        }
        wrong, reason = _wrong(lesson, self.students, self.branches)
        if reason is None:
            pair = {"chosen": lesson.text, "rejected": wrong}
            rows["preference"].append({"id": lesson.id, "prompt": f"{prompt}\n", **pair})
            told = _told(lesson, prompt, _feedback(lesson, wrong))
            rows["feedback"].append(told | {"answer": problem.answer})
        return Entry(problem, rows, reason)


def views(
    problems: Sequence[Problem],
    rationales: Sequence[Rationale],
    students: Mapping[str, Sequence[Prediction]],
    branches: Mapping[str, Branch],
    taught: Lessons,
) -> Views:
    """
    Make the views of *rationales*, the chosen round's, each row for one of the train *problems*.

    ``sft`` and ``messages`` have what its student was *taught*: where lessons accumulate, a row for
    each text, the older ones with their round in the id. *students* has the predictions on train of
    the students whose errors were shown to the teacher, by branch. Where such a student was wrong,
    its completion is what the rationale that followed is preferred to, and the feedback. Raises
    RefusedError for a rationale of a problem that is not in train, and for two of one problem.
    """
    known = spool.by_id(problems)
    ordered = spool.in_order(rationales)
    spool.by_problem(ordered, "rationales")
    for lesson in ordered:
        if lesson.problem not in known:
            raise RefusedError(
                f"rationale {lesson.id!r}: its problem {lesson.problem!r} is not in train"
            )
    answers = {name: spool.by_problem(found, name) for name, found in students.items()}
    return Views(known, ordered, answers, branches, taught)


def shown(folder: Path) -> Sequence[Prediction]:
    """Read the predictions on train whose errors the teacher saw: those held out, if there are."""
    held_out = folder / f"{HELD_OUT}.jsonl"
    found = spool.read(held_out, Prediction) if held_out.is_file() else ()
    return found or spool.read(folder / "train.jsonl", Prediction)


def _record(problem: Problem, lesson: Rationale) -> Row:
    """A row with its whole lineage; no value is null, since readers of JSONL guess types by it."""
    choices = (problem.choices or {}).items()
    return {
        "id": lesson.id,
        "problem": problem.id,
        "question": problem.question,
        "choices": [{"label": label, "text": text} for label, text in choices],
        "answer": problem.answer,
        "source": problem.source,
        "rationale": lesson.text,
        "round": lesson.round,
        "parent": lesson.parent or "",
        "teacher": lesson.teacher,
        "status": lesson.status,
        "reason": lesson.reason or "",
        "gaps": list(lesson.gaps),
        "fingerprint": lesson.fingerprint,
        "history": [version.model_dump() for version in lesson.history],
        "own": [version.model_dump() for version in lesson.own],
    }


def _messages(lesson: Lesson, prompt: str) -> Row:
    turns = [("user", prompt), ("assistant", lesson.text)]
    return {"id": lesson.id, "messages": [{"role": r, "content": text} for r, text in turns]}


def _wrong(
    lesson: Rationale,
    answers: Mapping[str, Mapping[str, Prediction]],
    branches: Mapping[str, Branch],
) -> tuple[str, str | None]:
    """The completion that *lesson* was written after, or why there is none to hold against it."""
    if lesson.round == FIRST:
        return "", "a first rationale"
    if lesson.round not in branches:
        raise RefusedError(f"rationale {lesson.id!r}: there is no round {lesson.round!r}")
    found = answers[branches[lesson.round].from_].get(lesson.problem)
    if found is None:
        return "", "no completion of the student"
    if found.verdict in NOT_ONE:
        return "", NOT_ONE[found.verdict]
    if found.lenient:
        return "", "the student was right, in another format"
    if not found.completion.strip():
        return "", "the student wrote nothing"
    return found.completion, None


def _told(lesson: Rationale, prompt: str, context: str) -> Row:
    """A row for a trainer whose student is its own teacher, which alone is told the *context*."""
    return {"id": lesson.id, "prompt": f"{prompt}\n", "privileged_context": context}


def _feedback(lesson: Rationale, wrong: str) -> str:
    """What is told of the completion that *lesson* was written after: it, and its first gap."""
    gap = (lesson.reason or "").split(", ")[0]
    told = f"\n\nWhere it goes wrong: {gaps.WORDS[gap]}." if gap in KNOWN else ""
    return f"{FEEDBACK}\n\n{wrong}{told}"
