"""Prices, reservations and the budget: a wall that holds across crashes."""

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from redistill.console.exceptions import BUDGET, CONFIG, RefusedError
from redistill.llm.request import LIMITS, Request
from redistill.settings.bounds import LONG, CountFromZero, Money, Share
from redistill.settings.sections import Section

NANO = 1_000_000_000  # amounts of money are whole numbers of a billionth of the currency


class Prices(Section):
    """
    What a million tokens cost, in your currency; null where you do not know.

    *batch* is the share of that price which a call in a batch costs, such as 0.5.
    """

    input: Money | None
    output: Money | None
    batch: Share | None


class Budget(Section):
    """The most that all runs on this store may spend; null for no limit of that kind."""

    calls: CountFromZero | None
    tokens: Annotated[int, Field(ge=0, le=10**15)] | None
    cost: Money | None


class SpendingSettings(Section):
    """
    Section ``budget``: what the teacher's calls cost, and the most that may be spent.

    It decides nothing about the data, so no stage reruns because of it.
    """

    prices: Prices
    budget: Budget
    strict_model: bool


@dataclass(frozen=True)
class Amount:
    """Calls, tokens and money (in billionths; None: unknown), spent or reserved."""

    calls: int = 0
    tokens: int = 0
    nano: int | None = 0

    def __add__(self, other: "Amount") -> "Amount":
        unknown = self.nano is None or other.nano is None
        nano = None if unknown else (self.nano or 0) + (other.nano or 0)
        return Amount(self.calls + other.calls, self.tokens + other.tokens, nano)

    @property
    def cost(self) -> float | None:
        """The money in units of the currency, None where a price is unknown."""
        return None if self.nano is None else self.nano / NANO


def money(nano: int | None) -> str:
    """
    Write *nano* billionths of the currency, as far as they are known.

    >>> money(0), money(40_000), money(1_234_567_890), money(None)
    ('0', 'less than 0.0001', '1.2346', 'unknown')
    """
    if nano is None:
        return "unknown"
    if nano == 0:
        return "0"
    return f"{nano / NANO:,.4f}" if nano >= NANO // 10_000 else "less than 0.0001"


def price(prices: Prices, prompt: int, completion: int) -> int | None:
    """Say what *prompt* and *completion* tokens cost, in billionths rounded up; None if unknown."""
    if prices.input is None or prices.output is None:
        return None
    return math.ceil(1000 * (prompt * prices.input + completion * prices.output))


def reservation(request: Request, prices: Prices, overrun: int = 0) -> Amount:
    """
    Bound what one call of *request* can cost; money is None without an output limit.

    *overrun* are tokens that the server is known to bill beyond that.
    """
    prompt, output = request.max_input, request.max_output
    if output is None:
        return Amount(1, prompt, None)
    output += overrun
    return Amount(1, prompt + output, price(prices, prompt, output))


def overrun(request: Request, prompt: int, completion: int) -> int:
    """Return how many tokens *prompt* and *completion* are beyond what *request* was to take."""
    limit = request.max_output
    output = 0 if limit is None else max(0, completion - limit)
    return output + max(0, prompt - request.max_input)


def in_batch(settings: SpendingSettings) -> SpendingSettings:
    """
    Return *settings* with the prices of calls in a batch, unknown where ``prices.batch`` is null.

    Raises RefusedError (78) for a budget in money that such prices cannot be held to.
    """
    prices = settings.prices
    if prices.batch is None and settings.budget.cost is not None:
        raise RefusedError(
            "spending: a budget in money needs prices.batch, the share of the live price that a "
            "call in a batch costs (0.5 where that is half); or unset REDISTILL_BATCH",
            code=CONFIG,
        )
    return settings.model_copy(update={"prices": batch_prices(prices)})


def batch_prices(prices: Prices) -> Prices:
    """Return what calls in a batch cost; unknown where a price or the share is."""
    if prices.input is None or prices.output is None or prices.batch is None:
        return Prices(input=None, output=None, batch=None)
    share = prices.batch
    return Prices(input=prices.input * share, output=prices.output * share, batch=share)


def difference(spent: Amount, reserved: Amount) -> Amount:
    """Return what to add to a total that holds *reserved*, so that it holds *spent* instead."""
    unknown = spent.nano is None or reserved.nano is None
    nano = None if unknown else (spent.nano or 0) - (reserved.nano or 0)
    return Amount(spent.calls - reserved.calls, spent.tokens - reserved.tokens, nano)


def check(settings: SpendingSettings, body: dict[str, object], *, what: str) -> None:
    """
    Refuse to spend without a limit, or with one that cannot be kept.

    A budget in tokens or money needs an output limit in *body*, one in money needs both prices.
    """
    budget, prices = settings.budget, settings.prices
    for name in LIMITS:
        limit = body.get(name)
        if limit is not None and (type(limit) is not int or not 1 <= limit <= LONG):
            raise RefusedError(
                f"{what}: {name}: expected a whole number from 1 to {LONG}, got {limit!r}; a call "
                "without a limit cannot be held to a budget",
                code=CONFIG,
            )
    if budget.calls is None and budget.tokens is None and budget.cost is None:
        raise RefusedError(
            f"{what}: no budget is set, so nothing is asked; set spending.budget.calls, .tokens "
            "or .cost in params.yaml (redistill plan tells what a run needs)",
            code=CONFIG,
        )
    bounded = any(body.get(name) is not None for name in LIMITS)
    if not bounded and (budget.tokens is not None or budget.cost is not None):
        raise RefusedError(
            f"{what}: a budget in tokens or money needs an output limit; set {LIMITS[0]} or "
            f"{LIMITS[1]} in its body",
            code=CONFIG,
        )
    if budget.cost is not None and (prices.input is None or prices.output is None):
        raise RefusedError(
            "spending: a budget in money needs prices.input and prices.output", code=CONFIG
        )


def exceeded(budget: Budget, committed: Amount, more: Amount) -> str | None:
    """Say which limit *committed* and *more* together would break, in words; None where none."""
    total = committed + more
    if budget.calls is not None and total.calls > budget.calls:
        return f"{total.calls} calls of {budget.calls}"
    if budget.tokens is not None and total.tokens > budget.tokens:
        return f"{total.tokens} tokens of {budget.tokens}"
    if budget.cost is not None:
        if total.nano is None:
            return (
                f"an unknown amount of {budget.cost:g}, since calls of another model have no price "
                "(redistill ledger lists them; a budget in calls or tokens needs none)"
            )
        if total.nano > math.floor(budget.cost * NANO):
            return f"{total.nano / NANO:.6f} of {budget.cost:g}"
    return None


def refusal(told: str, also: str = "") -> RefusedError:
    """
    Make the refusal that ends a run at its budget; *also* is what it has to say besides.

    What was answered is stored, and with a larger budget the run goes on.
    """
    return RefusedError(
        f"the budget is reached: the next call would commit {told}; what was answered is stored. "
        f"Raise spending.budget in params.yaml and run dvc repro to go on{also and '; '}{also}",
        code=BUDGET,
    )
