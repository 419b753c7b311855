"""Where a service is: what is refused, without a word of a password, and by which way it goes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redistill.console.exceptions import RefusedError
from redistill.llm import address

URL = "openai.base_url"
AZURE = "https://example.openai.azure.com/openai/deployments/gpt"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, *map(str.upper, PROXIES), address.PLAIN_HTTP):
        monkeypatch.delenv(name, raising=False)


def test_a_service_without_query_and_headers_is_who_it_was():
    assert address.identity("https://Example.org/v1/", URL) == "https://example.org/v1"
    assert address.identity("https://example.org/v1", URL, {}, {}) == "https://example.org/v1"


def test_a_query_and_a_plain_header_are_part_of_who_answers_in_whatever_order():
    two = {"b": "2", "api-version": "2025-01-01"}
    one = address.identity(AZURE, URL, two, {"X-Beta": "a b"})

    assert one == f"{AZURE}?api-version=2025-01-01&b=2#x-beta=a+b"
    assert one == address.identity(AZURE, URL, dict(reversed(two.items())), {"x-beta": "a b"})


@pytest.mark.parametrize(
    "text",
    [
        "https://user:SECRET@example.org/v1", "https://user:SECRET", "http://SECRET@:1",
        "SECRET@example.org", "https://user:SECRET@ex ample.org:port", "https://[SECRET",
        "https://example.org/v1?api-key=SECRET",
        "https://example.org/v1?SECRET", "https://example.org/v1?SECRET=1&api-version=SECRET",
        "https://example.org/#SECRET", "ftp://SECRET@h",
    ],
)  # fmt: skip
def test_what_may_be_a_password_in_an_address_is_not_repeated(text: str):
    with pytest.raises(RefusedError, match=URL) as refusal:
        address.identity(text, URL)

    assert refusal.value.code == 78
    assert "SECRET" not in str(refusal.value)


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_any_address_is_an_identity_or_refused(text: str):
    try:
        found = address.identity(f"https://{text}", URL)
    except RefusedError:
        return
    assert address.identity(found, URL) == found


def test_azures_address_is_told_apart_into_settings():
    with pytest.raises(RefusedError) as refusal:
        address.identity(f"{AZURE}/chat/completions?api-version=2025-01-01-preview&key=K", URL)

    told = "openai.query: {api-version: 2025-01-01-preview, ...: ...}"
    assert f"set base_url: {AZURE} and {told}" in str(refusal.value)


def test_an_address_that_ends_in_the_path_of_a_call_is_refused_with_the_likely_one():
    with pytest.raises(RefusedError, match=r"likely to be http://127.0.0.1:11434/v1$"):
        address.reachable("http://127.0.0.1:11434/v1/chat/completions", URL)


def test_plain_http_goes_to_this_machine_and_to_hosts_that_are_named(
    monkeypatch: pytest.MonkeyPatch,
):
    lan = "http://192.168.1.20:8000/v1"
    for here in ("http://127.0.0.1:1/v1", "http://localhost/v1", "http://[::1]:8000/v1"):
        assert address.reachable(here, URL) == here
    with pytest.raises(RefusedError, match=r"REDISTILL_PLAIN_HTTP=192\.168\.1\.20$"):
        address.reachable(lan, URL)

    monkeypatch.setenv("REDISTILL_PLAIN_HTTP", "box, 192.168.1.20")

    assert address.reachable(lan, URL) == lan
    assert address.reachable("http://BOX/v1", URL) == "http://box/v1"
    with pytest.raises(RefusedError, match="plain http"):
        address.reachable("http://192.168.1.2/v1", URL)


def test_a_proxy_is_for_https_alone_and_never_for_this_machine(monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://user:a%20password@proxy:3128")

    assert address.proxy("https://example.org/v1") == "http://user:a%20password@proxy:3128"
    for near in ("http://127.0.0.1/v1", "https://127.0.0.1/v1", "https://localhost/v1"):
        assert address.proxy(near) is None
    assert address.proxy("http://192.168.1.20/v1") is None
    monkeypatch.setenv("no_proxy", "example.org")
    assert address.proxy("https://example.org:8443/v1") is None
    assert set(address.secrets("http://u:a%20b@proxy")) == {"a%20b", "a b"}


def test_a_proxy_of_a_kind_that_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("https_proxy", "socks5://user:SECRET@proxy:1080")

    with pytest.raises(RefusedError, match=r"no_proxy=example\.org") as refusal:
        address.proxy("https://example.org/v1")

    assert "SECRET" not in str(refusal.value)


@pytest.mark.parametrize(
    ("asked", "status", "told"),
    [
        ("http://h:1/chat/completions", 200, "its likely address is http://h:1/v1"),
        ("http://h:1/v1/chat/completions", 200, ""),
        ("http://h:1/models", 200, ""),
        ("http://h:1/chat/completions", 404, "its likely address is http://h:1/v1"),
        ("http://h:1/chat/completions", 405, "its likely address is http://h:1/v1"),
        ("http://h:1/v1/chat/completions", 404, "asked was http://h:1/v1/chat/completions"),
        (f"{AZURE}/chat/completions", 404, "openai.query: {api-version: ...}"),
        (f"{AZURE}/chat/completions?api-version=1", 404, "asked was"),
        ("http://h:1/chat/completions", 401, ""),
    ],
)
def test_where_nothing_was_found_the_address_that_was_asked_is_told(
    asked: str, status: int, told: str
):
    body = b'{"error": "Unexpected endpoint or method"}'

    assert told in address.advice(asked, status, body)
    assert bool(told) == bool(address.advice(asked, status, body))
    assert address.advice(asked, 200, b'{"choices": []}') == ""
