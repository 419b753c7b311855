"""Put the rounds side by side: the best on dev, what it gains on test and over every control."""

from pathlib import Path

import click

from redistill.analysis.summary import ReportSettings, sentence
from redistill.causes.evidence import tests_setting
from redistill.console import drafts
from redistill.console import timing as times
from redistill.llm import store
from redistill.records.json_file import write_json, write_text
from redistill.report import explorer, page
from redistill.report.build import build
from redistill.rounds.branches import branches, loop, rounds_of
from redistill.settings.sections import Params
from stages import FILE, FOLDER, Stage


@click.command(cls=Stage, name="report")
@click.option("--problems", type=FOLDER, required=True, help="The problems of all splits.")
@click.option("--rationales", type=FOLDER, required=True, help="The rationales of all branches.")
@click.option("--errors", type=FOLDER, required=True, help="The errors of all branches.")
@click.option("--metrics", type=FOLDER, required=True, help="The metrics of all branches.")
@click.option("--predictions", type=FOLDER, required=True, help="The predictions of all branches.")
@click.option("--outside", type=FOLDER, required=True, help="Those on out-of-domain tests.")
@click.option("--best", type=FILE, required=True, help="Where the chosen round goes.")
@click.option("--summary", type=FILE, required=True, help="Where all figures go.")
@click.option("--ladder", type=FILE, required=True, help="Where the ladder of controls goes.")
@click.option("--tables", type=FOLDER, required=True, help="Where the figures go as CSV.")
@click.option("--pictures", type=FOLDER, required=True, help="Where the pictures go, as SVG.")
@click.option("--page", "folder", type=FOLDER, required=True, help="Where the page goes.")
@click.option("--timing", type=FOLDER, required=True, help="What took how long; shown if there.")
@click.pass_obj
def main(
    params: Params,
    problems: Path,
    rationales: Path,
    errors: Path,
    metrics: Path,
    predictions: Path,
    outside: Path,
    best: Path,
    summary: Path,
    ladder: Path,
    tables: Path,
    pictures: Path,
    folder: Path,
    timing: Path,
) -> None:
    """Put the rounds side by side."""
    settings = params.section("report", ReportSettings)
    known = loop(branches(params))
    run = explorer.read(problems, rationales, predictions, errors, outside, known, rounds_of(known))
    with store.reading(store.path()) as opened:
        ledger = opened.ledger()

    report = build(run, metrics, ledger, settings, tests_setting(params))

    with drafts.together():
        write_json(best, report.verdict.as_dict())
        write_json(summary, report.whole.as_dict())
        write_json(ladder, report.climbed.as_dict())
        for name, table in report.tables.items():
            write_text(tables / f"{name}.csv", table)
        for name, picture in report.pictures.items():
            write_text(pictures / f"{name}.svg", picture)
        page.write(folder, report.facts, list(report.pictures.values()), run)
        page.write_timing(timing, times.read(timing))
    click.echo(sentence(report.verdict))
    click.echo(f"The report: {folder / page.INDEX}")


if __name__ == "__main__":
    main()
