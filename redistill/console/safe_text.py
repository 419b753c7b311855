"""Text from outside, made safe for a terminal."""

import unicodedata

MAX_SHOWN = 4000
_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def safe_text(text: str, limit: int = MAX_SHOWN) -> str:
    """
    Write *text* with every control, bidi and separator character as a visible escape, and capped.

    Only the line feed stays itself.

    >>> safe_text("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    cut = len(text) - limit
    if cut <= 0 and text.replace("\n", "").isprintable():
        return text
    shown = "".join(
        c
        if c == "\n" or unicodedata.category(c) not in _UNSAFE
        else c.encode("unicode_escape").decode("ascii")
        for c in text[:limit]
    )
    return f"{shown} [{cut} more characters]" if cut > 0 else shown
