"""The commands on results: the ladder, other students, a check for CI, several seeds."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from redistill.cli import own_data, tables
from redistill.console import drafts
from redistill.console.exceptions import RefusedError
from redistill.console.safe_text import safe_text
from redistill.records import json_file
from redistill.settings import sections

if TYPE_CHECKING:
    from redistill.analysis.sweep import Plan

PARAMS = Path("params.yaml")
LADDER = Path("metrics/ladder.json")
YOURS = "dvc repro brings back what belongs to it"
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.option("--round", "name", help="Another round than the one that dev chose.")
@click.option("--outside", is_flag=True, help="On all out-of-domain tests together, not on test.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def ladder(name: str | None, outside: bool, as_json: bool) -> None:
    """Print what the chosen round gains over one-shot and over every control of the ladder."""
    from redistill.analysis import ladder as ladders

    found = ladders.Ladder.read(LADDER)
    rows = found.rows(name, outside=outside)
    if as_json:
        click.echo(json.dumps([row.as_dict() for row in rows], indent=2))
        return
    n = rows[0].n if rows else 0
    where = "out-of-domain problems" if outside else "test problems"
    title = f"{name or found.chosen} against the ladder, on {n} {where}"
    tables.table(ladders.lines(rows), title=title)
    click.echo(safe_text(ladders.sentence(found, name, outside=outside)))


@click.command("transfer")
@click.option("--table", default="transfer", show_default=True, help="Which of the tables.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def show_transfer(table: str, as_json: bool) -> None:
    """Print what other students gain by rationales that were refined for one."""
    from redistill.analysis import transfer
    from redistill.rounds import targets

    if table not in targets.tables(sections.read(PARAMS)):
        raise RefusedError(f"{PARAMS}: tables: there is none {table!r}; see docs/transfer.md")
    found = transfer.Table.read(Path("metrics") / f"{table}.json")
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2))
        return
    n = found.rows[0].n if found.rows else 0
    title = f"Other students, on {n} test problems"
    tables.table(transfer.lines(found), title=title)
    if found.passed_through:
        click.echo(safe_text(f"Passed through: {', '.join(found.passed_through)}"))
    click.echo(safe_text(transfer.sentence(found)))


@click.command()
@click.option("--alpha", type=click.FloatRange(0, 1), default=0.05, show_default=True)
@click.option("--arm", "names", multiple=True, help="A branch instead of the control; repeatable.")
def check(alpha: float, names: tuple[str, ...]) -> None:
    """
    Exit with 0 if the chosen round is better on test than the step-matched control, with 1 if not.

    Better is a gain whose exact McNemar p is below alpha.
    """
    from redistill.analysis import ladder as ladders

    found = ladders.check(ladders.Ladder.read(LADDER), names, alpha)
    click.echo(safe_text(found.told))
    if not found.better:
        sys.exit(ladders.NOT_BETTER)


@click.command()
@click.option("--seeds", "first", type=int, multiple=True, metavar="N [N ...]", help="As in 1 2 3.")
@click.argument("more", type=int, nargs=-1, metavar="")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="A setting; repeatable.")
@click.option(
    "--results",
    type=FOLDER,
    default=Path("metrics/seeds"),
    show_default=True,
    help="Where the results of each seed are kept.",
)
@click.option(
    "--out",
    type=FILE,
    default=Path("metrics/sweep.json"),
    show_default=True,
    help="Where what holds over the seeds goes.",
)
@click.option("--force", is_flag=True, help="Run seeds again whose results are there.")
@click.option("--queue", is_flag=True, help="Only queue the experiments, and say how to go on.")
@click.option(
    "--jobs", type=click.IntRange(1), metavar="N", help="Run N at a time, by the queue of DVC."
)
@click.option("--gather", type=FOLDER, help="Run nothing: take the files of seeds in this folder.")
def sweep(
    first: tuple[int, ...],
    more: tuple[int, ...],
    pairs: tuple[str, ...],
    results: Path,
    out: Path,
    force: bool,
    queue: bool,
    jobs: int | None,
    gather: Path | None,
) -> None:
    """
    Run the loop with several seeds, one after the other, and print what holds over them.

    With --jobs they run side by side, each in a copy of what git has of the project.
    """
    from redistill.analysis import plots
    from redistill.analysis import seeds as seed_runs
    from redistill.analysis import sweep as runs

    seeds = [*first, *more]
    if gather is None and (not first or min(seeds) < 0):
        raise click.UsageError("give the seeds, as in --seeds 1 2 3, or a folder with --gather")
    if jobs and (force or queue or gather):
        raise click.UsageError("--jobs runs what has no results yet: it goes with none of these")
    drafts.check(out)
    drafts.check(out.with_suffix(".svg"))
    if gather is None:
        plan = runs.plan(Path(), results, pairs)
        if told := runs.take_back(plan):
            click.echo(told, err=True)
        left = runs.missing(plan, seeds, force=force)
        if queue and left:
            _queue(plan, left)
            return
        _run(plan, left, jobs)
    found = seed_runs.summary(seed_runs.gather(gather or results, seeds))
    seeds_told = f"Mean gain on test over {len(found.seeds)} seeds"
    with drafts.together():
        json_file.write_json(out, found.as_dict())
        picture = plots.forest(seed_runs.bars(found), seeds_told)
        json_file.write_text(out.with_suffix(".svg"), picture)
    tables.table(
        seed_runs.lines(found), title="Gains on test over seeds (chosen: by dev, per seed)"
    )
    chosen = ", ".join(f"{seed}: {name}" for seed, name in found.chosen.items())
    told = f"All figures: {out}, drawn in {out.with_suffix('.svg').name}"
    click.echo(safe_text(f"Chosen by dev, by seed: {chosen}. {told}"))


def _copied() -> list[str]:
    """What each experiment in a copy of the project is given beside what git has, and said so."""
    copied = own_data.to_copy(Path())
    if copied:
        click.echo(safe_text(f"each gets a copy of {', '.join(copied)} (or dvc add it)"))
    return copied


def _queue(plan: "Plan", left: Sequence[int]) -> None:
    """Queue the experiments of the seeds *left*, and say how to go on."""
    from redistill.analysis import queued

    copied = _copied()
    names = [queued.queue(plan, seed, copied) for seed in left]
    click.echo(f"{len(names)} experiments are queued; start them with: dvc queue start")
    click.echo("When they have ended, the same command without --queue gathers them.")


def _run(plan: "Plan", left: Sequence[int], jobs: int | None) -> None:
    """Run the seeds *left*: one after the other in this folder, or *jobs* at a time in copies."""
    from redistill.analysis import queued
    from redistill.analysis import sweep as runs

    if jobs and left:
        queued.run(plan, left, jobs, lambda told: click.echo(safe_text(told)), _copied())
        return
    for seed in left:
        click.echo(f"== seed {seed}: {' '.join(plan.words(seed))}")
        runs.run(plan, seed)
    if left:
        click.echo(f"data and metrics are of seed {left[-1]}, params.yaml is yours; " + YOURS)
