"""
CommonsenseQA: everyday questions with five choices (Talmor et al., 2019, arXiv 1811.00937).

Split rule: train as published; the published dev split is test, because the published test split
has no answers; dev is a share of train, by the hash of the id.
"""

from redistill.problems import source
from redistill.problems.source import Hub, Part, Rejected, Row, Rows, Settings
from redistill.records.types import Problem

SOURCE = "https://github.com/jonathanherzig/commonsenseqa"
LICENCE = "MIT"
GRADER = "choice"
PUBLISHED = True
REVISION = "94630fe30dad47192a8546eb75f094926d47e155"
PARTS = (
    Part("train", "train", (Hub("tau/commonsense_qa", None, "train", REVISION),)),
    Part("dev", "test", (Hub("tau/commonsense_qa", None, "validation", REVISION),)),
)


def problems(settings: Settings, seed: int) -> Rows:
    """Read the problems of all splits."""
    return source.problems("commonsense_qa", PARTS, settings, seed, problem)


def problem(identity: str, row: Row) -> Problem | Rejected:
    """Read a row of the hub, whose choices are labels and texts side by side."""
    labels, texts = list(row["choices"]["label"]), list(row["choices"]["text"])
    place = labels.index(row["answerKey"]) if row["answerKey"] in labels else None
    return source.lettered(identity, row["question"], texts, place)
