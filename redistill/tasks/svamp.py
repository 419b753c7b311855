"""
SVAMP: one-step word problems varied to catch shallow reading (Patel et al., 2021).

Split rule: the whole set is test, as its authors use it; ``train_share`` and ``dev_share`` carve
train and dev out of it by the hash of the id. The hub's copy is in two pieces, not of their making.
"""

from redistill.grading.numbers import canonical
from redistill.problems import source
from redistill.problems.source import Hub, Part, Rejected, Row, Rows
from redistill.problems.source import Shares as Settings
from redistill.records.types import Problem

SOURCE = "https://github.com/arkilpatel/SVAMP"
LICENCE = "MIT"
GRADER = "numeric"
PUBLISHED = True
REVISION = "5e0bf1e5e7c0e9c4bc39180d224f41f3f801b7ef"
PARTS = (Part("test", "test", (Hub("ChilleD/SVAMP", None, "train+test", REVISION),)),)


def problems(settings: Settings, seed: int) -> Rows:
    """Read the problems of all splits."""
    return source.problems("svamp", PARTS, settings, seed, problem)


def problem(identity: str, row: Row) -> Problem | Rejected:
    """
    Read a row of the hub.

    Its question is in two parts that may lack the point between them.
    """
    body, question = row["Body"].strip(), row["Question"].strip()
    between = " " if body.endswith((".", "!", "?", ",")) else ". "
    answer = canonical(str(row["Answer"]))
    if answer is None:
        return Rejected("answer is not one number")
    return Problem(id=identity, question=f"{body}{between}{question}", answer=answer)
