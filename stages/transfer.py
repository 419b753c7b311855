"""Put the cells of the transfer table side by side: do other students keep what one gained?"""

from pathlib import Path

import click

from redistill.analysis import plots, summary, transfer
from redistill.console import drafts
from redistill.records import json_file, jsonl
from redistill.records.types import Prediction
from redistill.rounds import branches as branching
from redistill.rounds import targets
from redistill.settings.sections import Params
from stages import FILE, FOLDER, Stage


@click.command(cls=Stage, name="transfer")
@click.option("--table", required=True, help="The table.")
@click.option("--predictions", type=FOLDER, required=True, help="The predictions of all branches.")
@click.option(
    "--scores", type=FOLDER, required=True, help="Their scores, to choose a round by dev."
)
@click.option("--out", type=FILE, required=True, help="Where the table goes.")
@click.option("--gains", type=FILE, required=True, help="Where its gains go, as CSV.")
@click.option("--forest", type=FILE, required=True, help="Where their picture goes, as SVG.")
@click.pass_obj
def main(
    params: Params,
    table: str,
    predictions: Path,
    scores: Path,
    out: Path,
    gains: Path,
    forest: Path,
) -> None:
    """Put the cells of the transfer table side by side."""
    settings = params.section("report", summary.ReportSettings)
    alpha = targets.tables(params)[table].alpha
    branches, rounds = branching.branches(params), branching.rounds(params)
    tests = {n: jsonl.read(predictions / n / "test.jsonl", Prediction) for n in branches}
    dev = {n: seen["dev"] for n in rounds if (seen := summary.scores(scores, n))}

    chosen = summary.choose(dev) if rounds else None
    found = transfer.transfer(branches, rounds, chosen, settings.control, tests, alpha)
    rows = transfer.table(found)

    with drafts.together():
        json_file.write_json(out, found.as_dict())
        json_file.write_text(gains, summary.as_csv(rows, transfer.COLUMNS))
        picture = plots.forest(transfer.bars(found), f"{settings.title}: other students")
        json_file.write_text(forest, picture)
    click.echo(transfer.sentence(found))


if __name__ == "__main__":
    main()
