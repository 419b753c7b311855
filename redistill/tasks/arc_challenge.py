"""
ARC-Challenge: science questions of grade school with three to five choices (Clark et al., 2018).

Split rule: train, dev and test as published. Choices labelled 1 to 5 become A to E.
"""

from redistill.problems import source
from redistill.problems.source import Hub, Part, Rejected, Row, Rows, Settings
from redistill.records.types import Problem

SOURCE = "https://allenai.org/data/arc"
LICENCE = "CC BY-SA 4.0"
GRADER = "choice"
PUBLISHED = True
REVISION = "210d026faf9955653af8916fad021475a3f00453"
PARTS = (
    Part("train", "train", (Hub("allenai/ai2_arc", "ARC-Challenge", "train", REVISION),)),
    Part("dev", "dev", (Hub("allenai/ai2_arc", "ARC-Challenge", "validation", REVISION),)),
    Part("test", "test", (Hub("allenai/ai2_arc", "ARC-Challenge", "test", REVISION),)),
)


def problems(settings: Settings, seed: int) -> Rows:
    """Read the problems of all splits."""
    return source.problems("arc_challenge", PARTS, settings, seed, problem)


def problem(identity: str, row: Row) -> Problem | Rejected:
    """Read a row of the hub, whose choices are labels (A to E or 1 to 5) and texts side by side."""
    labels, texts = list(row["choices"]["label"]), list(row["choices"]["text"])
    place = labels.index(row["answerKey"]) if row["answerKey"] in labels else None
    return source.lettered(identity, row["question"], texts, place)
