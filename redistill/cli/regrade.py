"""Grading stored completions again, without generating any: what an edited grader changes."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redistill.analysis.scores import score
from redistill.console.exceptions import CONFIG, RefusedError
from redistill.grading.grader import Grader, load_grader, predict
from redistill.problems import outside
from redistill.problems.splits import SPLITS
from redistill.records import json_file, jsonl
from redistill.records.types import Prediction, Problem, Verdict

# The stages whose predictions are graded: where those and their scores lie, by branch.
PREDICTIONS = {"evaluate": "data/predictions", "outside": "data/predictions-outside"}
SCORES = {"evaluate": "metrics/rounds", "outside": "metrics/outside"}
TESTS = Path("data/problems/outside")
VERDICTS: tuple[Verdict, ...] = ("correct", "wrong", "no_answer", "cut_off")
HEAD = ("branch", "split", "rows", *(v.replace("_", " ") for v in VERDICTS), "changed")
# What a student's answers depend on; if any of it changed, they are not its answers any more.
ANSWERING = ("data/", "redistill/students/")
DRAWN = ("samples", "passes", "slip")  # of a prediction, what further completions say


@dataclass(frozen=True)
class Regraded:
    """
    The predictions of a branch on a split, as they were and as they are graded now.

    *stage* made them; that of out-of-domain tests has a test where the other has a split.
    """

    branch: str
    split: str
    before: list[Prediction]
    after: list[Prediction]
    stage: str = "evaluate"

    @property
    def file(self) -> Path:
        """Where they lie in the folder of a run."""
        return Path(PREDICTIONS[self.stage]) / self.branch / f"{self.split}.jsonl"

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
        predict(
            problems[p.problem], p.split, p.completion, eos=p.eos, tokens=p.tokens, grader=grader
        ).model_copy(update={"id": p.id, **{name: getattr(p, name) for name in DRAWN}})
        for p in predictions
    ]


def run(root: Path, branches: Sequence[str], name: str) -> list[Regraded]:
    """
    Grade again what the run in *root* holds, for every branch that has predictions.

    The grader *name* is that of the run; an out-of-domain test may have one of its own. Raises
    RefusedError where there is nothing to grade.
    """
    exams: list[tuple[str, str, list[Problem], str]] = []
    for split in SPLITS:
        file = root / f"data/problems/{split}.jsonl"
        exams += [("evaluate", split, jsonl.read(file, Problem), name)] if file.is_file() else []
    if (root / TESTS / outside.INDEX).is_file():
        for test, known in outside.read(root / TESTS).items():
            exams.append(("outside", test, known.problems, known.grader or name))
    found = []
    for branch in branches:
        for stage, exam, rows, chosen in exams:
            file = root / PREDICTIONS[stage] / branch / f"{exam}.jsonl"
            if file.is_file():
                problems = {problem.id: problem for problem in rows}
                before = jsonl.read(file, Prediction)
                after = again(before, problems, load_grader(chosen))
                found.append(Regraded(branch, exam, before, after, stage))
    if not found:
        raise RefusedError("there are no predictions in data/predictions: run dvc repro first")
    return found


def write(root: Path, found: Sequence[Regraded]) -> list[str]:
    """
    Replace the predictions that changed and the scores that come of them; say which files did.

    In the metrics of a round only the scores change: how long it took stays. Raises RefusedError,
    before anything is written, where a changed verdict has a pass rate beside it: of the drawn
    completions only one slip is stored, so that they cannot be graded again.
    """
    for one in found:
        if one.before != one.after and any(old.samples for old in one.before):
            raise RefusedError(
                f"{one.file}: has pass rates, and the completions behind them are not stored: "
                f"have them drawn and graded again by dvc repro {one.stage}@{one.branch}"
            )
    written = []
    for one in found:
        if one.before != one.after:
            jsonl.write(root / one.file, one.after)
            written.append(str(one.file))
    for stage, branch in dict.fromkeys((one.stage, one.branch) for one in found):
        name = f"{SCORES[stage]}/{branch}.json"
        before = json.loads((root / name).read_text(encoding="utf-8"))
        if before.get("passed_through"):
            continue
        mine = [one for one in found if (one.stage, one.branch) == (stage, branch)]
        known = before if stage == "evaluate" else before["tests"]
        scores = {one.split: {**known.get(one.split, {}), **score(one.after)} for one in mine}
        after = before | (scores if stage == "evaluate" else {"tests": known | scores})
        if after != before:
            json_file.write_json(root / name, after)
            written.append(name)
    return written


def stages(found: Sequence[Regraded]) -> list[str]:
    """The stages that made the predictions in *found*, as DVC names them."""
    return list(dict.fromkeys(f"{one.stage}@{one.branch}" for one in found))


def refuse_stale(root: Path, names: Sequence[str]) -> None:
    """
    Refuse to accept for the stages *names* what students would not answer now.

    DVC is asked what changed since they were made: a grader may have, the student, its problems,
    how it is asked and how it answers may not.
    """
    command = [sys.executable, "-m", "dvc", "status", "--json", *names]
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
