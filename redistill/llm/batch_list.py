"""A server's list of batches, read page by page to its end, or far enough to know."""

from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from redistill.console.exceptions import TRY_AGAIN, RefusedError
from redistill.llm.batch_service import rows_of

PAGE, PAGES = 100, 1000  # batches on a page of the server's list, and pages looked at

Row = dict[str, Any]
Fetch = Callable[[str], Awaitable[dict[str, Any]]]


async def search(fetch: Fetch, own: Callable[[Row], bool], since: float, token: str) -> str | None:
    """
    Find the id of the batch *token*, which is *own*, in a list of which *fetch* gets a page.

    None, not there, is said only where the list was read to its end, or, if it has the latest
    first, to batches from before *since* (seconds since 1970): the batch is then ordered again.
    Raises RefusedError (75) for a list that cannot be read so far.
    """
    after, seen, times = "", set[str](), list[float]()
    for _ in range(PAGES):
        page = await fetch(f"/batches?limit={PAGE}{after and '&after='}{quote(after, safe='')}")
        rows = rows_of(page)
        found = next((row for row in rows if own(row)), None)
        if found is not None:
            return _id(found, token, str.isalnum)
        times += [_created(row) for row in rows]
        more = page.get("has_more")
        if more is False or (more is None and not rows) or _past(times, len(rows), since):
            return None
        if more not in (True, None) or not rows:
            raise _unread(token, f"a page of {len(rows)} batches has has_more {more!r}"[:99])
        after = _id(rows[-1], token)
        if after in seen:
            raise _unread(token, f"the page after {after} is the page before")
        seen.add(after)
    raise _unread(token, f"it has more than {PAGES} pages")


def _id(row: Row, token: str, right: Callable[[str], bool] = bool) -> str:
    name = row.get("id")
    if not isinstance(name, str) or not right(name.replace("-", "").replace("_", "")):
        raise _unread(token, f"a batch has the id {name!r}"[:99])
    return name


def _created(row: Row) -> float:
    """When the batch of *row* was made; infinitely late where that is not said."""
    value = row.get("created_at")
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return float(value)
    return float("inf")


def _past(times: list[float], last: int, since: float) -> bool:
    """Whether the *last* of *times* are before *since*, in a list that has the latest first."""
    if not last or max(times[-last:]) >= since or times[0] <= times[-1]:
        return False
    return all(one >= other for one, other in pairwise(times))


def _unread(token: str, fault: str) -> RefusedError:
    return RefusedError(
        f"finding out whether the batch {token} was ordered: the server's list of batches cannot "
        f"be read: {fault}; dvc repro looks again. Or look at the server for a batch with the "
        f"metadata redistill: {token}, cancel it, and let go of it with redistill store abandon "
        f"{token}",
        code=TRY_AGAIN,
    )
