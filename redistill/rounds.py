"""The branches of the loop: rounds, each from the one before, and the controls beside them."""

import re
from pathlib import Path
from typing import Any

from redistill.params import Section, read
from redistill.refusals import CONFIG, RefusedError

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
FIRST = "r0"


class Branch(Section):
    """
    One student: what it is taught, what it starts from and how long it is trained.

    *from_* is the branch whose dev predictions it must beat, *rationales* the round whose
    rationales it is taught, *start* the student whose weights it starts from, and *times* how many
    times ``train.steps`` it takes.
    """

    from_: str
    rationales: str
    start: str
    times: int

    @property
    def control(self) -> bool:
        """Whether it compares with the first round instead of carrying the loop on."""
        return self.times != 1


def branches(path: Path) -> dict[str, Branch]:
    """
    The branches in ``branches:`` of the settings, the rounds first and in order.

    Raises RefusedError for a name that is no name, an unknown predecessor, or a round that is not
    taught its own rationales.
    """
    settings = read(path)
    found = settings.get("branches")
    rounds = settings.get("rounds")
    if not isinstance(found, dict) or not isinstance(rounds, dict):
        raise RefusedError(f"{path}: needs the sections 'rounds' and 'branches'", code=CONFIG)
    known: dict[str, Branch] = {}
    for name in sorted(found, key=lambda n: (n != FIRST, n not in rounds, _natural(str(n)))):
        known[str(name)] = _branch(path, name, found[name])
    for name, branch in known.items():
        if name in rounds and branch.rationales != name:
            raise _refused(path, name, f"a round is taught its own rationales: {name}")
        for kind, other in (("from", branch.from_), ("start", branch.start)):
            if other not in known and not (kind == "start" and other == "base"):
                raise _refused(path, name, f"{kind}: there is no branch {other!r}")
    if FIRST not in known:
        raise RefusedError(f"{path}: branches: there is no {FIRST}", code=CONFIG)
    return known


def rounds(path: Path) -> list[str]:
    """The names of the rounds in order, ``r0`` first, controls left out."""
    later = read(path).get("rounds", {})
    return [name for name in branches(path) if name == FIRST or name in later]


def _branch(path: Path, name: Any, content: Any) -> Branch:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise RefusedError(
            f"{path}: branches: {name!r} is not a name such as r1 (lower case, digits, . _ -)",
            code=CONFIG,
        )
    keys = {"from", "rationales", "start", "times"}
    if not isinstance(content, dict) or set(content) != keys:
        raise _refused(path, name, f"needs exactly the keys {', '.join(sorted(keys))}")
    texts = [content[key] for key in ("from", "rationales", "start")]
    if not all(isinstance(text, str) and NAME.fullmatch(text) for text in texts):
        raise _refused(path, name, "from, rationales and start are names of branches")
    times = content["times"]
    if not isinstance(times, int) or isinstance(times, bool) or times < 1:
        raise _refused(path, name, f"times: expected a whole number from 1, got {times!r}")
    return Branch(from_=texts[0], rationales=texts[1], start=texts[2], times=times)


def _refused(path: Path, name: str, fault: str) -> RefusedError:
    return RefusedError(f"{path}: branches.{name}: {fault}", code=CONFIG)


def _natural(name: str) -> tuple[int, str]:
    digits = name.removeprefix("r")
    return (int(digits) if digits.isdigit() else 10**9, name)
