"""What goes out to a service, and how much of what it sends is read."""

import asyncio
import gzip
import json
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from redistill.console.exceptions import RefusedError
from redistill.llm import response
from redistill.llm.connection import Connection
from redistill.llm.endpoint import Raw
from redistill.llm.headers import Variable
from redistill.llm.inflation import BodyError
from redistill.teachers import openai
from tests.paid.run import Run, solving
from tests.paid.server import Action, Script, Server, always, answer, content, status
from tests.paid.test_calling import QUICK, ask, one, request, settings

Serve = Callable[[Script], Server]
SMALL = {"REDISTILL_MAX_BODY": "200000"}
ZEROS = bytes(1_000_000)
AMBIENT = {
    "OPENAI_API_KEY": "ambient-api-key",
    "OPENAI_ADMIN_KEY": "ambient-admin-key",
    "OPENAI_ORG_ID": "ambient-org",
    "OPENAI_PROJECT_ID": "ambient-project",
    "OPENAI_BASE_URL": "http://127.0.0.1:9/ambient",
    "OPENAI_CUSTOM_HEADERS": "X-Ambient: yes\nAuthorization: ambient\nUser-Agent: ambient\n"
    "Content-Type: ambient\nAccept: ambient",
    "ANTHROPIC_API_KEY": "ambient-anthropic-key",
    "ANTHROPIC_AUTH_TOKEN": "ambient-token",
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:9/ambient",
    "ANTHROPIC_CUSTOM_HEADERS": "X-Ambient: yes\nx-api-key: ambient\nanthropic-version: ambient",
}


def post(server: Server, *, deadline: float = 60.0, **more: object) -> Raw:
    """One call, as the client makes it."""

    async def call() -> Raw:
        connection = Connection(server.url, **{"secret": "", **more})  # type: ignore[arg-type]
        try:
            async with asyncio.timeout(deadline):
                return await connection.post("/chat/completions", {"model": "m"})
        finally:
            await connection.close()

    return asyncio.run(call())


def sent(body: Iterator[bytes], code: int = 200, encoding: str = "") -> tuple[Action, list[int]]:
    """An answer with *body*, in chunks, and a list of the sizes of those that went out."""
    went: list[int] = []

    def act(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        handler.send_header("transfer-encoding", "chunked")
        if encoding:
            handler.send_header("content-encoding", encoding)
        handler.end_headers()
        for part in body:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            went.append(len(part))
        handler.wfile.write(b"0\r\n\r\n")

    return act, went


def bomb(size: int, wbits: int) -> Iterator[bytes]:
    """*size* zeros, compressed."""
    packer = zlib.compressobj(wbits=wbits)
    for _ in range(size // len(ZEROS)):
        if part := packer.compress(ZEROS):
            yield part
    yield packer.flush()


@pytest.mark.parametrize("code", [200, 500, 401])
def test_of_a_body_without_an_end_no_more_is_read_than_a_bound(code: int, serve: Serve):
    act, went = sent((ZEROS for _ in range(1000)), code)
    server = serve(always(act))
    tracemalloc.start()

    if code == 200:
        with pytest.raises(BodyError, match="larger than 16000000 bytes"):
            post(server)
    else:
        assert len(post(server).body) == 65_536
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    print(f"\na body of 1 GB with {code}: {sum(went) / 1e6:g} MB sent, {peak / 1e6:.0f} MB held")
    assert sum(went) < 40_000_000
    assert peak < 80_000_000


@pytest.mark.parametrize(("encoding", "wbits"), [("gzip", 31), ("deflate", 15), ("deflate", -15)])
def test_a_small_body_that_inflates_to_a_large_one_is_cut_off(
    encoding: str, wbits: int, serve: Serve
):
    server = serve(always(sent(bomb(1_000_000_000, wbits), encoding=encoding)[0]))
    tracemalloc.start()

    with pytest.raises(BodyError, match="larger than 16000000 bytes"):
        post(server)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    print(f"\na {encoding} bomb of 1 GB: {peak / 1e6:.0f} MB held")
    assert peak < 80_000_000


@pytest.mark.timed
def test_the_deadline_holds_while_a_body_is_inflated(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    packed = list(bomb(900_000_000, 31))
    server = serve(always(sent(iter(packed), encoding="gzip")[0]))
    monkeypatch.setenv("REDISTILL_MAX_BODY", "999999999")
    started = time.monotonic()

    with pytest.raises(TimeoutError):
        post(server, deadline=0.2)

    assert time.monotonic() - started < 2


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br"])
def test_an_encoding_that_is_not_read_is_a_failure_on_the_way_and_named(
    encoding: str, serve: Serve
):
    server = serve(always(status(200, content(), content_encoding=encoding)))

    with pytest.raises(RefusedError, match=f"encoded as '{encoding}'") as refusal:
        one(server)

    assert refusal.value.code == 75
    assert len(server.calls) == 2  # as of any other answer of a wrong shape: it may be billed
    assert {call["accept-encoding"] for call in lower(server)} == {"identity"}


@pytest.mark.parametrize("encoding", ["gzip", "utf-8", "deflate", "gzip, gzip", "none"])
def test_a_whole_answer_under_a_header_that_is_left_over_is_an_answer(encoding: str, serve: Serve):
    server = serve(always(status(200, content("whole"), content_encoding=encoding)))

    assert one(server).text == "whole"
    assert len(server.calls) == 1


def test_an_answer_over_the_bound_is_paid_twice_at_most(serve: Serve, tmp_path: Path):
    server = serve(always(answer("#" * 300_000)))
    run = Run(tmp_path, server.url, 1)

    said = run.stage("generate", code=75, **SMALL)

    assert "1 malformed: the body is larger than 200000 bytes" in said
    assert len(server.calls) == 2


def test_a_compressed_answer_is_an_answer(serve: Serve):
    packed = gzip.compress(json.dumps(content("whole")).encode())

    reading = one(serve(always(status(200, packed, content_encoding="gzip"))))

    assert reading.text == "whole"


def test_a_body_over_the_bound_is_asked_for_again_and_never_an_answer(serve: Serve, tmp_path: Path):
    server = serve(always(answer("#" * 300_000)))
    run = Run(tmp_path, server.url, 2)

    said = run.stage("generate", code=75, REDISTILL_ATTEMPTS="2", **SMALL)
    server.script = solving()
    run.stage("generate", **SMALL)

    assert "the body is larger than 200000 bytes (REDISTILL_MAX_BODY" in said
    assert len(server.calls) == 2 * 2 + 2
    assert len(run.out()) == 2


def test_a_file_of_a_batch_has_a_bound_of_its_own(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    server = serve(always(status(200, b"x" * 1000)))
    monkeypatch.setenv("REDISTILL_MAX_BODY", "10")

    async def fetch(**how: bool) -> Raw:
        connection = Connection(server.url, "")
        try:
            return await connection.get("/files/f/content", **how)
        finally:
            await connection.close()

    assert asyncio.run(fetch(file=True)).body == b"x" * 1000
    with pytest.raises(BodyError, match="larger than 10 bytes"):
        asyncio.run(fetch())
    monkeypatch.setenv("REDISTILL_MAX_FILE", "999")
    with pytest.raises(BodyError, match="larger than 999 bytes"):
        asyncio.run(fetch(file=True))


def lower(server: Server) -> list[dict[str, str]]:
    return [{name.lower(): text for name, text in call.items()} for call in server.headers]


def test_nothing_of_the_environment_reaches_a_server(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    server = serve(always(status(200, content(), set_cookie="c=ambient")))
    for name, value in AMBIENT.items():
        monkeypatch.setenv(name, value)

    ask(server, [request(1), request(2)], policy=replace(QUICK, concurrency=1))

    for headers in lower(server):
        size = headers.pop("content-length")
        assert int(size) > 0
        assert headers == {
            "host": server.url.split("/")[2],
            "accept": "application/json",
            "accept-encoding": "identity",
            "content-type": "application/json",
            "connection": "keep-alive",
            "user-agent": "redistill",
        }
    assert set(server.paths) == {"/v1/chat/completions"}


def test_nothing_of_the_environment_reaches_anthropic(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("anthropic", reason="needs the SDK: pip install 'redistill[anthropic]'")
    from redistill.llm import anthropic_batches

    server = serve(always(answer()))
    for name, value in AMBIENT.items():
        monkeypatch.setenv(name, value)

    async def order() -> None:
        connection = anthropic_batches.Connection(server.url, "the-key-that-is-set")
        await connection.post(anthropic_batches.PATH, {"requests": []})
        await connection.close()

    asyncio.run(order())

    (headers,) = lower(server)
    assert headers["authorization"] == "Bearer the-key-that-is-set"
    assert headers["anthropic-version"] == anthropic_batches.SPOKEN
    assert "ambient" not in str(headers)
    assert "x-api-key" not in headers
    assert server.paths == ["/v1/messages/batches"]


AZURE = {
    "headers": {"api-key": {"env": "REDISTILL_TEST_AZURE"}, "X-Title": "ours"},
    "query": {"api-version": "2025-01-01-preview"},
}


def test_headers_and_query_of_the_settings_go_with_each_call(serve: Serve, tmp_path: Path):
    secret = "an-azure/key+with=signs"
    server = serve(solving())
    run = Run(tmp_path, server.url, 2, openai=AZURE)

    said = run.stage("generate", code=77)
    assert "openai.headers.api-key.env: the environment variable REDISTILL_TEST_AZURE" in said
    run.stage("generate", REDISTILL_TEST_AZURE=secret)
    run.stage("generate")  # all is stored: no secret is needed

    assert set(server.paths) == {"/v1/chat/completions?api-version=2025-01-01-preview"}
    assert {(h["api-key"], h["x-title"]) for h in lower(server)} == {(secret, "ours")}
    assert not any("authorization" in h for h in lower(server))
    assert len(server.calls) == 2


def test_query_and_plain_headers_are_part_of_a_request_and_secret_ones_are_not(serve: Serve):
    server = serve(always(answer()))

    def key(**changes: object) -> str:
        found = openai._request("prompt", settings(server, **changes), 0, "p")
        return found.key

    plain, secret = {"X-Beta": "1"}, {"api-key": Variable(env="A")}
    assert key() == key(headers={}, query={}) == key(headers=secret)
    assert key(headers=secret) == key(headers={"api-key": Variable(env="B")})
    assert key(query={"sig": Variable(env="A")}) == key(query={"sig": Variable(env="B")}) == key()
    different = [key(), key(query={"v": "1"}), key(query={"v": "2"}), key(headers=plain)]
    assert len(set(different)) == 4
    assert key(headers=plain | secret) == key(headers={"x-beta": "1"})


def test_a_project_without_headers_and_query_has_the_keys_that_it_had():
    before = openai.Settings(
        base_url="https://api.example.org/v1", key=None, model="m", system=None, examples=[],
        seed=None, together=False, body={"max_tokens": 20},
    )  # fmt: skip

    found = openai._request("prompt", before, 0, "p")

    assert found.key == "d639c77228ec1c98d02b586a2080d336d51e4f994deef3aec934a0d450d00ec1"


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"api-key": "a-plain-value"}, "openai.headers.api-key: put its value into an environment"),
        ({"Authorization": "Bearer a-plain-value"}, "openai.headers.Authorization: put its value"),
        ({"Host": "other"}, "'Host' is no header that can be set"),
        ({"a b": "c"}, "'a b' is no header"),
        ({"X-A": "1", "x-a": "2"}, "set twice"),
        ({"X-A": "line\nX-B: 1"}, "characters that no header has"),
    ],
)
def test_a_header_that_cannot_or_must_not_stand_in_the_settings_is_refused(
    headers: dict[str, str], told: str, serve: Serve, tmp_path: Path
):
    run = Run(tmp_path, serve(solving()).url, 1, openai={"headers": headers})

    said = run.stage("generate", code=78)

    assert told in said
    assert "a-plain-value" not in said


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"api-key": "zq9PpQ77"}, "openai.query.api-key: put its value into an environment"),
        ({"SIG": "zq9PpQ77"}, "openai.query.SIG: put its value into an environment variable"),
        ({"code": "zq9PpQ77"}, "openai.query.code: put its value into an environment variable"),
        ({"zq9PpQ77secret99": ""}, "openai.query: a secret: put its value"),
        ({"api-key": 9977}, "openai.query.api-key.str: Input should be a valid string, got int"),
    ],
)
def test_a_secret_in_the_query_of_the_settings_is_refused_without_being_repeated(
    query: dict[str, object], told: str, serve: Serve, tmp_path: Path
):
    server = serve(solving())
    run = Run(tmp_path, server.url, 1, openai={"query": query})

    said = run.stage("generate", code=78)

    assert told in said
    assert "zq9PpQ77" not in said
    assert "9977" not in said
    assert server.calls == []


def test_case_b13_an_address_without_its_version_is_told_with_the_likely_one(
    serve: Serve, tmp_path: Path
):
    server = serve(always(status(404, "404 page not found", content_type="text/plain")))
    base = server.url.removesuffix("/v1")
    run = Run(tmp_path, base, 2)

    said = run.stage("generate", code=77)

    assert f"asked was {base}/chat/completions: its likely address is {base}/v1" in said


def test_case_b18_what_is_wrong_with_an_address_is_said_before_a_call(tmp_path: Path):
    azure = "https://example.openai.azure.com/openai/deployments/gpt"
    for number, (address, told) in enumerate(
        {
            f"{azure}/chat/completions?api-version=2025-01-01-preview": f"set base_url: {azure} "
            "and openai.query: {api-version: 2025-01-01-preview}",
            "http://127.0.0.1:9/v1/chat/completions": "likely to be http://127.0.0.1:9/v1",
            "http://192.168.1.20:8000/v1": "REDISTILL_PLAIN_HTTP=192.168.1.20",
        }.items()
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        run = Run(folder, address, 1)

        assert told in run.stage("generate", code=78)
        assert told in run.redistill("plan", code=78)


def test_case_n01_a_proxy_of_the_environment_sees_no_call_to_this_machine(
    serve: Serve, tmp_path: Path
):
    server, proxy = serve(solving()), serve(always(answer()))
    run = Run(tmp_path, server.url, 2)
    near = proxy.url.removesuffix("/v1")

    run.stage("generate", http_proxy=near, https_proxy=near, all_proxy=near, HTTP_PROXY=near)

    assert len(server.calls) == 2
    assert proxy.calls == []


@pytest.mark.parametrize(
    ("url", "told"),
    [("https://redistill.invalid/v1", "redistill.invalid"), (None, "daily limit of 100 requests")],
)
def test_the_reason_of_what_failed_stands_in_the_terminal(
    url: str | None, told: str, serve: Serve, tmp_path: Path
):
    limit = {"error": {"message": "You have reached your daily limit of 100 requests"}}
    server = serve(always(status(429, limit, retry_after="0.01")))
    run = Run(tmp_path, url or server.url, 2)

    said = run.stage("generate", code=75, REDISTILL_ATTEMPTS="1")

    assert told in said
    assert response.read(429, json.dumps(limit).encode()).detail.endswith("100 requests")
