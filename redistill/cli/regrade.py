"""What another grader, or an edited one, makes of the completions of a run; nothing is written."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from redistill.analysis.scores import HELD_OUT
from redistill.console.exceptions import RefusedError
from redistill.grading.grader import Load, load_grader
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


def run(root: Path, branches: Sequence[str], name: str, load: Load = load_grader) -> list[Regraded]:
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
                found += _regraded(branch, exam, known, (written, judged), name, load)
                if exam == "train":
                    held = root / f"data/probes/{branch}.jsonl"
                    judged = judged.with_name(f"{HELD_OUT}.jsonl")
                    found += _regraded(branch, HELD_OUT, known, (held, judged), name, load)
    if not found:
        raise RefusedError("there are no completions in data/completions: run dvc repro first")
    return found


def _regraded(
    branch: str, exam: str, known: ProblemSet, files: tuple[Path, Path], name: str, load: Load
) -> list[Regraded]:
    """The completions in the first of *files* graded again, beside their predictions."""
    written, judged = files
    if not (written.is_file() and judged.is_file()):
        return []
    rows, before = jsonl.read(written, Completion), jsonl.read(judged, Prediction)
    if exam == HELD_OUT and not rows:  # the branch was not probed
        return []
    after = graded(known.problems, rows, load(known.grader or name)) if rows else []
    return [Regraded(branch, exam, before, after)]


def _sets(folder: Path) -> Mapping[str, ProblemSet]:
    splits = all((folder / f"{name}.jsonl").is_file() for name in sets.SPLITS)
    return sets.read(folder) if splits or (folder / sets.INDEX).is_file() else {}
