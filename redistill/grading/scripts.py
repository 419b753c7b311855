"""Numbers in LaTeX and with the digits and signs of other scripts, as plain ones."""

import re
import unicodedata
from functools import lru_cache

from redistill.grading.words import DOLLARS

UNSEEN = "\u200b\u200c\u200d\u200e\u200f\u2060\u2066\u2067\u2068\u2069\ufeff\u061c"
SIGNS = dict.fromkeys(UNSEEN, "") | {"٫": ".", "٬": ",", "٪": "%", "⅟": "1/"}
FRACTION = re.compile(r"\\[dtc]?frac ?\{ ?([0-9]{1,18}) ?\}\{ ?([0-9]{1,18}) ?\}")
FULL = range(0xFF01, 0xFF5F)  # the ASCII signs, twice as wide


def plain(text: str) -> str:
    r"""
    Write *text* with ASCII digits, and its fractions that are one character as two numbers.

    Full width, Arabic, Devanagari and all other decimal digits are read; powers (5²), which are no
    digits of the number, and numbers in words or letters are left as they are.

    >>> plain("\u0663\u066b\u0665"), plain("\uff11\uff12"), plain("2½"), plain("5²")
    ('3.5', '12', '2 1/2', '5²')
    """
    if text.isascii():
        return text
    found: list[str] = []
    for character in text:
        written = character if character.isascii() else _plain(character)
        joint = "/" in written and found and found[-1][-1:].isdigit()
        found += [" ", written] if joint and written != "/" else [written]
    return "".join(found)


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    if character in SIGNS:
        return SIGNS[character]
    if ord(character) in FULL:
        return chr(ord(character) - 0xFEE0)
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    kind, _, parts = unicodedata.decomposition(character).partition(" ")
    if kind != "<fraction>":
        return character
    return "".join(chr(int(part, 16)) for part in parts.split()).replace("\u2044", "/")


def tidy(text: str) -> str:
    r"""
    Write the LaTeX and the other scripts of plain numbers in *text* as plain numbers.

    >>> tidy(r"14{,}916 and 1\frac{1}{2}"), tidy("2½ and ٣")
    ('14,916 and 1 1/2', '2 1/2 and 3')
    """
    text = DOLLARS.sub("$", plain(text)) if "$" in text else plain(text)
    if "\\" not in text and "{,}" not in text:
        return text
    text = text.replace("{,}", ",").replace("\\!", "").replace("\\,", "\u202f")
    return FRACTION.sub(_written, text)


def _written(match: re.Match[str]) -> str:
    before = match.string[match.start() - 1 : match.start()]
    return f"{' ' if before.isdigit() else ''}{match.group(1)}/{match.group(2)}"
