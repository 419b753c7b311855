"""
GSM8K: grade-school word problems with worked solutions (Cobbe et al., 2021, arXiv 2110.14168).

Split rule: train and test as published; dev is a share of train, by the hash of the id.
"""

from redistill.grading.numbers import canonical
from redistill.problems import source
from redistill.problems.source import Hub, Part, Rejected, Row, Rows, Settings
from redistill.records.types import Problem

SOURCE = "https://github.com/openai/grade-school-math"
LICENCE = "MIT"
GRADER = "numeric"
PUBLISHED = True
REVISION = "cc7b047b6e5bb11b4f1af84efc572db110a51b3c"
PARTS = (
    Part("train", "train", (Hub("openai/gsm8k", "main", "train", REVISION),)),
    Part("dev", "dev"),
    Part("test", "test", (Hub("openai/gsm8k", "main", "test", REVISION),)),
)


def problems(settings: Settings, seed: int) -> Rows:
    """Read the problems of all splits."""
    return source.problems("gsm8k", PARTS, settings, seed, problem)


def problem(identity: str, row: Row) -> Problem | Rejected:
    """Read a row of the hub, whose final answer stands after ``####`` in its solution."""
    solution = row["answer"].strip()
    answer = canonical(solution.rpartition("####")[2])
    if answer is None:
        return Rejected("no number after ####")
    return Problem(id=identity, question=row["question"].strip(), answer=answer, solution=solution)
