"""What goes with the rows of a data set: settings, counts, what may not be in them, provenance."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from redistill.analysis import summary as summaries
from redistill.analysis.summary import Summary
from redistill.console.exceptions import RefusedError
from redistill.datasets.views import VIEWS, Entry, Views
from redistill.problems.overlap import question as asked
from redistill.problems.sought import GRAM, Sought
from redistill.problems.task import load_task
from redistill.rationales.teacher import TeachSettings
from redistill.records.json_file import read_json
from redistill.records.types import Problem, Rationale, Split
from redistill.rounds.branches import FIRST, Branch
from redistill.settings import secrets
from redistill.settings.sections import Section
from redistill.students.model.settings import StudentSettings

VERBS = ("explain", "refine", "repair")  # of prompts
PROMPTS = Path(__file__).parent.parent / "prompts"
HELD: tuple[Split, ...] = ("dev", "test")  # the splits of which nothing is published
COUNTED = {"sources": "source", "teachers": "teacher", "written_in": "round", "gaps": "gaps"}


class PublishSettings(Section):
    """
    Section ``publish``: the name of the data set, and the licence under which you publish it.

    *license* is an identifier of the Hugging Face hub such as ``cc-by-4.0``; null states none, and
    then nothing is pushed.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    license: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]{0,63}$")] | None


class Tally:
    """What is counted of entries, for the provenance of the data set."""

    def __init__(self) -> None:
        """Have counted nothing."""
        self.views: Counter[str] = Counter(dict.fromkeys(VIEWS, 0))
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in COUNTED}
        self.reasons: Counter[str] = Counter()  # why the last round rewrote a rationale
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
        refined = (row for row in entry.rows["records"] if row["status"] == "refined")
        self.reasons.update(row["reason"] for row in refined)
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
        "reasons": dict(sorted(tally.reasons.items())),
        "rounds": list(rounds),
        "views": dict(tally.views),
        "unpaired": tally.unpaired,
        "balance": published.balance.as_dict(),
        "results": [list(line) for line in summaries.lines(summary)],
        "verdict": summaries.sentence(summary.best),
        "overlap": {"words_in_a_row": GRAM, **overlap},
    }


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
    for view in ("records", "preference", "feedback"):
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
