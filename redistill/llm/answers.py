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
    stored = store.answers(keys)
    readings = {key: response.read(answer.status, answer.body) for key, answer in stored.items()}
    return {key: reading for key, reading in readings.items() if reading.outcome in FINAL}


def renewed(writer: Writer, keys: Iterable[str]) -> dict[str, Reading]:
    """Read what `known` reads, and set aside what it leaves out, so that it is asked again."""
    wanted = list(keys)
    found = known(writer, wanted)
    for key in writer.answers(key for key in wanted if key not in found):
        writer.retire({"key": key})
    return found
