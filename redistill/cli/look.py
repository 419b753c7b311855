"""The commands that look at a run: its rounds, a problem, and what changed in rationales."""

import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from itertools import chain, islice, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from redistill.analysis import summary as summaries
from redistill.analysis.scores import HELD_OUT, Score
from redistill.analysis.summary import Summary
from redistill.checks import stopped
from redistill.cli import tables
from redistill.console import timing
from redistill.console.exceptions import RefusedError
from redistill.console.safe_text import safe_text
from redistill.records import json_file, jsonl
from redistill.records.types import Error, Prediction, Problem, Rationale
from redistill.rounds import branches
from redistill.settings import sections

PARAMS = Path("params.yaml")
SUMMARY = Path("metrics/summary.json")
ROUNDS = Path("metrics/rounds")
SPLITS = ("train", "dev")  # test is for the report: what is seen by chance is chosen by chance
TIMING = Path("metrics/timing")
REPORT = Path("data/report/index.html")
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
def rounds() -> None:
    """Print the rounds side by side, and check the balance of every stage."""
    if not SUMMARY.exists() and (graded := _graded()):
        tables.table(graded, title="Graded so far (accuracy is strict)")
        click.echo("The rounds are put side by side when dvc repro has come to the stage report.")
        return
    summary = Summary.read(SUMMARY)
    balances = summaries.balances(Path("metrics"))
    broken = [name for name, balance in balances if not balance["holds"]]
    if broken:
        raise RefusedError(f"rows do not balance in metrics/{', '.join(broken)}.json", code=70)
    tables.table(summaries.lines(summary), title="Rounds (* best on dev; accuracy is strict)")
    if outside := summaries.outside_lines(summary):
        tables.table(outside, title="Out of domain (test accuracy, 95 % interval)")
    if took := timing.read(TIMING):
        tables.table(timing.lines(took), title="Time on this machine (no part of what DVC hashes)")
    click.echo(summaries.sentence(summary.best))
    if summary.advice:
        click.echo(summary.advice)
    if PARAMS.is_file():  # a summary may lie alone, as in a release
        for told in stopped.idle(Path(), sections.read(PARAMS)):
            click.echo(safe_text(told))
    click.echo(f"Rows balance in all {len(balances)} stages that handle rows.")
    if REPORT.is_file():
        click.echo(f"The report, for a browser: {REPORT}")


def _graded() -> list[tuple[str, ...]]:
    """The table of the branches that are graded, the first of them first; empty without any."""
    files = sorted(ROUNDS.glob("*.json"), key=lambda file: file.stat().st_mtime)
    rows: list[tuple[str, ...]] = [("branch", *SPLITS)]
    for file in files:
        scores = json_file.read_json(file).get("scores", {})
        found = [Score.held(scores[s], f"{file}: {s}") if s in scores else None for s in SPLITS]
        told = [f"{100 * s.accuracy:.1f} % ({s.k}/{s.n})" if s else "" for s in found]
        rows.append((file.stem, *told))
    return rows if files else []


@click.command()
@click.argument("problem", required=False)
@click.option(
    "--stage", metavar="STAGE",
    help="Print what a language model is asked about PROBLEM in generate or refine@NAME.",
)  # fmt: skip
@click.option(
    "--replies", "replied", is_flag=True,
    help="Print each stored reply of a paid teacher about PROBLEM, and why it was rejected.",
)  # fmt: skip
def show(problem: str | None, stage: str | None, replied: bool) -> None:
    """
    Print the life of PROBLEM (an id) over the rounds.

    Without PROBLEM, print the first prompt of each stage as a teacher would get it.
    """
    if replied:
        _show_replies(problem, stage)
        return
    if problem is None or stage is not None:
        from redistill.cli import plan as plans

        for name, prompt in plans.prompts(Path(), problem, stage):
            click.echo(f"== {name}\n\n{safe_text(prompt, 100_000)}\n")
        return
    split, asked = _problem(problem)
    names = list(branches.branches(sections.read(PARAMS)))
    rationales = {n: Path(f"data/rationales/{n}.jsonl") for n in names}
    predictions = {n: Path(f"data/predictions/{n}/{split}.jsonl") for n in names}
    held_out = {n: Path(f"data/predictions/{n}/{HELD_OUT}.jsonl") for n in names}
    errors = {n: Path(f"data/errors/{n}.jsonl") for n in names}
    life = tables.life(
        asked,
        {n: rows[-1] for n, rows in _of(problem, rationales, Rationale).items()},
        {n: rows[-1] for n, rows in _of(problem, predictions, Prediction).items()},
        {n: rows[-1] for n, rows in _of(problem, held_out, Prediction).items()},
        _of(problem, errors, Error),
    )
    click.echo(life)


def _show_replies(problem: str | None, stage: str | None) -> None:
    from redistill.cli import replies

    if problem is None or stage is not None:
        raise click.UsageError("--replies takes PROBLEM, and no --stage")
    text = replies.told(*replies.replies(Path(), problem))
    click.echo(safe_text(text, len(text)))


@click.command()
@click.argument("versions", nargs=-1, required=True, metavar="A B")
@click.option(
    "--format", "form", type=click.Choice(["text", "markdown", "json", "html"]), default="text",
    show_default=True, help="json is one line a problem, or a step.",
)  # fmt: skip
@click.option("--stat", is_flag=True, help="One line a step instead; takes A B C and so on.")
@click.option("--gap", help="Only problems whose text treats this gap, or was rewritten for it.")
@click.option("--problem", "problems", multiple=True, help="Only this problem; can be repeated.")
@click.option(
    "--only", type=click.Choice(["added", "removed", "changed", "kept"]),
    help="List only these; without it, all but the kept.",
)  # fmt: skip
@click.option("--before", metavar="FILE", help="Predictions of the student that was taught A.")
@click.option("--after", metavar="FILE", help="Predictions of the student that was taught B.")
def diff(
    versions: tuple[str, ...],
    form: str,
    stat: bool,
    gap: str | None,
    problems: tuple[str, ...],
    only: Any,
    before: str | None,
    after: str | None,
) -> None:
    """
    Print what changed in the rationales from A to B, problem by problem and word by word.

    A and B are rounds (r0 r2), files, or either in a git revision (main~3:r1).
    """
    from redistill.diff import compare, render
    from redistill.diff import versions as revisions

    if len(versions) != 2 and (not stat or len(versions) < 2 or before or after):
        raise click.UsageError("give two versions, A and B; more of them go with --stat alone")
    if stat and only:
        raise click.UsageError("--only chooses what is listed, --stat lists nothing")
    width, terminal = max(20, shutil.get_terminal_size().columns), sys.stdout.isatty()
    with TemporaryDirectory(prefix="redistill-") as folder:
        editions = [revisions.find(name, Path(folder)) for name in versions]
        editions[0] = revisions.answered(editions[0], before, Path(folder))
        editions[-1] = revisions.answered(editions[-1], after, Path(folder))

        def changes(old: revisions.Edition, new: revisions.Edition) -> Iterator[compare.Change]:
            return compare.chosen(revisions.changes(old, new), gap=gap, problems=problems)

        steps = [
            render.Step(old.name, new.name, compare.summed(changes(old, new)))
            for old, new in pairwise(editions)
            if stat or form != "json"
        ]
        if stat:
            _print(render.stat(form, steps, width if terminal else None), paged=False)
            return
        listed = compare.listed(changes(*editions), only)
        if form == "json":
            _print(render.rows(listed), paged=False)
            return
        colour = terminal and "NO_COLOR" not in os.environ
        lines = render.view(form, steps[0], listed, width=width, colour=colour)
        _print(lines, paged=terminal and form == "text")


def _print(lines: Iterable[str], *, paged: bool) -> None:
    """Print *lines*, many at a time; *paged* shows what is longer than the screen in a pager."""
    lines = iter(lines)
    if paged:
        screen = list(islice(lines, shutil.get_terminal_size().lines))
        lines = chain(screen, lines)
        if len(screen) == shutil.get_terminal_size().lines:
            click.echo_via_pager(f"{line}\n" for line in lines)
            return
    while block := list(islice(lines, 1000)):
        click.echo("\n".join(block))


def _problem(name: str) -> tuple[str, Problem]:
    """The problem called *name*, with its split."""
    for split in ("train", "dev", "test"):
        for found in jsonl.matching(Path(f"data/problems/{split}.jsonl"), Problem, "id", name):
            return split, found
    raise RefusedError(f"there is no problem {name!r} in data/problems")


def _of(problem: str, files: dict[str, Path], kind: Any) -> dict[str, list[Any]]:
    """The rows of *problem* in each of the *files* that has some."""
    found = {}
    for name, file in files.items():
        if file.is_file() and (own := list(jsonl.matching(file, kind, "problem", problem))):
            found[name] = own
    return found
