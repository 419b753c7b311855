"""Held-out answers: each train problem answered by a student that was taught all but its fold."""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from redistill.console import rank
from redistill.console.exceptions import CONFIG, RefusedError
from redistill.console.timing import Timing
from redistill.diagnosis.settings import MineSettings
from redistill.problems.sets import ProblemSet
from redistill.records import jsonl, lessons, manifest
from redistill.records.balance import Balance
from redistill.records.fingerprint import digest
from redistill.records.json_file import read_json, write_json
from redistill.records.lessons import Lesson
from redistill.records.types import Completion, Problem, Rationale
from redistill.rounds.branches import Branch, branches
from redistill.settings.sections import Params
from redistill.students.answer import exam
from redistill.students.answer.settings import EvaluateSettings
from redistill.students.model.note import read_note
from redistill.students.train import fit


def probes(params: Params, options: Mapping[str, Any]) -> bool:
    """Say whether the branch that *options* name has students of folds at all."""
    folds = params.section("mine", MineSettings).folds
    return folds is not None and branches(params)[options["branch"]].probe


@dataclass(frozen=True)
class Probed:
    """The held-out completions of the train problems, and what a metrics file records."""

    completions: list[Completion]
    figures: dict[str, Any]
    timing: Timing | None

    def __str__(self) -> str:
        if self.timing is None:
            return f"no held-out answers: {self.figures['because']}"
        steps = "+".join(str(found["steps"]) for found in self.figures["students"])
        return f"{len(self.completions)} held-out answers after {steps} steps, {self.timing}"


def fold(problem: str, folds: int) -> int:
    """
    Return the fold of the problem with the id *problem*, from 0.

    It depends on nothing but the id, so that rows that are added leave the others where they are.
    """
    return int(digest("fold", problem), 16) % folds


def probe(
    problems: Sequence[Problem],
    rationales: Sequence[Rationale],
    start: Path,
    name: str,
    branch: Branch,
    folds: int | None,
    way: fit.Way,
    evaluate: EvaluateSettings,
    out: Path,
) -> Probed:
    """
    Have every one of *problems* answered by a student that was not taught it, and write to *out*.

    There are *folds* students like that of *branch*, each taught all its lessons but those on one
    fold's problems, for that share of the steps (out-of-fold predictions). They answer in this
    process, by the engine of *evaluate* where that is in a process, and are not kept; a fold that
    has answered is not taught again if the process is killed. Without *folds*, where the branch
    asks for none, and where it is passed through, there are no answers.
    Raises RefusedError for a *start* that was taught already, and for lessons all in one fold.
    """
    because = _skipped(folds, branch, rationales)
    if folds is None or because:
        rank.end_others()
        jsonl.write(out, [])
        return _none(len(problems), str(because))
    from redistill.students.train import checkpoints  # torch: not to skip

    if "longest_completion" in read_note(start):
        raise RefusedError(
            f"branches.{name}: start: {branch.start} was taught the train problems already, so "
            "that no answer of its is held out; start from base, or set mine.folds to null",
            code=CONFIG,
        )
    taught = lessons.taught(rationales, branch.lessons)
    plans = [_plan(name, number, folds, problems, taught, way) for number in range(folds)]
    here = _in_process(evaluate)
    started = time.monotonic()
    key = _key(problems, taught, start, folds, way, here)
    with checkpoints.kept(f"{name}-probe", key) as folder:
        known = {problem.id: problem for problem in problems}
        students = [_sit(plan, known, start, here, folder) for plan in plans]
        rank.end_others()
        answers = [a for p in plans for a in jsonl.read(folder / f"{p.name}.jsonl", Completion)]
        jsonl.write(out, answers)
    figures = {
        "folds": folds,
        "because": None,
        "students": students,
        "steps": sum(student["steps"] for student in students),
        "tokens": sum(student["tokens"] for student in students),
        "balance": Balance("probe", len(problems), len(answers)).check(0.0).as_dict(),
    }
    tokens = figures["tokens"] + sum(student["answer_tokens"] for student in students)
    return Probed(answers, figures, Timing(time.monotonic() - started, tokens))


def _in_process(evaluate: EvaluateSettings) -> EvaluateSettings:
    """Have students of folds answer where they are: no server has them, and vLLM no room beside."""
    here = evaluate.engine not in ("server", "vllm")
    return evaluate if here else evaluate.model_copy(update={"engine": "local"})


def _skipped(folds: int | None, branch: Branch, rationales: Sequence[Rationale]) -> str | None:
    """Why nothing is probed of *branch*; None where it is."""
    if folds is None:
        return "mine.folds is null"
    if not branch.probe:
        return "probe is false: nothing is refined by its errors"
    return "passed through" if fit.passes(rationales, branch) else None


def _none(rows: int, because: str) -> Probed:
    balance = Balance("probe", rows, 0, {"not probed": rows} if rows else {})
    figures = {"folds": None, "because": because, "steps": 0, "tokens": 0}
    return Probed([], {**figures, "balance": balance.as_dict()}, None)


@dataclass(frozen=True)
class _Plan:
    """One fold: the problems that are *asked*, what is *taught* instead, and for how long."""

    name: str
    asked: list[Problem]
    taught: list[Lesson]
    way: fit.Way


def _plan(
    name: str,
    number: int,
    folds: int,
    problems: Sequence[Problem],
    taught: Sequence[Lesson],
    way: fit.Way,
) -> _Plan:
    asked = [problem for problem in problems if fold(problem.id, folds) == number]
    rest = [one for one in taught if fold(one.rationale.problem, folds) != number]
    if not rest:
        raise RefusedError(
            f"mine.folds: {folds}: all {len(taught)} lessons lie in one fold, so that a student "
            "without it is taught nothing; set it to null, or take more train problems",
            code=CONFIG,
        )
    steps = max(1, round(way.steps * len(rest) / len(taught)))
    return _Plan(f"{name}-fold{number + 1}", asked, rest, replace(way, steps=steps))


def _sit(
    plan: _Plan,
    known: Mapping[str, Problem],
    start: Path,
    evaluate: EvaluateSettings,
    folder: Path,
) -> dict[str, Any]:
    """Teach the student of a fold and have it answer, unless *folder* has its answers already."""
    from redistill.students.model import ranks

    answers, noted = folder / f"{plan.name}.jsonl", folder / f"{plan.name}.json"
    there = rank.first() and noted.is_file() and answers.is_file()
    if before := ranks.agreed(read_json(noted) if there else None):
        return dict(before)
    student = folder / plan.name
    if rank.first():
        shutil.rmtree(student, ignore_errors=True)
    figures, _ = fit.teach(known, plan.taught, start, student, plan.way)
    asked = {"train": ProblemSet(plan.asked, "train")}
    way = plan.way
    answered = exam.answer(student, asked, way.student, evaluate, seed=way.seed)
    kept = ("steps", "tokens", "loss_first", "loss_last", "nll_before")
    told = {name: figures[name] for name in kept}
    told |= {"lessons": figures["labels"]["rows"], "answers": len(plan.asked)}
    told["answer_tokens"] = answered.figures["tokens"]
    if rank.first():
        jsonl.write(answers, answered.completions["train"])
        write_json(noted, told)
        shutil.rmtree(student)
    return told


def _key(
    problems: Sequence[Problem],
    taught: Sequence[Lesson],
    start: Path,
    folds: int,
    way: fit.Way,
    evaluate: EvaluateSettings,
) -> str:
    """What must be the same for answers that were kept to be taken."""
    texts = [[lesson.rationale.problem, lesson.text] for lesson in taught]
    settings = [way.student, way.settings, way.lora, evaluate]
    whole = [
        [problem.model_dump() for problem in problems],
        texts,
        manifest.digest(start),
        [folds, way.steps, way.seed, way.max_new_tokens],
        [found.model_dump() if found else None for found in settings],
    ]
    return digest(json.dumps(whole, sort_keys=True))
