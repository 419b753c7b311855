"""The replies that the record store has for a teacher's requests, and the requests without one."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from redistill.llm import answers
from redistill.llm.request import Request
from redistill.llm.response import Reading
from redistill.llm.store_reader import Store
from redistill.rationales.reply import reply
from redistill.rationales.teacher import Plan, Reply

BLOCK = 500  # rows of requests that are at hand at a time; a whole run's would fill the memory
Check = Callable[[Mapping[str, Request], Mapping[str, Reading]], None]


@dataclass
class Stored:
    """
    What a store has for rows of requests: the replies, and in the place of others the request.

    *missing* are the requests without an answer, by key; *answered* the keys of the others.
    """

    rows: list[list[Reply | Request]] = field(default_factory=list)
    missing: dict[str, Request] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)

    def note(self, plan: Plan) -> None:
        """Add to *plan* what is stored, and what would be asked."""
        plan.cached += len(self.answered)
        plan.new += self.missing.values()

    def filled(self, readings: Mapping[str, Reading]) -> list[list[Reply]]:
        """Return the replies of every row, those to what was missing read from *readings*."""
        return [
            [
                reply(readings[one.key], one) if isinstance(one, Request) else one
                for one in row
                if not isinstance(one, Request) or one.key in readings
            ]
            for row in self.rows
        ]


def find(store: Store, rows: Iterable[list[Request]], check: Check | None = None) -> Stored:
    """
    Look up each request of *rows* in *store*, which reads and judges every answer once.

    Of an answer only the reply stays in memory. *check* is given the requests and the readings of
    one block after the other, and may refuse.
    """
    found, rest = Stored(), iter(rows)
    while block := list(islice(rest, BLOCK)):
        requests = {request.key: request for row in block for request in row}
        readings = answers.known(store, requests)
        if check is not None:
            check(requests, readings)
        found.answered.update(readings)
        found.missing |= {k: r for k, r in requests.items() if k not in readings}
        found.rows += (
            [reply(readings[r.key], r) if r.key in readings else r for r in row] for row in block
        )
    return found
