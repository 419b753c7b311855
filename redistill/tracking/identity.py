"""Which run of a tracker a branch is: the same one whenever and wherever a stage of it runs."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redistill.settings.sections import Params

PROJECT = "REDISTILL_TRACKER_PROJECT"
DEFAULT = "redistill"
ALL = "all"  # the run of what is of no branch: problems, tables, the published set
ELSEWHERE = (  # sections that shape no student, and lists of which a branch has its own line
    "seed", "report", "publish", "branches", "rewrites", "arms", "targets", "sources", "pools",
    "tables",
)  # fmt: skip
LISTS = ("branches", "arms", "targets")
GIT = 10.0  # seconds that git may take to name a commit
SHOWN = 12  # digits of a commit


@dataclass(frozen=True)
class Identity:
    """
    A run: the *branch* of *project* that it is of, its *id*, and the *group* of commit and seed.

    *name* is what people read, and with its few digits of the id no two runs share it. *settings*
    are those of params.yaml, by their dotted names.
    """

    project: str
    branch: str
    id: str
    commit: str
    seed: int
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The branch with the first digits of the id."""
        return f"{self.branch}-{self.id[:6]}"

    @property
    def group(self) -> str:
        """The commit and the seed, which all runs of a loop have in common."""
        return f"{self.commit[:SHOWN]} seed {self.seed}"


def identity(branch: str, params: Params, folder: Path) -> Identity:
    """
    Make the identity of the run of *branch* with *params*, in the checkout of *folder*.

    Another commit, seed, or setting that shapes its student is another run.
    """
    content = params.content
    shaping = {name: value for name, value in content.items() if name not in ELSEWHERE}
    lines = {name: _line(content.get(name), branch) for name in LISTS}
    head = commit(folder)
    told = json.dumps([head, params.seed, shaping, lines, branch], sort_keys=True, default=str)
    return Identity(
        project=os.environ.get(PROJECT) or DEFAULT,
        branch=branch,
        id=hashlib.sha256(told.encode()).hexdigest()[:16],
        commit=head,
        seed=params.seed,
        settings=dict(flat(content)),
    )


def commit(folder: Path) -> str:
    """Name the commit that *folder* is a checkout of; ``no commit`` where git knows of none."""
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "--verify", "--quiet", "HEAD"],  # noqa: S607 - as the user has it
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=GIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "no commit"
    return asked.stdout.strip() or "no commit"


def flat(
    content: Mapping[str, Any], before: str = "", mark: str = "."
) -> Iterator[tuple[str, Any]]:
    """
    Yield what *content* nests, each value by the names that lead to it, with *mark* between them.

    >>> dict(flat({"a": {"b": 1}, "c": 2}))
    {'a.b': 1, 'c': 2}
    """
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{name}{mark}", mark)
        else:
            yield f"{before}{name}", value


def _line(found: Any, branch: str) -> Any:
    return found.get(branch) if isinstance(found, Mapping) else None
