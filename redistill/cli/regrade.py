"""What another grader, or an edited one, makes of the completions of a run; nothing is written."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from redistill.console.exceptions import RefusedError
from redistill.grading.grader import load_grader
from redistill.grading.predictions import graded
from redistill.problems import sets
from redistill.problems.sets import ProblemSet
from redistill.records import jsonl
from redistill.records.types import Completion, Prediction, Verdict

# Problems, completions and predictions of the task itself, and of out-of-domain tests.
PLACES = (
    ("data/problems", "data/completions", "data/predictions"),
    ("data/problems/outside", "data/completions-outside", "data/predictions-outside"),
)
VERDICTS: tuple[Verdict, ...] = ("correct", "wrong", "no_answer", "cut_off")
HEAD = ("branch", "split", "rows", *(v.replace("_", " ") for v in VERDICTS), "changed")


@dataclass(frozen=True)
class Regraded:
    """The predictions of a branch on a set of problems, as they are and as they would be."""

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
        """Return a row for people: each verdict before and after."""
        was, now = (Counter(p.verdict for p in side) for side in (self.before, self.after))
        counts = [
            str(now[v]) if was[v] == now[v] else f"{was[v]} -> {now[v]}" for v in VERDICTS
        ]  # fmt: skip
        return (self.branch, self.split, str(len(self.after)), *counts, str(len(self.changed)))


def run(root: Path, branches: Sequence[str], name: str) -> list[Regraded]:
    """
    Grade what the run in *root* holds by the grader *name*, for every branch that has completions.

    An out-of-domain test may have a grader of its own. Raises RefusedError where there is nothing
    to grade.
    """
    found = []
    for problems, completions, predictions in PLACES:
        if not (root / problems).is_dir():
            continue
        for exam, known in _sets(root / problems).items():
            for branch in branches:
                written = root / completions / branch / f"{exam}.jsonl"
                judged = root / predictions / branch / f"{exam}.jsonl"
                if written.is_file() and judged.is_file():
                    before = jsonl.read(judged, Prediction)
                    grader = load_grader(known.grader or name)
                    rows = jsonl.read(written, Completion)
                    after = graded(known.problems, rows, grader) if rows else []
                    found.append(Regraded(branch, exam, before, after))
    if not found:
        raise RefusedError("there are no completions in data/completions: run dvc repro first")
    return found


def _sets(folder: Path) -> Mapping[str, ProblemSet]:
    splits = all((folder / f"{name}.jsonl").is_file() for name in sets.SPLITS)
    return sets.read(folder) if splits or (folder / sets.INDEX).is_file() else {}
