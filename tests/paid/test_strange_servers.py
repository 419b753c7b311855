"""
Servers of every strangeness: whatever one does, bills hold, answers are kept, and codes are known.

Hypothesis draws what a server does with each call: status, headers, framing, body, usage, timing.
"""

import gzip
import json
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from redistill.console.exceptions import BUDGET, CONFIG, PERMISSION, TRY_AGAIN, RefusedError
from redistill.llm import client, store
from redistill.llm.client import Occasion, Policy
from redistill.llm.response import FINAL
from redistill.teachers import openai
from tests.paid.server import Script, Server, always, answer, content, hang_up
from tests.paid.test_calling import FREE, request
from tests.paid.test_calling import settings as teacher

Serve = Callable[[Script], Server]
DEADLINE = 5.0  # seconds; long beside what an answer takes on a busy machine
POLICY = Policy(concurrency=2, deadline=DEADLINE, attempts=3, backoff=0.001, cap=0.002)
CODES = (BUDGET, TRY_AGAIN, PERMISSION, CONFIG)
STATUSES = [
    *([200] * 12), 201, 203, 206, 204, 301, 307, 400, 401, 403, 404, 408, 409, 413, 418, 422, 429,
    500, 502, 503, 504, 522, 529, 599,
]  # fmt: skip
FRAMINGS = ["length"] * 6 + [
    "chunked", "until closed", "gzip", "deflate", "cut off", "no byte", "called gzip", "bad chunks",
]  # fmt: skip
GOOD_FRAMINGS = ("length", "chunked", "until closed", "gzip", "deflate")
OTHERS: list[bytes] = [
    b"", b" ", b"null", b"[]", b"7", b"{", b"<html>Bad gateway</html>", b"\xff\xfe{\x00}\x00",
    b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\ndata: [DONE]\n', b"[" * 5000,
    b'{"choices": "none"}', b'{"choices": [null]}', b'{"choices": [{"message": "text"}]}',
    b'{"object": "error", "message": "x", "code": 500}', b'{"detail": "nothing here"}',
    b'{"error": {"message": "busy", "code": 429}}', b'{"error": {"message": "key", "code": 401}}',
    b'{"error": "plain"}', b'{"error": {"code": "content_filter"}}', b'{"error": {"code": {}}}',
]  # fmt: skip
HEADERS = [
    ("retry-after", "0"), ("retry-after", "1e999"), ("retry-after", "soon"), ("x-odd", "\xe9\xff"),
    ("content-type", "text/html"), ("content-type", "application/json; charset=utf-16"),
    ("set-cookie", "a=b; Domain=.example.org"), ("location", "http://127.0.0.1:9/elsewhere"),
]  # fmt: skip


@dataclass(frozen=True)
class Deed:
    """What a server does with a call, what it bills for it, and the text where that is whole."""

    status: int
    framing: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    billed: int
    text: str | None
    wait: float

    @property
    def arrives(self) -> bool:
        """Whether the body reaches whoever asked; one of 204 is none, by the protocol."""
        return self.framing in GOOD_FRAMINGS and self.wait < DEADLINE and self.status != 204

    @property
    def whole(self) -> bool:
        """Whether an answer reaches whoever asked, in the shape of the interface and in time."""
        return self.text is not None and self.arrives and 200 <= self.status < 300

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        time.sleep(self.wait)
        if self.framing == "no byte":
            hang_up(handler)
            return
        body = {"gzip": gzip.compress, "deflate": zlib.compress}.get(self.framing, bytes)(self.body)
        if self.status == 204:  # what follows it would be read as the next answer
            handler.send_response(204)
            handler.end_headers()
            return
        handler.send_response(self.status)
        for name, value in self.headers:
            handler.send_header(name, value)
        if self.framing in ("gzip", "deflate", "called gzip"):
            handler.send_header("content-encoding", self.framing.split()[-1])
        if "chunk" in self.framing:
            handler.send_header("transfer-encoding", "chunked")
            size = b"zz" if self.framing == "bad chunks" else f"{len(body):x}".encode()
            chunk = size + b"\r\n" + body + b"\r\n" if body else b""
            body = chunk + b"0\r\n\r\n"
        elif self.framing != "until closed":
            more = 9 if self.framing == "cut off" else 0
            handler.send_header("content-length", str(len(body) + more))
        handler.end_headers()
        handler.wfile.write(body)
        handler.wfile.flush()
        if self.framing in ("until closed", "cut off", "bad chunks"):
            hang_up(handler)


@st.composite
def usages(draw: st.DrawFn) -> tuple[dict[str, Any], int]:
    """A usage in one of the ways that servers have, and the tokens that it bills."""
    prompt, visible = draw(st.integers(1, 60)), draw(st.integers(1, 20))
    beside = draw(st.integers(0, 3000))
    plain = {"prompt_tokens": prompt, "completion_tokens": visible}
    details = "completion_tokens_details"
    kinds: list[tuple[dict[str, Any], int]] = [
        (plain, prompt + visible),
        (plain | {"total_tokens": prompt + visible + beside}, prompt + visible + beside),
        ({"total_tokens": prompt + visible + beside}, prompt + visible + beside),
        (
            {"prompt_tokens": prompt, "completion_tokens": visible + beside},
            prompt + visible + beside,
        ),
        (
            plain | {details: {"reasoning_tokens": 20 + beside}},
            prompt + visible + 20 + beside if 20 + beside > visible else prompt + visible,
        ),
        (
            plain | {"prompt_tokens_details": {"cached_tokens": 60 + beside}},
            prompt + visible + 60 + beside if 60 + beside > prompt else prompt + visible,
        ),
        ({"input_tokens": prompt, "output_tokens": visible}, prompt + visible),
        ({}, 0),
        ({"prompt_tokens": -1, "completion_tokens": "many", "total_tokens": None}, 0),
    ]
    return draw(st.sampled_from(kinds))


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, int, str | None]:
    """A body, the tokens that it bills, and the text where it is a whole answer."""
    if draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(OTHERS)), 0, None
    usage, billed = draw(usages())
    text = draw(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
    finish = draw(st.sampled_from(["stop", "stop", "stop", "eos", "length", "error", "abort"]))
    if not text.strip() or "think" in text.lower():
        text = "a text"
    parts = [{"type": "text", "text": text}]
    said = draw(st.sampled_from([text, text, text, parts, "", None]))
    extra = draw(st.sampled_from([{}, {}, {"reasoning_content": "hm"}, {"refusal": "no"}]))
    body = content(said, finish=finish, usage=usage, **extra)
    whole = said in (text, parts) and finish in ("stop", "eos") and "refusal" not in extra
    return json.dumps(body).encode(), billed, text if whole else None


@st.composite
def deeds(draw: st.DrawFn, late: bool) -> Deed:
    body, billed, text = draw(bodies())
    return Deed(
        status=draw(st.sampled_from(STATUSES)),
        framing=draw(st.sampled_from(FRAMINGS)),
        headers=tuple(draw(st.lists(st.sampled_from(HEADERS), max_size=2))),
        body=body,
        billed=billed,
        text=text,
        wait=draw(st.sampled_from([0.0] * 99 + [DEADLINE + 1])) if late else 0.0,
    )


@dataclass
class Strange:
    """A server that does *deeds* in turn, over and over, and notes what it did for whom."""

    deeds: list[Deed]
    done: list[tuple[str, Deed]] = field(default_factory=list)

    def __call__(self, number: int, asked: dict[str, Any]) -> Deed:
        deed = self.deeds[number % len(self.deeds)]
        self.done.append((asked["messages"][0]["content"], deed))
        return deed


def hold(server: Server, drawn: list[Deed], file: Path) -> None:
    """Run three requests against a server of *drawn* deeds, and hold it to what is promised."""
    server.calls.clear()
    server.script = strange = Strange(drawn)
    requests = [request(n) for n in range(3)]

    def asked() -> dict[str, Any]:
        sender = openai.Sender(teacher(server), "")
        with store.writing(file) as writer:
            return client.ask(requests, sender, writer, FREE, POLICY, Occasion("generate", "r0"))

    refusal, readings = None, {}
    try:
        readings = asked()
    except RefusedError as told:
        refusal = told
    assert refusal is None or refusal.code in CODES
    assert all(r.outcome in (*FINAL, "bad_request") for r in readings.values())
    done = list(strange.done)
    whole: dict[str, str] = {}
    for who, deed in done:
        assert who not in whole, "asked again though it was answered"
        if deed.whole:
            whole[who] = str(deed.text)
    with store.reading(file) as known:
        assert sum(row["calls"] for row in known.ledger()) == len(done)
        assert known.committed().tokens >= sum(d.billed for _, d in done if d.arrives)
    server.script = always(answer("now"))
    after = asked()
    for one in requests:
        who = one.messages[0]["content"]
        if who in whole:
            assert after[one.key].text.strip() == whole[who].strip()
    again = Counter(call["messages"][0]["content"] for call in server.calls[len(done) :])
    assert not set(again) & set(whole)
    assert set(again.values()) <= {1}


def explored(count: int, serve: Serve, *, late: bool) -> None:
    server = serve(always(answer()))
    with tempfile.TemporaryDirectory() as folder:
        numbers = iter(range(10**9))

        @settings(
            max_examples=count,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
        )
        @given(st.lists(deeds(late), min_size=1, max_size=7))
        def run(drawn: list[Deed]) -> None:
            hold(server, drawn, Path(folder) / f"{next(numbers)}.sqlite")

        run()


def test_whatever_a_server_does_bills_hold_and_answers_are_kept(serve: Serve):
    explored(12, serve, late=False)


@pytest.mark.slow
def test_whatever_a_thousand_servers_do_bills_hold_and_answers_are_kept(serve: Serve):
    explored(1000, serve, late=True)
