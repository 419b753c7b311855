"""Check every setting, so that nothing runs, and nothing is paid, with one that is wrong."""

from pathlib import Path

import click

from redistill.checks import check_params, ready, stopped
from redistill.records.json_file import write_json
from redistill.settings.sections import Params
from stages import FILE, TeachingStage


@click.command(cls=TeachingStage, name="settings")
@click.option("--metrics", type=FILE, required=True, help="Where it goes that they hold.")
@click.pass_obj
def main(params: Params, metrics: Path) -> None:
    """Check every setting."""
    count = check_params.check(params)
    lacks = ready.before(Path(), params)

    write_json(metrics, {"settings": "hold"})
    click.echo("\n".join([f"{count} sections hold", *lacks, *stopped.idle(Path(), params)]))


if __name__ == "__main__":
    main()
