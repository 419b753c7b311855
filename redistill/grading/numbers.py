"""Numbers as people write them in text: where each stands, and its exact value."""

import re
from fractions import Fraction
from typing import NamedTuple

from redistill.grading import words
from redistill.grading.scripts import tidy as tidy

MAX_LENGTH = 64  # characters; a longer number answers no question
REACH = 4 * MAX_LENGTH  # characters around a number that say all about it
NEAR = 1024  # characters around an answer; what is further off on its line does not bear on it
MAX_DIGITS = 18  # of an operand: longer ones are no school arithmetic, and keep the work bounded
MAX_EXPONENT = 30  # 10**30 is exact and cheap, "1e100000000" would take minutes
# Possessive or bounded throughout, so that no text makes a search more than linear.
BODY = re.compile(
    r"(?:[0-9][0-9.,]*+|\.[0-9][0-9.,]*+)(?:[eE][-+−]?[0-9]++(?![A-Za-z0-9]))?"
    r"(?: ?[/⁄∕] ?[0-9][0-9.,]*+)?"
)
DIGITS = re.compile(r"\.?[0-9][0-9.,]*+")
WHOLE = re.compile(r"[0-9]{1,18}")
PLAIN = re.compile(r"-?[0-9]++(?:\.[0-9]++)?")
GROUPED = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})++")
OPERATOR = re.compile(
    r"!{0,2}\\?[%°$)]{0,2} {0,2}(?:\*\*|[-+*/×÷·^:−–⁄∕√'’_]|\\times|\\cdot|\\div)"
    r" {0,2}[-+−–]?[\\({$€£¥₹]{0,3}|\("
)
FACTORIAL = re.compile(r"[0-9)\]}] ?!")
FACTOR = re.compile(r"!++[\"'”’)\]}*_`$.\s]*+([-+*/×÷·^=(<>−0-9]|[^\W\d_])")  # 5! * 2, 5! ways
OPENED = re.compile(r"\\([A-Za-z]{1,12}+)\{\Z")
UNIT = re.compile(r"[A-Za-z]++")
DIGIT = re.compile(r"[0-9]")
LAST_DIGIT = re.compile(r"[0-9](?=[^0-9]*+\Z)")
SPACES = " \u00a0\u2009\u202f"
MINUS = "-−–"
SIGNS = "-−–+±∓"
PREFIX = f"{SIGNS}{words.CURRENCY}\\ "
OPENERS = "=:([{<>*|,;#&\"'`≈~_"


class Numeral(NamedTuple):
    """
    A number from *start* to *end*, signs and currency included, units not.

    *value* is None for what looks like a number and cannot be read as exactly one: 1,00,5; 4/0;
    ±3; 7:30; 2^3; an operand of a sum. *text* is the number without currency and separators.
    """

    start: int
    end: int
    value: Fraction | None
    text: str


def number(text: str) -> Fraction | None:
    """
    Return the value of *text* as an answer: one number, dress and units aside, % a unit as well.

    One with a ! may be a factorial, and is none.

    >>> number("$1,234.50"), number("50%"), number("3/4"), number("5km"), number("1,00,5")
    (Fraction(2469, 2), Fraction(50, 1), Fraction(3, 4), Fraction(5, 1), None)
    """
    if WHOLE.fullmatch(text):
        return Fraction(int(text))
    found = None if FACTORIAL.search(text) else first(text)
    return found.value if found is not None else None


def operand(text: str) -> Fraction | None:
    """
    Return the value of *text* as an operand: a plain number of at most 18 digits, % a hundredth.

    >>> operand("1,234.50"), operand("7%"), operand("3 apples"), operand("1,00,5")
    (Fraction(2469, 2), Fraction(7, 100), None, None)
    """
    if WHOLE.fullmatch(text):
        return Fraction(int(text))
    body = text.strip().removeprefix("$")
    negative = body.startswith("-")
    body = body[1:] if body[:1] in ("-", "+") else body
    digits = body.removesuffix("%").removeprefix("$")
    if not digits.isascii() or sum(character.isdigit() for character in digits) > MAX_DIGITS:
        return None
    value = _decimal(digits)
    if value is None:
        return None
    value = value / 100 if body.endswith("%") else value
    return -value if negative else value


def canonical(text: str) -> str | None:
    """
    Write *text* as a decimal without separators and closing zeros; None where it is more than one.

    >>> canonical("1,080"), canonical(" 27.50"), canonical("8.0"), canonical("5km")
    ('1080', '27.5', '8', None)
    """
    plain = text.strip()
    found = first(plain)
    if found is None or (found.start, found.end) != (0, len(plain)) or not plain.isascii():
        return None
    if not PLAIN.fullmatch(found.text):
        return None
    return found.text.rstrip("0").rstrip(".") if "." in found.text else found.text


def extent(text: str, place: int) -> int:
    """Return where the digits end that begin at *place* of *text*; *place* where none do."""
    found = DIGITS.match(text, place)
    return place + len(found.group().rstrip(".,")) if found is not None else place


def scan(text: str) -> list[Numeral]:
    """
    Find the numbers in one line of *text*, in order.

    >>> [n.text for n in scan("$1,005 is 2 1/2 times A4")]
    ['1005', '2 1/2']
    """
    found: list[Numeral] = []
    floor = 0
    for match in BODY.finditer(text):
        numeral = _numeral(text, match, floor)
        if numeral is None:
            continue
        if found:
            numeral = _joined(text, found, numeral, match.start())
        found.append(numeral)
        floor = numeral.end
    return [_scaled(text, numeral) for numeral in found]


def leading(text: str) -> Numeral | None:
    """Read the first number in one line of *text*, as `scan` does, but without reading it all."""
    digit = DIGIT.search(text)
    if digit is None:
        return None
    part = text[: digit.end() + REACH]
    found = scan(part)
    if len(part) < len(text) and not (found and _settled(found[0], 0, len(part) - MAX_LENGTH)):
        found = scan(text)
    return found[0] if found else None


def trailing(text: str) -> Numeral | None:
    """Read the last number in one line of *text*, as `scan` does, but without reading it all."""
    digit = LAST_DIGIT.search(text)
    if digit is None:
        return None
    start = max(0, digit.start() - REACH)
    part = text[start : digit.start() + MAX_LENGTH]
    found = scan(part)
    if start and not (
        found
        and _settled(found[-1], MAX_LENGTH, len(part))
        and not _group(found[-1], part[: found[-1].start])
    ):
        start, found = 0, scan(text)
    if not found:
        return None
    last = found[-1]
    return last._replace(start=start + last.start, end=start + last.end)


def _settled(numeral: Numeral, start: int, end: int) -> bool:
    """
    Whether the text beyond *start* and *end* cannot change what *numeral* is worth.

    It cannot where the number lies between them, nor where more fractions than are readable have
    joined to one number: others join to it, too. Only its text is then cut short.
    """
    joined = numeral.value is None and len(numeral.text) > MAX_LENGTH and " " in numeral.text
    return joined or (start <= numeral.start and numeral.end <= end)


def _group(numeral: Numeral, before: str) -> bool:
    """Whether *numeral* could be a group of thousands of a number that starts before *before*."""
    return len(numeral.text.partition(".")[0]) == 3 and not before.strip("0123456789" + SPACES)


def first(text: str) -> Numeral | None:
    """
    Read the number that *text* is, dress and units aside; None where it is none, or more than one.

    What follows the number is read to where the answer ends (`words.answered`): a second number,
    or a word that makes it another, leaves none, so "2 hours 30 minutes" is not 2.

    >>> first("18 apples").text, first("about 18"), first("5 or 6"), first("5 + 3")
    ('18', None, None, None)
    >>> first("2 hours 30 minutes"), first("7 R 2"), first("3 pm"), first("1 lakh").text
    (None, None, None, '100000')
    """
    text = tidy(text[: 4 * MAX_LENGTH])
    numerals = scan(text)
    if not numerals or numerals[0].value is None:
        return None
    before = text[: numerals[0].start].strip(" \t*_`'\"([{$")
    if before not in words.MONEY and before not in (
        "",
        "\\",
        "\\boxed",
        "\\text",
        "\\textbf",
        "\\mathbf",
        "\\boxed{\\text",
    ):
        return None
    return numerals[0] if whole(text, numerals[0]) else None


def whole(text: str, numeral: Numeral) -> bool:
    """Say whether *numeral*, which opens an answer in *text*, is all of it but units and talk."""
    rest = text[numeral.end :]
    if not rest.strip(" .*$"):
        return True
    rest = words.answered(rest)
    return not words.changed(rest) and not scan(rest)


def _numeral(text: str, match: re.Match[str], floor: int) -> Numeral | None:
    """The number at *match* with its sign and currency; None for a digit inside a name."""
    start, end = match.span()
    body = match.group()
    if body[0] == "." and text[start - 1 : start] == ".":  # an ellipsis, no decimal point
        start, body = start + 1, body[1:]
    body = body.rstrip(".,")
    end = start + len(body)
    left = start
    while left > floor and start - left < 6 and text[left - 1] in PREFIX:
        left -= 1
    prefix = text[left:start].lstrip()
    left = start - len(prefix)
    before = text[left - 1 : left]
    if before.isalpha() or before == "^" or (before == "_" and text[left - 2 : left - 1].isalnum()):
        if body[0] == "." or prefix:
            return Numeral(left, end, None, body)
        return None
    value, plain = _value(body)
    sign = _sign(text, left, prefix) if prefix else 1
    if sign is None or _inside(text, left) or not _ends(text, end):
        return _named(text, left, end, body)
    if value is None:
        return Numeral(left, end, None, body)
    if sign < 0:
        return Numeral(left, end, -value, f"-{plain}")
    return Numeral(left, end, value, plain)


def _named(text: str, left: int, end: int, body: str) -> Numeral | None:
    word = UNIT.match(text, end)
    if word is not None and word.group() in words.ORDINALS:
        return None
    return Numeral(left, end, None, body)


def _value(body: str) -> tuple[Fraction | None, str]:
    """The value of digits with separators, exponent and denominator, and how it is written."""
    if len(body) > MAX_LENGTH:
        return None, body
    if body.isdigit():  # most are, and all else takes ten times as long
        return Fraction(int(body)), body
    text = body.replace(" ", "").replace("⁄", "/").replace("∕", "/").replace("−", "-")
    top, slash, bottom = text.partition("/")
    mantissa, e, exponent = top.lower().partition("e")
    over = _decimal(mantissa)
    if over is None or (e and abs(int(exponent)) > MAX_EXPONENT):
        return None, body
    value = over * Fraction(10) ** int(exponent) if e else over
    plain = top.replace(",", "").lower()
    if slash:
        under = _decimal(bottom.rstrip(".,"))
        if not under:
            return None, body
        value, plain = value / under, f"{plain}/{bottom.rstrip('.,').replace(',', '')}"
    return value, plain


def _decimal(text: str) -> Fraction | None:
    whole, point, part = text.partition(".")
    if "," in whole:
        if not GROUPED.fullmatch(whole) or whole[0] == "0":
            return None
        whole = whole.replace(",", "")
    if not (whole + part).isdigit():
        return None
    return Fraction(int(whole + part), 10 ** len(part) if point else 1)


def _sign(text: str, left: int, prefix: str) -> int | None:
    """1 or -1, or None where it cannot be known: ±3, --3, x-3, "apples - 3"."""
    signs = [character for character in prefix if character in SIGNS]
    if not signs:
        return 1
    if len(signs) > 1 or signs[0] in "±∓":
        return None
    detached = prefix[prefix.index(signs[0]) + 1 :].startswith(" ")
    near = text[max(0, left - MAX_LENGTH) : left]  # what stands beyond as many spaces is no operand
    before = (near.rstrip() if detached else near)[-1:]
    closed = before.isalnum() or before in (")", "]", "}", "%", *SIGNS)
    if before and (closed or (detached and before not in OPENERS)):
        return None
    return -1 if signs[0] in MINUS else 1


def _inside(text: str, left: int) -> bool:
    """Whether what is before the number makes it part of something else, such as a root."""
    before = text[left - 1 : left]
    if before in (" ", ""):
        return False
    if before == "{":
        command = OPENED.search(text[max(0, left - 16) : left])
        outer = text[left - 2 : left - 1]
        return command.group(1) not in words.DRESS if command else outer in ("^", "_", "}", "]")
    return before in ("√", "±", "∓") or (not before.isascii() and before.isnumeric())


def _ends(text: str, end: int) -> bool:
    """Whether the number ends at *end*: in a unit, in punctuation, but in no letter or power."""
    after = text[end : end + 1]
    if after in (" ", ""):
        return True
    if after.isascii() and after.isalpha():
        word = UNIT.match(text, end)
        return word is not None and word.group() in words.STICKING
    if after == "!":  # that ends a sentence, or stands for a factorial in one
        factor = FACTOR.match(text, end)
        return factor is None or (factor[1].isalpha() and not factor[1].islower())
    if after == "\\":
        command = words.COMMAND.match(text, end)
        return command is None or command.group(1) in (*words.AFTER, "times", "cdot", "div")
    if after in "_'’":
        return not text[end + 1 : end + 2].isdigit()
    if after == "^":
        return text.startswith(("\\circ", "{\\circ"), end + 1)
    return after.isascii() or not (after.isalnum() or after in "√")


def _joined(text: str, found: list[Numeral], new: Numeral, body: int) -> Numeral:
    """
    *new* with what stands right before it: a mixed number, a group of thousands, an operand.

    The number before is taken out of *found* where it is part of *new*.
    """
    old = found[-1]
    gap = text[old.end : body]
    if len(gap) > 12:
        return new
    if not gap.isspace() and OPERATOR.fullmatch(gap):
        if old.value is not None:
            found[-1] = old._replace(value=None)
        return new._replace(value=None) if new.value is not None else new
    if gap == " and " and "/" in new.text:
        return _mixed(found, new)
    if not gap or gap.strip(SPACES) or new.start != body:
        return new
    if "/" in new.text:
        return _mixed(found, new)
    return _grouped(text, found, new)


def _mixed(found: list[Numeral], new: Numeral) -> Numeral:
    """A whole number and a proper fraction as one; nothing readable where they are not that."""
    old = found.pop()
    whole = old.text.removeprefix("-")
    text = f"{old.text} {new.text}"
    if old.value is None or new.value is None or not whole.isdigit() or new.value >= 1:
        return Numeral(old.start, new.end, None, text)
    value = old.value - new.value if old.text[0] == "-" else old.value + new.value
    return Numeral(old.start, new.end, value, text)


def _grouped(text: str, found: list[Numeral], new: Numeral) -> Numeral:
    """A number that spaces part into thousands, as 1 000 000, as one."""
    old = found[-1]
    if len(new.text.partition(".")[0]) != 3 or new.end - new.start != len(new.text):
        return new
    groups = text[old.start : old.end].lstrip(PREFIX + SIGNS).split()
    fits = len(groups[0]) <= 3 and all(len(group) == 3 for group in groups[1:])
    if not (fits and old.text.removeprefix("-").isdigit() and groups[0][0] != "0"):
        return new
    if old.value is None or new.value is None:
        return new
    found.pop()
    sign = -1 if old.text[0] == "-" else 1
    return Numeral(old.start, new.end, old.value * 1000 + sign * new.value, old.text + new.text)


def _scaled(text: str, numeral: Numeral) -> Numeral:
    """*numeral* times the thousands or dozens that follow it, unreadable where it is too long."""
    while numeral.value is not None and (match := words.SCALE.match(text, numeral.end)) is not None:
        word = match.group(1) or match.group(2) or match.group(3)
        value = numeral.value * words.SCALES[word if word in words.SCALES else word.lower()]
        numeral = numeral._replace(end=match.end(), value=value, text=str(value))
    return numeral._replace(value=None) if len(numeral.text) > MAX_LENGTH else numeral
