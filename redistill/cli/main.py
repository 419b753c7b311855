"""The command ``redistill``: look at a run, check it, share it. (To run it is ``dvc repro``.)"""

from functools import partial
from pathlib import Path
from typing import Any

import click

from redistill.analysis import experiments
from redistill.cli import (
    calls,
    checks,
    dvc_locks,
    harness,
    judge,
    look,
    project,
    results,
    share,
    why,
)
from redistill.console import endings
from redistill.console.exceptions import RefusedError
from redistill.console.safe_text import safe_text

# What DVC does for these, or is to do next: they refuse where it cannot
BY_DVC = ("params", "sweep", "diff", "verify")


class Group(click.Group):
    """Commands whose refusals end as one line on stderr and their exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command."""
        whole = partial(super().main, *args, **kwargs)
        return endings.run("redistill", whole, stopped="the same command begins anew")

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; before it, say what a killed sweep left behind."""
        if told := experiments.told(Path()):
            click.echo(f"redistill: {told}", err=True)
        return super().invoke(ctx)


@click.group(cls=Group)
@click.pass_context
def main(context: click.Context) -> None:
    """Look at a run of Redistill in the folder that holds its params.yaml."""
    asked = context.invoked_subcommand
    if asked == "doctor" or not (fault := dvc_locks.damage(Path())):
        return
    if asked in BY_DVC:
        raise RefusedError(fault)
    click.echo(f"redistill: {safe_text(fault)}", err=True)


for command in (
    *(project.init, project.upgrade, project.show_params),
    *(look.rounds, look.show, look.diff),
    *(checks.doctor, checks.show_plan, checks.verify_files, checks.grade),
    *(calls.ledger, calls.retry, calls.store),
    *(results.ladder, results.show_transfer, results.check, results.sweep),
    *(why.show_why, judge.judge),
    *(share.publish_set, harness.export, harness.import_),
):
    main.add_command(command)
