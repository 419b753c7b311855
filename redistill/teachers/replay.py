"""Rationales that were written before, from a file or another run's store, as the teacher."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.llm import response
from redistill.llm import store as stores
from redistill.llm.budget import SpendingSettings
from redistill.rationales.reply import replied
from redistill.rationales.teacher import Reply, Request, Sitting
from redistill.records.fingerprint import normalised
from redistill.records.jsonl import read
from redistill.records.types import Problem, Rationale, Record
from redistill.settings.bounds import Text
from redistill.settings.sections import Section


class Replayed(Record):
    """A rationale for the problem of id *problem*, or for whichever asks *question*."""

    problem: str | None = None
    question: str | None = None
    text: str
    teacher: str
    round: str = "r0"


class Settings(Section):
    """
    Section ``replay``: where the rationales are, one of the three, the others null.

    *rationales* is the file of a round, as a run writes it; *texts* a file of your own or a list of
    them, with id, text, teacher, and problem (an id) or question, and the round or arm that the
    text is for, r0 if it does not say; *store* the record store of another run.
    """

    rationales: Text | None
    texts: Text | Annotated[list[Text], Field(min_length=1)] | None
    store: Text | None


def explain(problems: Sequence[Problem], settings: Settings, sitting: Sitting) -> list[list[Reply]]:
    """
    Find the first rationales of each problem, in the order of the source.

    A problem that the source has none for gets none.
    """
    return _found(problems, settings, sitting)


def refine(requests: Sequence[Request], settings: Settings, sitting: Sitting) -> list[list[Reply]]:
    """Find the rationales that the source has for this round; none where it has none."""
    return _found([request.problem for request in requests], settings, sitting)


def _found(problems: Sequence[Problem], settings: Settings, sitting: Sitting) -> list[list[Reply]]:
    by_id, by_question = _source(settings, sitting)
    found = []
    for problem in problems:
        replies = by_id.get(problem.id) or by_question.get(normalised(problem.question)) or []
        start, stop = (
            number - sitting.first for number in (sitting.draws.start, sitting.draws.stop)
        )
        found.append(replies[start:stop])
    return found


def check(settings: Settings, spending: SpendingSettings | None) -> None:
    """Refuse settings that name no source, or several."""
    if len({name for name, value in settings if value is not None}) != 1:
        raise RefusedError(
            "replay: exactly one of rationales, texts and store is not null", code=CONFIG
        )


def _source(
    settings: Settings, sitting: Sitting
) -> tuple[dict[str, list[Reply]], dict[str, list[Reply]]]:
    """The replies for the sitting's round, by the id of their problem and by its question."""
    check(settings, sitting.spending)
    by_id: dict[str, list[Reply]] = defaultdict(list)
    by_question: dict[str, list[Reply]] = defaultdict(list)
    if settings.rationales is not None:
        for row in read(Path(settings.rationales), Rationale):
            if row.round == sitting.round:
                by_id[row.problem].append(Reply(row.text, row.gaps, teacher=row.teacher))
    elif settings.texts is not None:
        files = [settings.texts] if isinstance(settings.texts, str) else settings.texts
        for text in (row for file in files for row in read(Path(file), Replayed)):
            if text.round != sitting.round:
                continue
            reply = Reply(text.text, teacher=text.teacher)
            if text.problem is not None:
                by_id[text.problem].append(reply)
            if text.question is not None:
                by_question[normalised(text.question)].append(reply)
    elif settings.store is not None:
        by_id.update(_stored(Path(settings.store), sitting))
    return by_id, by_question


def _stored(file: Path, sitting: Sitting) -> dict[str, list[Reply]]:
    if not file.is_file():
        raise RefusedError(f"replay.store: there is no file {file}", code=CONFIG)
    found: dict[str, list[Reply]] = defaultdict(list)
    with stores.reading(file) as known:
        for problem, model, answer in known.of_problems(sitting.round):
            reading = response.read(answer.status, answer.body)
            found[problem].append(replied(reading.text, model))
    return found
