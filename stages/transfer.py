"""Put the cells of the transfer table side by side: do other students keep what one gained?"""

from pathlib import Path

import click

from redistill import params, picturing, records, reporting, targeting, transferring
from redistill import rounds as branching
from redistill.records import Prediction
from stages import FILE, FOLDER, PARAMS, Stage


@click.command(cls=Stage, name="transfer")
@click.option("--table", required=True, help="The table.")
@click.option("--predictions", type=FOLDER, required=True, help="The predictions of all branches.")
@click.option(
    "--scores", type=FOLDER, required=True, help="Their scores, to choose a round by dev."
)
@click.option("--out", type=FILE, required=True, help="Where the table goes.")
@click.option("--gains", type=FILE, required=True, help="Where its gains go, as CSV.")
@click.option("--forest", type=FILE, required=True, help="Where their picture goes, as SVG.")
def main(table: str, predictions: Path, scores: Path, out: Path, gains: Path, forest: Path) -> None:
    """Put the cells of the transfer table side by side."""
    settings = params.load(PARAMS, "report", reporting.Settings)
    alpha = targeting.tables(PARAMS)[table].alpha
    branches, rounds = branching.branches(PARAMS), branching.rounds(PARAMS)
    tests = {n: records.read(predictions / n / "test.jsonl", Prediction) for n in branches}
    seen = {name: reporting.read_json(scores / f"{name}.json") for name in rounds}

    chosen = reporting.choose(rounds, seen) if rounds else None
    found = transferring.transfer(branches, rounds, chosen, settings.control, tests, alpha)
    rows = transferring.table(found)

    records.write_json(out, found)
    records.write_text(gains, reporting.as_csv(rows, transferring.COLUMNS))
    picture = picturing.forest(transferring.forest(found), f"{settings.title}: other students")
    records.write_text(forest, picture)
    click.echo(transferring.sentence(found))


if __name__ == "__main__":
    main()
