"""Put the errors of several students together, for a refined set that serves them all."""

from pathlib import Path

import click

from redistill.console import drafts
from redistill.diagnosis import pool
from redistill.diagnosis.settings import MineSettings
from redistill.records import json_file, jsonl
from redistill.records.types import Error
from redistill.settings.sections import Params
from redistill.solutions.gaps import describe
from stages import FILE, Stage


@click.command(cls=Stage, name="pool")
@click.option(
    "--errors", type=FILE, required=True, help="The errors of one student, or of several."
)
@click.option("--gaps", type=FILE, required=True, help="The gaps on dev that go with them.")
@click.option("--more", type=FILE, required=True, help="The errors of another, or of several.")
@click.option("--more-gaps", type=FILE, required=True, help="And the gaps that go with these.")
@click.option("--attempts", type=FILE, required=True, help="The first student's own right ones.")
@click.option("--more-attempts", type=FILE, required=True, help="And those of the other.")
@click.option("--all-attempts", type=FILE, required=True, help="Where all of these go.")
@click.option("--out", type=FILE, required=True, help="Where all errors go.")
@click.option("--metrics", type=FILE, required=True, help="Where gaps and balance go.")
@click.pass_obj
def main(
    params: Params,
    errors: Path,
    gaps: Path,
    more: Path,
    more_gaps: Path,
    attempts: Path,
    more_attempts: Path,
    all_attempts: Path,
    out: Path,
    metrics: Path,
) -> None:
    """Put the errors of several students together."""
    settings = params.section("mine", MineSettings)
    named = {file.stem: jsonl.read(file, Error) for file in (errors, more)}

    pooled, balance = pool.pool(named)
    found = pool.diagnosis([gaps, more_gaps], settings.common)

    balance.check(1.0)
    with drafts.together():
        jsonl.write(out, pooled)
        jsonl.write(all_attempts, pool.attempts([attempts, more_attempts]))
        json_file.write_json(metrics, {**found, "balance": balance.as_dict()})
    click.echo(f"{out.stem}: {balance}; on dev: {describe(found['profile']['gaps'])}")


if __name__ == "__main__":
    main()
