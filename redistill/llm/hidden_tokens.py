"""Tokens that a server bills beside the output limit: how many have been seen so far."""

from collections.abc import Iterable

from redistill.llm import response
from redistill.llm.store import Store


def most(known: Store, models: Iterable[str]) -> int:
    """
    Find the most tokens that one stored answer of *models* was billed beyond its output limit.

    Answers of all stages and rounds count, and those that were set aside: what a model did once it
    can do again, whoever asks.
    """
    bodies = (body for model in sorted(set(models)) for body in known.bodies(model))
    return max((response.read(200, body).hidden_tokens for body in bodies), default=0)
