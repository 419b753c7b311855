"""The settings with which dvc.lock says that stages ran, against those that stand there now."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from redistill.cli import dvc_locks
from redistill.rounds import targets
from redistill.rounds.branches import BASE, FIRST, branches
from redistill.settings.sections import Params

FILE = "params.yaml"
ONCE = ("prepare", BASE, "generate")  # stages that every branch follows from
EACH = ("refine", "train", "answer", "probe", "grade", "mine", "pool", "target", "take")


def changed(root: Path, params: Params, branch: str) -> list[str]:
    """
    Name the stages up to the errors of *branch* that ran with other settings.

    *root* has the dvc.lock that says so.

    What they have made is of an earlier run, and the next one makes it anew before it goes on. How
    a teacher is reached and asked is left out: the record store knows of each request whether it
    was made. A stage that dvc.lock does not know has made nothing.
    """
    known = dvc_locks.read_lock(root / dvc_locks.LOCK).whole
    stages = [*ONCE, *(f"{stage}@{one}" for one in _behind(params, branch) for stage in EACH)]
    teachers = {params.content["teach"][role] for role in ("teacher", "refiner")}
    return [
        stage
        for stage in stages
        if any(
            value != _now(params.content, key)
            for key, value in known.get(stage, {}).get("params", {}).get(FILE, {}).items()
            if key not in teachers
        )
    ]


def _behind(params: Params, branch: str) -> list[str]:
    """The branches and rewrites that the errors of *branch* follow from, itself the first."""
    known, rewrites, pools = branches(params), targets.rewrites(params), targets.pools(params)
    found = [branch]
    for name in found:  # grows on the way
        lines = [line for line in (known.get(name), rewrites.get(name)) if line is not None]
        named = [n for line in lines for n in (line.from_, line.start)]
        named += [known[name].rationales] if name in known else []
        named += [rewrites[name].of] if name in rewrites else []
        named += [pools[name].of, pools[name].and_] if name in pools else []
        found += [n for n in dict.fromkeys(named) if n not in (*found, BASE)]
    return found if FIRST in found else [*found, FIRST]


def _now(content: Mapping[str, Any], key: str) -> Any:
    """The value that stands at the dotted *key*; None where nothing does."""
    value: Any = content
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
