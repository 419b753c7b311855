"""
How well near-duplicates are told from other questions, and how fast they are found.

`--labelled` judges the pairs of tests/near_duplicates/gsm8k.jsonl; `--questions N` measures a
search among N questions, which are those of a file with other numbers, or made by `wordproblems`.
"""

import json
import random
import re
import resource
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click

from redistill.problems import near_duplicates
from redistill.problems.likeness import alike, told
from redistill.problems.task import PrepareSettings
from redistill.records.types import Problem
from redistill.settings import sections
from redistill.tasks import wordproblems

ROOT = Path(__file__).parent.parent
LABELLED = ROOT / "tests/near_duplicates/gsm8k.jsonl"
SAME = {"paraphrase": True, "renamed": True, "other_numbers": False, "other_question": False}


@click.command()
@click.option("--labelled", is_flag=True, help="Judge the labelled sample.")
@click.option("--questions", type=int, default=0, help="Measure a search among so many.")
@click.option("--of", type=click.Path(exists=True, path_type=Path), help="JSONL with questions.")
def main(labelled: bool, questions: int, of: Path | None) -> None:
    """Judge labelled pairs, or measure a search."""
    settings = sections.read(ROOT / "params.yaml").section("prepare", PrepareSettings)
    if labelled:
        click.echo(json.dumps(judged(settings.alike), indent=2))
    if questions:
        click.echo(json.dumps(measured(list(made(questions, of)), settings), indent=2))


def judged(least: float) -> dict[str, Any]:
    """Judge every labelled pair at the likeness *least*: counts by kind, recall and precision."""
    counts, found = Counter[str](), Counter[str]()
    for row in _rows(LABELLED):
        for kind in SAME.keys() & row.keys():
            counts[kind] += 1
            found[kind] += alike(_told(row["question"]), _told(row[kind]), least)
    right = sum(found[kind] for kind, same in SAME.items() if same)
    return {
        "alike": least,
        "found": {kind: f"{found[kind]} of {counts[kind]}" for kind in SAME},
        "recall": right / sum(counts[kind] for kind, same in SAME.items() if same),
        "precision": right / sum(found.values()),
    }


def measured(questions: list[str], settings: PrepareSettings) -> dict[str, Any]:
    """Measure a search among *questions*, the last fifth of which are dev and test."""
    problems = [Problem(id=f"q{i}", question=q, answer="1") for i, q in enumerate(questions)]
    a, b = len(problems) * 8 // 10, len(problems) * 9 // 10
    splits = {"train": problems[:a], "dev": problems[a:b], "test": problems[b:]}
    start, cpu = time.perf_counter(), time.process_time()
    found = near_duplicates.look(splits, {}, settings)
    return {
        "questions": len(problems),
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "found": {key: found.report[key] for key in ("pairs", "questions")},
    }


def made(count: int, of: Path | None) -> list[str]:
    """Make *count* questions: those *of* a file, again and again with other numbers, or ours."""
    if of is None:
        params = sections.read(ROOT / "params.yaml")
        section = params.section("wordproblems", wordproblems.Settings)
        more = section.model_copy(update={"train": count - section.dev - section.test})
        return [problem.question for _, problem in wordproblems.problems(more, 1)]
    rows = [row["question"] for row in _rows(of)]
    rng = random.Random(1)  # noqa: S311 - chance makes data here, no secrets
    again = -(-count // len(rows)) - 1
    return [*rows, *(_renumbered(row, rng) for _ in range(again) for row in rows)][:count]


def _rows(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text(encoding="utf-8").split("\n")  # at no other end: texts have others
    return [json.loads(line) for line in lines if line]


def _renumbered(question: str, rng: random.Random) -> str:
    return re.sub(r"\d+", lambda m: str(int(m.group()[:9]) + rng.randint(1, 50)), question)


def _told(question: str) -> Any:
    return told(Problem(id="p", question=question, answer="1"))


if __name__ == "__main__":
    main()
