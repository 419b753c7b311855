"""Out-of-domain tests as files: problems of further tasks, and the graders of their answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from redistill.records import jsonl
from redistill.records.types import Problem

INDEX = "all-tests.jsonl"  # the tests and their graders; no task can have a name with a dash


@dataclass(frozen=True)
class Outside:
    """The problems of an out-of-domain test, and its grader by name; None is that of the run."""

    problems: list[Problem]
    grader: str | None


def write(folder: Path, tests: Mapping[str, Outside]) -> None:
    """Write a file of problems for each of *tests* and an index of all to *folder*."""
    for name, test in tests.items():
        jsonl.write(folder / f"{name}.jsonl", test.problems)
    rows = [{"test": name, "grader": tests[name].grader} for name in sorted(tests)]
    jsonl.write_rows(folder / INDEX, rows)


def read(folder: Path) -> dict[str, Outside]:
    """The tests in the index of *folder*, whatever else lies there."""
    index = jsonl.read_rows(folder / INDEX, ("test", "grader"))
    return {
        row["test"]: Outside(
            jsonl.read(folder / f"{row['test']}.jsonl", Problem), grader=row["grader"]
        )
        for row in index
    }
