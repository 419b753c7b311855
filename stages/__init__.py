"""What every stage's command shares: how it ends, and that it dies with its `dvc repro`."""

import ctypes
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from redistill.refusals import RefusedError

FILE = click.Path(exists=False, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
PARAMS = Path("params.yaml")
PR_SET_PDEATHSIG = 1


class Stage(click.Command):
    """A command whose refusals end as one line on stderr and their exit code."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run the stage; leave with 0 only if its output is complete."""
        if sys.platform == "linux":  # a killed dvc must not leave a stage behind that writes on
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        try:
            super().main(*args, **kwargs)
        except RefusedError as refusal:
            click.echo(f"{self.name}: {refusal}", err=True)
            sys.exit(refusal.code)
        sys.exit(0)
