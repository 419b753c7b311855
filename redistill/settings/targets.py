"""Who else is taught, and what: target students, data sets taken over, errors put together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.settings import branches as branching
from redistill.settings.sections import Section, hold, read

S = TypeVar("S", bound=Section)


class Pool(Section):
    """The errors of the students of two branches together; either may be a pool itself."""

    of: str
    and_: Annotated[str, Field(alias="and")]


class Tailored(Section):
    """
    Rationales rewritten around other errors than those of a round.

    *errors* is the branch or pool whose errors and gaps the teacher is shown, *rationales* what it
    rewrites, and *student* the one that several draws are to fit.
    """

    errors: str
    rationales: str
    student: str


class Source(Section):
    """
    A published data set that rationales are taken from.

    It is a *folder* in data/imported, or a data set of the *hub* at a *revision*; the others are
    null. *version* is the last text of each rationale, or the first, which the others replaced.
    """

    folder: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None
    hub: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] | None
    revision: Annotated[str, Field(min_length=1)] | None
    version: Literal["first", "last"]
    max_loss: Annotated[float, Field(ge=0, le=1)]


class Table(Section):
    """A table of the cells; a gain counts below *alpha*, by Holm's correction over the targets."""

    alpha: Annotated[float, Field(gt=0, lt=1)]


def pools(path: Path) -> dict[str, Pool]:
    """The pools of errors, by name."""
    return _all(path, "pools", Pool)


def tailored(path: Path) -> dict[str, Tailored]:
    """The rationales that are rewritten around other errors than a round's, by name."""
    return _all(path, "tailored", Tailored)


def sources(path: Path) -> dict[str, Source]:
    """The data sets that rationales are taken from, by the name that these get."""
    return _all(path, "sources", Source)


def source(path: Path, name: str) -> Source:
    """The data set *name*; refuses one that is neither a folder nor on the hub, or is both."""
    found = sources(path)[name]
    if (found.folder is None) == (found.hub is None):
        raise _refused(path, f"sources.{name}", "needs either folder or hub, the other null")
    if (found.hub is None) != (found.revision is None):
        raise _refused(
            path, f"sources.{name}", "revision: a commit or tag of the hub id, null for a folder"
        )
    return found


def tables(path: Path) -> dict[str, Table]:
    """The tables of the cells, by the name of their file in metrics."""
    return _all(path, "tables", Table)


def check(path: Path) -> None:
    """
    Hold targets, sources, pools, tailored rationales, cells and tables of *path* to each other.

    Raises RefusedError for a name that two of them have, and for one that nothing has.
    """
    branches, targets = branching.branches(path), _names(path, "targets")
    mixed, rewritten, taken = pools(path), tailored(path), sources(path)
    for name in taken:
        source(path, name)
    tables(path)
    _apart(path, {branching.BASE: "the base student"}, {"targets": targets, "branches": branches})
    _apart(path, {}, {"branches": branches, "pools": mixed})
    own = [name for name, branch in branches.items() if branch.rationales == name]
    _apart(path, {}, {"branches": own, "tailored": rewritten, "sources": taken})
    written = {*own, *rewritten, *taken}
    for name, branch in branches.items():
        known = written if isinstance(branch, branching.Cell) else set(own)
        _known(path, f"branches.{name}.rationales", branch.rationales, known)
    for name, pool in mixed.items():
        for key, other in (("of", pool.of), ("and", pool.and_)):
            _known(path, f"pools.{name}.{key}", other, {*branches, *mixed} - {name})
        members = _members(path, name, mixed)
        if twice := next((m for m in members if members.count(m) > 1), None):
            raise _refused(path, f"pools.{name}", f"the errors of {twice!r} are in it twice")
    for name, tailor in rewritten.items():
        place = f"tailored.{name}"
        _known(path, f"{place}.errors", tailor.errors, {*branches, *mixed})
        _known(path, f"{place}.rationales", tailor.rationales, written - {name})
        _known(path, f"{place}.student", tailor.student, {*branches})


def _members(path: Path, name: str, pools: Mapping[str, Pool], deep: int = 0) -> list[str]:
    """The branches whose errors are in the pool *name*, each as often as they are in it."""
    if name not in pools:
        return [name]
    if deep > len(pools):
        raise _refused(path, f"pools.{name}", "is a part of itself")
    pool = pools[name]
    return [m for part in (pool.of, pool.and_) for m in _members(path, part, pools, deep + 1)]


def _all(path: Path, section: str, model: type[S]) -> dict[str, S]:
    content = read(path).get(section) or {}
    names = _names(path, section)
    return {name: hold(path, f"{section}.{name}", content[name], model) for name in names}


def _names(path: Path, section: str) -> list[str]:
    content: Any = read(path).get(section) or {}
    if not isinstance(content, dict):
        raise _refused(path, section, f"expected names, got {type(content).__name__}")
    for name in content:
        if not isinstance(name, str) or not branching.NAME.fullmatch(name):
            raise _refused(path, section, f"{name!r} is not a name such as wide")
    return list(content)


def _apart(path: Path, seen: dict[str, str], kinds: Mapping[str, Any]) -> None:
    for kind, names in kinds.items():
        for name in names:
            if name in seen:
                raise _refused(path, kind, f"{name!r} is taken already: {seen[name]}")
            seen[name] = kind


def _known(path: Path, place: str, name: str, known: set[str]) -> None:
    if name not in known:
        raise _refused(path, place, f"there is no {name!r}; there are {', '.join(sorted(known))}")


def _refused(path: Path, place: str, fault: str) -> RefusedError:
    return RefusedError(f"{path}: {place}: {fault}", code=CONFIG)
