"""
Grading answers that are mathematics: fractions, roots, intervals, sets, expressions.

Answers are found here, by scanning; whether two are equal is known for equal texts and for plain
numbers, and for all else asked of math-verify, in a process of its own (`verifying`).
"""

import re

from redistill import answers, numerals, verifying
from redistill.verifying import MAX_ANSWER

INLINE = re.compile(r"(?<!\\)\$\$?(?![\s$])([^$\n]{1,300})(?<![\s\\])\$(?![0-9])")
OPENERS = ("\\(", "\\["), ("\\)", "\\]")
IDLE = re.compile(r"\\(?:left|right|displaystyle)(?![A-Za-z])|\\[!,;: ]|\s++|~")
FRACTIONS = re.compile(r"\\[dtc]frac(?![A-Za-z])")


def check() -> None:
    """Refuse to go on where math-verify is not installed."""
    verifying.check()


def strict(completion: str) -> str | None:
    r"""
    What stands after the last ``####`` or in the last complete box, whichever is later, else None.

    >>> strict(r"Thus \boxed{\frac{1}{2}}."), strict("#### $x^2 + 1$"), strict("It is $2$.")
    ('\\frac{1}{2}', 'x^2 + 1', None)
    """
    text = answers.tail(completion)
    box = answers.boxed(text)
    if box is not None and box[0] > text.rfind(answers.MARKER):
        return _bare(box[1])
    line = answers.marked(completion)
    return _bare(line) if line is not None else None


def lenient(completion: str) -> str | None:
    r"""
    The answer in the task's format, else after "answer is", else the last formula, or number.

    >>> lenient("The answer is $[0, 1)$, for $x > 0$."), lenient("so $x = 5$"), lenient("or 7 km")
    ('[0, 1)', 'x = 5', '7')
    """
    found = strict(completion)
    if found is not None:
        return found
    text = answers.tail(completion)
    cue = answers.cued(text)
    if cue is not None:
        place = _formulas(cue[1])
        if place:
            return _bare(place[0])
        found = _number(cue[1], 0)
        if found is not None:
            return found
    formulas = _formulas(text)
    return _bare(formulas[-1]) if formulas else _number(text, -1)


def equal(answer: str | None, gold: str) -> bool:
    r"""
    Whether *answer* is *gold*: the same text, the same number, or the same to math-verify.

    >>> equal(r"\dfrac{1}{2}", r"\frac 12"), equal("1,005", "1005.0"), equal("2", "3")
    (True, True, False)
    """
    if answer is None or len(answer) > MAX_ANSWER or len(gold) > 4 * MAX_ANSWER:
        return False
    left, right = _bare(answer), _bare(gold)
    if left is None or right is None:
        return False
    if _normal(left) == _normal(right):
        return True
    one, other = _plain(left), _plain(right)
    if one is not None and other is not None:
        if one.value == other.value:
            return True
        if "/" not in one.text + other.text:
            return False
    return verifying.same(right, left)


def _bare(text: str) -> str | None:
    """*text* without what only sets it apart: dollars, stars, a full stop; None where too long."""
    before = None
    while text != before:
        before = text
        text = text.strip().removesuffix(".").strip("*`").strip()
        for opener, closer in zip(*OPENERS, strict=True):
            if text.startswith(opener) and text.endswith(closer) and len(text) >= 4:
                text = text[2:-2]
        if len(text) > 1 and text[0] == text[-1] == "$" and "$" not in text.strip("$"):
            text = text.strip("$")
    return text if 0 < len(text) <= MAX_ANSWER else None


def _normal(text: str) -> str:
    """*text* without spaces, and with one spelling of fractions."""
    return IDLE.sub("", FRACTIONS.sub(r"\\frac", text))


def _plain(text: str) -> numerals.Numeral | None:
    """The number that *text* is from its first to its last character, a unit sign aside."""
    tidy = numerals.tidy(text).removesuffix("%").removesuffix("\\").removesuffix("^\\circ").strip()
    found = numerals.scan(tidy)
    if len(found) != 1 or found[0].value is None:
        return None
    return found[0] if (found[0].start, found[0].end) == (0, len(tidy)) else None


def _formulas(text: str) -> list[str]:
    r"""The formulas in *text* between dollars or, where there are none, the last ``\( \)``."""
    found = [match.group(1) for match in INLINE.finditer(text)]
    if found:
        return found
    for opener, closer in zip(*OPENERS, strict=True):
        end = text.rfind(closer)
        start = text.rfind(opener, 0, end) if end >= 0 else -1
        if start >= 0:
            return [text[start + 2 : end]]
    return []


def _number(text: str, place: int) -> str | None:
    """The first or the last number of *text*, on the last line that has one."""
    for line in reversed(numerals.tidy(text).split("\n")):
        found = numerals.scan(line)
        if found:
            return found[place].text if found[place].value is not None else None
    return None
