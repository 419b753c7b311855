"""Grading stored completions again, without generating any: what an edited grader changes."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redistill import grading, records
from redistill.grading import Grader
from redistill.records import Prediction, Problem, Split, Verdict
from redistill.refusals import CONFIG, RefusedError
from redistill.scoring import score

SPLITS: tuple[Split, ...] = ("train", "dev", "test")
VERDICTS: tuple[Verdict, ...] = ("correct", "wrong", "no_answer", "cut_off")
HEAD = ("branch", "split", "rows", *(v.replace("_", " ") for v in VERDICTS), "changed")
# What a student's answers depend on; if any of it changed, they are not its answers any more.
ANSWERING = ("data/", "redistill/students/")


@dataclass(frozen=True)
class Regraded:
    """The predictions of a branch on a split, as they were and as they are graded now."""

    branch: str
    split: str
    before: list[Prediction]
    after: list[Prediction]

    @property
    def changed(self) -> list[tuple[Prediction, Prediction]]:
        """The pairs whose verdict is another."""
        pairs = zip(self.before, self.after, strict=True)
        return [(old, new) for old, new in pairs if old.verdict != new.verdict]

    def cells(self) -> tuple[str, ...]:
        """A row for people: each verdict before and after."""
        was, now = (Counter(p.verdict for p in side) for side in (self.before, self.after))
        counts = [
            str(now[v]) if was[v] == now[v] else f"{was[v]} -> {now[v]}" for v in VERDICTS
        ]  # fmt: skip
        return (self.branch, self.split, str(len(self.after)), *counts, str(len(self.changed)))


def again(
    predictions: Sequence[Prediction], problems: Mapping[str, Problem], grader: Grader
) -> list[Prediction]:
    """
    *predictions* with every completion graded again by *grader*.

    Raises RefusedError for a prediction of a problem that is not among *problems*.
    """
    for prediction in predictions:
        if prediction.problem not in problems:
            raise RefusedError(
                f"there is no problem {prediction.problem!r} for prediction {prediction.id!r}: "
                "grade with the problems that the completions answer"
            )
    return [
        grading.predict(
            problems[p.problem], p.split, p.completion, eos=p.eos, tokens=p.tokens, grader=grader
        ).model_copy(update={"id": p.id})
        for p in predictions
    ]


def run(root: Path, branches: Iterable[str], grader: Grader) -> list[Regraded]:
    """
    Grade again what the run in *root* holds, for every branch that has predictions.

    Raises RefusedError where none has any.
    """
    known: dict[str, dict[str, Problem]] = {}
    found = []
    for branch in branches:
        for split in SPLITS:
            file = _file(root, branch, split)
            if not file.is_file():
                continue
            if split not in known:
                rows = records.read(root / f"data/problems/{split}.jsonl", Problem)
                known[split] = {problem.id: problem for problem in rows}
            before = records.read(file, Prediction)
            found.append(Regraded(branch, split, before, again(before, known[split], grader)))
    if not found:
        raise RefusedError("there are no predictions in data/predictions: run dvc repro first")
    return found


def write(root: Path, found: Sequence[Regraded]) -> list[str]:
    """
    Replace the predictions that changed and the scores that come of them; say which files did.

    In the metrics of a round only the scores of the splits change: how long it took stays.
    """
    written = []
    for one in found:
        if one.before != one.after:
            records.write(_file(root, one.branch, one.split), one.after)
            written.append(str(_file(Path(), one.branch, one.split)))
    for branch in dict.fromkeys(one.branch for one in found):
        file = root / f"metrics/rounds/{branch}.json"
        before = json.loads(file.read_text(encoding="utf-8"))
        if before.get("passed_through"):
            continue
        scores = {one.split: score(one.after) for one in found if one.branch == branch}
        after = before | {split: before.get(split, {}) | scores[split] for split in scores}
        if after != before:
            records.write_json(file, after)
            written.append(f"metrics/rounds/{branch}.json")
    return written


def refuse_stale(root: Path, branches: Sequence[str]) -> None:
    """
    Refuse to accept predictions that are not the ones that the students would give now.

    DVC is asked what changed since they were made: a grader may have, the student, its problems,
    how it is asked and how it answers may not.
    """
    stages = [f"evaluate@{branch}" for branch in branches]
    command = [sys.executable, "-m", "dvc", "status", "--json", *stages]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
    if ran.returncode:
        raise RefusedError(f"dvc status failed: {(ran.stderr or ran.stdout).strip()[-300:]}")
    for stage, changes in json.loads(ran.stdout.split("\n")[0]).items():
        for reason in against(changes):
            raise RefusedError(
                f"{stage}: {reason} changed since its answers were made, so that they have to be "
                f"made again: dvc repro {stage}",
                code=CONFIG,
            )


def against(changes: Iterable[Any]) -> list[str]:
    """What in *changes*, as ``dvc status --json`` has them, bears on more than the verdicts."""
    found = []
    for change in changes:
        if not isinstance(change, dict):
            found.append(str(change).removeprefix("changed "))
            continue
        for path, what in change.get("changed deps", {}).items():
            if isinstance(what, dict):
                found += [f"{path}: {key}" for key in what if key.split(".")[0] != "grade"]
            elif path.startswith(ANSWERING):
                found.append(path)
    return found


def accepting(branches: Iterable[str]) -> str:
    """The command that makes DVC take the predictions for what its evaluate stages make."""
    return f"dvc commit --force {' '.join(f'evaluate@{branch}' for branch in branches)}"


def _file(root: Path, branch: str, split: str) -> Path:
    return root / f"data/predictions/{branch}/{split}.jsonl"
