"""
MultiArith: word problems of two or more steps (Roy and Roth, 2015, arXiv 1608.01413).

Split rule: the whole set is test; ``train_share`` and ``dev_share`` carve train and dev out of it
by the hash of the id. Of its 600 questions 20 are repeats, which count once.
"""

from redistill.grading.numbers import canonical
from redistill.problems import source
from redistill.problems.source import Hub, Part, Rejected, Row, Rows
from redistill.problems.source import Shares as Settings
from redistill.records.types import Problem

SOURCE = "https://huggingface.co/datasets/ChilleD/MultiArith"
LICENCE = "not stated"
GRADER = "numeric"
PUBLISHED = True
REVISION = "144d44c3fb87c0b9097ac9593c789e716a282e3e"
PARTS = (Part("test", "test", (Hub("ChilleD/MultiArith", None, "train+test", REVISION),)),)


def problems(settings: Settings, seed: int) -> Rows:
    """Read the problems of all splits."""
    return source.problems("multiarith", PARTS, settings, seed, problem)


def problem(identity: str, row: Row) -> Problem | Rejected:
    """Read a row of the hub."""
    answer = canonical(str(row["final_ans"]))
    if answer is None:
        return Rejected("answer is not one number")
    return Problem(id=identity, question=row["question"].strip(), answer=answer)
