"""
Grading answers that are mathematics: fractions, roots, intervals, sets, expressions.

Answers are found here, by scanning; whether two are equal is known for equal texts and for plain
numbers, and for all else asked of math-verify, in a process of its own (`math_process`).
"""

import re

from redistill.grading import answers, math_process, numbers, scripts, units, words
from redistill.grading.math_process import MAX_ANSWER

FORMULA = re.compile(r"(?<!\\)\$\$?(?!\$)([^$\n]{1,300})(?<!\\)\$(?![0-9])")
BLOCK = re.compile(r"\$\$([^$]{1,300})\$\$")
ROUND, SQUARE = ("\\(", "\\)"), ("\\[", "\\]")
JOINT = re.compile(r"(?:[\s$,;.]|\\q?quad|\\text\{[^{}]{0,40}\}|\\[,; ()\[\]]|and|or)*+")
IDLE = re.compile(r"\\(?:left|right|displaystyle)(?![A-Za-z])|\\[!,;: ]|\s++|~")
FRACTIONS = re.compile(r"\\[dtc]frac(?![A-Za-z])")
MAX_BOXES = 16
# Two numbers that a word joins to one amount, as "2 hours 30 minutes": no product of letters.
AMOUNT = re.compile(
    r"[0-9]\}?\s*+(?:\\(?:text|mbox|mathrm|textrm)\{\s*+)?([A-Za-z]{1,12}+)\.?\s*+\}?(?:, |[:\s])*+"
    r"(?:and\s++)?[0-9]"
)
SAID = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{2,}+|[^\W_a-zA-Z0-9]{2,}+")
FUNCTIONS = "sin cos tan log ln exp min max gcd lcm sqrt mod"
MATHS = frozenset({*FUNCTIONS.split(), "and", "or", "pi", "infinity"})
SYMBOLS = str.maketrans({"∞": r"\infty ", "π": r"\pi ", "×": r"\times ", "−": "-",
                         "·": r"\cdot ", "≤": r"\le ", "≥": r"\ge ", "∪": r"\cup "})  # fmt: skip


def check() -> None:
    """Refuse to go on where math-verify is not installed."""
    math_process.check()


def strict(completion: str) -> str | None:
    r"""
    Read what stands after the last ``####`` or in the last complete box, whichever is later.

    None where there is neither. Boxes that only "and" or a comma parts are one answer.

    >>> strict(r"Thus \boxed{\frac{1}{2}}."), strict("#### $x^2 + 1$"), strict("It is $2$.")
    ('\\frac{1}{2}', 'x^2 + 1', None)
    >>> strict(r"$\boxed{1} \text{ and } \boxed{2}$")
    '1, 2'
    """
    found = _formatted(answers.tail(completion))
    return found[1] if found is not None else None


def lenient(completion: str) -> str | None:
    r"""
    Find the answer in the task's format or after "answer is", else the last formula or number.

    >>> lenient("The answer is $[0, 1)$, for $x > 0$."), lenient("so $x = 5$"), lenient("or 7 km")
    ('[0, 1)', 'x = 5', '7')
    """
    text = answers.tail(completion)
    found = _formatted(text)
    cue = answers.cued(text)
    if cue is not None and (found is None or cue[0] > found[0]):
        stated = _end(_sentence(cue[1])[: numbers.NEAR], last=False)
        if stated is not None:
            return _bare(stated)
    if found is not None:
        return found[1]
    end = _end(text, last=True)
    return _bare(end) if end is not None else None


def equal(answer: str | None, gold: str) -> bool:
    r"""
    Say whether *answer* is *gold*: the same text, the same number, or the same to math-verify.

    >>> equal(r"\dfrac{1}{2}", r"\frac 12"), equal("1,005", "1005.0"), equal("2", "3")
    (True, True, False)
    """
    if answer is None or len(answer) > MAX_ANSWER or len(gold) > 4 * MAX_ANSWER:
        return False
    left, right = _bare(scripts.plain(answer)), _bare(scripts.plain(gold))
    if left is None or right is None:
        return False
    left, right = left.translate(SYMBOLS), right.translate(SYMBOLS)
    if _normal(left) == _normal(right):
        return True
    if units.apart(left, right):
        return False
    one, other = _plain(left), _plain(right)
    if one is not None and other is not None:
        if one.value == other.value:
            return True
        if "/" not in one.text + other.text:
            return False
    if _said(left) or _said(right):
        amounts = numbers.number(left), numbers.number(right)
        return amounts[0] is not None and amounts[0] == amounts[1]
    return math_process.same(_unmixed(right, other), _unmixed(left, one))


def _unmixed(text: str, number: numbers.Numeral | None) -> str:
    """*text*, or its value where it is a mixed number, which would be read as a product."""
    return str(number.value) if number is not None and " " in number.text else text


def _said(text: str) -> bool:
    """
    Whether *text* is an amount in words: "3 pm", "2 hours 30 minutes", "1 lakh".

    math-verify would read a part of it, and say of two that differ that they are equal.
    """
    joined = AMOUNT.search(text)
    if joined is not None and joined[1].casefold() not in MATHS:
        return len(joined[1]) > 2 or joined[1] in words.UNITS or joined[1] in ("R", "r")
    if not any(character.isdigit() for character in text):
        return False
    return any(words.turns(word) for word in SAID.findall(text) if word.casefold() not in MATHS)


def _formatted(text: str) -> tuple[int, str | None] | None:
    """Place and text of the answer in the task's format."""
    marker = text.rfind(answers.MARKER)
    boxes = [box for box in answers.boxes(text)[-MAX_BOXES:] if box[0] > marker]
    if boxes:
        last = len(boxes) - 1
        while last and 0 <= boxes[last][0] - boxes[last - 1][1] <= 60:
            if not JOINT.fullmatch(text, boxes[last - 1][1], boxes[last][0]):
                break
            last -= 1
        contents = dict.fromkeys(_bare(box[2].replace("$", " ")) or "" for box in boxes[last:])
        return boxes[last][0], _bare(", ".join(contents))
    line = answers.marked(text)
    return (marker, _bare(line)) if line is not None else None


def _sentence(cue: str) -> str:
    """What follows a cue, from "is" on where it names what is asked for: "The volume is 5."."""
    before, said, after = cue.partition(" is ")
    return after if said and not any(c.isdigit() or c == "=" for c in before) else cue


def _end(text: str, *, last: bool) -> str | None:
    """The first or last of the formulas and numbers of *text*; numbers only near its ends."""
    found = [(m.start(), m.end(), m.group(1)) for m in BLOCK.finditer(text)]
    if not found:
        found = [(m.start(), m.end(), m.group(1)) for m in FORMULA.finditer(text) if _formula(m)]
    if not found:
        for opener, closer in (ROUND, SQUARE):
            end = text.rfind(closer)
            start = text.rfind(opener, 0, end) if end >= 0 else -1
            if start >= 0:
                found.append((start, end + 2, text[start + 2 : end]))
    found.sort()
    if not found:
        return _number(text[-numbers.NEAR :], last=last)
    if last:
        number = _number(text[found[-1][1] :][-numbers.NEAR :], last=True)
        return number if number is not None else found[-1][2]
    number = _number(text[: found[0][0]][: numbers.NEAR], last=False)
    return number if number is not None else found[0][2]


def _formula(match: re.Match[str]) -> bool:
    """Whether what is between two dollars is one: "5 and " between two prices is not."""
    content = match.group(1)
    return "\\" in content or content[0].isspace() == content[-1].isspace()


def _number(text: str, *, last: bool) -> str | None:
    """The first or last number of *text*, empty where it cannot be read; None without a number."""
    lines = numbers.tidy(text).split("\n")
    for line in reversed(lines) if last else lines:
        found = numbers.trailing(line) if last else numbers.leading(line)
        if found is not None:
            return found.text if found.value is not None else ""
    return None


def _bare(text: str) -> str | None:
    """*text* without what only sets it apart: dollars, stars, a full stop; None where too long."""
    before = None
    while text != before:
        before = text
        text = text.strip().rstrip(".").strip("*`").strip()
        for opener, closer in (ROUND, SQUARE):
            if text.startswith(opener) and text.endswith(closer) and len(text) >= 4:
                text = text[2:-2]
        if len(text) > 1 and text[0] == text[-1] == "$" and "$" not in text.strip("$"):
            text = text.strip("$")
    return text if 0 < len(text) <= MAX_ANSWER else None


def _normal(text: str) -> str:
    """*text* without spaces, and with one spelling of fractions."""
    return IDLE.sub("", FRACTIONS.sub(r"\\frac", text))


def _plain(text: str) -> numbers.Numeral | None:
    """The number that *text* is from its first to its last character, a unit sign aside."""
    tidy = numbers.tidy(text).removesuffix("%").removesuffix("\\").removesuffix("^\\circ").strip()
    found = numbers.scan(tidy)
    if len(found) != 1 or found[0].value is None:
        return None
    return found[0] if (found[0].start, found[0].end) == (0, len(tidy)) else None
