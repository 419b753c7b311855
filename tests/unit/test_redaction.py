"""Keys in what a server sends back: found however they are written."""

import base64
import html
import json
import string
import threading
import time
import urllib.parse

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from redistill.llm.redaction import PART, Redaction, redacted

KEY = "sk-ab/cd+ef=gh\"ij'kl"
TWICE = "W=h0cr4qIt\\\\KSz2x"
KEYS = st.text(string.ascii_letters + string.digits + "/+=-_.\"'&%\\<> ", min_size=12, max_size=40)
WAYS = [
    lambda c: c,
    lambda c: f"\\u{ord(c):04x}",
    lambda c: f"\\u{ord(c):04X}",
    lambda c: f"\\u{{{ord(c):x}}}",
    lambda c: f"\\x{ord(c):02x}",
    lambda c: f"%{ord(c):02X}",
    lambda c: f"%25{ord(c):02x}",
    lambda c: f"&#{ord(c)};",
    lambda c: f"&#x{ord(c):02X};",
    lambda c: f"&amp;#0{ord(c)};",
    lambda c: c if c.isalnum() else f"\\{c}",
    lambda c: html.escape(c),
]
NESTED = [lambda text: text, json.dumps, lambda text: json.dumps(json.dumps(text))]


@st.composite
def written(draw: st.DrawFn) -> tuple[str, str]:
    """A key, and the same with each character written in a way of its own, perhaps within JSON."""
    key = draw(KEYS.filter(lambda text: text == text.strip()))
    ways = draw(st.lists(st.sampled_from(WAYS), min_size=len(key), max_size=len(key)))
    text = "".join(way(c) for way, c in zip(ways, key, strict=True))
    return key, draw(st.sampled_from(NESTED))(text)


@given(
    written(),
    st.text('ab \n{}:,"\\/', max_size=20),
    st.text('ab \n{}:,"\\/', max_size=20),
    st.sampled_from(["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"]),
)
@example((KEY, KEY), "", "", "utf-8")
@example((TWICE, TWICE.replace("\\", "%5C", 1).replace("\\", "\\" * 4)), "", "", "utf-8")
def test_a_key_is_found_in_whatever_ways_its_characters_are_written(
    found: tuple[str, str], before: str, after: str, encoding: str
):
    key, text = found

    clean = redacted(f"{before}{text}{after}".encode(encoding), key).decode(encoding)

    assert text not in clean
    assert key not in html.unescape(urllib.parse.unquote(clean))
    assert "[key]" in clean


@given(KEYS, st.binary(max_size=5), st.binary(max_size=5))
def test_a_key_within_base64_or_hexadecimal_digits_is_found(key: str, before: bytes, after: bytes):
    whole = before + key.encode() + after

    for text in (base64.b64encode(whole), base64.urlsafe_b64encode(whole), whole.hex().encode()):
        assert b"[key]" in redacted(b'{"echo": "' + text + b'"}', key)


@pytest.mark.parametrize("way", [json.dumps, lambda o: json.dumps(o).replace("/", "\\/")])
def test_an_answer_without_its_key_is_still_an_answer(way):
    body = way({"choices": [{"message": {"content": f"Use {KEY} for 3/4."}}]}).encode()

    content = json.loads(redacted(body, KEY))

    assert content == {"choices": [{"message": {"content": "Use [key] for 3/4."}}]}


@given(st.binary(max_size=200))
def test_a_body_without_the_key_stays_as_it_is(body: bytes):
    assert redacted(body, KEY) == body


def test_a_part_in_another_encoding_than_the_rest_is_found_as_well():
    body = b'{"error": "' + KEY.encode("utf-16-le") + b'"}'

    assert redacted(body, KEY) == b'{"error": "[key]"}'


def test_of_several_keys_each_is_found_and_a_dummy_is_none():
    redaction = Redaction(["a-first-secret", "another-secret", "none", ""])

    assert redaction.text("a-first-secret, another%2Dsecret, none") == "[key], [key], none"


@pytest.mark.parametrize("evil", [b"\\", b"%25", b"&amp;", b"s", b"&#0", b"\\u0073", b"\\\\u005c"])
def test_no_body_takes_long_to_look_through(evil: bytes):
    """Twice the body takes about twice the time."""
    redaction = Redaction([KEY, "\\" * 12 + "secret"])

    def seconds(size: int) -> float:
        started = time.process_time()
        redaction.body(evil * (size // len(evil)))
        return time.process_time() - started

    assert seconds(100_000) < 8 * seconds(50_000) + 0.05


@pytest.mark.parametrize("at", [0, PART - 20, PART - 1, PART, PART + 7, 3 * PART - 30])
@pytest.mark.parametrize("way", [WAYS[0], WAYS[1], WAYS[6]])
def test_a_key_is_found_wherever_a_long_body_has_it(at: int, way):
    body = b"x" * at + "".join(map(way, KEY)).encode() + b"y" * PART

    assert redacted(body * 2, KEY) == (b"x" * at + b"[key]" + b"y" * PART) * 2


@pytest.mark.timed
@pytest.mark.parametrize("evil", [b"\\" * 9999 + b"\\u0041", b"\\u0073\\u006b\\u002d", b"&#0"])
def test_others_go_on_while_a_body_is_looked_through(evil: bytes):
    body = evil * (4_000_000 // len(evil))
    redaction, longest = Redaction([KEY]), 0.0
    thread = threading.Thread(target=redaction.body, args=(body,))
    thread.start()
    while thread.is_alive():
        started = time.monotonic()
        time.sleep(0.001)
        longest = max(longest, time.monotonic() - started)

    assert longest < 0.5


def test_a_password_is_found_that_would_be_a_dummy_among_keys():
    redaction = Redaction(["short"], ["pw7+", "abc"])

    assert redaction.text("short pw7+ pw7%2B abc") == "short [key] [key] abc"
