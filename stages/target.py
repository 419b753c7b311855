"""Make the base student of a target, as `base` makes that of the rounds."""

from pathlib import Path

import click

from redistill.console import drafts, rank
from redistill.console import timing as times
from redistill.records.json_file import write_json
from redistill.settings.sections import Params
from redistill.students.base import make
from redistill.students.base.settings import load_target, pretrains
from redistill.students.model import load
from stages import FILE, FOLDER, SharedStage


@click.command(cls=SharedStage, name="target", where=pretrains)
@click.option("--name", required=True, help="The target.")
@click.option("--out", type=FOLDER, required=True, help="Where its base student goes.")
@click.option("--metrics", type=FILE, required=True, help="Where its loss goes.")
@click.option("--timing", type=FILE, required=True, help="Where its speed goes.")
@click.pass_obj
def main(params: Params, name: str, out: Path, metrics: Path, timing: Path) -> None:
    """Make the base student of a target."""
    target = load_target(params, name)

    note = make.origin(target, f"targets.{name}")
    model, tokenizer, figures, took = make.begin(
        target.model,
        target.shape,
        target.seed,
        revision=note.get("commit"),
        template=target.template,
        say=name,
    )

    rank.end_others()
    with drafts.together():
        with drafts.folder(out) as draft:
            load.save(model, tokenizer, draft, note)
        write_json(metrics, figures)
        times.write(timing, took)
    click.echo(f"{name}: {target.model}, {figures['parameters']} parameters")


if __name__ == "__main__":
    main()
