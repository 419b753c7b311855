"""The chosen round as a data set for others: four views of the same rows, and their provenance."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from redistill.analysis import summary as summaries
from redistill.analysis.scores import HELD_OUT
from redistill.analysis.summary import Summary
from redistill.console.exceptions import RefusedError
from redistill.problems.overlap import question as asked
from redistill.problems.sought import GRAM, Sought
from redistill.problems.task import load_task
from redistill.rationales.teacher import TeachSettings
from redistill.records import lessons, spool
from redistill.records.balance import Balance
from redistill.records.json_file import read_json
from redistill.records.lessons import Lesson
from redistill.records.types import Lessons, Prediction, Problem, Rationale, Split
from redistill.rounds.branches import FIRST, Branch
from redistill.settings import secrets
from redistill.settings.sections import Section
from redistill.students.model.settings import StudentSettings
from redistill.students.model.tokens import question

VERBS = ("explain", "refine", "repair")  # of prompts
PROMPTS = Path(__file__).parent.parent / "prompts"
HELD: tuple[Split, ...] = ("dev", "test")  # the splits of which nothing is published
VIEWS = ("records", "sft", "messages", "preference")
COUNTED = {"sources": "source", "teachers": "teacher", "written_in": "round", "gaps": "gaps"}
NOT_ONE = {"correct": "the student was right", "cut_off": "the student was cut off"}

Row = dict[str, Any]


class PublishSettings(Section):
    """
    Section ``publish``: the name of the data set, and the licence under which you publish it.

    *license* is an identifier of the Hugging Face hub such as ``cc-by-4.0``; null states none, and
    then nothing is pushed.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    license: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]{0,63}$")] | None


@dataclass(frozen=True)
class Entry:
    """The rows of every view that a *problem* has, and why it has none of the preference view."""

    problem: Problem
    rows: dict[str, list[Row]]
    unpaired: str | None


@dataclass(frozen=True)
class Views:
    """
    Four views of the *rationales* of a round, made entry by entry in the order of their ids.

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
        }
        wrong, reason = _wrong(lesson, self.students, self.branches)
        if reason is None:
            pair = {"chosen": lesson.text, "rejected": wrong}
            rows["preference"].append({"id": lesson.id, "prompt": f"{prompt}\n", **pair})
        return Entry(problem, rows, reason)


class Tally:
    """What is counted of entries, for the provenance of the data set."""

    def __init__(self) -> None:
        """Have counted nothing."""
        self.views: Counter[str] = Counter(dict.fromkeys(VIEWS, 0))
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in COUNTED}
        self._unpaired: Counter[str] = Counter()

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "Tally":
        """Count *entries*."""
        tally = cls()
        for entry in entries:
            tally.add(entry)
        return tally

    @property
    def unpaired(self) -> dict[str, int]:
        """The rationales that the preference view has not, by reason."""
        return dict(sorted(self._unpaired.items()))

    def add(self, entry: Entry) -> None:
        """Count one more *entry*."""
        for name, rows in entry.rows.items():
            self.views[name] += len(rows)
        for name, field in COUNTED.items():
            for row in entry.rows["records"]:
                self.counts[name].update(row[field] if name == "gaps" else [row[field]])
        if entry.unpaired is not None:
            self._unpaired[entry.unpaired] += 1


def chain(chosen: str, branches: Mapping[str, Branch]) -> list[str]:
    """Find the rounds that lead to the round *chosen*, the first one first."""
    names = [chosen]
    while names[0] != FIRST:
        names.insert(0, branches[names[0]].from_)
        if len(names) > len(branches):
            raise RefusedError(f"branches.{chosen}: its rounds do not lead back to {FIRST}")
    return names


def views(
    problems: Sequence[Problem],
    rationales: Sequence[Rationale],
    students: Mapping[str, Sequence[Prediction]],
    branches: Mapping[str, Branch],
    taught: Lessons,
) -> Views:
    """
    Make four views of *rationales*, the chosen round's, each row for one of the train *problems*.

    ``sft`` and ``messages`` have what its student was *taught*: where lessons accumulate, a row for
    each text, the older ones with their round in the id. *students* has the predictions on train of
    the students whose errors were shown to the teacher, by branch. Where such a student was wrong,
    its completion is what the rationale that followed is preferred to. Raises RefusedError for a
    rationale of a problem that is not in train, and for two of one problem.
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


class Gate:
    """
    What may not be published: questions of dev and test, and keys.

    Every text of the entries is looked at once: questions with their choices, rationales, what
    they replaced, completions of students.
    """

    def __init__(self, splits: Mapping[Split, Sequence[Problem]]) -> None:
        """Look for the questions of dev and test of *splits*."""
        self._splits = {split: splits[split] for split in HELD}
        self._sought = {split: Sought(problems) for split, problems in self._splits.items()}

    def look(self, entry: Entry) -> None:
        """
        Look at one more *entry*.

        Raises RefusedError for text that has the shape of a key, naming the row.
        """
        _refuse_keys(entry)
        for text in _texts(entry):
            for sought in self._sought.values():
                sought.look(text)

    def found(self) -> dict[str, dict[str, int]]:
        """
        Say how far what was looked at overlaps with dev and test.

        Raises RefusedError for a question of dev or test that stands in it.
        """
        found: dict[str, dict[str, int]] = {}
        for split, sought in self._sought.items():
            standing = sought.standing()
            if standing:
                raise RefusedError(
                    f"publish: {len(standing)} questions of {split} stand in the rows to publish, "
                    f"{', '.join(repr(i) for i in standing[:3])} first; take them out of {split} "
                    "or out of train, then dvc repro"
                )
            shared, count = len(sought.overlapping()), len(self._splits[split])
            found[split] = {"questions": count, "exact": 0, "overlapping": shared}
        return found


def gate(published: Views, splits: Mapping[Split, Sequence[Problem]]) -> dict[str, dict[str, int]]:
    """Measure how far *published* rows overlap with dev and test of *splits*, as `Gate` does."""
    gate = Gate(splits)
    for entry in published.each():
        gate.look(entry)
    return gate.found()


def origin(
    task: str,
    teach: TeachSettings,
    student: StudentSettings,
    near_duplicates: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """
    Say where the problems, texts and students of a run come from, by its settings.

    *near_duplicates* is what was found of them (`contamination.read`).
    """
    found = load_task(task)
    files = [PROMPTS / f"{verb}-{teach.prompts}.txt" for verb in VERBS]
    return {
        "task": {"name": task, "source": found.SOURCE, "licence": found.LICENCE},
        "teach": {"teacher": teach.teacher, "refiner": teach.refiner},
        "prompts": {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files},
        "student": {"model": student.model, "revision": student.revision},
        "near_duplicates": near_duplicates,
    }


def rounds(
    names: Sequence[str],
    branches: Mapping[str, Branch],
    lessons: Mapping[str, Iterable[Rationale]],
    folder: Path,
) -> list[dict[str, Any]]:
    """
    Say what became of the rationales in each of the rounds *names*: counts by status and reason.

    *lessons* has the rationales of each, *folder* the metrics of generating and refining.
    """
    found = []
    for name in names:
        metrics = read_json(folder / f"{name}.json")
        statuses, teachers = Counter[str](), Counter[str]()
        for lesson in lessons[name]:
            statuses[lesson.status] += 1
            if lesson.round == name:
                teachers[lesson.teacher] += 1
        attempts = metrics["attempts"]
        found.append(
            {
                "round": name,
                "errors_of": None if name == FIRST else branches[name].from_,
                "statuses": dict(sorted(statuses.items())),
                "accepted": attempts["accepted"],
                "rejected": attempts["rejected"],
                "kept": metrics.get("kept", {}),
                "teachers": dict(sorted(teachers.items())),
            }
        )
    return found


def provenance(
    settings: PublishSettings,
    published: Views,
    tally: Tally,
    overlap: Mapping[str, Mapping[str, int]],
    origin: Mapping[str, Any],
    rounds: Sequence[Mapping[str, Any]],
    summary: Summary,
) -> dict[str, Any]:
    """Collect all that is known of the data set, for ``provenance.json`` and for the card."""
    return {
        "name": settings.name,
        "license": settings.license,
        "round": rounds[-1]["round"],
        "chosen_on": summary.best.chosen_on,
        "lessons": published.taught,
        **origin,
        **{name: dict(sorted(counts.items())) for name, counts in tally.counts.items()},
        "rounds": list(rounds),
        "views": dict(tally.views),
        "unpaired": tally.unpaired,
        "balance": published.balance.as_dict(),
        "results": [list(line) for line in summaries.lines(summary)],
        "verdict": summaries.sentence(summary.best),
        "overlap": {"words_in_a_row": GRAM, **overlap},
    }


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


def _texts(entry: Entry) -> Iterator[str]:
    """Every text of an entry: question, choices, rationales, completions."""
    yield asked(entry.problem)
    for row in entry.rows["records"]:
        yield row["rationale"]
        for version in [*row["history"], *row["own"]]:
            yield version["text"]
    for row in entry.rows["preference"]:
        yield row["rejected"]


def _refuse_keys(entry: Entry) -> None:
    for view in ("records", "preference"):
        for row in entry.rows[view]:
            if not secrets.SHAPE.search(json.dumps(row, ensure_ascii=False)):
                continue
            for name, value in row.items():
                if secrets.SHAPE.search(json.dumps(value, ensure_ascii=False)):
                    raise RefusedError(
                        f'publish: row "{row["id"]}" field "{name}": holds what looks like a key '
                        "of a service; have it revoked and take it out of the problems or have "
                        "the rationale asked for again"
                    )
