"""Put the rounds side by side: the best on dev, what it gains on test and over every control."""

from pathlib import Path

import click

from redistill import (
    accounting,
    laddering,
    params,
    picturing,
    presenting,
    records,
    reporting,
    reviewing,
    store,
    telling,
)
from redistill import rounds as branching
from stages import FILE, FOLDER, PARAMS, Stage


@click.command(cls=Stage, name="report")
@click.option("--problems", type=FOLDER, required=True, help="The problems of all splits.")
@click.option("--rationales", type=FOLDER, required=True, help="The rationales of all branches.")
@click.option("--errors", type=FOLDER, required=True, help="The errors of all branches.")
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
@click.option("--costs", type=FILE, required=True, help="Where costs by branch go, as CSV.")
@click.option("--scatter", type=FILE, required=True, help="Where their picture goes, as SVG.")
@click.option("--nll", type=FILE, required=True, help="Where the picture of the NLL goes, as SVG.")
@click.option("--page", type=FOLDER, required=True, help="Where the report to be read goes.")
def main(
    problems: Path,
    rationales: Path,
    errors: Path,
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
    costs: Path,
    scatter: Path,
    nll: Path,
    page: Path,
) -> None:
    """Put the rounds side by side."""
    settings = params.load(PARAMS, "report", reporting.Settings)
    branches, rounds = branching.loop(PARAMS), branching.rounds(PARAMS)
    names, control, title = list(branches), settings.control, settings.title
    found = reporting.collect(names, rounds, metrics)
    run = reviewing.read(problems, rationales, predictions, errors, branches, rounds)
    tests = run.of_split("test")
    with store.reading(store.path()) as known:
        ledger = known.ledger()

    chosen = reporting.choose(rounds, found)
    verdict = reporting.verdict(chosen, control, found, tests)
    whole = reporting.summary(found, verdict, reporting.advice(found, rounds[1:]))
    steps = {name: int(found[name]["training"].get("steps", 0)) for name in names}
    calls = laddering.calls(metrics / "rationales", branches)
    climbed = laddering.ladder(chosen, rounds, branches, control, tests, steps, calls)
    seen = reporting.gap_table([name for name in names if tests[name]], metrics / "gaps")
    asked = accounting.asked(metrics / "rationales", branches)
    spent = accounting.table(branches, rounds, found, asked, ledger)
    recorded = telling.record(metrics, branches, rounds)
    facts = telling.Facts(title, verdict, whole, climbed, spent, ledger, recorded)
    pictures = {
        curve: picturing.curve(rounds, control, found, title),
        forest: picturing.forest(climbed, title),
        bars: picturing.stacked(seen, title),
        nll: picturing.likelihood([row["round"] for row in spent], found, title),
        scatter: picturing.costs(spent, title),
    }

    records.write_json(best, verdict)
    records.write_json(summary, whole)
    records.write_json(ladder, climbed)
    rows = reporting.table(names, found)
    for file, content, columns in (
        (table, rows, reporting.COLUMNS),
        (gains, laddering.table(climbed), laddering.COLUMNS),
        (gaps, seen, reporting.GAP_COLUMNS),
        (costs, spent, accounting.COLUMNS),
    ):
        records.write_text(file, reporting.as_csv(content, columns))
    for file, picture in pictures.items():
        records.write_text(file, picture)
    presenting.write(page, facts, list(pictures.values()), run)
    click.echo(reporting.sentence(verdict))
    click.echo(f"The report: {page / presenting.INDEX}")


if __name__ == "__main__":
    main()
