"""The branches of the loop: rounds, each from the one before, controls, and other students."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.records.types import Lessons
from redistill.settings.sections import Params, Section

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")  # without a dot: DVC reads that as a section
FIRST = "r0"
BASE = "base"  # the student that the rounds start from
FORMER = ("rounds", "arms", "transfers", "tailored")  # sections that there are no more
SAME = ("from_", "start")  # what the two lines of a round both say
Feedback = Literal["none", "verdict", "shuffled", "error", "repair"]
Version = Literal["first", "matched", "refined", "self", "joint"]
Name = Annotated[str, Field(pattern=rf"^{NAME.pattern}$")]


class Branch(Section):
    """
    One student: what it is taught, what it starts from and how long it is trained.

    *from_* is the branch whose dev predictions it must beat, *rationales* the round whose
    rationales it is taught, *start* the student whose weights it starts from, and *times* how many
    times ``train.steps`` it takes.

    *lessons* says which accepted texts of a problem it is taught: the ``latest``, ``all`` up to
    then, or the ``distinct`` among these. With ``mine.folds``, *probe* says whether students of its
    kind answer train problems that they were not taught, so that others can be refined by these
    errors.
    """

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    from_: Annotated[Name, Field(alias="from")]
    rationales: Name
    start: Name
    times: Annotated[int, Field(ge=1, le=10_000)]
    lessons: Lessons
    probe: bool


class Rewrite(Section):
    """
    What a teacher rewrites: the rationales *of* a round, around the errors of the branch *from_*.

    *like* is the round whose choice of rationales an arm takes; of all else it says what *of* says,
    so that one stage of DVC serves both. *start* is the student that several draws are to fit.
    """

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    from_: Annotated[Name, Field(alias="from")]
    of: Name
    like: Name
    start: Name


class ArmRewrite(Rewrite):
    """What a teacher rewrites for an arm, with what it is told, and which rationales."""

    feedback: Feedback
    scope: Literal["like", "all"]


class Round(Branch):
    """
    A branch with rationales of its own: those *of* an earlier one, rewritten around its errors.

    It is a line in ``branches``, and one in ``rewrites``: a `Rewrite`.
    """

    of: Name
    like: Name


class Arm(Round):
    """
    A control that spends as many calls to the teacher as a round, with other feedback.

    *feedback* is what the teacher is told: ``none`` (it writes afresh), ``verdict`` (only that the
    student was wrong), ``shuffled`` (another problem's error), ``error`` (the student's own, to
    rewrite by), or ``repair`` (the same, to mend the student's own attempt). It rewrites the
    rationales that the round *like* rewrote, or, with the *scope* ``all``, every one.
    """

    feedback: Feedback
    scope: Literal["like", "all"]


class Cell(Branch):
    """
    A cell of the transfer table: a student of the base *target* taught one *version* of a data set.

    ``first`` is taught what a teacher wrote before it saw an error, ``matched`` the same for more
    steps, ``refined`` what was rewritten around the errors of another student, ``self`` around the
    target's own, and ``joint`` around those of several students together. What a cell is held
    against comes from the chain of its *from_*, which ends in a ``first``.
    """

    target: Name
    version: Version


def branches(params: Params) -> dict[str, Branch]:
    """
    Return the branches in ``branches:`` of the settings, the rounds first and in order.

    A round or arm is one that ``rewrites:`` has as well. Raises RefusedError for a name that is no
    name, an unknown predecessor, a round or arm that is not taught its own rationales, a cell that
    does not start from its target, or another branch that comes from a cell. Only without rounds,
    where all that is done is to teach cells, may the first round be missing.
    """
    _check_sections(params)
    found, rewrites = params.named("branches"), params.named("rewrites")
    bases = {BASE, *params.named("targets")}
    known: dict[str, Branch] = {}
    for name in sorted(found, key=str):
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise RefusedError(
                f"{params.file}: branches: {name!r} is not a name such as r1 (lower case, digits, "
                "_ -)",
                code=CONFIG,
            )
        known[name] = _branch(params, name, found[name], rewrites.get(name))
    known = dict(sorted(known.items(), key=_place))
    for name, branch in known.items():
        _check_names(params, name, branch, known, bases)
    for name, branch in known.items():
        _check(params, name, branch, known, bases)
    if FIRST not in known and (len(rounds_of(known)) or not cells_of(known)):
        raise RefusedError(f"{params.file}: branches: there is no {FIRST}", code=CONFIG)
    return known


def rounds(params: Params) -> list[str]:
    """Return the names of the rounds in order, ``r0`` first, controls and cells left out."""
    return rounds_of(branches(params))


def rounds_of(branches: Mapping[str, Branch]) -> list[str]:
    """Return the names of the rounds among *branches*, ``r0`` first."""
    return [name for name, found in branches.items() if name == FIRST or type(found) is Round]


def loop(branches: Mapping[str, Branch]) -> dict[str, Branch]:
    """Return the rounds and their controls: every branch that is no cell of the transfer table."""
    return {name: found for name, found in branches.items() if not isinstance(found, Cell)}


def cells_of(branches: Mapping[str, Branch]) -> dict[str, Cell]:
    """Return the cells of the transfer table among *branches*, by name."""
    return {name: cell for name, cell in branches.items() if isinstance(cell, Cell)}


def arms_of(branches: Mapping[str, Branch]) -> dict[str, Arm]:
    """Return the arms of the ladder of controls among *branches*, by name."""
    return {name: arm for name, arm in branches.items() if isinstance(arm, Arm)}


def depth(name: str, branches: Mapping[str, Branch]) -> int:
    """Count the refinements that lie between the first round and the branch *name*."""
    steps = 0
    while name != FIRST and steps <= len(branches):
        name, steps = branches[name].from_, steps + 1
    return steps


def target_of(name: str, branches: Mapping[str, Branch]) -> str:
    """Return the base student that the branch *name* comes from; *name* itself if it is a base."""
    branch = branches.get(name)
    if branch is None:
        return name
    return branch.target if isinstance(branch, Cell) else BASE


def origin(name: str, branches: Mapping[str, Branch]) -> str:
    """Return the first branch that the cell *name* is from in the end: one that is from itself."""
    seen = [name]
    while branches[seen[-1]].from_ != seen[-1]:
        seen.append(branches[seen[-1]].from_)
        if len(seen) > len(branches):
            raise RefusedError(
                f"branches.{name}: from: it does not lead back to a first student", code=CONFIG
            )
    return seen[-1]


def refuse_former(file: object, sections: Iterable[str]) -> None:
    """Refuse *sections*, which stand in *file*, where one is of those that there were once."""
    if former := next((name for name in FORMER if name in {*sections}), None):
        raise RefusedError(
            f"{file}: {former}: each of its entries stands in 'branches' or 'rewrites' now, or has "
            "a line in both; docs/settings.md, 'A change or two', shows the lines",
            code=CONFIG,
        )


def _check_sections(params: Params) -> None:
    refuse_former(params.file, params.content)
    if not {"branches", "rewrites"} <= {*params.content}:
        raise RefusedError(
            f"{params.file}: needs the sections 'branches' and 'rewrites'", code=CONFIG
        )


def _branch(params: Params, name: str, content: object, rewrite: object) -> Branch:
    """The branch *name*: a line of ``branches``, and of a round or arm what is rewritten for it."""
    keys = {*content} if isinstance(content, dict) else set()
    cell = not keys.isdisjoint({"target", "version"})
    kind = "cell" if cell else "control" if rewrite is None or name == FIRST else "round"
    if name != FIRST:
        _check_itself(params, "branches", name, content, kind)
    taught = params.hold(f"branches.{name}", content, Cell if cell else Branch)
    if kind != "round":
        return taught
    _check_itself(params, "rewrites", name, rewrite, kind)
    arm = isinstance(rewrite, dict) and not {*rewrite}.isdisjoint({"feedback", "scope"})
    written = params.hold(f"rewrites.{name}", rewrite, ArmRewrite if arm else Rewrite)
    for key in SAME:
        if (here := getattr(written, key)) != (there := getattr(taught, key)):
            told = f"{key.strip('_')}: is {here}, and {there} in branches.{name}; both say the same"
            raise _refused(params, name, told, "rewrites")
    lines = taught.model_dump() | written.model_dump()
    return Arm(**lines) if arm else Round(**lines)


def _place(entry: tuple[str, Branch]) -> tuple[bool, bool, tuple[int, str]]:
    """Where a branch stands among the others: the first one, then the rounds in order."""
    name, branch = entry
    return name != FIRST, type(branch) is not Round, _natural(name)


def _check_itself(params: Params, section: str, name: str, content: object, kind: str) -> None:
    """Refuse what names itself where another is meant, before anything else that is wrong of it."""
    meant = {
        "from": f"from: names itself; it is the branch before it, such as {FIRST}, which it must "
        "beat on dev",
        "start": f"start: names itself; it is {BASE}, or the branch that it goes on from",
        "of": "of: names itself; it is what the branch in from was taught, and is rewritten",
        "like": "like: names itself; of a round it says what of says, of an arm it is a round",
        "rationales": "rationales: names itself, and rewrites has no such line; a control or a "
        f"cell names those of a round, such as {FIRST}",
    }
    own = {"round": "rationales", "cell": "from"}.get(kind)
    for key, told in meant.items():
        if key != own and isinstance(content, dict) and content.get(key) == name:
            raise _refused(params, name, told, section)


def _check_names(
    params: Params, name: str, branch: Branch, known: Mapping[str, Branch], bases: set[str]
) -> None:
    """Refuse where the *branch* called *name* names what is not there, or itself."""
    if isinstance(branch, Cell) and branch.target not in bases:
        listed = ", ".join(sorted(bases))
        raise _refused(params, name, f"target: there is none {branch.target!r}, but {listed}")
    starts = bases if isinstance(branch, Cell) else {BASE}
    for place, other in (("from", branch.from_), ("start", branch.start)):
        if other not in known and not (place == "start" and other in starts):
            raise _refused(params, name, f"{place}: there is no branch {other!r}")


def _check(
    params: Params, name: str, branch: Branch, known: Mapping[str, Branch], bases: set[str]
) -> None:
    """Refuse what the *branch* called *name* says of others that is not so."""
    if (name == FIRST or isinstance(branch, Round)) and branch.rationales != name:
        raise _refused(params, name, f"a round is taught its own rationales: {name}")
    if isinstance(branch, Cell):
        _check_cell(params, name, branch, known)
    elif cell := next((o for o in (branch.from_, branch.start) if o in cells_of(known)), None):
        raise _refused(params, name, f"{cell} is a cell of the transfer table, and this is none")
    if isinstance(branch, Round):
        _check_round(params, name, branch, known)


def _check_round(params: Params, name: str, branch: Round, known: Mapping[str, Branch]) -> None:
    """Refuse a round that is like another, an arm that is like none, and other rationales."""
    if isinstance(branch, Arm):
        if type(known.get(branch.like)) is not Round:
            raise _refused(params, name, f"like: there is no round {branch.like!r}", "rewrites")
    elif branch.like != branch.of:
        raise _refused(params, name, "like: of a round it is what stands in of", "rewrites")
    if branch.of != known[branch.from_].rationales:
        taught = known[branch.from_].rationales
        told = f"of: what is rewritten is what {branch.from_} was taught: {taught}"
        raise _refused(params, name, told, "rewrites")


def _check_cell(params: Params, name: str, cell: Cell, known: Mapping[str, Branch]) -> None:
    """Refuse a cell that starts or comes from a student of another target."""
    if target_of(cell.start, known) != cell.target:
        raise _refused(params, name, f"start: {cell.start} is not a student of {cell.target}")
    if target_of(cell.from_, known) != cell.target:
        raise _refused(params, name, f"from: {cell.from_} is not a student of {cell.target}")
    if (cell.version == "first") != (cell.from_ == name):
        raise _refused(params, name, "from: a cell is from itself if and only if it is a first one")
    origin(name, known)


def _refused(params: Params, name: str, fault: str, section: str = "branches") -> RefusedError:
    return RefusedError(f"{params.file}: {section}.{name}: {fault}", code=CONFIG)


def _natural(name: str) -> tuple[int, str]:
    digits = name.removeprefix("r")
    return (int(digits) if digits.isdigit() else 10**9, name)
