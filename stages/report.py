"""Put the rounds side by side: the best on dev, its gain on test, and the learning curve."""

from pathlib import Path

import click

from redistill import params, records, reporting
from redistill import rounds as branching
from redistill.records import Prediction
from stages import FILE, FOLDER, PARAMS, Stage


@click.command(cls=Stage, name="report")
@click.option("--metrics", type=FOLDER, required=True, help="The metrics of all branches.")
@click.option("--predictions", type=FOLDER, required=True, help="The predictions of all branches.")
@click.option("--best", type=FILE, required=True, help="Where the chosen round goes.")
@click.option("--summary", type=FILE, required=True, help="Where all figures go, as JSON.")
@click.option("--table", type=FILE, required=True, help="Where the figures for plots go, as CSV.")
@click.option("--curve", type=FILE, required=True, help="Where the learning curve goes, as SVG.")
def main(
    metrics: Path, predictions: Path, best: Path, summary: Path, table: Path, curve: Path
) -> None:
    """Put the rounds side by side."""
    settings = params.load(PARAMS, "report", reporting.Settings)
    names, rounds = list(branching.branches(PARAMS)), branching.rounds(PARAMS)
    found = reporting.collect(names, rounds, metrics)
    tests = {n: records.read(predictions / n / "test.jsonl", Prediction) for n in names}

    chosen = reporting.choose(rounds, found)
    verdict = reporting.verdict(chosen, settings.control, found, tests)
    rows = reporting.table(names, found)
    picture = reporting.curve(rounds, settings.control, found, settings.title)

    records.write_json(best, verdict)
    records.write_json(summary, reporting.summary(found, verdict))
    records.write_text(table, reporting.as_csv(rows))
    records.write_text(curve, picture)
    click.echo(reporting.sentence(verdict))


if __name__ == "__main__":
    main()
