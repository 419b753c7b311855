"""Lay out the rationales of the best round as a data set that others can load, check and reuse."""

from pathlib import Path

import click

from redistill.analysis.summary import Summary
from redistill.console import drafts
from redistill.datasets import contamination, files
from redistill.datasets import rows as dataset_rows
from redistill.datasets import views as dataset_views
from redistill.datasets.publication import Publication
from redistill.problems import sources
from redistill.problems.sets import SPLITS
from redistill.problems.task import PrepareSettings
from redistill.rationales.teacher import TeachSettings
from redistill.records import json_file, spool
from redistill.records.types import Problem, Rationale
from redistill.rounds import branches as branching
from redistill.settings.sections import Params
from redistill.students.model.settings import StudentSettings
from stages import FILE, FOLDER, Stage


@click.command(cls=Stage, name="publish")
@click.option("--problems", type=FOLDER, required=True, help="The problems of all splits.")
@click.option("--rationales", type=FOLDER, required=True, help="The rationales of all rounds.")
@click.option("--predictions", type=FOLDER, required=True, help="What the students answered.")
@click.option("--metrics", type=FOLDER, required=True, help="The metrics of all rounds.")
@click.option("--out", type=FOLDER, required=True, help="Where data sets go, each by its name.")
@click.option("--balance", type=FILE, required=True, help="Where the balance goes.")
@click.pass_obj
def main(
    params: Params,
    problems: Path,
    rationales: Path,
    predictions: Path,
    metrics: Path,
    out: Path,
    balance: Path,
) -> None:
    """Lay out the rationales of the best round as a data set."""
    settings = params.section("publish", dataset_rows.PublishSettings)
    branches = branching.branches(params)
    summary = Summary.read(metrics / "summary.json")
    names = dataset_rows.chain(summary.best.round, branches)
    splits = {s: spool.read(problems / f"{s}.jsonl", Problem) for s in SPLITS}
    lessons = {n: spool.read(rationales / f"{n}.jsonl", Rationale) for n in names}
    shown = {branches[name].from_ for name in names[1:]}
    students = {n: dataset_views.shown(predictions / n) for n in sorted(shown)}
    known, taught = sources.restored(splits["train"], problems), branches[names[-1]].lessons

    views = dataset_views.views(known, lessons[names[-1]], students, branches, taught)
    rounds = dataset_rows.rounds(names, branches, lessons, metrics / "rationales")
    origin = dataset_rows.origin(
        params.section("prepare", PrepareSettings).task,
        params.section("teach", TeachSettings),
        params.section("student", StudentSettings),
        contamination.read(metrics / "problems/all.json"),
    )
    made = Publication(views, splits, settings, origin, rounds, summary)

    with drafts.together():
        files.write(out / settings.name, made.rows(), made.told)
        found = made.found
        rows = {key: found[key] for key in ("round", "views", "unpaired", "overlap", "balance")}
        json_file.write_json(balance, rows)
    counts = ", ".join(f"{name} {count}" for name, count in found["views"].items())
    click.echo(f"{views.balance}; {settings.name} is round {found['round']}: {counts}")


if __name__ == "__main__":
    main()
