"""
StrategyQA: yes-or-no questions that need steps nobody spells out (Geva et al., 2021).

Split rule: train as published; the published dev split is test, because the published test split
has no answers; dev is a share of train, by the hash of the id. The hub's copy has another split.
"""

from redistill.problems import source
from redistill.problems.source import Hub, Part, Rejected, Row, Rows, Settings
from redistill.records.types import Problem

SOURCE = "https://github.com/eladsegal/strategyqa"
LICENCE = "MIT"
GRADER = "yes_no"
PUBLISHED = True
REVISION = "705562638fe1d8ca6bb98c66fc8f94d45fda8c83"
PARTS = (
    Part("train", "train", (Hub("ChilleD/StrategyQA", None, "train", REVISION),)),
    Part("dev", "test", (Hub("ChilleD/StrategyQA", None, "test", REVISION),)),
)


def problems(settings: Settings, seed: int) -> Rows:
    """Read the problems of all splits."""
    return source.problems("strategy_qa", PARTS, settings, seed, problem)


def problem(identity: str, row: Row) -> Problem | Rejected:
    """Read a row of the hub, whose answer is true or false and whose facts are a text or a list."""
    facts = row["facts"] if isinstance(row["facts"], str) else " ".join(row["facts"])
    answer = {True: "yes", False: "no"}.get(row["answer"])
    if answer is None:
        return Rejected("answer is neither true nor false")
    return Problem(id=identity, question=row["question"].strip(), answer=answer, solution=facts)
