"""Keys in what came from a server, found however they are written, and taken out."""

import base64
import html.entities
import json
import re
from collections.abc import Iterable, Iterator
from itertools import groupby

MIN_SECRET = 12  # characters; a shorter key is a dummy, and masking it would change texts
KEY = b"[key]"  # what stands in place of one
MIN_PASSWORD = 4  # characters of a proxy's, which is a dummy less often
CUT = 20  # bytes that a character of a key takes at most where one is cut off
PART = 64 * 1024  # bytes that are looked through before other threads have their turn
WIDTH = 64  # bytes that a character takes at most, in the longest of all its writings
ESCAPES = 15  # backslashes at most before an escape: JSON within JSON, three times over
# None is given back, and the first stands alone, so that a pattern knows how its matches begin:
# both keep a body of backslashes from being tried in many ways.
MARKED = f"\\\\\\\\{{0,{ESCAPES - 1}}}+"
ENTITIES: dict[str, list[str]] = {chr(code): [] for code in range(0x20, 0x7F)}
for name, value in html.entities.html5.items():
    if value in ENTITIES:
        ENTITIES[value].append(name.rstrip(";"))
# ASCII written otherwise than as itself: a body without any needs a look at plain text alone.
MARKS = (b"%", b"&", b"\\u", b"\\x", b"\\U")  # one of which it then has
WRITTEN = re.compile(rb"\\[uUx]|%[2-7]|&[#a-zA-Z]")


class Redaction:
    """
    Takes *secrets* out of bodies and texts.

    A key is found as it is, and with any of its characters written in JSON's, Python's, HTML's or
    URLs' ways, mixed at will and within each other; in UTF-16 and UTF-32; and as a whole in base64,
    wherever that begins, and in hexadecimal digits. Of *passwords*, such as a proxy's, shorter ones
    than of *secrets* are found. *reach* is how many bytes half of a key may take at the end of a
    body that was cut off.
    """

    def __init__(self, secrets: Iterable[str], passwords: Iterable[str] = ()) -> None:
        found = {s for s in secrets if len(s) >= MIN_SECRET}
        found |= {s for s in passwords if len(s) >= MIN_PASSWORD}
        whole = sorted(found, key=len, reverse=True)
        self.reach = CUT * max(map(len, whole), default=0)
        self._keys = [(s, _longest_word(s), _pattern(s)) for s in whole]
        encoded = dict.fromkeys(form for secret in whole for form in _encoded(secret))
        self._encoded = [(_longest_word(form), _pattern(form, signs=True)) for form in encoded]

    def body(self, content: bytes) -> bytes:
        """Return *content* without the keys; a body in UTF-16 or UTF-32 stays in it."""
        if not self._keys:
            return content
        encoding = json.detect_encoding(content)
        if b"\0" not in content and encoding.startswith("utf-8"):
            return self._plain(content)
        try:
            text = content.decode(encoding, "surrogatepass")
        except UnicodeDecodeError:
            text = ""  # what can be read of it is read below
        if text and not encoding.startswith("utf-8"):
            content = self.text(text).encode(encoding, "surrogatepass")
        bare = content.replace(b"\0", b"")  # a part of the body may be in another encoding
        without = self._plain(bare)
        return content if without == bare else without

    def text(self, text: str) -> str:
        """Return *text* without the keys."""
        return self._plain(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def _plain(self, content: bytes) -> bytes:
        for word, pattern in self._encoded:
            if word in content:
                content = pattern.sub(KEY, content)
        written = any(mark in content for mark in MARKS) and WRITTEN.search(content) is not None
        for secret, word, pattern in self._keys:
            if written or word in content:
                content = b"".join(_without(content, word, pattern, WIDTH * len(secret)))
        return content


def _without(content: bytes, word: bytes, pattern: re.Pattern[bytes], most: int) -> Iterator[bytes]:
    """
    Yield *content* with KEY in place of what *pattern* finds, *most* bytes long, part by part.

    A single call of a pattern would keep all other threads waiting until its end.
    """
    start = kept = 0
    size = max(PART, most)
    while start < len(content):
        end = start + size + most
        found = None
        if WRITTEN.search(content, start, end) or content.find(word, start, end) >= 0:
            found = pattern.search(content, start, end)
        if found is None or found.start() >= start + size:
            start += size
        else:
            yield content[kept : found.start()] + KEY
            start = kept = found.end()
    yield content[kept:]


def redacted(body: bytes, secret: str) -> bytes:
    """Return *body* without *secret*, in whatever way it is written there."""
    return Redaction([secret]).body(body)


def _encoded(secret: str) -> Iterator[str]:
    """The *secret* in base64, as it is where 0, 1 or 2 bytes stand before it, and in hex."""
    raw = secret.encode()
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + raw).decode()
        core = whole[(0, 2, 3)[before] : (before + len(raw)) * 8 // 6]
        yield core
        yield core.translate(str.maketrans("+/", "-_"))
    yield raw.hex()
    yield raw.hex().upper()


def _longest_word(form: str) -> bytes:
    """The longest part of *form* that plain text has as it is."""
    return max(re.findall(r"[A-Za-z0-9._-]+", form), key=len, default="").encode()


def _pattern(form: str, *, signs: bool = False) -> re.Pattern[bytes]:
    """A pattern of *form*, each of whose characters, or *signs* alone, is written in any way."""
    parts = [
        character * len(list(run)) if signs and character.isalnum() else _run(character, run)
        for character, run in groupby(form)
    ]
    return re.compile("".join(parts).encode())


def _run(character: str, run: Iterable[str]) -> str:
    """A pattern of a *run* of one *character*."""
    times = len(list(run))
    itself, otherwise = re.escape(character), _otherwise(character)
    if character == "\\":  # one pattern, so that a body of backslashes is not tried in many ways
        most = times * (ESCAPES + 1)
        return f"(?>{otherwise}|{itself}){{{times},{most}}}"
    plain = itself if character.isalnum() else f"{itself}|{MARKED}{itself}"
    one = f"(?:{plain}|{otherwise})"
    return one if times == 1 else f"{one}{{{times}}}"


def _otherwise(character: str) -> str:
    """A pattern of *character* as escapes and entities write it, in whatever depth."""
    digits = "".join(f"[{d}{d.upper()}]" for d in f"{ord(character):02x}")
    escape = f"{MARKED}(?:[uU]\\{{?0{{0,6}}{digits}\\}}?|x{digits})"
    numbers = f"#0{{0,6}}{ord(character)}|#[xX]0{{0,6}}{digits}"
    entity = f"&(?:amp;){{0,4}}(?:{'|'.join([numbers, *ENTITIES[character]])});?"
    return f"{escape}|%(?:25){{0,4}}{digits}|{entity}"
