"""What every stage shares: its settings, how it ends, and that it dies with its `dvc repro`."""

import ctypes
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click

from redistill.console import endings
from redistill.settings import installed, secrets, sections

FILE = click.Path(exists=False, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
PARAMS = Path("params.yaml")
PR_SET_PDEATHSIG = 1
STOPPED = "nothing is written; dvc repro runs it again"

endings.quiet_interrupts()


class Stage(click.Command):
    """
    A command that is given the settings of the run, and whose refusals end as one line on stderr.

    The settings are read once, here; with `click.pass_obj` they are the command's first argument.
    """

    keeps_keys = False  # whether it calls a teacher, which may need a key

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run the stage; leave with 0 only if its output is complete."""
        if sys.platform == "linux":  # a killed dvc must not leave a stage behind that writes on
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        whole = partial(super().main, *args, **kwargs)
        endings.run(str(self.name), whole, stopped=STOPPED, goes_on=True)
        sys.exit(0)

    def invoke(self, ctx: click.Context) -> Any:
        """Read the settings, let go of keys, and run the command."""
        installed.check(Path())
        ctx.obj = params = sections.read(PARAMS)
        if not self.keeps_keys:
            kept = secrets.without_keys(params.content)
            if kept is not None:  # again, without keys in the environment: there is no use for them
                os.execve(sys.executable, sys.orig_argv, kept)  # noqa: S606 - this very command
        return super().invoke(ctx)


class TeachingStage(Stage):
    """A stage that calls a teacher."""

    keeps_keys = True
