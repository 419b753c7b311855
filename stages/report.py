"""Put the rounds side by side: the best on dev, what it gains on test and over every control."""

from pathlib import Path

import click

from redistill.analysis import costs as cost_table
from redistill.analysis import ladder as ladders
from redistill.analysis import plots
from redistill.analysis import summary as summaries
from redistill.llm import store
from redistill.records import json_file
from redistill.report import explorer, text
from redistill.report import page as pages
from redistill.settings import branches as branching
from redistill.settings import sections
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
    settings = sections.load(PARAMS, "report", summaries.ReportSettings)
    branches, rounds = branching.loop(PARAMS), branching.rounds(PARAMS)
    names, control, title = list(branches), settings.control, settings.title
    found = summaries.collect(names, rounds, metrics)
    run = explorer.read(problems, rationales, predictions, errors, branches, rounds)
    tests = run.of_split("test")
    with store.reading(store.path()) as known:
        ledger = known.ledger()

    chosen = summaries.choose(rounds, found)
    verdict = summaries.verdict(chosen, control, found, tests)
    whole = summaries.summary(found, verdict, summaries.advice(found, rounds[1:]))
    steps = {name: int(found[name]["training"].get("steps", 0)) for name in names}
    calls = ladders.calls(metrics / "rationales", branches)
    climbed = ladders.ladder(chosen, rounds, branches, control, tests, steps, calls)
    seen = summaries.gap_table([name for name in names if tests[name]], metrics / "gaps")
    asked = cost_table.asked(metrics / "rationales", branches)
    spent = cost_table.table(branches, rounds, found, asked, ledger)
    recorded = text.record(metrics, branches, rounds)
    facts = text.Facts(title, verdict, whole, climbed, spent, ledger, recorded)
    pictures = {
        curve: plots.curve(rounds, control, found, title),
        forest: plots.forest(climbed, title),
        bars: plots.stacked(seen, title),
        nll: plots.likelihood([row["round"] for row in spent], found, title),
        scatter: plots.costs(spent, title),
    }

    json_file.write_json(best, verdict)
    json_file.write_json(summary, whole)
    json_file.write_json(ladder, climbed)
    rows = summaries.table(names, found)
    for file, content, columns in (
        (table, rows, summaries.COLUMNS),
        (gains, ladders.table(climbed), ladders.COLUMNS),
        (gaps, seen, summaries.GAP_COLUMNS),
        (costs, spent, cost_table.COLUMNS),
    ):
        json_file.write_text(file, summaries.as_csv(content, columns))
    for file, picture in pictures.items():
        json_file.write_text(file, picture)
    pages.write(page, facts, list(pictures.values()), run)
    click.echo(summaries.sentence(verdict))
    click.echo(f"The report: {page / pages.INDEX}")


if __name__ == "__main__":
    main()
