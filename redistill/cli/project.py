"""The commands that lay out projects: a folder of one's own, its settings, a newer version."""

from pathlib import Path

import click

from redistill.console.exceptions import RefusedError
from redistill.console.safe_text import safe_text

PARAMS = Path("params.yaml")
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("folder", type=FOLDER, metavar="DIR")
@click.option("--with", "overlays", multiple=True, help="Settings to lay over; repeatable.")
@click.option("--task", help="A file in redistill/tasks, with a section to begin with.")
@click.option("--teacher", help="Whose section to take: openai, vllm, ollama, llamacpp, local ...")
@click.option("--student", help="A Hugging Face directory, a hub id or a .gguf file.")
def init(
    folder: Path,
    overlays: tuple[str, ...],
    task: str | None,
    teacher: str | None,
    student: str | None,
) -> None:
    """
    Lay out a project of your own in DIR: settings, dvc.yaml, git and DVC where they are not set up.

    Its stages run from the installed package. `redistill init demo && cd demo && dvc repro` runs
    the embedded default. OVERLAYS are files, or names of those that the package brings.
    """
    from redistill.cli import new_project

    made = new_project.settings(overlays, task, teacher, student)
    for line in new_project.lay_out(folder, made):
        click.echo(safe_text(line))


@click.command()
def upgrade() -> None:
    """Bring the project in this folder to the installed version, which makes stages stale."""
    from redistill.cli import new_project, running

    if at_work := running.writing(Path()):
        who = next(iter(at_work.values()))
        raise RefusedError(f"dvc.yaml: {who} runs by it; upgrade when that has ended", code=75)
    for line in new_project.upgrade(Path()):
        click.echo(safe_text(line))


@click.command("params")
@click.option("--file", type=FILE, default=PARAMS, show_default=True, help="The settings.")
@click.option("--with", "overlays", multiple=True, help="Settings to lay over; repeatable.")
@click.option("--out", type=FILE, help="Write what comes out there, instead of printing it.")
def show_params(file: Path, overlays: tuple[str, ...], out: Path | None) -> None:
    """
    Check every section of params.yaml, and name the nearest key for each that is unknown.

    With overlays, print the whole of what they come to over params.yaml, once it is checked.
    """
    from redistill.checks import check_params, ready, stopped
    from redistill.cli import new_project, running
    from redistill.records.json_file import write_text
    from redistill.settings import sections

    if not overlays:
        params = sections.read(file)
        count = check_params.check(params)
        if lacks := ready.missing(file.parent, params):
            raise lacks
        click.echo(f"{file}: {count} sections are well-formed")
        for told in stopped.idle(file.parent, params):
            click.echo(safe_text(told))
        return
    text = new_project.composed(file, overlays)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_text(out, text)
        for who in dict.fromkeys(running.writing(Path()).values()):
            click.echo(f"{who} is at work with the settings of before", err=True)
        click.echo(f"{out}: {file} with {', '.join(overlays)}")
