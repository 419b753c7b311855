"""Put the errors of several students together, for a refined set that serves them all."""

from pathlib import Path

import click

from redistill import gaps as diagnosing
from redistill import mining, params, pooling, records
from redistill.records import Error
from stages import FILE, PARAMS, Stage


@click.command(cls=Stage, name="pool")
@click.option(
    "--errors", type=FILE, required=True, help="The errors of one student, or of several."
)
@click.option("--gaps", type=FILE, required=True, help="The gaps on dev that go with them.")
@click.option("--more", type=FILE, required=True, help="The errors of another, or of several.")
@click.option("--more-gaps", type=FILE, required=True, help="And the gaps that go with these.")
@click.option("--out", type=FILE, required=True, help="Where all errors go.")
@click.option("--metrics", type=FILE, required=True, help="Where gaps and balance go.")
def main(errors: Path, gaps: Path, more: Path, more_gaps: Path, out: Path, metrics: Path) -> None:
    """Put the errors of several students together."""
    settings = params.load(PARAMS, "mine", mining.Settings)
    named = {file.stem: records.read(file, Error) for file in (errors, more)}

    pooled, balance = pooling.pool(named)
    found = pooling.diagnosis([gaps, more_gaps], settings.common)

    balance.check(1.0)
    records.write(out, pooled)
    records.write_json(metrics, {**found, "balance": balance.as_dict()})
    click.echo(f"{out.stem}: {balance}; on dev: {diagnosing.describe(found['profile']['gaps'])}")


if __name__ == "__main__":
    main()
