"""Steps of a worked text that marks none: bare equations, with units or not, or said in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from redistill.grading.numbers import extent, operand
from redistill.solutions.equations import Equation, annotated, equation, marked

SPOKEN = {
    "plus": "+", "minus": "-", "less": "-", "times": "*", "x": "*", "multiplied by": "*",
    "divided by": "/", "over": "/", "+": "+", "-": "-", "*": "*", "/": "/", "×": "*", "÷": "/",
}  # fmt: skip
SAYS = {
    "is",
    "are",
    "=",
    "equals",
    "equal",
    "makes",
    "make",
    "gives",
    "give",
    "leaves",
    "be",
    "was",
}
MAX_LEFT = 160  # characters of an expression, its units among them
MAX_RIGHT = 40
MAX_UNITS = 3  # words that may stand between a number and what follows it


@dataclass(frozen=True)
class _Token:
    kind: str  # number, operator, bracket, word, or break
    text: str
    start: int


def steps(text: str) -> list[Equation]:
    """Find the steps of *text*: its marked equations, else its bare ones, else those in words."""
    return annotated(text) or bare(text) or spoken(text)


def nth(text: str, count: int) -> Equation | None:
    """
    Return the step that `steps` has at place *count*, from 1.

    Of marked steps only that one is computed.
    """
    places = marked(text)
    found = [] if places else bare(text) or spoken(text)
    if not 1 <= count <= len(places or found):
        return None
    return equation(*places[count - 1]) if places else found[count - 1]


def bare(text: str) -> list[Equation]:
    """
    Find the equations that stand unmarked in *text*, in order; units beside numbers are left out.

    >>> [str(e) for e in bare("80 miles + 15 miles = 95 miles, and 24 x 1/6 = $4.")]
    ['80+15=95', '24*1/6=4']
    """
    found = []
    position = text.find("=")
    while position >= 0:
        tokens = list(_tokens(text, max(0, position - MAX_LEFT), position))
        expression, start = _expression(tokens)
        result, stop = _result(text, position + 1)
        if expression and result:
            found.append(equation(f"{expression}={result}", start, stop))
        position = text.find("=", position + 1)
    return [step for step in found if step.operations]


def _tokens(text: str, start: int, stop: int) -> Iterator[_Token]:
    """What stands between two places of *text*: numbers, operators, brackets, words, breaks."""
    place = start
    if start:  # not from within a number or a word
        while place < stop and text[place] not in " \n":
            place += 1
    while place < stop:
        first, begun = text[place], place
        place = min(extent(text, begun), stop)
        if place > begun:
            word = text[begun:place]
            yield _Token("number", word + ("%" if text[place : place + 1] == "%" else ""), begun)
            place += text[place : place + 1] == "%"
            if text[place : place + 1].isalpha() and not text[place + 1 : place + 2].isalnum():
                yield _Token("break", text[place], place)  # 2x, a variable and no unit
                place += 1
            continue
        place += 1
        if first.isalpha() or (first == "/" and text[place : place + 1].isalpha()):
            while place < stop and (text[place].isalpha() or text[place] in "/'’-"):
                place += 1
            word = text[begun:place]
            yield _Token("operator", "*", begun) if word in "xX" else _Token("word", word, begun)
        elif first in "+-*/\u00d7\u00f7":
            yield _Token("operator", SPOKEN[first], begun)
        elif first in "()":
            yield _Token("bracket", first, begun)
        elif first not in " $":
            yield _Token("break", first, begun)


def _expression(tokens: Sequence[_Token]) -> tuple[str, int]:
    """
    The longest expression that ends where *tokens* end, read from there to the left, and its start.

    A number takes up to three words of units after it; what does not fit ends the expression.
    """
    taken: list[_Token] = []
    words, depth, wants_number = 0, 0, True
    for token in reversed(tokens):
        if token.kind == "word" and wants_number and words < MAX_UNITS:
            words += 1
            continue
        if token.kind == "number" and wants_number:
            wants_number, words = False, 0
        elif token.text == ")" and wants_number:
            depth += 1
        elif token.text == "(" and not wants_number and depth:
            depth -= 1
        elif token.kind == "operator" and not wants_number:
            wants_number = True
        else:
            break
        taken.append(token)
    kept = list(reversed(taken))
    while kept and (kept[0].kind == "operator" or kept[0].text == ")"):
        kept.pop(0)
    if sum(t.kind == "operator" for t in kept) == 0:
        return "", 0
    return "".join(token.text for token in kept), kept[0].start


def _result(text: str, place: int) -> tuple[str, int]:
    """The number that opens what follows an equals sign, and where it ends."""
    end = min(len(text), place + MAX_RIGHT)
    while place < end and text[place] in " $":
        place += 1
    sign = "-" if text[place : place + 1] == "-" else ""
    place += len(sign)
    while place < end and text[place] in " $":
        place += 1
    start, place = place, min(extent(text, place), end)
    place += text[place : place + 1] == "%"
    value = sign + text[start:place]
    return (value if operand(value) is not None else ""), place


def spoken(text: str) -> list[Equation]:
    """
    Find the equations that *text* says in words, in order: number, operation, number, is, number.

    >>> [str(e) for e in spoken("She has 15 plus 18, which makes a total of 33 caps.")]
    ['15+18=33']
    """
    words = list(_words(text))
    found = []
    place = 0
    while place < len(words):
        read = _said(words, place)
        if read is None:
            place += 1
            continue
        expression, result, stop = read
        found.append(equation(f"{expression}={result}", words[place][1], words[stop - 1][2]))
        place = stop
    return found


def _words(text: str) -> Iterator[tuple[str, int, int]]:
    """The words of *text* without what surrounds them, with where they start and end."""
    start = 0
    for piece in text.split(" "):
        for word in piece.split("\n"):
            yield word.strip("()[]'\".,!?;:*").lower(), start, start + len(word)
            start += len(word) + 1


def _said(words: Sequence[tuple[str, int, int]], place: int) -> tuple[str, str, int] | None:
    """The expression that starts at *place*, its stated result, and the word after it."""

    def plain(at: int) -> str | None:
        word = words[at][0].removeprefix("$") if at < len(words) else ""
        return word if operand(word) is not None else None

    left, place = plain(place), place + 1
    if left is None:
        return None
    pair = " ".join(word for word, _, _ in words[place : place + 2])
    one = words[place][0] if place < len(words) else ""
    operator = SPOKEN.get(pair) or SPOKEN.get(one)
    if operator is None:
        return None
    place += 2 if pair in SPOKEN else 1
    right = plain(place)
    verb = next(
        (p for p in range(place + 1, place + 6) if p < len(words) and words[p][0] in SAYS), 0
    )
    if right is None or not verb:
        return None
    for stop in range(verb + 1, min(verb + 6, len(words))):
        if (result := plain(stop)) is not None:
            return f"{left}{operator}{right}", result, stop + 1
    return None
