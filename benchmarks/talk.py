"""
How well talk about the exchange is told from talk of the problem, by ``redistill.rationales.talk``.

Planted texts and right texts are in ``tests/talk``, whose README says how they came about.
Rationales of language models and human solutions are those of shared/data, where it lies beside the
project.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from redistill.rationales import talk
from redistill.records import json_file
from redistill.records.types import Problem

ROOT = Path(__file__).resolve().parent.parent
TEXTS = ROOT / "tests" / "talk"
DATA = ROOT.parent / "shared" / "data"
SHORT = [(name, "first") for name in ("gsm8k_short", "csqa_short")]
LATER = [("gsm8k_short", "refined"), ("gsm8k_short", "resampled")]
Row = tuple[Problem, str]


def rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL *file*."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]


def problem(row: dict[str, Any]) -> Problem:
    """The problem that *row* is about, without its solution: that could make talk right."""
    asked = {name: row.get(name) for name in ("question", "answer", "choices")}
    return Problem.model_validate({"id": "p", **asked})


def planted(name: str) -> dict[str, list[Row]]:
    """The texts of ``tests/talk/NAME.jsonl`` by the set that they were written for."""
    found = defaultdict(list)
    for row in rows(TEXTS / f"{name}.jsonl"):
        found[row.get("set", name)].append((problem(row), row["text"]))
    return dict(found)


def written() -> Iterator[tuple[str, list[Row]]]:
    """Texts that people and language models wrote on problems, none of them to talk."""
    for name, arm in (*SHORT, *LATER):
        asked = {row["id"]: row for row in rows(DATA / name / "train.jsonl")}
        texts = rows(DATA / name / f"{arm}.jsonl")
        yield f"{name}/{arm}", [(problem(asked[row["problem"]]), row["text"]) for row in texts]
    human = rows(DATA / "gsm8k" / "train.jsonl")
    yield "gsm8k, human", [(problem(r), re.sub("<<.*?>>", "", r["solution"])) for r in human]
    for name in ("svamp", "strategy_qa"):
        texts = rows(DATA / "llm_rationales" / f"{name}.jsonl")
        yield f"llm_rationales/{name}", [(problem(row), row["rationale"]) for row in texts]


def measured(texts: list[Row]) -> dict[str, Any]:
    """How many of *texts* talk."""
    said = sum(talk.talks(asked, text) for asked, text in texts)
    return {"texts": len(texts), "talk": said, "share": round(said / len(texts), 5)}


@click.command()
@click.option("--out", type=Path, default=ROOT / "docs/results/talk.json")
def main(out: Path) -> None:
    """Measure the guard on planted, right and written texts, and write the figures to *out*."""
    figures = {
        "planted": {name: measured(texts) for name, texts in planted("planted").items()},
        "right": {name: measured(texts) for name, texts in planted("right").items()},
    }
    if DATA.is_dir():
        figures["written"] = {name: measured(texts) for name, texts in written()}
    json_file.write_json(out, {"command": "python -m benchmarks.talk", **figures})
    for kind, found in figures.items():
        for name, row in found.items():
            click.echo(f"{kind}, {name}: {row['talk']} of {row['texts']} talk")


if __name__ == "__main__":
    main()
