"""What every stage shares: its settings, how it ends, and that it dies with its `dvc repro`."""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click

from redistill.console import endings, launcher, rank, tracker
from redistill.settings import installed, secrets, sections

FILE = click.Path(exists=False, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
PARAMS = Path("params.yaml")
STOPPED = "nothing is written; dvc repro runs it again"

endings.quiet_interrupts()


class Stage(click.Command):
    """
    A command that is given the settings of the run, and whose refusals end as one line on stderr.

    The settings are read once, here; with `click.pass_obj` they are the command's first argument.
    """

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run the stage; leave with 0 only if its output is complete."""
        rank.end_with_parent(signal.SIGTERM)  # a killed dvc must not leave a stage that writes on
        whole = partial(super().main, *args, **kwargs)
        endings.run(str(self.name), whole, stopped=STOPPED, goes_on=True)
        sys.exit(0)

    def invoke(self, ctx: click.Context) -> Any:
        """Read the settings, let go of keys, and run the command."""
        installed.check(Path())
        ctx.obj = params = sections.read(PARAMS)
        if not self.keeps_keys(params):
            kept = secrets.without_keys(params.content)
            if kept is not None:  # again, without keys in the environment: there is no use for them
                os.execve(sys.executable, sys.orig_argv, kept)  # noqa: S606 - this very command
        tracker.begin(str(self.name))
        done = self.work(ctx)
        tracker.ended(ctx.params)
        return done

    def keeps_keys(self, params: sections.Params) -> bool:
        """Say whether the stage asks a model that may need a key, by the settings of the run."""
        return False

    def work(self, ctx: click.Context) -> Any:
        """Run the command, whose settings are read."""
        return super().invoke(ctx)


class TeachingStage(Stage):
    """A stage that calls a teacher."""

    def keeps_keys(self, params: sections.Params) -> bool:
        """Say that a teacher may need a key."""
        return True


class SharedStage(Stage):
    """
    A stage whose work several processes share, where REDISTILL_LAUNCH has them started.

    *where* says of the settings and the options whether there is work to share at all.
    """

    def __init__(
        self,
        *args: Any,
        where: Callable[[sections.Params, Mapping[str, Any]], bool] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.where = where

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run the stage, or the part of it that is this process's."""
        if not rank.launched():
            super().main(*args, **kwargs)
        rank.end_with_parent(signal.SIGKILL)
        whole = partial(click.Command.main, self, rank.join())
        name, leave = str(self.name), rank.leave
        rank.shared(lambda: endings.run(name, whole, stopped=STOPPED, goes_on=True, leave=leave))
        sys.exit(0)

    def work(self, ctx: click.Context) -> Any:
        """Have the processes started that share the work, or run the command."""
        if launcher.wanted() and (self.where is None or self.where(ctx.obj, ctx.params)):
            return launcher.lead(f"stages.{self.name}", sys.argv[1:])
        return super().work(ctx)
