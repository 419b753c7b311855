"""The command that answers why a round did not help, or what still limits it."""

import json
from pathlib import Path

import click

from redistill.cli import tables
from redistill.console.safe_text import safe_text
from redistill.settings import sections

PARAMS = Path("params.yaml")
METRICS = Path("metrics")
DATA = Path("data")


@click.command("why")
@click.option("--branch", "name", help="A round or arm; by default the round that dev chose.")
@click.option(
    "--gain",
    type=click.FloatRange(0, 100, min_open=True),
    metavar="POINTS",
    help="The gain that the test set should show; 3 by default.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a page.")
def show_why(name: str | None, gain: float | None, as_json: bool) -> None:
    """Print why a round did not help, or what still limits it: the likeliest cause first."""
    from redistill.causes import why as causes

    params = sections.read(PARAMS)
    found = causes.of_run(params, METRICS, DATA, name, gain)
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2))
        return
    for sentence in found.said:
        click.echo(safe_text(sentence))
    if rows := found.of("found"):
        tables.table([causes.HEAD, *causes.cells(rows)], title=found.lead)
    else:
        click.echo(safe_text(found.lead))
    missing = [f"{x.cause}: {x.told}; {x.change}" for x in found.of("missing")]
    _list("Unknown, and what would tell:", missing)
    clear = [f"{x.cause}: {x.told} ({x.file})" for x in found.of("clear")]
    _list("Not in the way:", clear)


def _list(title: str, rows: list[str]) -> None:
    """Print *rows* under a *title*; nothing where there are none."""
    if rows:
        click.echo(title)
    for row in rows:
        click.echo(safe_text(f"  {row}"))
