"""The commands on paid calls: the ledger, what is asked again, and the record store."""

import json
from pathlib import Path

import click

from redistill.cli import tables
from redistill.cli.judge import LABELLED
from redistill.console.counted import counted
from redistill.console.safe_text import safe_text
from redistill.llm.budget import money
from redistill.records import jsonl

OF_BATCHES = ("line", "batch")  # fields of an export that one of an earlier version does not have
LONGEST = 256 * 1024 * 1024  # bytes of a line: a body of any size that is stored, and its escapes
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def ledger(as_json: bool) -> None:
    """Print what the teacher's calls came to, by stage, round and model."""
    from redistill.llm import store

    with store.reading(store.path()) as known:
        rows = known.ledger()
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    head = (
        *("stage", "round", "model", "outcome", "calls", "by batch"),
        *("tokens in", "tokens out", "cost"),
    )
    cells = [
        (
            *(str(row[name]).replace("_", " ") for name in ("stage", "round", "model", "outcome")),
            *(str(row[name]) for name in ("calls", "batched")),
            *(str(row[name]) for name in ("prompt_tokens", "completion_tokens")),
            money(row["nano"]),
        )
        for row in rows
    ]
    tables.table([head, *cells], title="Calls to the teacher, paid or reserved")


@click.command()
@click.option("--where", "conditions", multiple=True, required=True, help="As in outcome=refused.")
def retry(conditions: tuple[str, ...]) -> None:
    """Set stored answers aside, so that the next run asks for them again."""
    from redistill.llm import store

    pairs = [condition.partition("=") for condition in conditions]
    with store.writing(store.path()) as writer:
        chosen = writer.retire({name: value for name, _, value in pairs})
    click.echo(f"set aside: {counted(len(chosen), 'answer')}")
    asking = {_stage(stage, round) for _, stage, round, _ in chosen}
    stages = sorted(name for name in asking if name is not None)
    if None in asking:
        click.echo("ask again for verdicts on labelled answers: redistill judge")
    if stages:
        told = f"ask again: dvc repro --force --single-item {' '.join(stages)} && dvc repro"
        click.echo(safe_text(told))


@click.group("store")
def store() -> None:
    """Export, import or reconcile the record store."""


@store.command("export")
@click.argument("file", type=click.Path(path_type=Path))
def export_store(file: Path) -> None:
    """Write every call with its request and its answer to FILE, as sorted JSONL."""
    from redistill.llm import store, store_file

    with store.reading(store.path()) as known:
        count = jsonl.write_rows(file, known.export())
        under_way = known.under_way()
    click.echo(f"{counted(count, 'call')} in {file}")
    if holder := store_file.holder(store.path()):
        click.echo(
            f"{holder} is writing the store: {counted(under_way, 'call')} without an answer in "
            f"{file} yet, and later ones are left out",
            err=True,
        )


@store.command("import")
@click.argument("file", type=click.Path(path_type=Path))
def import_store(file: Path) -> None:
    """Add what FILE has and the store does not: an export's calls, or the answers of a batch."""
    from redistill.llm import batch_file, batches, line_file, store, store_import

    first = next(line_file.read(file), b"")
    if batch_file.is_output(first):
        with store.writing(store.path()) as writer:
            brought = batches.bring_in(writer, file)
        click.echo(
            f"{counted(brought.answered, 'answer')} added, "
            f"{counted(brought.failed, 'failure')}, which are asked again, "
            f"{brought.repeated} repeated answers left out; run dvc repro"
        )
        for what, times in sorted(brought.spent.items()):
            click.echo(safe_text(f"{what}: {times} of {brought.answered}"))
        if brought.old:
            click.echo(
                f"{brought.old} lines left out that were taken before, and failed or were set "
                "aside since: they are of an old output (or of a new one whose lines have no ids "
                "of their own: give each one)"
            )
        return
    fields = [f for f in store.EXPORTED if f not in OF_BATCHES or f'"{f}":'.encode() in first]
    rows = (
        dict.fromkeys(OF_BATCHES) | row for row in jsonl.read_rows(file, fields, longest=LONGEST)
    )
    with store.writing(store.path()) as writer:
        merged = store_import.merge(writer, rows)
    click.echo(f"{counted(merged.added, 'call')} added")
    if merged.under_way:
        click.echo(
            f"{merged.under_way} calls left out that were under way when FILE was written: they "
            "may have been billed, and are asked again"
        )


@store.command()
@click.argument("batch")
def abandon(batch: str) -> None:
    """Let go of BATCH, which will bring no answers; its requests are asked again."""
    from redistill.llm import batches, store

    with store.writing(store.path()) as writer:
        count = batches.abandon(writer, batch)
    click.echo(
        f"{count} requests wait in it no longer; they stay counted at what was reserved, until "
        "redistill store reconcile"
    )


@store.command()
def reconcile() -> None:
    """Release what calls without an answer have reserved, once you have seen your bill."""
    from redistill.llm import store

    with store.writing(store.path()) as writer:
        count = writer.reconcile()
    click.echo(
        f"{count} calls without an answer hold no tokens or money any more; they remain calls"
    )


def _stage(stage: str, round: str) -> str | None:
    """
    The stage of dvc.yaml that made a call: that of a judge stands in place of the round.

    None for a call of redistill judge, which is no stage.
    """
    if stage == "judge":
        return None if round == LABELLED else round
    return stage if stage == "generate" else f"{stage}@{round}"
