"""
ASDiv: word problems of many kinds for the first six grades (Miao et al., 2020, arXiv 2106.15772).

Split rule: the whole set is test; ``train_share`` and ``dev_share`` carve train and dev out of it
by the hash of the id. Rows whose answer is not one number are rejected: 221 of the hub's 2,305.
"""

from redistill.grading.numbers import canonical
from redistill.problems import source
from redistill.problems.source import Hub, Part, Rejected, Row, Rows
from redistill.problems.source import Shares as Settings
from redistill.records.types import Problem

SOURCE = "https://github.com/chaochun/nlu-asdiv-dataset"
LICENCE = "CC BY-NC 4.0"
GRADER = "numeric"
PUBLISHED = True
REVISION = "8f95807222d87b4c688c3c22a6ba2801e1fa03e2"
PARTS = (Part("test", "test", (Hub("EleutherAI/asdiv", "asdiv", "validation", REVISION),)),)


def problems(settings: Settings, seed: int) -> Rows:
    """Read the problems of all splits."""
    return source.problems("asdiv", PARTS, settings, seed, problem)


def problem(identity: str, row: Row) -> Problem | Rejected:
    """Read a row of the hub, whose answer has its unit in brackets behind it: ``9 (apples)``."""
    answer = canonical(row["answer"].partition("(")[0])
    if answer is None or ";" in row["answer"]:
        return Rejected("answer is not one number")
    question = f"{row['body'].strip()} {row['question'].strip()}"
    return Problem(id=identity, question=question, answer=answer)
