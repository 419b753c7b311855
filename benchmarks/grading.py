"""
How graders agree with those of others, and how long they take.

Agreement is over the cases in ``tests/agreement``: facts out of the test suites of other graders,
each with its source and, where ours differs on purpose, the reason. Speed is over outputs of real
models, where shared/data lies beside the project, else over generated ones.
"""

import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from redistill.graders import math, numeric
from redistill.grading import math_process
from redistill.grading.grader import Grader, load_grader
from redistill.grading.numbers import number
from redistill.records import json_file

ROOT = Path(__file__).resolve().parent.parent
SUITES = ROOT / "tests" / "agreement"
COMPLETIONS = ROOT.parent / "shared" / "data" / "gsm8k" / "model_completions.jsonl"
WHOLE = 256  # characters; a longer gold text of a case is a whole solution, and is read as one


def cases(suite: Path) -> list[dict[str, Any]]:
    """The cases of *suite*: grader, text, gold, expected, source, and perhaps a reason."""
    return [json.loads(line) for line in suite.read_text(encoding="utf-8").split("\n") if line]


def verdict(case: dict[str, Any]) -> bool:
    """What our grader says of *case*, reading it leniently: none of these texts has a marker."""
    grader, gold = load_grader(case["grader"]), case["gold"]
    if case["grader"] == "math" and ("\\boxed" in gold or len(gold) > WHOLE):
        gold = math.lenient(gold) or gold
    return grader.equal(grader.lenient(case["text"]), gold)


def agreement(suite: Path) -> dict[str, Any]:
    """How many cases of *suite* come out as expected, and those that do not."""
    found = [(case, verdict(case)) for case in cases(suite)]
    apart = [case for case, said in found if said != case["expected"]]
    return {
        "cases": len(found),
        "agreed": len(found) - len(apart),
        "share": round(1 - len(apart) / len(found), 4),
        "disagreements": [{**c, "text": c["text"][-200:]} for c in apart],
        "without_reason": sum("reason" not in case for case in apart),
    }


def texts() -> tuple[list[dict[str, str]], str]:
    """Completions to read, and where they come from."""
    if COMPLETIONS.is_file():
        rows = COMPLETIONS.read_text(encoding="utf-8").split("\n")
        return [json.loads(row) for row in rows if row], "GSM8K, outputs of two real models"
    made = [
        {"completion": f"She has {n} + 3 = <<{n}+3={n + 3}>>{n + 3} eggs.\n" * 4 + f"A: {n}"}
        for n in range(2000)
    ]
    return made, "generated"


def speed(name: str, completions: Sequence[str]) -> dict[str, float]:
    """Milliseconds of processor time that one completion takes, both readings and their verdict."""
    grader: Grader = load_grader(name)
    gold = {"choice": "B", "yes_no": "yes"}.get(name, "18")
    times = []
    for text in completions:
        times.append(_spent(lambda text=text: _grade(grader, text, gold)))
    ordered = sorted(times)
    return {
        "items": len(times),
        "mean_ms": round(statistics.mean(times), 4),
        "p99_ms": round(ordered[int(0.99 * len(ordered))], 4),
        "max_ms": round(ordered[-1], 4),
    }


def formulas(pairs: int) -> dict[str, float]:
    """Milliseconds of wall time that math-verify's process takes for a pair it has not seen."""
    math_process.WORKING.same("x", "y")  # starts it
    times = []
    for n in range(pairs):
        started = time.perf_counter()
        math_process.same(rf"\frac{{{n + 1}}}{{{n + 3}}} x^2", f"x^2 ({n + 1}) / ({n + 3})")
        times.append(1000 * (time.perf_counter() - started))
    return {"pairs": pairs, "mean_ms": round(statistics.mean(times), 3),
            "max_ms": round(max(times), 3)}  # fmt: skip


def real(rows: Sequence[dict[str, str]]) -> dict[str, Any]:
    """
    Our reading of real outputs against the one their authors marked, ``A: 18`` on the last line.

    That line is read here by a rule of its own: Python's Fraction, after commas and dollars go.
    """
    counts: Counter[str] = Counter()
    unread: list[str] = []
    for row in rows:
        _before, marker, after = row["completion"].rpartition("\nA: ")
        if not marker:
            counts["without a marked answer"] += 1
            continue
        counts["with a marked answer"] += 1
        try:
            marked = Fraction(after.strip().strip("$").replace(",", ""))
        except ValueError:
            counts["of which no number"] += 1
            unread.append(after.strip())
            continue
        strict = numeric.strict(row["completion"].replace("\nA: ", "\n#### "))
        lenient = numeric.lenient(row["completion"])
        for name, found in (("strict", strict), ("lenient", lenient)):
            counts[f"{name} reads it"] += found is not None and number(found) == marked
        right = Fraction(row["answer"]) == marked
        counts["verdict as by the marked answer"] += numeric.equal(strict, row["answer"]) == right
        counts["correct by the marked answer"] += right
    return {**counts, "marked but no number": unread}


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "docs/results/grading.json")
def main(out: Path) -> None:
    """Measure both, and write what came out."""
    rows, source = texts()
    completions = [row["completion"] for row in rows]
    content: dict[str, Any] = {
        "command": "python -m benchmarks.grading",
        "agreement": {f.stem: agreement(f) for f in sorted(SUITES.glob("*.jsonl"))},
        "speed_on": source,
        "speed": {n: speed(n, completions) for n in ("numeric", "choice", "yes_no", "math")},
        "math_worker": formulas(200),
    }
    if source != "generated":
        content["real_outputs"] = real(rows)
    json_file.write_json(out, content)
    for name, suite in content["agreement"].items():
        click.echo(f"{name}: {suite['agreed']} of {suite['cases']} cases as expected")
    for name, figures in content["speed"].items():
        click.echo(f"{name}: {figures['mean_ms']} ms an item")
    click.echo(f"math-verify, a formula: {content['math_worker']['mean_ms']} ms")


def _grade(grader: Grader, text: str, gold: str) -> None:
    grader.equal(grader.strict(text), gold)
    grader.equal(grader.lenient(text), gold)


def _spent(run: Callable[[], None]) -> float:
    begun = time.thread_time()
    run()
    return 1000 * (time.thread_time() - begun)


if __name__ == "__main__":
    main()
