"""Grading answers that are one number: exact rationals, and no guess beyond ASCII digits."""

from fractions import Fraction

from redistill.equations import number

MARKER = "####"
MAX_CHARACTERS = 4096  # the answer stands at the end; what is before it is not looked at
UNITS = "$€£%°"


def strict(completion: str) -> str | None:
    """
    The number after the last ``####`` of *completion*, as the task's format asks, else None.

    >>> strict("2+3=5\\n#### 1,005 apples"), strict("The answer is 5.")
    ('1005', None)
    """
    tail = completion[-MAX_CHARACTERS:]
    _before, marker, after = tail.rpartition(MARKER)
    if not marker:
        return None
    words = after.strip().split("\n")[0].split()
    return _plain(words[0]) if words else None


def lenient(completion: str) -> str | None:
    """
    The last number anywhere in *completion*, else None.

    >>> lenient("So she has $3.50 left.")
    '3.50'
    """
    for word in reversed(completion[-MAX_CHARACTERS:].replace("=", " ").split()):
        for part in (word, word.split(">>")[-1], word.split(">>")[0].split("<<")[-1]):
            if (value := _plain(part)) is not None:
                return value
    return None


def equal(answer: str | None, gold: str) -> bool:
    """
    Whether *answer* is the same number as *gold*.

    >>> equal("18.00", "18"), equal("-5", "5"), equal("3/4", "34")
    (True, False, False)
    """
    if answer is None:
        return False
    left, right = _rational(answer), _rational(gold)
    return left == right if left is not None and right is not None else answer == gold


def _rational(text: str) -> Fraction | None:
    value = text.strip()
    top, slash, bottom = value.partition("/")
    if slash:
        over, under = number(top), number(bottom)
        return over / under if over is not None and under else None
    return number(value)


def _plain(word: str) -> str | None:
    """*word* without currency, separators and closing punctuation, if that is one number."""
    text = word.strip("()[]{}*'\"!?;:").strip(UNITS).rstrip(".,")
    text = text.rstrip(UNITS)
    if text.startswith(("-$", "-€", "-£")):
        text = "-" + text[2:]
    if not text.isascii() or not text or not text[-1].isdigit():
        return None
    if text.startswith("+"):
        text = text[1:]
    return text.replace(",", "") if _rational(text) is not None else None
