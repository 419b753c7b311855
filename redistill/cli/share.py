"""The command that sends a published data set to the Hugging Face hub."""

from pathlib import Path

import click

from redistill.cli import running, tables
from redistill.console import tracker
from redistill.console.safe_text import safe_text
from redistill.settings import sections

PARAMS = Path("params.yaml")


@click.command("publish")
@click.option("--push", "repo", metavar="ORG/NAME", help="Send it to this data set of the hub.")
@click.option("--public", is_flag=True, help="Let everyone see it; without this it is private.")
def publish_set(repo: str | None, public: bool) -> None:
    """Print what would go to the Hugging Face hub, or send it there."""
    from redistill.datasets import hub
    from redistill.datasets.rows import PublishSettings

    if public and repo is None:
        raise click.UsageError("--public goes with --push")
    folder = Path("data/published") / sections.read(PARAMS).section("publish", PublishSettings).name
    running.refuse(Path(), folder.as_posix(), "publish it")
    if repo is not None:
        from huggingface_hub import HfApi

        tracker.check()
        api = HfApi()
        click.echo(safe_text(hub.push(folder, repo, api, public=public)))
        tracker.link("published", f"{api.endpoint}/datasets/{repo}")
        return
    parcel = hub.parcel(folder)
    cells = [(name, str(size), "" if n is None else str(n)) for name, size, n in parcel.files]
    tables.table([("file", "bytes", "rows"), *cells], title=f"{folder}, what a push would send")
    click.echo(safe_text(f"Front matter of the card:\n{parcel.front}"))
    for fault in parcel.missing:
        click.echo(safe_text(f"Before a push: {fault}"))
    click.echo("Nothing was sent; --push ORG/NAME sends it.")
