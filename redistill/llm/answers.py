"""The answers that a store holds, as they are read today."""

from collections.abc import Iterable

from redistill.llm import response
from redistill.llm.response import FINAL, Reading
from redistill.llm.store import Writer
from redistill.llm.store_reader import Store


def known(store: Store, keys: Iterable[str]) -> dict[str, Reading]:
    """
    Read the answers of *store* to those of the requests *keys* that have one.

    An earlier version took some failures on the way for answers: those are left out.
    """
    return _apart(store, keys)[0]


def renewed(writer: Writer, keys: Iterable[str]) -> dict[str, Reading]:
    """Read what `known` reads, and set aside what it leaves out, so that it is asked again."""
    found, none = _apart(writer, keys)
    if none:
        writer.set_aside(none)
    return found


def _apart(store: Store, keys: Iterable[str]) -> tuple[dict[str, Reading], list[int]]:
    """The first answer to each of *keys*, and the attempts that are none today."""
    found: dict[str, Reading] = {}
    none: list[int] = []
    for number, answer in store.each_answer(keys):
        if answer.key in found:
            continue
        reading = response.read(answer.status, answer.body)
        if reading.outcome in FINAL:
            found[answer.key] = reading
        else:
            none.append(number)
    return found, none
