"""
SingleEq: word problems of one equation (Koncel-Kedziorski et al., 2015).

Split rule: the whole set is test; ``train_share`` and ``dev_share`` carve train and dev out of it
by the hash of the id. From a folder only: the hub has no copy that we know of.
"""

from redistill.problems import source
from redistill.problems.source import Part, Rows
from redistill.problems.source import Shares as Settings

SOURCE = "https://github.com/kojima-takeshi188/zero_shot_cot"
LICENCE = "not stated"
GRADER = "numeric"
PUBLISHED = True
PARTS = (Part("test", "test"),)


def problems(settings: Settings, seed: int) -> Rows:
    """Read the problems of all splits."""
    return source.problems("singleeq", PARTS, settings, seed)
