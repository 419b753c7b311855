"""Who else is taught, and what: target students, data sets taken over, errors put together."""

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.rounds.branches import (
    BASE,
    NAME,
    Arm,
    Branch,
    Cell,
    Name,
    Rewrite,
    Round,
    branches,
)
from redistill.settings.bounds import SMALL, Share, Text
from redistill.settings.sections import Params, Section

S = TypeVar("S", bound=Section)


class Pool(Section):
    """The errors of the students of two branches together; either may be a pool itself."""

    of: Name
    and_: Annotated[Name, Field(alias="and")]


class Tailored(Rewrite):
    """Rationales that are rewritten for cells alone, around the errors of a branch or pool."""


class Source(Section):
    """
    A published data set that rationales are taken from.

    It is a *folder* in data/imported, or a data set of the *hub* at a *revision*; the others are
    null. *version* is the last text of each rationale, or the first, which the others replaced.
    """

    folder: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None
    hub: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] | None
    revision: Text | None
    version: Literal["first", "last"]
    max_loss: Share


class Table(Section):
    """A table of the cells; a gain counts below *alpha*, by Holm's correction over the targets."""

    alpha: Annotated[float, Field(ge=SMALL, lt=1)]


def pools(params: Params) -> dict[str, Pool]:
    """Return the pools of errors, by name."""
    return _all(params, "pools", Pool)


def tailored(params: Params) -> dict[str, Tailored]:
    """Return what is rewritten around other errors than those of a round or arm, by name."""
    return _tailored(params, branches(params))


def _tailored(params: Params, known: Mapping[str, Branch]) -> dict[str, Tailored]:
    own = {name for name, branch in known.items() if isinstance(branch, Round)}
    return {
        name: params.hold(f"rewrites.{name}", content, Tailored)
        for name, content in _listed(params, "rewrites").items()
        if name not in own
    }


def sources(params: Params) -> dict[str, Source]:
    """Return the data sets that rationales are taken from, by the name that these get."""
    return _all(params, "sources", Source)


def source(params: Params, name: str) -> Source:
    """Return the data set *name*; refuses one that is neither a folder nor on the hub, or both."""
    found = sources(params)[name]
    if (found.folder is None) == (found.hub is None):
        raise _refused(params, f"sources.{name}", "needs either folder or hub, the other null")
    if (found.hub is None) != (found.revision is None):
        raise _refused(
            params, f"sources.{name}", "revision: a commit or tag of the hub id, null for a folder"
        )
    return found


def tables(params: Params) -> dict[str, Table]:
    """Return the tables of the cells, by the name of their file in metrics."""
    return _all(params, "tables", Table)


def rewrites(params: Params) -> dict[str, Round | Tailored]:
    """Return everything that the stage refine rewrites: rounds, arms and tailored rationales."""
    known = branches(params)
    found: dict[str, Round | Tailored] = {
        name: branch for name, branch in known.items() if isinstance(branch, Round)
    }
    return found | _tailored(params, known)


def check(params: Params) -> None:
    """
    Hold targets, sources, pools, tailored rationales, cells and tables to each other.

    Raises RefusedError for a name that two of them have, and for one that nothing has.
    """
    known, targets = branches(params), _listed(params, "targets")
    mixed, rewritten, taken = pools(params), _tailored(params, known), sources(params)
    for name in taken:
        source(params, name)
    tables(params)
    _apart(params, {BASE: "the base student"}, {"targets": targets, "branches": known})
    _apart(params, {}, {"branches": known, "pools": mixed})
    own = [name for name, branch in known.items() if branch.rationales == name]
    _apart(params, {}, {"branches": own, "rewrites": rewritten, "sources": taken})
    written = {*own, *rewritten, *taken}
    for name, branch in known.items():
        taught = written if isinstance(branch, Cell) else set(own)
        _known(params, f"branches.{name}.rationales", branch.rationales, taught)
    _check_pools(params, mixed, known)
    for name, tailor in rewritten.items():
        place = f"rewrites.{name}"
        _known(params, f"{place}.from", tailor.from_, {*known, *mixed})
        _known(params, f"{place}.of", tailor.of, written - {name})
        _known(params, f"{place}.like", tailor.like, {tailor.of})
        _known(params, f"{place}.start", tailor.start, {*known, *targets, BASE})
    _check_taught(params, known, rewritten)
    _check_order(params, known, mixed, rewritten)


def _check_taught(
    params: Params, known: Mapping[str, Branch], tailored: Mapping[str, Tailored]
) -> None:
    """Refuse rationales that a teacher would be paid for, and that nobody is taught."""
    taught = {branch.rationales for branch in known.values()} | {t.of for t in tailored.values()}
    if idle := [name for name in tailored if name not in taught]:
        told = "no branch is taught it: take the line out, or add the branch that is"
        raise _refused(params, f"rewrites.{idle[0]}", told)


def _check_order(
    params: Params,
    known: Mapping[str, Branch],
    pools: Mapping[str, Pool],
    tailored: Mapping[str, Tailored],
) -> None:
    """Refuse students and rationales that wait for each other, so that none can come first."""
    waits: dict[str, set[str]] = {}
    for name, branch in known.items():
        waits[f"branches.{name}"] = {f"branches.{branch.start}", f"text {branch.rationales}"}
    for name, rewrite in {**known, **tailored}.items():
        if isinstance(rewrite, Round | Tailored):
            errors = {f"branches.{m}" for m in _members(params, rewrite.from_, pools)}
            started = f"branches.{rewrite.start}"
            waits[f"text {name}"] = {*errors, f"text {rewrite.of}", f"text {rewrite.like}", started}
    try:
        TopologicalSorter(waits).prepare()
    except CycleError as found:
        ring = list(dict.fromkeys(step.split(".")[-1].split()[-1] for step in found.args[1]))
        told = f"waits for itself ({' and '.join(ring)} for each other)"
        place = "branches" if ring[0] in known else "rewrites"
        fault = f"{told}; from, of and start name what comes before"
        raise _refused(params, f"{place}.{ring[0]}", fault) from None


def check_probes(params: Params, *, own: bool) -> None:
    """
    Hold what is refined to ``mine.folds``, with which errors on train are held out.

    Raises RefusedError where the errors of a branch are needed that is not probed, or, where
    students' *own* completions are lessons, what it drew; and for a branch that is probed but
    starts from a student that was taught the train problems already.
    """
    known, mixed = branches(params), pools(params)
    for name, rewrite in rewrites(params).items():
        if isinstance(rewrite, Arm) and rewrite.feedback == "none" and not own:
            continue
        for member in _members(params, rewrite.from_, mixed):
            if not known[member].probe:
                told = f"is refined by what {member} wrote, and mine.folds has that held out"
                raise _refused(params, f"rewrites.{name}", f"{told}: set its probe to true")
    for name, branch in known.items():
        if branch.probe and branch.start in known:
            told = f"a student that starts from {branch.start} was taught the train problems"
            raise _refused(
                params,
                f"branches.{name}.probe",
                f"{told}; start from base, set its probe to false where nothing is refined by its "
                "errors, leave the branch out, or set mine.folds to null",
            )


def _check_pools(params: Params, pools: Mapping[str, Pool], branches: Mapping[str, Branch]) -> None:
    for name, pool in pools.items():
        for key, other in (("of", pool.of), ("and", pool.and_)):
            _known(params, f"pools.{name}.{key}", other, {*branches, *pools} - {name})
        members = _members(params, name, pools)
        if twice := next((m for m in members if members.count(m) > 1), None):
            raise _refused(params, f"pools.{name}", f"the errors of {twice!r} are in it twice")


def _members(params: Params, name: str, pools: Mapping[str, Pool], deep: int = 0) -> list[str]:
    """The branches whose errors are in the pool *name*, each as often as they are in it."""
    if name not in pools:
        return [name]
    if deep > len(pools):
        raise _refused(params, f"pools.{name}", "is a part of itself")
    pool = pools[name]
    return [m for part in (pool.of, pool.and_) for m in _members(params, part, pools, deep + 1)]


def _all(params: Params, section: str, model: type[S]) -> dict[str, S]:
    listed = _listed(params, section)
    return {name: params.hold(f"{section}.{name}", found, model) for name, found in listed.items()}


def _listed(params: Params, section: str) -> dict[str, Any]:
    content = params.named(section)
    for name in content:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise _refused(params, section, f"{name!r} is not a name such as wide")
    return content


def _apart(params: Params, seen: dict[str, str], kinds: Mapping[str, Any]) -> None:
    for kind, names in kinds.items():
        for name in names:
            if name in seen:
                raise _refused(params, kind, f"{name!r} is taken already: {seen[name]}")
            seen[name] = kind


def _known(params: Params, place: str, name: str, known: set[str]) -> None:
    if name not in known:
        raise _refused(params, place, f"there is no {name!r}; there are {', '.join(sorted(known))}")


def _refused(params: Params, place: str, fault: str) -> RefusedError:
    return RefusedError(f"{params.file}: {place}: {fault}", code=CONFIG)
