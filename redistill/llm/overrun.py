"""Tokens billed beyond what could be foreseen of a call: how many have been seen so far."""

from collections.abc import Iterable

from redistill.llm.store_reader import Store, marks


def most(known: Store, models: Iterable[str]) -> int:
    """
    Find the most tokens that one stored answer of *models* was billed beyond its reservation.

    Answers of all stages and rounds count, and those that were set aside: what a model did once it
    can do again, whoever asks.
    """
    wanted = sorted(set(models))
    ((found,),) = known.rows(
        "select coalesce(max(overrun), 0) from attempts "
        f"where model in ({marks(wanted)}) and overrun > 0",
        wanted,
    )
    return int(found)
