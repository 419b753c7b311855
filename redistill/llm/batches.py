"""Asking in batches: the same requests under the same keys, answered later for less."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from redistill.console.exceptions import BATCH, RefusedError
from redistill.llm import (
    answers,
    batch_file,
    batch_records,
    budget,
    line_file,
    other_models,
    overrun,
    purchase,
    store,
)
from redistill.llm.batch_file import Line
from redistill.llm.batch_records import Batch
from redistill.llm.client import Occasion
from redistill.llm.purchase import Manner, Terms
from redistill.llm.request import Request
from redistill.llm.response import Reading
from redistill.llm.store import Writer
from redistill.llm.store_reader import Store


@dataclass(frozen=True)
class Order:
    """What a stage asks for, by the keys of its requests, and the budget that it asks within."""

    requests: Mapping[str, Request]
    settings: budget.SpendingSettings
    occasion: Occasion
    terms: Terms


def order(
    requests: Iterable[Request],
    settings: budget.SpendingSettings,
    occasion: Occasion,
    manner: Manner,
) -> Order:
    """Make the order of *requests* at the prices of a batch, within *settings*' budget."""
    unique = {request.key: request for request in requests}
    return Order(unique, budget.in_batch(settings), occasion, purchase.terms(manner))


def known(writer: Writer, wanted: Order) -> dict[str, Reading]:
    """Read what there is to read of *wanted*: answers, and refusals that stand for one."""
    readings = answers.renewed(writer, wanted.requests)
    other_models.check(wanted.requests, readings, wanted.settings)
    missing = [key for key in wanted.requests if key not in readings]
    held = batch_records.held(writer, missing)
    return readings | batch_records.given_up(writer, [key for key in missing if key not in held])


def refuse_held(known: Store, keys: Iterable[str], manner: Manner | None) -> None:
    """
    Refuse to ask for what waits in a batch of another manner than *manner* (None: call by call).

    Raises RefusedError (4): it would be bought twice.
    """
    held = batch_records.held(known, keys)
    found = [b for b in batch_records.with_waiting(known) if b.token in held.values()]
    for batch in (b for b in found if b.kind != manner):
        count = sum(token == batch.token for token in held.values())
        way = "import its output" if batch.kind == "files" else f"set REDISTILL_BATCH={batch.kind}"
        raise RefusedError(
            f"{count} of the requests wait in the batch {batch.name} ({batch.kind}); {way} to have "
            f"its answers, or let go of it with redistill store abandon {batch.name}",
            code=BATCH,
        )


def place(
    writer: Writer, kind: Manner, wanted: Order, readings: Mapping[str, Reading]
) -> tuple[list[Batch], str | None]:
    """
    Make batches of what has none of *readings* yet and is in no batch, as far as the budget goes.

    They are on disk with all their intents. Returns the batches, and which limit a further request
    would break (None: all are in).
    """
    missing = {key: r for key, r in wanted.requests.items() if key not in readings}
    held = batch_records.held(writer, missing)
    free = [request for key, request in missing.items() if key not in held]
    more = overrun.most(writer, (request.model for request in free))
    committed, told = writer.committed(), None
    affordable: list[Request] = []
    for request in free:
        most = budget.reservation(request, wanted.settings.prices, more)
        told = budget.exceeded(wanted.settings.budget, committed, most)
        if told:
            break
        committed += most
        affordable.append(request)
    parts = batch_file.split(affordable, wanted.terms.lines, wanted.terms.size)
    prices = wanted.settings.prices
    made = [batch_records.make(writer, kind, p, prices, wanted.occasion, more) for p in parts]
    return made, told


def ask_by_files(
    requests: Iterable[Request], settings: budget.SpendingSettings, occasion: Occasion, file: Path
) -> dict[str, Reading]:
    """
    Read the answers to *requests* from the store *file*, or write what is missing for others.

    The files lie beside the store; each holds those requests of its batch that have no answer yet.
    Raises RefusedError: 4 with the files that wait for somebody to answer them, 3 where the budget
    holds no further request.
    """
    wanted = order(requests, settings, occasion, "files")
    with store.writing(file) as writer:
        readings = known(writer, wanted)
        missing = [key for key in wanted.requests if key not in readings]
        if not missing:
            return readings
        refuse_held(writer, missing, "files")
        _, told = place(writer, "files", wanted, readings)
        tokens = set(batch_records.held(writer, missing).values())
        found = [batch for batch in batch_records.with_waiting(writer) if batch.token in tokens]
        written = [write(writer, batch) for batch in found]
    if told and not written:
        raise budget.refusal(told)
    raise _to_answer(written, len(missing), occasion, told)


def path(store_file: Path, batch: Batch) -> Path:
    """Name the file of *batch*, which lies beside the store *store_file*."""
    name = f"{batch.stage}-{batch.round}-{batch.token[:8]}.jsonl"
    return store_file.parent / "batches" / name


def write(writer: Writer, batch: Batch) -> Path:
    """Write the requests that wait in *batch* to its file, as one atomic replacement."""
    file = path(writer.file, batch)
    waiting = batch_records.waiting(writer, batch.token).values()
    line_file.write(file, (batch_file.line(place.request) for place in waiting))
    return file


def bring_in(writer: Writer, file: Path) -> batch_records.Imported:
    """
    Add the answers in *file*, the output of a batch, to the requests that they belong to.

    Raises RefusedError with file and line, and adds nothing, for a line that is no answer, or one
    to a request that was put into no batch.
    """
    keys = batch_records.known(writer)
    found: list[Line] = []
    for number, line in batch_file.outputs(line_file.read(file)):
        if isinstance(line, str):
            raise RefusedError(f"{file}:{number}: {line}")
        if line.key not in keys:
            raise RefusedError(
                f"{file}:{number}: custom_id {line.key[:80]!r} is of no request that a batch of "
                "this store was made of; REDISTILL_STORE names another store"
            )
        found.append(line)
    fresh, old = batch_records.apart(writer, found)
    chosen, repeated = batch_file.first_good(fresh)
    brought = batch_records.bring_in(writer, chosen)
    for batch in brought.ended:
        path(writer.file, batch).unlink(missing_ok=True)  # nobody is to answer it again
    return replace(brought, repeated=brought.repeated + repeated, old=old)


def abandon(writer: Writer, name: str) -> int:
    """Let go of the batch called *name*, and of its file; returns how many requests waited."""
    batch, count = batch_records.abandon(writer, name)
    path(writer.file, batch).unlink(missing_ok=True)
    return count


def _to_answer(
    files: Sequence[Path], missing: int, occasion: Occasion, told: str | None
) -> RefusedError:
    """What is to be done with the *files*, and what the budget has *told*, if it has."""
    names = ", ".join(str(file) for file in files)
    refusal = RefusedError(
        f"{occasion.round}: {missing} requests have no answer; those in {names} wait for one: "
        f"vllm run-batch -i {files[0]} -o OUTPUT.jsonl --model MODEL (or whoever answers such "
        "files), then redistill store import OUTPUT.jsonl, then dvc repro",
        code=BATCH,
    )
    return budget.refusal(told, also=str(refusal)) if told else refusal
