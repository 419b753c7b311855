"""
AQuA-RAT: algebra questions with five choices and a rationale (Ling et al., 2017, arXiv 1705.04146).

Split rule: train, dev and test as published.
"""

from redistill.problems import source
from redistill.problems.source import Hub, Part, Rejected, Row, Rows, Settings
from redistill.records.types import Problem

SOURCE = "https://github.com/google-deepmind/AQuA"
LICENCE = "Apache-2.0"
GRADER = "choice"
PUBLISHED = True
REVISION = "33301c6a050c96af81f63cad5562cb5363e88971"
PARTS = (
    Part("train", "train", (Hub("deepmind/aqua_rat", "raw", "train", REVISION),)),
    Part("dev", "dev", (Hub("deepmind/aqua_rat", "raw", "validation", REVISION),)),
    Part("test", "test", (Hub("deepmind/aqua_rat", "raw", "test", REVISION),)),
)


def problems(settings: Settings, seed: int) -> Rows:
    """Read the problems of all splits."""
    return source.problems("aqua", PARTS, settings, seed, problem)


def problem(identity: str, row: Row) -> Problem | Rejected:
    """Read a row of the hub, whose options carry their letters: ``A)21``."""
    pairs = [option.partition(")") for option in row["options"]]
    letters = [letter.strip("( ").upper() for letter, _, _ in pairs]
    gold = row["correct"].strip().upper()
    place = letters.index(gold) if letters.count(gold) == 1 else None
    texts = [text for _, _, text in pairs]
    solution = (row["rationale"] or "").strip() or None
    return source.lettered(identity, row["question"], texts, place, solution)
