"""The table of rounds says what was rewritten, and of a round passed through why nothing was."""

from pathlib import Path
from typing import Any

import pytest

from redistill.analysis import rewriting, summary
from redistill.rationales import refine
from redistill.records.json_file import write_json
from redistill.rounds.branches import Arm, Branch, Round
from tests import publications

ROUND = {"start": "base", "times": 1, "lessons": "latest", "probe": True}


def branch(name: str, before: str, **more: Any) -> Round:
    return Round(from_=before, of=before, like=before, rationales=name, **ROUND | more)


ARM = Arm(from_="r0", of="r0", like="r1", rationales="a", feedback="none", scope="like", **ROUND)
BRANCHES: dict[str, Branch] = {
    "r0": Branch(from_="r0", rationales="r0", **ROUND),
    "r1": branch("r1", "r0"),
    "r2": branch("r2", "r1"),
    "r3": branch("r3", "r2"),
    "long": Branch(from_="r0", rationales="r0", **ROUND),
    "a": ARM,
}


def recorded(folder: Path, **kept: dict[str, int]) -> Path:
    """What stages recorded: r0 as generate does, the others with what they *kept*."""
    write_json(folder / "rationales/r0.json", {"rewritten": 9, "unsolved": []})
    for name, reasons in kept.items():
        asked = sum(n for reason, n in reasons.items() if reason not in ("stopped", "not wrong"))
        content = {"kept": reasons, "asked": asked, "rewritten": 0}
        write_json(folder / "rationales" / f"{name}.json", content)
    return folder


def test_where_the_loop_stopped_is_told_of_every_round_behind_it(tmp_path: Path):
    stopped = {"stopped": 9}
    folder = recorded(tmp_path, r1={"not wrong": 3}, r2=stopped, r3=stopped, a={})

    told = rewriting.reasons(BRANCHES, ["r2", "r3"], folder)

    assert told == dict.fromkeys(["r2", "r3"], "the loop stopped at r1")
    assert rewriting.STOPPED == refine.STOPPED


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ({"not wrong": 9}, "no error to rewrite by"),
        ({"unchanged": 5, "too long": 2, "not wrong": 2}, "(5 unchanged, 2 too long)"),
    ],
)
def test_nothing_rewritten_is_told_with_what_was_against_it(
    kept: dict[str, int], told: str, tmp_path: Path
):
    folder = recorded(tmp_path, r1=kept, a={"not wrong": 9})

    reasons = rewriting.reasons(BRANCHES, ["r1", "a"], folder)

    assert told in reasons["r1"]
    assert reasons["a"] == "r1 rewrote nothing"


def test_a_branch_that_is_taught_first_texts_has_no_count_of_those_rewritten(tmp_path: Path):
    folder = recorded(tmp_path, r1={"not wrong": 3}, r2={}, r3={}, a={})

    untouched = rewriting.untouched(BRANCHES, folder)

    assert untouched == ("r0", "long")
    update = {"order": ("r0", "r1", "r2"), "untouched": untouched, "because": {"r2": "so it is"}}
    head, r0, r1, r2 = summary.lines(publications.SUMMARY.model_copy(update=update))
    place = head.index("rewritten")
    assert [row[place] for row in (r0, r1, r2)] == ["", "1", ""]
    assert r2[1] == "passed through: so it is"
