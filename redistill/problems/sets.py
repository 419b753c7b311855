"""Sets of problems as files: the splits of the task, and out-of-domain tests with their graders."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from redistill.console import drafts
from redistill.records import jsonl
from redistill.records.types import Problem, Split

SPLITS: tuple[Split, ...] = ("train", "dev", "test")
INDEX = "all-tests.jsonl"  # the tests and their graders; no task can have a name with a dash


@dataclass(frozen=True)
class ProblemSet:
    """
    Problems that are answered together: those of a split, or an out-of-domain test.

    A test is of the split ``test``. *grader* is its grader by name; None is that of the run.
    """

    problems: Sequence[Problem]
    split: Split = "test"
    grader: str | None = None


def write_tests(folder: Path, tests: Mapping[str, ProblemSet]) -> None:
    """Write a file of problems for each of *tests* and an index of all to *folder*."""
    rows = [{"test": name, "grader": tests[name].grader} for name in sorted(tests)]
    with drafts.folder(folder) as draft:
        for name, test in tests.items():
            jsonl.write(draft / f"{name}.jsonl", test.problems)
        jsonl.write_rows(draft / INDEX, rows)


def read(
    folder: Path, reader: Callable[[Path, type[Problem]], Sequence[Problem]] = jsonl.read
) -> dict[str, ProblemSet]:
    """
    Read the sets in *folder*: the tests of its index where it has one, else the splits.

    *reader* reads a file of problems; `spool.read` leaves them there.
    """
    if not (folder / INDEX).is_file():
        return {
            name: ProblemSet(reader(folder / f"{name}.jsonl", Problem), name) for name in SPLITS
        }
    index = jsonl.read_rows(folder / INDEX, ("test", "grader"))
    return {
        row["test"]: ProblemSet(
            reader(folder / f"{row['test']}.jsonl", Problem), grader=row["grader"]
        )
        for row in index
    }
