"""
lm-evaluation-harness against our own answers and grades, problem by problem.

    python -m benchmarks.harness --problems data/problems/outside \\
        --predictions data/predictions-outside/r0 --results lm-eval-results --out harness.json

PREDICTIONS are what the stages answer and grade made of the sets in PROBLEMS, RESULTS the folder
that `lm_eval --log_samples` wrote for the tasks that `redistill export lm-eval` made of the same
sets. Every problem that the two judge otherwise is listed, with the end of both texts.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from redistill.analysis.scores import wilson
from redistill.console.exceptions import RefusedError
from redistill.grading.grader import load_grader
from redistill.harness import samples
from redistill.harness.samples import Samples
from redistill.problems import sets
from redistill.records import json_file, jsonl
from redistill.records.types import Prediction

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
END = 120  # characters of a text that are shown
COUNTS = {(1, 1): "both_right", (1, 0): "only_here", (0, 1): "only_there", (0, 0): "both_wrong"}


@click.command()
@click.option("--problems", type=FOLDER, required=True, help="The sets that both were asked.")
@click.option("--predictions", type=FOLDER, required=True, help="Our predictions, a file a set.")
@click.option("--results", type=FOLDER, required=True, help="What lm_eval wrote.")
@click.option("--commands", default="", help="How the two came about, for the file.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where figures go.")
def main(problems: Path, predictions: Path, results: Path, commands: str, out: Path) -> None:
    """Count the problems that both judge right, one alone, or neither, and write them to OUT."""
    figures = {}
    for name, known in sets.read(problems).items():
        grader = known.grader
        if grader is None:
            raise RefusedError(f"{problems}: set {name} names no grader: export it as a test")
        ours = jsonl.read(predictions / f"{name}.jsonl", Prediction)
        figures[name] = {"grader": grader} | compared(
            {p.problem: p for p in ours}, samples.read(_logged(results, name), load_grader(grader))
        )
        click.echo(f"{name}: { {k: v for k, v in figures[name].items() if k != 'apart'} }")
    json_file.write_json(out, {"commands": commands.splitlines(), "sets": figures})


def compared(ours: Mapping[str, Prediction], logged: Samples) -> dict[str, Any]:
    """Compare *ours* with what the harness *logged* of the same problems, by their names."""
    theirs = {p.problem: p for p in logged.predictions}
    if ours.keys() != theirs.keys():
        other = sorted(ours.keys() ^ theirs.keys())
        raise RefusedError(f"{logged.path}: not the problems that we answered: {other[0]!r} first")
    counts = dict.fromkeys(COUNTS.values(), 0)
    apart = []
    for name, mine in ours.items():
        here, there = mine.verdict == "correct", logged.theirs[name]
        counts[COUNTS[here, there]] += 1
        if here != there:
            apart.append(_apart(mine, theirs[name], there))
    k, n = sum(p.verdict == "correct" for p in ours.values()), len(ours)
    low, high = wilson(k, n)
    return {
        "n": n,
        "same_text": sum(p.completion == theirs[name].completion for name, p in ours.items()),
        **counts,
        "cut_off_here": sum(p.verdict == "cut_off" for p in ours.values()),
        "no_answer_here": sum(p.verdict == "no_answer" for p in ours.values()),
        "correct_here": [k, round(100 * low, 1), round(100 * high, 1)],
        "correct_there": sum(logged.theirs.values()),
        "correct_of_import": logged.right,
        "text_judged_otherwise": sum(
            p.strict != logged.theirs[name]
            for name, p in ours.items()
            if p.completion == theirs[name].completion
        ),
        "apart": apart,
    }


def _apart(mine: Prediction, other: Prediction, there: bool) -> dict[str, Any]:
    return {
        "problem": mine.problem,
        "here": mine.verdict,
        "there": "correct" if there else "wrong",
        "tokens": mine.tokens,
        "same_text": mine.completion == other.completion,
        "text_here": mine.completion[-END:],
        "text_there": other.completion[-END:],
    }


def _logged(results: Path, name: str) -> Path:
    """The one file of samples of the set *name* in *results*."""
    found = sorted(results.rglob(f"samples_redistill_{name}_*.jsonl"))
    if len(found) != 1:
        raise RefusedError(f"{results}: {len(found)} files of samples of {name}, not one")
    return found[0]


if __name__ == "__main__":
    main()
