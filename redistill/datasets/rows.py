"""The chosen round as a data set for others: four views of the same rows, and their provenance."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from redistill.analysis import summary as summaries
from redistill.analysis.scores import HELD_OUT
from redistill.analysis.summary import Summary
from redistill.console.exceptions import RefusedError
from redistill.problems import overlap as overlaps
from redistill.problems.task import load_task
from redistill.rationales.teacher import TeachSettings
from redistill.records import jsonl, lessons
from redistill.records.balance import Balance
from redistill.records.json_file import read_json
from redistill.records.jsonl import by_problem
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
class Views:
    """
    The rows of every view in the order of their ids, and where the other rows went.

    *unpaired* counts the rationales that the preference view has not, by reason.
    """

    rows: dict[str, list[Row]]
    unpaired: dict[str, int]
    balance: Balance


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
    rationale of a problem that is not in train.
    """
    known = {problem.id: problem for problem in problems}
    latest = by_problem(sorted(rationales, key=lambda row: row.id), "rationales")
    answers = {name: by_problem(found, name) for name, found in students.items()}
    rows: dict[str, list[Row]] = {"records": [], "sft": [], "messages": [], "preference": []}
    unpaired: Counter[str] = Counter()
    for identity, lesson in latest.items():
        if identity not in known:
            raise RefusedError(f"rationale {lesson.id!r}: its problem {identity!r} is not in train")
        problem = known[identity]
        prompt = question(problem)
        rows["records"].append(_record(problem, lesson))
        for text in lessons.taught([lesson], taught):
            rows["sft"].append({"id": text.id, "prompt": f"{prompt}\n", "completion": text.text})
            rows["messages"].append(_messages(text, prompt))
        wrong, reason = _wrong(lesson, answers, branches)
        if reason is not None:
            unpaired[reason] += 1
            continue
        pair = {"chosen": lesson.text, "rejected": wrong}
        rows["preference"].append({"id": lesson.id, "prompt": f"{prompt}\n", **pair})
    lost = len(known) - len(latest)
    balance = Balance("publish", len(known), len(latest), {"no rationale": lost} if lost else {})
    return Views(rows, dict(sorted(unpaired.items())), balance)


def shown(folder: Path) -> list[Prediction]:
    """Read the predictions on train whose errors the teacher saw: those held out, if there are."""
    held_out = folder / f"{HELD_OUT}.jsonl"
    found = jsonl.read(held_out, Prediction) if held_out.is_file() else []
    return found or jsonl.read(folder / "train.jsonl", Prediction)


def gate(published: Views, splits: Mapping[Split, Sequence[Problem]]) -> dict[str, dict[str, int]]:
    """
    Measure how far the *published* rows overlap with dev and test of *splits*.

    None of the rows may ask their question: raises RefusedError for a dev or test question that
    stands in what is published, and for text that has the shape of a key, naming the rows.
    """
    _refuse_keys(published)
    texts = _texts(published, splits["train"])
    found: dict[str, dict[str, int]] = {}
    for split in HELD:
        standing = overlaps.standing(texts, splits[split])
        if standing:
            raise RefusedError(
                f"publish: {len(standing)} questions of {split} stand in the rows to publish, "
                f"{', '.join(repr(i) for i in standing[:3])} first; take them out of {split} or "
                "out of train, then dvc repro"
            )
        shared = len(overlaps.overlapping(texts, splits[split]))
        found[split] = {"questions": len(splits[split]), "exact": 0, "overlapping": shared}
    return found


def origin(task: str, teach: TeachSettings, student: StudentSettings) -> dict[str, Any]:
    """Say where the problems, texts and students of a run come from, by its settings."""
    found = load_task(task)
    files = [PROMPTS / f"{verb}-{teach.prompts}.txt" for verb in VERBS]
    return {
        "task": {"name": task, "source": found.SOURCE, "licence": found.LICENCE},
        "teach": {"teacher": teach.teacher, "refiner": teach.refiner},
        "prompts": {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files},
        "student": {"model": student.model, "revision": student.revision},
    }


def rounds(
    names: Sequence[str],
    branches: Mapping[str, Branch],
    lessons: Mapping[str, Sequence[Rationale]],
    folder: Path,
) -> list[dict[str, Any]]:
    """
    Say what became of the rationales in each of the rounds *names*: counts by status and reason.

    *lessons* has the rationales of each, *folder* the metrics of generating and refining.
    """
    found = []
    for name in names:
        metrics = read_json(folder / f"{name}.json")
        statuses = Counter(lesson.status for lesson in lessons[name])
        new = [lesson for lesson in lessons[name] if lesson.round == name]
        attempts = metrics["attempts"]
        found.append(
            {
                "round": name,
                "errors_of": None if name == FIRST else branches[name].from_,
                "statuses": dict(sorted(statuses.items())),
                "accepted": attempts["accepted"],
                "rejected": attempts["rejected"],
                "kept": metrics.get("kept", {}),
                "teachers": _counted(lesson.teacher for lesson in new),
            }
        )
    return found


def provenance(
    settings: PublishSettings,
    published: Views,
    taught: Lessons,
    overlap: Mapping[str, Mapping[str, int]],
    origin: Mapping[str, Any],
    rounds: Sequence[Mapping[str, Any]],
    summary: Summary,
) -> dict[str, Any]:
    """Collect all that is known of the data set, for ``provenance.json`` and for the card."""
    rows = published.rows["records"]
    return {
        "name": settings.name,
        "license": settings.license,
        "round": rounds[-1]["round"],
        "chosen_on": summary.best.chosen_on,
        "lessons": taught,
        **origin,
        "sources": _counted(row["source"] for row in rows),
        "teachers": _counted(row["teacher"] for row in rows),
        "written_in": _counted(row["round"] for row in rows),
        "gaps": _counted(gap for row in rows for gap in row["gaps"]),
        "rounds": list(rounds),
        "views": {name: len(found) for name, found in published.rows.items()},
        "unpaired": published.unpaired,
        "balance": published.balance.as_dict(),
        "results": [list(line) for line in summaries.lines(summary)],
        "verdict": summaries.sentence(summary.best),
        "overlap": {"words_in_a_row": overlaps.GRAM, **overlap},
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


def _texts(published: Views, train: Sequence[Problem]) -> list[str]:
    """Every text that is published: questions with their choices, rationales, completions."""
    kept = {row["problem"] for row in published.rows["records"]}
    texts = [overlaps.question(problem) for problem in train if problem.id in kept]
    for row in published.rows["records"]:
        texts += [row["rationale"], *(v["text"] for v in [*row["history"], *row["own"]])]
    return texts + [row["rejected"] for row in published.rows["preference"]]


def _refuse_keys(published: Views) -> None:
    for view in ("records", "preference"):
        for row in published.rows[view]:
            for name, value in row.items():
                if secrets.SHAPE.search(json.dumps(value, ensure_ascii=False)):
                    raise RefusedError(
                        f'publish: row "{row["id"]}" field "{name}": holds what looks like a key '
                        "of a service; have it revoked and take it out of the problems or have "
                        "the rationale asked for again"
                    )


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))
