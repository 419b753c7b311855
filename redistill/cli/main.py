"""The command ``redistill``: look at a run, check it, share it. (To run it is ``dvc repro``.)"""

import sys
from typing import Any

import click

from redistill.cli import calls, checks, look, project, results, share
from redistill.console.exceptions import RefusedError
from redistill.console.safe_text import safe_text


class Group(click.Group):
    """Commands whose refusals end as one line on stderr and their exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command."""
        try:
            return super().main(*args, **kwargs)
        except RefusedError as refusal:
            click.echo(f"redistill: {safe_text(str(refusal))}", err=True)
            sys.exit(refusal.code)


@click.group(cls=Group)
def main() -> None:
    """Look at a run of Redistill in the folder that holds its params.yaml."""


for command in (
    *(project.init, project.upgrade, project.show_params),
    *(look.rounds, look.show, look.diff),
    *(checks.doctor, checks.show_plan, checks.verify_files, checks.grade),
    *(calls.ledger, calls.retry, calls.store),
    *(results.ladder, results.show_transfer, results.check, results.sweep),
    share.publish_set,
):
    main.add_command(command)
