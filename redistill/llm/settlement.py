"""What the ledger notes of a call that has ended: its tokens and what they cost."""

from redistill.llm import budget
from redistill.llm.endpoint import Raw
from redistill.llm.request import Request
from redistill.llm.response import FINAL, MAYBE_BILLED, Reading
from redistill.llm.store import Intent, Result


def intent(request: Request, most: budget.Amount, stage: str, round: str) -> Intent:
    """Note that *request* is about to be made for *stage* and *round*, at *most* so much."""
    return Intent(
        key=request.key,
        request=request.canonical,
        stage=stage,
        round=round,
        problem=request.problem,
        model=request.model,
        prompt_tokens=request.max_input,
        completion_tokens=0 if request.max_output is None else most.tokens - request.max_input,
        nano=most.nano,
    )


def result(
    number: int, request: Request, raw: Raw, reading: Reading, prices: budget.Prices
) -> Result:
    """
    Count what an attempt has cost: tokens as the server counted them where that is possible.

    A count that is missing, or beyond what was reserved, is replaced by the reservation, and so is
    the cost of a call that ended without an answer but may have been billed. Reasoning tokens that
    a server bills beside the completion tokens are no part of the output limit: they are counted.
    """
    prompt, completion = reading.prompt_tokens, reading.completion_tokens
    limit = request.max_output
    counted = reading.outcome in (*FINAL, *MAYBE_BILLED)
    measured = (
        prompt is not None
        and completion is not None
        and prompt <= request.max_input
        and (limit is None or completion - reading.hidden_tokens <= limit)
    )
    if not measured:
        prompt, completion = (request.max_input, limit or 0) if counted else (0, 0)
    return Result(
        id=number,
        key=request.key,
        outcome=reading.outcome,
        status=raw.status,
        body=raw.body,
        detail=reading.detail,
        finish_reason=reading.finish_reason,
        returned_model=reading.model,
        prompt_tokens=prompt or 0,
        completion_tokens=completion or 0,
        nano=None
        if counted and not measured and limit is None
        else budget.price(prices, prompt or 0, completion or 0),
        measured=measured,
        seconds=0.0,
        hidden=reading.hidden_tokens if reading.outcome in FINAL else 0,
    )
