"""What a teacher was asked about one problem, call by call, and what it said."""

from dataclasses import dataclass

from redistill.llm import response
from redistill.llm.request import of_canonical
from redistill.llm.store_reader import Store

WAITING = {"batched": "in a batch, no answer yet", "open": "no answer yet"}  # by state


@dataclass(frozen=True)
class Asked:
    """
    A call about a problem: for whom, which *draw* of its *prompt*, how it ended, and the reply.

    *outcome* is one of `response.OUTCOMES` in words, or that there is no answer. *text* is what the
    model wrote outside of its thoughts where the call was *answered*, else the body as it came.
    """

    stage: str
    round: str
    model: str
    draw: int
    fingerprint: str
    prompt: str
    outcome: str
    text: str
    thoughts: str = ""
    retired: bool = False

    @property
    def answered(self) -> bool:
        """Whether *text* is a reply that can be judged."""
        return self.outcome == "answered"


def about(store: Store, problem: str) -> list[Asked]:
    """
    Read every call about *problem* in *store*, in the order in which they were made.

    A prompt that was sent for another problem first stands there alone: it is paid for once.
    """
    rows = store.rows(
        "select a.stage, a.round, a.model, a.key, r.request, a.state, a.status, a.body, a.detail, "
        "a.retired from attempts a join requests r using (key) where a.problem = ? order by a.id",
        [problem],
    )
    return [_asked(*row) for row in rows]


def _asked(
    stage: str,
    round: str,
    model: str,
    key: str,
    request: str,
    state: str,
    status: int | None,
    body: bytes | None,
    detail: str | None,
    retired: int,
) -> Asked:
    call = of_canonical(request)
    prompt = "\n\n".join(message["content"] for message in call.messages)
    found = None if body is None else response.read(status or 0, body)
    if body is None or found is None:
        outcome, text = WAITING.get(state, "no answer"), detail or ""
    else:
        outcome = found.outcome.replace("_", " ")
        text = found.text if outcome == "answered" else body.decode("utf-8", "replace")
    return Asked(
        stage,
        round,
        model,
        call.draw,
        key[:16],
        prompt,
        outcome,
        text,
        found.thoughts if found else "",
        bool(retired),
    )
