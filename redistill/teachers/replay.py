"""Rationales that were written before, from a file or another run's store, as the teacher."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.llm import response
from redistill.llm import store as stores
from redistill.llm.budget import SpendingSettings
from redistill.rationales.reply import replied
from redistill.rationales.teacher import Reply, Request, Sitting
from redistill.records import spool
from redistill.records.fingerprint import normalised
from redistill.records.grouped import Groups
from redistill.records.lazy import Joined
from redistill.records.types import Problem, Rationale, Record
from redistill.settings.bounds import Text
from redistill.settings.sections import Section

State = tuple[int, int] | None  # size and time of a file; None where there is none


class Replayed(Record):
    """A rationale for the problem of id *problem*, or for whichever asks *question*."""

    problem: str | None = None
    question: str | None = None
    text: str
    teacher: str
    round: str = "r0"


class Answered(Record):
    """What a model, the *teacher*, answered about *problem* in *round* of another run."""

    problem: str
    text: str
    teacher: str
    round: str


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
    check(settings, sitting.spending)
    kind, files = _files(settings)
    source = _source(kind, files, tuple(map(_state, files)), sitting.round)
    start, stop = (number - sitting.first for number in (sitting.draws.start, sitting.draws.stop))
    return [source.about(problem)[start:stop] for problem in problems]


def check(settings: Settings, spending: SpendingSettings | None) -> None:
    """Refuse settings that name no source, or several."""
    if len({name for name, value in settings if value is not None}) != 1:
        raise RefusedError(
            "replay: exactly one of rationales, texts and store is not null", code=CONFIG
        )


class _Source:
    """The texts for a round, which stay where they are, by their problem and by its question."""

    def __init__(self, rows: Sequence[Replayed | Rationale | Answered], round: str) -> None:
        def problem(row: Any) -> str | None:
            return row.problem if row.round == round else None

        def question(row: Any) -> str | None:
            asked = row.question if isinstance(row, Replayed) and row.round == round else None
            return None if asked is None else normalised(asked)

        self._by_id, self._by_question = Groups(rows, problem), Groups(rows, question)

    def about(self, problem: Problem) -> list[Reply]:
        """Return the replies about *problem*, in the order of the source."""
        found = self._by_id.of(problem.id)
        if not found and len(self._by_question):
            found = self._by_question.of(normalised(problem.question))
        return [_reply(row) for row in found]


def _reply(row: Replayed | Rationale | Answered) -> Reply:
    if isinstance(row, Answered):
        return replied(row.text, row.teacher)
    gaps = row.gaps if isinstance(row, Rationale) else []
    return Reply(row.text, gaps, teacher=row.teacher)


def _files(settings: Settings) -> tuple[str, tuple[Path, ...]]:
    """Which of the settings names the source, and its files."""
    name = next(name for name, value in settings if value is not None)
    named = getattr(settings, name)
    return name, tuple(Path(file) for file in ([named] if isinstance(named, str) else named))


def _state(file: Path) -> State:
    stat = file.stat() if file.is_file() else None
    return stat and (stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1)  # it is asked about one portion of the problems after the other
def _source(kind: str, files: tuple[Path, ...], states: tuple[State, ...], round: str) -> _Source:
    """The source that the *files* of a *kind* are for *round*, while they are in *states*."""
    if kind == "rationales":
        return _Source(spool.read(files[0], Rationale), round)
    if kind == "texts":
        return _Source(Joined(*(spool.read(file, Replayed) for file in files)), round)
    return _Source(spool.kept(_stored(files[0], round), Answered), round)


def _stored(file: Path, round: str) -> Iterator[Answered]:
    if not file.is_file():
        raise RefusedError(f"replay.store: there is no file {file}", code=CONFIG)
    with stores.reading(file) as known:
        for number, (problem, model, answer) in enumerate(known.of_problems(round)):
            text = response.read(answer.status, answer.body).text
            yield Answered(id=str(number), problem=problem, text=text, teacher=model, round=round)
