"""The branches of the loop: rounds, each from the one before, controls, and other students."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.settings.sections import Section, read

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")  # without a dot: DVC reads that as a section
FIRST = "r0"
BASE = "base"  # the student that the rounds start from
ARM = ("feedback", "like", "scope")  # the keys that an arm has beside those of every branch
CELL = ("target", "version")  # and those that a cell of the transfer table has
Feedback = Literal["none", "verdict", "shuffled", "error"]
Version = Literal["first", "matched", "refined", "self", "joint"]


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


class Cell(Branch):
    """
    A cell of the transfer table: a student of the base *target* taught one *version* of a data set.

    ``first`` is taught what a teacher wrote before it saw an error, ``matched`` the same for more
    steps, ``refined`` what was rewritten around the errors of another student, ``self`` around the
    target's own, and ``joint`` around those of several students together. What a cell is held
    against comes from the chain of its *from_*, which ends in a ``first``.
    """

    target: str
    version: Version


def branches(path: Path) -> dict[str, Branch]:
    """
    The branches in ``branches:`` of the settings, the rounds first and in order.

    Raises RefusedError for a name that is no name, an unknown predecessor, a round or arm that is
    not taught its own rationales, a cell that does not start from its target, or another branch
    that comes from a cell. Only without rounds, where all that is done is to teach cells, may the
    first round be missing.
    """
    settings = read(path)
    found = settings.get("branches")
    rounds = settings.get("rounds")
    if not isinstance(found, dict) or not isinstance(rounds, dict):
        raise RefusedError(f"{path}: needs the sections 'rounds' and 'branches'", code=CONFIG)
    ladder, cells = (_inside(path, settings, kind, found) for kind in ("arms", "transfers"))
    bases = {BASE, *(settings.get("targets") or {})}
    known: dict[str, Branch] = {}
    for name in sorted(found, key=lambda n: (n != FIRST, n not in rounds, _natural(str(n)))):
        kind = Arm if name in ladder else Cell if name in cells else Branch
        known[str(name)] = made = _branch(path, name, found[name], kind)
        if isinstance(made, Cell) and made.target not in bases:
            listed = ", ".join(sorted(bases))
            raise _refused(path, name, f"target: there is none {made.target!r}, but {listed}")
    for name, branch in known.items():
        own = name == FIRST or name in rounds or name in ladder
        if own and branch.rationales != name:
            raise _refused(path, name, f"a round is taught its own rationales: {name}")
        if isinstance(branch, Arm) and branch.like not in rounds:
            raise _refused(path, name, f"like: there is no round {branch.like!r}")
        starts = bases if isinstance(branch, Cell) else {BASE}
        for place, other in (("from", branch.from_), ("start", branch.start)):
            if other not in known and not (place == "start" and other in starts):
                raise _refused(path, name, f"{place}: there is no branch {other!r}")
        if isinstance(branch, Cell):
            _check_cell(path, name, branch, known)
        elif cell := next((o for o in (branch.from_, branch.start) if o in cells), None):
            raise _refused(path, name, f"{cell} is a cell of the transfer table, and this is none")
    if FIRST not in known and (rounds or not cells):
        raise RefusedError(f"{path}: branches: there is no {FIRST}", code=CONFIG)
    return known


def rounds(path: Path) -> list[str]:
    """The names of the rounds in order, ``r0`` first, controls and cells left out."""
    later = read(path).get("rounds", {})
    return [name for name in branches(path) if name == FIRST or name in later]


def loop(path: Path) -> dict[str, Branch]:
    """The rounds and their controls: every branch that is no cell of the transfer table."""
    return {name: found for name, found in branches(path).items() if not isinstance(found, Cell)}


def cells(path: Path) -> dict[str, Cell]:
    """The cells of the transfer table, by name."""
    return {name: cell for name, cell in branches(path).items() if isinstance(cell, Cell)}


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


def _inside(path: Path, settings: Mapping[str, Any], kind: str, found: Mapping[str, Any]) -> Any:
    """The branches listed in the section *kind*, each of which has to be among those *found*."""
    listed = settings.get(kind) or {}
    if not isinstance(listed, dict) or not set(listed) <= set(found):
        raise RefusedError(
            f"{path}: {kind}: each of them stands in 'branches' as well", code=CONFIG
        )
    return listed


def _check_cell(path: Path, name: str, cell: Cell, known: Mapping[str, Branch]) -> None:
    """Refuse a cell that starts or comes from a student of another target."""
    if target_of(cell.start, known) != cell.target:
        raise _refused(path, name, f"start: {cell.start} is not a student of {cell.target}")
    if target_of(cell.from_, known) != cell.target:
        raise _refused(path, name, f"from: {cell.from_} is not a student of {cell.target}")
    if (cell.version == "first") != (cell.from_ == name):
        raise _refused(path, name, "from: a cell is from itself if and only if it is a first one")
    origin(name, known, path)


def target_of(name: str, branches: Mapping[str, Branch]) -> str:
    """The base student that the branch *name* comes from; *name* itself where it is a base."""
    branch = branches.get(name)
    if branch is None:
        return name
    return branch.target if isinstance(branch, Cell) else BASE


def origin(name: str, branches: Mapping[str, Branch], path: Path = Path("params.yaml")) -> str:
    """The first branch that the cell *name* is from in the end: one that is from itself."""
    seen = [name]
    while branches[seen[-1]].from_ != seen[-1]:
        seen.append(branches[seen[-1]].from_)
        if len(seen) > len(branches):
            raise _refused(path, name, "from: it does not lead back to a first student")
    return seen[-1]


def _branch(path: Path, name: Any, content: Any, kind: type[Branch]) -> Branch:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise RefusedError(
            f"{path}: branches: {name!r} is not a name such as r1 (lower case, digits, _ -)",
            code=CONFIG,
        )
    own = {Arm: ARM, Cell: CELL}.get(kind, ())
    keys = {"from", "rationales", "start", "times", *own}
    if not isinstance(content, dict) or set(content) != keys:
        raise _refused(path, name, f"needs exactly the keys {', '.join(sorted(keys))}")
    texts = [content[key] for key in ("from", "rationales", "start")]
    if not all(isinstance(text, str) and NAME.fullmatch(text) for text in texts):
        raise _refused(path, name, "from, rationales and start are names of branches")
    times = content["times"]
    if not isinstance(times, int) or isinstance(times, bool) or times < 1:
        raise _refused(path, name, f"times: expected a whole number from 1, got {times!r}")
    plain = {"from_": texts[0], "rationales": texts[1], "start": texts[2], "times": times}
    try:
        return kind(**plain, **{key: content[key] for key in own})
    except ValidationError as problem:
        fault = problem.errors()[0]
        raise _refused(path, name, f"{fault['loc'][0]}: {fault['msg']}") from None


def _refused(path: Path, name: str, fault: str) -> RefusedError:
    return RefusedError(f"{path}: branches.{name}: {fault}", code=CONFIG)


def _natural(name: str) -> tuple[int, str]:
    digits = name.removeprefix("r")
    return (int(digits) if digits.isdigit() else 10**9, name)
