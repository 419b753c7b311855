"""What tells texts apart: the digest of a text, and the two forms in which texts are compared."""

import hashlib
import re
import unicodedata

SUPER = {"<super>": "^", "<sub>": "_"}  # NFKC alone would read 5² as 52
FRACTION = "\N{FRACTION SLASH}"
# What cannot be seen: zero width, soft hyphen, byte order mark, direction, the look of an emoji.
# Joiners (U+200C, U+200D) stay: they tell words and emoji apart.
UNSEEN = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufe0e\ufe0f\ufeff]")
DASHES = str.maketrans(dict.fromkeys("‐‑‒–—−", "-") | dict.fromkeys("‘’", "'")
                       | dict.fromkeys("“”", '"') | {FRACTION: "/"})  # fmt: skip
# What closes a sentence or a part of one; an ellipsis stays, as in "0.333...".
CLOSING = re.compile(
    r"(?:(?<![.\s])\.(?!\.)|(?<!\s)[,;:?؟،।。、]|(?<=[^\W\d_]{2})!+|(?<=\?)!+)+(?=\s|\Z)"
)
LAST = re.compile(r"(?:[\s,;:?؟،।。、]|(?<!\.)\.(?!\.))+\Z")
SPACED = re.compile(r" ?([-+*/=<>^|×÷·±≤≥≠]) ?")  # "3 + 4" is 3+4
MARKDOWN = re.compile(
    r"\*\*++|__++|`++|\\[()\[\]]|\\(?=[$%&#_])|(?<!\w)[*_](?=\w)|(?<=\w)[*_](?!\w)"
)
FORMULA = re.compile(r"\$([^$\s]{1,40})\$(?![0-9])")
# Marks of prose: between words, and next to no digit or letter that stands alone, as in x - 3.
PROSE = re.compile(
    r"(?<![\d\-*_\"'()\[\]{},;:.!?])(?<!\b[^\W\d_])[-*_\"'()\[\]{},;:.!?]++\s*+(?!\d|[^\W\d_]\b)"
)
WORD = re.compile(r"[a-z0-9]++")  # in a text of ASCII


def digest(*texts: str) -> str:
    """Compute the first 16 hex digits of the SHA-256 over *texts*, each ended by a NUL."""
    whole = hashlib.sha256()
    for text in texts:
        whole.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return whole.hexdigest()[:16]


def normalised(text: str) -> str:
    """
    Write *text* in the form in which two questions are the same: equal forms, same question.

    Case, spaces, Unicode form (NFKC), invisible characters, the shape of dashes and quotes, and
    what closes a sentence do not count. Signs, operators, symbols, emoji, brackets and combining
    marks do.

    >>> normalised("What is  E1") == normalised("what is e1?")
    True
    >>> [normalised(text) for text in ("x < 3", "Is -2", "5²", "2½", "50%")]
    ['x<3', 'is-2', '5^2', '2 1/2', '50%']
    """
    folded = _folded(text).strip()
    return SPACED.sub(r"\1", " ".join(LAST.sub("", CLOSING.sub("", folded)).split()))


def undressed(text: str) -> str:
    """
    Write *text* as `normalised` does, without the marks of prose: quotes, dashes between words.

    >>> undressed('**Ann** (said) "yes" -- now x - 3 is -2')
    'ann said yes now x-3 is-2'
    """
    return " ".join(PROSE.sub(" ", normalised(MARKDOWN.sub("", FORMULA.sub(r"\1", text)))).split())


def worded(text: str) -> str:
    """
    Write *text* as quotations are looked for: as words of letters, digits and their marks alone.

    Two questions can be alike in this form and differ in a sign: it finds copies whatever the
    marks around their words, and says of no two questions that they are the same.

    >>> worded("**Is -2** well-known?")
    'is 2 well known'
    """
    folded = _folded(text)
    if folded.isascii():
        return " ".join(WORD.findall(folded))
    return " ".join("".join(c if c.isalnum() or _marks(c) else " " for c in folded).split())


def _folded(text: str) -> str:
    if not text.isascii():
        text = "".join(_plain(c) if not c.isascii() else c for c in UNSEEN.sub("", text))
        text = unicodedata.normalize("NFKC", text).translate(DASHES)
        return unicodedata.normalize("NFKC", text.casefold())
    return text.lower()


def _plain(character: str) -> str:
    """*character*, with the sign or space that NFKC leaves out of a power or a fraction."""
    kind = unicodedata.decomposition(character).partition(" ")[0]
    if kind in SUPER:
        return SUPER[kind] + character
    return f" {character}" if kind == "<fraction>" else character


def _marks(character: str) -> bool:
    return unicodedata.category(character)[0] == "M" or character in "\u200c\u200d"
