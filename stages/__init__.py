"""What every stage's command shares: how it ends, and that it dies with its `dvc repro`."""

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from redistill.console import safe_text
from redistill.console.exceptions import RefusedError
from redistill.settings import secrets, sections

FILE = click.Path(exists=False, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
PARAMS = Path("params.yaml")
PR_SET_PDEATHSIG = 1
TEACHING = ("generate", "refine", "control", "tailor")  # they call a teacher: it may need a key


class Stage(click.Command):
    """A command whose refusals end as one line on stderr and their exit code."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run the stage; leave with 0 only if its output is complete."""
        if sys.platform == "linux":  # a killed dvc must not leave a stage behind that writes on
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        try:
            self._drop_keys()
            super().main(*args, **kwargs)
        except RefusedError as refusal:
            click.echo(f"{self.name}: {safe_text.safe_text(str(refusal))}", err=True)
            sys.exit(refusal.code)
        sys.exit(0)

    def _drop_keys(self) -> None:
        """Start this command again without keys in its environment, if it has no use for them."""
        if self.name in TEACHING or not PARAMS.is_file():
            return
        kept = secrets.without_keys(sections.read(PARAMS))
        if kept is not None:
            os.execve(sys.executable, sys.orig_argv, kept)  # noqa: S606 - this very command
