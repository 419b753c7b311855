"""What a tracker is told of a run, read from the files that the stages wrote."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redistill.analysis import ladder as ladders
from redistill.analysis import summary as summaries
from redistill.analysis.ladder import Ladder
from redistill.analysis.summary import Summary
from redistill.llm import store
from redistill.llm.budget import NANO
from redistill.records.json_file import read_json
from redistill.tracking.identity import ALL, flat

TABLES = ("rounds", "ladder", "gaps", "costs")  # that the report writes as CSV
KINDS = (
    "training", "probes", "completions", "rounds", "completions-outside", "outside", "gaps",
    "rationales",
)  # fmt: skip
TIMED = ("train", "base", "probe", "answer", "target")  # folders of metrics/timing
DECIDED = "decision"


@dataclass
class Told:
    """
    What the run of *branch* is told.

    *figures* are numbers by their names, which are the path to them in metrics/; *words* are short
    texts, *tables* are rows of cells as text, the head first.
    """

    branch: str
    figures: dict[str, float] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    tables: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)


def told(stage: str, files: Iterable[Path]) -> list[Told]:
    """
    Read what is to be told at the end of *stage*, which recorded *files*.

    The report has all branches told once more, so that those whose stages DVC took from its cache
    are there, too. Raises RefusedError for a file that is absent or no JSON.
    """
    first, *others = files
    if stage == "report":
        return whole(first.parent)
    kind, name = first.parent.name, first.stem
    if first.parent.parent == first.parent or kind in ("", "metrics"):
        kind, name = first.stem, ALL  # as in metrics/transfer.json: of no branch
    found = Told(name)
    found.figures.update(numbers(read_json(first), kind))
    found.words.update(_reasons(read_json(first), kind))
    for file in others:  # what took how long, where something was computed
        if file.is_file():
            found.figures.update(numbers(read_json(file), f"timing/{file.parent.name}"))
    if kind == "rationales":
        found.figures.update(spent(name))
    return [found]


def whole(metrics: Path) -> list[Told]:
    """Read what there is of every branch in *metrics*, and what the report made of them all."""
    summary = Summary.read(metrics / "summary.json")
    ladder = Ladder.read(metrics / "ladder.json")
    costs = {row["round"]: row for row in _rows(metrics / "tables/costs.csv")}
    found = [of_branch(name, metrics) for name in summary.order]
    for one in found:
        for row in ladder.rounds.get(one.branch, ()):
            one.figures.update(numbers(row.as_dict(), f"ladder/{row.against}"))
        cells = costs.get(one.branch, {})
        one.figures.update({f"costs/{k}": float(v) for k, v in cells.items() if _is_number(v)})
        if why := summary.because.get(one.branch):
            one.words["passed through"] = why
    return [*found, _loop(metrics, summary, ladder)]


def of_branch(name: str, metrics: Path) -> Told:
    """Read every figure that the stages of the branch *name* recorded in *metrics*."""
    found = Told(name)
    for kind in KINDS:
        file = metrics / kind / f"{name}.json"
        if file.is_file():
            content = read_json(file)
            found.figures.update(numbers(content, kind))
            found.words.update(_reasons(content, kind))
    for stage in TIMED:
        file = metrics / "timing" / stage / f"{name}.json"
        if file.is_file():
            found.figures.update(numbers(read_json(file), f"timing/{stage}"))
    found.figures.update(spent(name))
    return found


def _loop(metrics: Path, summary: Summary, ladder: Ladder) -> Told:
    """What is of no branch: the verdict, the tables, the problems and the published set."""
    found = Told(ALL)
    found.figures.update(numbers(summary.best.as_dict(), "best"))
    found.words["best"] = summaries.sentence(summary.best)
    found.words["ladder"] = ladders.sentence(ladder)
    if summary.advice:
        found.words["advice"] = summary.advice
    for kind in ("problems", "published"):
        file = metrics / kind / f"{ALL}.json"
        if file.is_file():
            found.figures.update(numbers(read_json(file), kind))
    found.tables["every branch"] = summaries.lines(summary)
    for name in TABLES:
        head, *rows = _cells(metrics / "tables" / f"{name}.csv")
        found.tables[name] = [head, *rows]
    return found


def numbers(content: Mapping[str, Any], kind: str) -> dict[str, float]:
    """
    Find every number in *content*, by the path to it below *kind*; a truth is 1 or 0.

    Lists are left out: the losses of a training are its curve.

    >>> numbers({"scores": {"dev": {"accuracy": 0.5, "of": [1, 2]}}, "why": "x"}, "rounds")
    {'rounds/scores/dev/accuracy': 0.5}
    """
    found = {name.replace("//", "/"): value for name, value in flat(content, f"{kind}/", "/")}
    return {name: value * 1 for name, value in found.items() if isinstance(value, (int, float))}


def spent(name: str) -> dict[str, float]:
    """
    Sum up what the record store says of the calls for the rationales *name*: calls, tokens, cost.

    Empty where it knows of none: a teacher in its process is not in it. A cost of which a part is
    unknown is left out.
    """
    with store.reading(store.path()) as opened:
        rows = [row for row in opened.ledger() if row["round"] == name]
    if not rows:
        return {}
    tokens = sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows)
    nano = [row["nano"] for row in rows]
    cost = {} if None in nano else {"ledger/cost": sum(nano) / NANO}
    return {"ledger/calls": sum(row["calls"] for row in rows), "ledger/tokens": tokens, **cost}


def _reasons(content: Mapping[str, Any], kind: str) -> dict[str, str]:
    because = content.get(DECIDED, {}).get("because") if kind == "gaps" else None
    return {"gaps/decision": because} if because else {}


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def _cells(file: Path) -> Iterator[tuple[str, ...]]:
    with file.open(encoding="utf-8", newline="") as opened:
        yield from (tuple(row) for row in csv.reader(opened))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
