"""Make the base student of every round: pre-train the embedded one, or fetch yours."""

from pathlib import Path

import click

from redistill.console import drafts, rank
from redistill.console import timing as times
from redistill.records.json_file import write_json
from redistill.settings.sections import Params
from redistill.students.base import make
from redistill.students.base.settings import pretrains, shape
from redistill.students.model import load
from redistill.students.model.settings import StudentSettings
from stages import FILE, FOLDER, SharedStage


@click.command(cls=SharedStage, name="base", where=pretrains)
@click.option("--out", type=FOLDER, required=True, help="Where the base student goes.")
@click.option("--metrics", type=FILE, required=True, help="Where its loss goes.")
@click.option("--timing", type=FILE, required=True, help="Where its speed goes.")
@click.pass_obj
def main(params: Params, out: Path, metrics: Path, timing: Path) -> None:
    """Make the base student that every round starts from."""
    student = params.section("student", StudentSettings)

    note = make.origin(student)
    model, tokenizer, figures, took = make.begin(
        student.model,
        shape(params, student.model),
        params.seed,
        revision=note.get("commit"),
        template=student.template,
    )

    rank.end_others()
    with drafts.together():
        with drafts.folder(out) as draft:
            load.save(model, tokenizer, draft, note)
        write_json(metrics, figures)
        times.write(timing, took)
    click.echo(f"base: {student.model}, {figures['parameters']} parameters")


if __name__ == "__main__":
    main()
