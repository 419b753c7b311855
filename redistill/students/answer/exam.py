"""A student's completions of problems, greedy ones and drawn ones; nobody grades them here."""

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redistill.console import rank
from redistill.console.counted import counted
from redistill.console.exceptions import CONFIG, RefusedError
from redistill.console.timing import Timing
from redistill.problems.sets import ProblemSet
from redistill.records.balance import Balance
from redistill.records.fingerprint import digest
from redistill.records.types import Completion, Output, Problem, Split
from redistill.students.answer.settings import EvaluateSettings
from redistill.students.model.note import read_note
from redistill.students.model.settings import StudentSettings
from redistill.students.model.tokens import Encoder, crowded

if TYPE_CHECKING:
    from redistill.students.answer.local import Draws, Engine

SAMPLED: tuple[Split, ...] = ("train", "dev")  # what mining reads


@dataclass(frozen=True)
class Answered:
    """The completions of every set, what a metrics file records, and how long it took."""

    completions: dict[str, list[Completion]]
    figures: dict[str, Any]
    timing: Timing | None

    def __str__(self) -> str:
        if self.figures["passed_through"]:
            return "passed through: no student of its own"
        rows = self.figures["balance"]["rows_out"]
        return (
            f"{counted(rows, 'answer')}, {self.timing}" if self.timing else "no problems to answer"
        )


def answer(
    student: Path,
    sets: Mapping[str, ProblemSet],
    student_settings: StudentSettings,
    settings: EvaluateSettings,
    *,
    seed: int,
) -> Answered:
    """
    Have *student* complete the problems of all *sets*.

    A round that was passed through has no student: its completions are empty, and its figures say
    so. No problems cost nothing: what holds models is imported only where there are some. Refused
    is a *max_new_tokens* below the longest completion that the student was taught.
    """
    note = read_note(student)
    rows = [(name, problem) for name, found in sets.items() for problem in found.problems]
    if note.get("passed_through") or not rows:
        passed = bool(note.get("passed_through"))
        balance = Balance("answer", len(rows), 0, {"passed through": len(rows)} if passed else {})
        figures = {"passed_through": passed, "tokens": 0, "balance": balance.as_dict()}
        return Answered({name: [] for name in sets}, figures, None)
    _check(settings, note.get("longest_completion", 0))
    from redistill.students.model import load, precision, ranks

    load.quiet()
    ranks.begin()
    tokenizer = load.tokenizer(student)
    encoder = Encoder.of(tokenizer, student_settings)
    again = [
        problem
        for name, problem in rows
        if sets[name].split in SAMPLED
        for _ in range(settings.samples)
    ]
    most = load.context_of(student)
    room = None if most is None else most - settings.max_new_tokens
    left_out = _crowded(student.name, sets, encoder, room)
    started = time.monotonic()
    with _engine(student, tokenizer, encoder, student_settings, settings) as whole:
        complete = _roomy(_dealt(whole), room)
        greedy = complete([encoder.prompt(problem) for _, problem in rows], None, student.name)
        drawn = _drawn(complete, again, encoder, settings, seed)
    seconds = time.monotonic() - started
    completions = _completions(rows, sets, greedy, drawn, settings.samples)
    tokens = sum(output.tokens + output.eos for output in [*greedy, *drawn])
    balance = Balance("answer", len(rows), sum(len(found) for found in completions.values()))
    figures = {
        "passed_through": False,
        "precision": precision.precision(settings.precision),
        "tokens": tokens,
        "over_context": left_out,
        "balance": balance.as_dict(),
    }
    return Answered(completions, figures, Timing(seconds, tokens))


def _completions(
    rows: Sequence[tuple[str, Problem]],
    sets: Mapping[str, ProblemSet],
    greedy: Sequence[Output],
    drawn: Sequence[Output],
    samples: int,
) -> dict[str, list[Completion]]:
    """The completions of each set, in the order of its problems, with those *drawn* beside."""
    more = iter(drawn)
    completions: dict[str, list[Completion]] = {name: [] for name in sets}
    for (name, problem), output in zip(rows, greedy, strict=True):
        count = samples if sets[name].split in SAMPLED else 0
        completions[name].append(
            Completion(
                id=problem.id,
                problem=problem.id,
                split=sets[name].split,
                output=output,
                drawn=[next(more) for _ in range(count)],
            )
        )
    return completions


def _crowded(who: str, sets: Mapping[str, ProblemSet], encoder: Encoder, room: int | None) -> int:
    """
    Count the problems whose prompts are over *room* tokens, and name some on stderr.

    Raises RefusedError where not one prompt of a set has room for an answer.
    """
    if room is None:
        return 0
    count = 0
    for name, found in sets.items():
        sizes = {problem.id: len(encoder.prompt(problem)) for problem in found.problems}
        if told := crowded(name, sizes, room):
            over = sum(size > room for size in sizes.values())
            if over == len(sizes):
                raise RefusedError(f"{who}: {told}")
            print(f"{who}: {told}", file=sys.stderr, flush=True)
            count += over
    return count


def _roomy(complete: "Engine", room: int | None) -> "Engine":
    """Ask *complete* for answers to prompts of at most *room* tokens; others get none, cut off."""
    if room is None:
        return complete

    def asking(prompts: Sequence[Sequence[int]], draws: "Draws | None", say: str) -> list[Output]:
        places = [place for place, prompt in enumerate(prompts) if len(prompt) <= room]
        if draws:
            draws = replace(draws, seeds=[draws.seeds[place] for place in places])
        outputs = [Output(text="", eos=False, tokens=0) for _ in prompts]
        asked = [prompts[place] for place in places]
        for place, output in zip(places, complete(asked, draws, say), strict=True):
            outputs[place] = output
        return outputs

    return asking


def _dealt(complete: "Engine") -> "Engine":
    """
    Share what *complete* is asked among the processes of the stage; each has all the answers.

    Long prompts are dealt out first, and equal ones together, which are read once.
    """

    def asking(prompts: Sequence[Sequence[int]], draws: "Draws | None", say: str) -> list[Output]:
        from redistill.students.model import ranks

        equal: dict[tuple[int, ...], list[int]] = {}
        for place, prompt in enumerate(prompts):
            equal.setdefault(tuple(prompt), []).append(place)
        groups = sorted(equal.items(), key=lambda group: (-len(group[0]), group))

        def answers(own: Sequence[tuple[Sequence[int], list[int]]]) -> list[list[Output]]:
            places = [place for _, same in own for place in same]
            seeds = replace(draws, seeds=[draws.seeds[p] for p in places]) if draws else None
            found = iter(complete([prompts[place] for place in places], seeds, say))
            return [[next(found) for _ in same] for _, same in own]

        outputs: dict[int, Output] = {}
        for (_, places), found in zip(groups, ranks.dealt(groups, answers), strict=True):
            outputs.update(zip(places, found, strict=True))
        return [outputs[place] for place in range(len(prompts))]

    return asking if rank.count() > 1 else complete


def _check(settings: EvaluateSettings, longest: int) -> None:
    if settings.max_new_tokens < longest:
        raise RefusedError(
            f"evaluate.max_new_tokens: {settings.max_new_tokens} is less than the longest "
            f"completion that the student was taught ({longest}); raise it",
            code=CONFIG,
        )
    if settings.samples and settings.temperature == 0:
        raise RefusedError(
            f"evaluate.samples: to draw {settings.samples} completions, temperature must be above "
            "0; greedy ones are all alike",
            code=CONFIG,
        )


def _engine(
    student: Path,
    tokenizer: Any,
    encoder: Encoder,
    student_settings: StudentSettings,
    settings: EvaluateSettings,
) -> "AbstractContextManager[Engine]":
    from redistill.students.answer import engines

    return engines.opened(student, tokenizer, encoder, student_settings, settings)


def _drawn(
    complete: "Engine",
    problems: Sequence[Problem],
    encoder: Encoder,
    settings: EvaluateSettings,
    seed: int,
) -> list[Output]:
    """An output for each of *problems*, in which every problem stands *samples* times."""
    if not problems:
        return []
    from redistill.students.answer.local import Draws

    seeds = [
        int(digest(str(seed), problem.id, str(place % settings.samples)), 16)
        for place, problem in enumerate(problems)
    ]
    draws = Draws(settings.temperature, settings.top_p, seeds)
    return complete([encoder.prompt(problem) for problem in problems], draws, "samples")
