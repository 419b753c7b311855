"""Which branches are taught texts that were rewritten, and why the others trained no student."""

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from redistill.records.json_file import read_json
from redistill.rounds.branches import Branch

STOPPED = "stopped"  # of a rationale, why it is kept, as `refine` records it


def untouched(branches: Mapping[str, Branch], folder: Path) -> tuple[str, ...]:
    """
    Name the *branches* that are taught first or taken texts, of which none was rewritten.

    As the stage that wrote the texts recorded it under *folder*.
    """
    return tuple(
        name for name, branch in branches.items() if not _refined(branch.rationales, folder)
    )


def reasons(
    branches: Mapping[str, Branch], passed: Collection[str], folder: Path
) -> dict[str, str]:
    """Say of each of the branches *passed* through why nothing was rewritten for it."""
    return {name: _reason(name, branches, passed, folder) for name in passed}


def _reason(
    name: str, branches: Mapping[str, Branch], passed: Collection[str], folder: Path
) -> str:
    branch = branches[name]
    if branch.rationales != name:
        return f"it is taught those of {branch.rationales}"
    recorded = _refined(name, folder)
    kept = Counter(recorded.get("kept", {}))
    if kept[STOPPED]:
        return f"the loop stopped at {_last(branch.from_, branches, passed)}"
    like = getattr(branch, "like", name)
    if not recorded.get("asked"):
        return f"{like} rewrote nothing" if like in passed else "no error to rewrite by"
    told = ", ".join(f"{n} {reason}" for reason, n in kept.most_common() if reason != "not wrong")
    return f"nothing rewritten ({told})" if told else "nothing rewritten"


def _last(name: str, branches: Mapping[str, Branch], passed: Collection[str]) -> str:
    """The last branch before *name*, or it, that was not passed through."""
    while name in passed and branches[name].from_ != name:
        name = branches[name].from_
    return name


def _refined(rationales: str, folder: Path) -> dict[str, Any]:
    """What `refine` recorded of *rationales*; empty for those that it did not write."""
    content = read_json(folder / "rationales" / f"{rationales}.json")
    return dict(content) if "kept" in content else {}
