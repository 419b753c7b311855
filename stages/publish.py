"""Lay out the rationales of the best round as a data set that others can load, check and reuse."""

from pathlib import Path

import click

from redistill import carding, exporting, params, preparing, publishing, records, reporting
from redistill import rounds as branching
from redistill.records import Prediction, Problem, Rationale
from stages import FILE, FOLDER, PARAMS, Stage


@click.command(cls=Stage, name="publish")
@click.option("--problems", type=FOLDER, required=True, help="The problems of all splits.")
@click.option("--rationales", type=FOLDER, required=True, help="The rationales of all rounds.")
@click.option("--predictions", type=FOLDER, required=True, help="What the students answered.")
@click.option("--metrics", type=FOLDER, required=True, help="The metrics of all rounds.")
@click.option("--out", type=FOLDER, required=True, help="Where data sets go, each by its name.")
@click.option("--balance", type=FILE, required=True, help="Where the balance goes.")
def main(
    problems: Path, rationales: Path, predictions: Path, metrics: Path, out: Path, balance: Path
) -> None:
    """Lay out the rationales of the best round as a data set."""
    settings = params.load(PARAMS, "publish", publishing.Settings)
    branches = branching.branches(PARAMS)
    summary = reporting.read_summary(metrics / "summary.json")
    names = publishing.chain(summary["best"]["round"], branches)
    splits = {s: records.read(problems / f"{s}.jsonl", Problem) for s in preparing.SPLITS}
    lessons = {n: records.read(rationales / f"{n}.jsonl", Rationale) for n in names}
    shown = {branches[name].from_ for name in names[1:]}
    students = {n: records.read(predictions / n / "train.jsonl", Prediction) for n in sorted(shown)}

    views = publishing.views(splits["train"], lessons[names[-1]], students, branches)
    overlap = publishing.gate(views, splits)
    rounds = publishing.rounds(names, branches, lessons, metrics / "rationales")
    origin = publishing.origin(PARAMS)
    found = publishing.provenance(settings, views, overlap, origin, rounds, summary)

    exporting.write(out / settings.name, views.rows, found, carding.card(found))
    rows = {key: found[key] for key in ("round", "views", "unpaired", "overlap", "balance")}
    records.write_json(balance, rows)
    counts = ", ".join(f"{name} {count}" for name, count in found["views"].items())
    click.echo(f"{views.balance}; {settings.name} is round {found['round']}: {counts}")


if __name__ == "__main__":
    main()
