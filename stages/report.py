"""Put the rounds side by side: the best on dev, what it gains on test and over every control."""

from pathlib import Path

import click

from redistill import laddering, params, picturing, records, reporting
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
@click.option("--ladder", type=FILE, required=True, help="Where the ladder of controls goes.")
@click.option("--gains", type=FILE, required=True, help="Where its gains go, as CSV.")
@click.option("--forest", type=FILE, required=True, help="Where their picture goes, as SVG.")
@click.option("--gaps", type=FILE, required=True, help="Where the gaps by round go, as CSV.")
@click.option("--bars", type=FILE, required=True, help="Where their picture goes, as SVG.")
def main(
    metrics: Path,
    predictions: Path,
    best: Path,
    summary: Path,
    table: Path,
    curve: Path,
    ladder: Path,
    gains: Path,
    forest: Path,
    gaps: Path,
    bars: Path,
) -> None:
    """Put the rounds side by side."""
    settings = params.load(PARAMS, "report", reporting.Settings)
    branches, rounds = branching.loop(PARAMS), branching.rounds(PARAMS)
    names, control = list(branches), settings.control
    found = reporting.collect(names, rounds, metrics)
    tests = {n: records.read(predictions / n / "test.jsonl", Prediction) for n in names}

    chosen = reporting.choose(rounds, found)
    verdict = reporting.verdict(chosen, control, found, tests)
    rows = reporting.table(names, found)
    picture = reporting.curve(rounds, control, found, settings.title)
    steps = {name: int(found[name]["training"].get("steps", 0)) for name in names}
    calls = laddering.calls(metrics / "rationales", branches)
    climbed = laddering.ladder(chosen, rounds, branches, control, tests, steps, calls)
    seen = reporting.gap_table([name for name in names if tests[name]], metrics / "gaps")

    records.write_json(best, verdict)
    records.write_json(summary, reporting.summary(found, verdict))
    records.write_text(table, reporting.as_csv(rows))
    records.write_text(curve, picture)
    records.write_json(ladder, climbed)
    columns = laddering.COLUMNS
    records.write_text(gains, reporting.as_csv(laddering.table(climbed), columns))
    records.write_text(forest, picturing.forest(climbed, settings.title))
    records.write_text(gaps, reporting.as_csv(seen, reporting.GAP_COLUMNS))
    records.write_text(bars, picturing.stacked(seen, settings.title))
    click.echo(reporting.sentence(verdict))


if __name__ == "__main__":
    main()
