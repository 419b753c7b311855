"""Grading answers that are one number: exact rationals, read whole or not at all."""

import re

from redistill.grading import answers, numbers, units, words

# What joins a number to the one before it to one answer: 2 hours 30, 7 remainder 2.
JOINING = re.compile(
    rf"[0-9] ?(?:{'|'.join(sorted(words.UNITS, key=len, reverse=True))}|remainder|rem|r|R)\.?,?"
    r" (?:and )?\Z"
)

FOLLOWING = re.compile(r" (?:and an? )?(?!or\b)([^\W\d_]{2,12}+)\b")  # 3 pm, 2 and a half


def strict(completion: str) -> str | None:
    """
    Read the number after the last ``####`` of *completion*, as the task's format asks, else None.

    It has its unit where that is a known one, in one spelling: an answer in metres is none in km.

    >>> strict("2+3=5\\n#### 1,005 apples"), strict("#### 5 kilometres"), strict("The answer is 5.")
    ('1005', '5 km', None)
    """
    line = answers.marked(completion)
    found = units.read(line) if line is not None else None
    return found[0] if found is not None else None


def lenient(completion: str) -> str | None:
    """
    Find the answer wherever *completion* states it, or else its last number; None without either.

    That is what stands after the marker, in a box or after "the answer is", else a number alone in
    bold, else the last number. Where that number cannot be read, or is not all of what is stated
    ("2 hours 30 minutes"), no other is taken instead.

    >>> lenient("So she has $3.50 left."), lenient("The answer is 7, not 3."), lenient("It is ±3.")
    ('$3.50', '7', None)
    """
    found = strict(completion)
    if found is not None:
        return found
    text = numbers.tidy(answers.tail(completion))
    line = answers.marked(text)
    for place in (*([line] if line is not None else []), *answers.stated(text)):
        numeral = _stated(place)
        if numeral is not None:
            return numeral.text if numeral.value is not None else None
    bold = answers.bold(text)
    alone = units.read(bold) if bold is not None else None
    return alone[0] if alone is not None else _last(text)


def equal(answer: str | None, gold: str) -> bool:
    """
    Say whether *answer* is the same number as *gold*, and in the same unit where both have one.

    A per cent sign is a unit, as $ and km are.

    >>> equal("18.00", "18"), equal("-5", "5"), equal("3/4", "34"), equal("50%", "50")
    (True, False, False, True)
    >>> equal("5 km", "5"), equal("5 km", "5 kilometers"), equal("5 km", "5 m")
    (True, True, False)
    """
    if answer is None:
        return False
    left, right = numbers.number(answer), numbers.number(gold)
    if left is None or right is None:
        return answer == gold
    return left == right and not units.apart(answer, gold)


def _stated(place: str) -> numbers.Numeral | None:
    """The number that *place* states: its first, or where that starts a sum what it comes to."""
    near = place[: numbers.NEAR]
    found = numbers.leading(near)
    if found is not None and found.value is None and "=" in place:
        sum_ = place.rpartition("=")[2][: numbers.NEAR]
        total = numbers.leading(sum_)
        return total._replace(text=units.written(sum_, total)) if total is not None else found
    if found is None:
        return None
    if not numbers.whole(near[: found.end + numbers.REACH], found):
        return found._replace(value=None)
    return found._replace(text=units.written(near, found))


def _last(text: str) -> str | None:
    for line in reversed(text.rstrip().split("\n")):
        item = line.lstrip().removeprefix("- ")  # a dash opens an item of a list
        near = item[-numbers.NEAR :]
        found = numbers.trailing(near)
        if found is not None:
            joined = JOINING.search(near[max(0, found.start - numbers.MAX_LENGTH) : found.start])
            follows = FOLLOWING.match(near, found.end)
            another = joined is not None or (follows is not None and words.turns(follows[1]))
            return units.written(near, found) if found.value is not None and not another else None
    return None
