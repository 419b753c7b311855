"""Servers that answer as another model than was asked for: said once, and refused where set."""

from collections.abc import Mapping

from redistill.console.exceptions import DATA, RefusedError
from redistill.llm import budget
from redistill.llm.request import Request
from redistill.llm.response import Reading


def check(
    requests: Mapping[str, Request],
    readings: Mapping[str, Reading],
    settings: budget.SpendingSettings,
) -> None:
    """Refuse stored answers of another model than was asked for, where that is wanted."""
    for key, reading in readings.items() if settings.strict_model else ():
        if reading.model is not None and reading.model != requests[key].model:
            raise refusal(requests[key], reading)


def refusal(request: Request, reading: Reading) -> RefusedError:
    """Make the refusal of an answer by another model than *request* named."""
    return RefusedError(
        f"the server answered as {reading.model!r}, not as {request.model!r}, and "
        "spending.strict_model is set; name that model, or set the answers aside with "
        f"redistill retry --where returned_model={reading.model!r}",
        code=DATA,
    )


def noted(answering: str, asked: str, told: set[tuple[str, str]]) -> list[str]:
    """Say that *answering* answers in place of *asked*, unless *told* has it, which then does."""
    if (answering, asked) in told:
        return []
    told.add((answering, asked))
    return [f"answers of {answering!r} where {asked!r} was asked for"]
