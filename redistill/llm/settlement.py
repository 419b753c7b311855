"""What the ledger notes of a call that has ended: its tokens and what they cost."""

from redistill.llm import budget
from redistill.llm.endpoint import Raw
from redistill.llm.request import Request
from redistill.llm.response import FINAL, MAYBE_BILLED, Reading, succeeded
from redistill.llm.store import Intent, Result

MANY = 100  # words of a prompt from which a count of fewer tokens cannot be one of all
WRITTEN = ("answered", "truncated", "only_reasoning", "unwritable")  # outcomes with output


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

    What is billed is counted, even beyond what was reserved. A count that is missing is replaced by
    the reservation, and so is a smaller one of a call that ended without an answer but may have
    been billed.
    """
    prompt, completion, measured = _tokens(request, reading)
    limit = request.max_output
    failed = reading.outcome in MAYBE_BILLED or (
        succeeded(raw.status) and reading.outcome not in FINAL
    )
    if failed or (not measured and reading.outcome in FINAL):
        measured = False
        prompt, completion = max(prompt, request.max_input), max(completion, limit or 0)
    return Result(
        id=number,
        key=request.key,
        outcome=reading.outcome,
        status=raw.status,
        body=raw.body,
        detail=reading.detail,
        finish_reason=reading.finish_reason,
        returned_model=reading.model,
        prompt_tokens=prompt,
        completion_tokens=completion,
        nano=None
        if limit is None and not measured and (failed or reading.outcome in FINAL)
        else budget.price(prices, prompt, completion),
        measured=measured,
        seconds=0.0,
        overrun=budget.overrun(request, prompt, completion),
    )


def _tokens(request: Request, reading: Reading) -> tuple[int, int, bool]:
    """
    The tokens of prompt and output that *reading* tells, and whether it tells them all.

    Where only their sum is known, as much of it as can be is output, which costs more.
    """
    prompt, completion, total = reading.prompt_tokens, reading.completion_tokens, None
    if completion == 0 and reading.outcome in WRITTEN:
        completion = None  # the server does not count what it wrote
    if prompt is None and completion is None:
        total = reading.total_tokens
    if total is not None:
        limit = total if request.max_output is None else request.max_output
        completion = max(min(total, limit), total - request.max_input)
        prompt = total - completion
    return prompt or 0, completion or 0, prompt is not None and completion is not None


def remarks(request: Request, reading: Reading, ended: Result) -> list[str]:
    """Say what the user is to know of how an answer was counted, in words that can be counted."""
    said: list[str] = []
    if reading.outcome in FINAL and not ended.measured:
        said.append("answers without a usable count of tokens, counted at their reservation")
    if reading.counted_by and ended.measured:
        said.append(f"answers billed by {reading.counted_by} beyond the usual counts")
    limit = request.max_output
    if limit is not None and ended.completion_tokens > limit:
        said.append(f"answers with more output than the limit of {limit} tokens, counted as billed")
    if reading.outcome in FINAL and 0 < (reading.prompt_tokens or 0) < _least(request):
        said.append(
            "answers to prompts that the server counts at fewer tokens than they have words: it "
            "cuts prompts off (Ollama does beyond num_ctx), or leaves out what it has cached"
        )
    return said


def _least(request: Request) -> float:
    """
    The fewest tokens that a usual tokenizer makes of the prompt; 0 for a short one.

    It makes no fewer than 0.8 a word, nor than one of four characters beyond ASCII.
    """
    texts = [text for message in request.messages for text in message.values()]
    words = sum(len(text.split()) for text in texts)
    foreign = sum(len(text) - len(text.encode("ascii", "ignore")) for text in texts)
    return max(0.8 * words, foreign / 4) if max(words, foreign / 4) >= MANY else 0.0
