"""The branches of the loop: rounds, each from the one before, and the controls beside them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from redistill.params import Section, read
from redistill.refusals import CONFIG, RefusedError

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
FIRST = "r0"
ARM = ("feedback", "like", "scope")  # the keys that an arm has beside those of every branch
Feedback = Literal["none", "verdict", "shuffled", "error"]


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


class Arm(Branch):
    """
    A control that spends as many calls to the teacher as a round, with other feedback.

    *feedback* is what the teacher is told: ``none`` (it writes afresh), ``verdict`` (only that the
    student was wrong), ``shuffled`` (another problem's error), or ``error`` (the student's own, as
    a round has it). It rewrites the rationales that the round *like* rewrote, or, with the *scope*
    ``all``, every one.
    """

    feedback: Feedback
    like: str
    scope: Literal["like", "all"]


def branches(path: Path) -> dict[str, Branch]:
    """
    The branches in ``branches:`` of the settings, the rounds first and in order.

    Raises RefusedError for a name that is no name, an unknown predecessor, or a round or arm that
    is not taught its own rationales.
    """
    settings = read(path)
    found = settings.get("branches")
    rounds = settings.get("rounds")
    if not isinstance(found, dict) or not isinstance(rounds, dict):
        raise RefusedError(f"{path}: needs the sections 'rounds' and 'branches'", code=CONFIG)
    ladder = settings.get("arms") or {}
    if not isinstance(ladder, dict) or not set(ladder) <= set(found):
        raise RefusedError(f"{path}: arms: each of them stands in 'branches' as well", code=CONFIG)
    known: dict[str, Branch] = {}
    for name in sorted(found, key=lambda n: (n != FIRST, n not in rounds, _natural(str(n)))):
        known[str(name)] = _branch(path, name, found[name], arm=name in ladder)
    for name, branch in known.items():
        if (name in rounds or name in ladder) and branch.rationales != name:
            raise _refused(path, name, f"a round is taught its own rationales: {name}")
        if isinstance(branch, Arm) and branch.like not in rounds:
            raise _refused(path, name, f"like: there is no round {branch.like!r}")
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


def arms(path: Path) -> dict[str, Arm]:
    """The arms of the ladder of controls, by name."""
    return {name: arm for name, arm in branches(path).items() if isinstance(arm, Arm)}


def arm(path: Path, name: str) -> Arm:
    """The arm called *name*; raises RefusedError where there is none."""
    found = branches(path).get(name)
    if not isinstance(found, Arm):
        raise _refused(path, name, "there is no such arm")
    return found


def depth(name: str, branches: Mapping[str, Branch]) -> int:
    """How many refinements lie between the first round and the branch *name*."""
    steps = 0
    while name != FIRST and steps <= len(branches):
        name, steps = branches[name].from_, steps + 1
    return steps


def _branch(path: Path, name: Any, content: Any, *, arm: bool) -> Branch:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise RefusedError(
            f"{path}: branches: {name!r} is not a name such as r1 (lower case, digits, . _ -)",
            code=CONFIG,
        )
    keys = {"from", "rationales", "start", "times"} | ({*ARM} if arm else set())
    if not isinstance(content, dict) or set(content) != keys:
        raise _refused(path, name, f"needs exactly the keys {', '.join(sorted(keys))}")
    texts = [content[key] for key in ("from", "rationales", "start")]
    if not all(isinstance(text, str) and NAME.fullmatch(text) for text in texts):
        raise _refused(path, name, "from, rationales and start are names of branches")
    times = content["times"]
    if not isinstance(times, int) or isinstance(times, bool) or times < 1:
        raise _refused(path, name, f"times: expected a whole number from 1, got {times!r}")
    plain = Branch(from_=texts[0], rationales=texts[1], start=texts[2], times=times)
    if not arm:
        return plain
    try:
        return Arm(**plain.model_dump(), **{key: content[key] for key in ARM})
    except ValidationError as problem:
        fault = problem.errors()[0]
        raise _refused(path, name, f"{fault['loc'][0]}: {fault['msg']}") from None


def _refused(path: Path, name: str, fault: str) -> RefusedError:
    return RefusedError(f"{path}: branches.{name}: {fault}", code=CONFIG)


def _natural(name: str) -> tuple[int, str]:
    digits = name.removeprefix("r")
    return (int(digits) if digits.isdigit() else 10**9, name)
