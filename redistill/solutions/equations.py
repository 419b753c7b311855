"""Equations in worked text: finding them, parsing them, and computing them exactly."""

import re
from dataclasses import dataclass
from fractions import Fraction

from redistill.grading.numbers import MAX_DIGITS, number, operand

MAX_TERMS = 12
_TOO_LONG = 10**MAX_DIGITS
# What can stand after a value or a closing bracket, and what after anything else
_AFTER_VALUE = re.compile(r"[-+*/()]|[0-9.][0-9.,]*+%?")
_BEFORE_VALUE = re.compile(r"[*/()]|[-+0-9.][0-9.,]*+%?")
OPERATORS = "+-*/"
PRIORITY = {"+": 1, "-": 1, "*": 2, "/": 2}


@dataclass(frozen=True)
class Operation:
    """One binary operation of an expression, in the order in which it is worked."""

    operator: str
    left: Fraction
    right: Fraction
    value: Fraction


@dataclass(frozen=True)
class Equation:
    """
    ``expression=result`` as it stands in a text.

    *value* is what the expression is really worth, None where it cannot be computed;
    *start* and *end* delimit the whole ``<<...>>`` or bare equation in the text.
    """

    expression: str
    result: Fraction | None
    operations: tuple[Operation, ...]
    value: Fraction | None
    start: int
    end: int

    @property
    def holds(self) -> bool:
        """Whether the stated result is what the expression is worth."""
        return self.value is not None and self.value == self.result

    @property
    def rounds(self) -> bool:
        """Whether it holds up to rounding: off by less than one in its last decimal, or the 6th."""
        if self.holds or self.value is None or self.result is None:
            return self.holds
        for decimals in range(1, MAX_DIGITS):
            if (self.result * 10**decimals).denominator == 1:
                return abs(self.value - self.result) < Fraction(1, 10 ** min(decimals, 6))
        return False

    @property
    def numbers(self) -> list[Fraction]:
        """The numbers that the expression names, in order."""
        tokens = tokenise(self.expression) or []
        return [token for token in tokens if isinstance(token, Fraction)]

    def __str__(self) -> str:
        return f"{self.expression}={'?' if self.result is None else decimal(self.result)}"


def annotated(text: str) -> list[Equation]:
    """Parse the equations that *text* marks as ``<<a+b=c>>``, in order."""
    return [equation(*place) for place in marked(text)]


def marked(text: str) -> list[tuple[str, int, int]]:
    """
    Find what stands in every ``<<a+b=c>>`` of *text*, in order.

    With each is where the mark starts and ends.
    """
    found = []
    start = text.find("<<")
    while start >= 0:
        stop = text.find(">>", start)
        if stop < 0:
            break
        inner = text[start + 2 : stop]
        if "=" in inner and "<<" not in inner and "\n" not in inner:
            found.append((inner, start, stop + 2))
            start = text.find("<<", stop + 2)
        elif "<<" in inner:
            start = text.rfind("<<", start + 2, stop)  # the innermost, in one step for any number
        else:
            start = text.find("<<", start + 2)
    return found


def equation(inner: str, start: int, end: int) -> Equation:
    """Parse the equation that *inner* is, which stands from *start* to *end* in its text."""
    expression, _, result = inner.rpartition("=")
    expression = expression.replace(" ", "").replace("$", "").replace("×", "*").replace("÷", "/")
    operations = work(expression)
    value = operations[-1].value if operations else operand(expression)
    stated, share = number(result), operand(result)
    if share is not None and share == value:  # 10/20=50%: a share of one, as well as 50 of 100
        stated = share
    return Equation(expression, stated, tuple(operations or ()), value, start, end)


def work(expression: str) -> list[Operation] | None:
    """
    Find the binary operations that compute *expression*, in order; None where it is not one.

    Known are + - * / with the usual priority, brackets, a leading sign, and percentages.
    Nothing is evaluated but exact fractions of at most 18 digits.

    >>> [o.operator for o in work("2+3*4")]
    ['*', '+']
    """
    tokens = tokenise(expression)
    if not tokens:
        return None
    values: list[Fraction] = []
    waiting: list[str] = []
    done: list[Operation] = []

    def apply() -> bool:
        operator = waiting.pop()
        if operator == "(" or len(values) < 2:
            return False
        right, left = values.pop(), values.pop()
        if operator == "/" and right == 0:
            return False
        value = compute(operator, left, right)
        if abs(value.numerator) >= _TOO_LONG or value.denominator >= _TOO_LONG:
            return False
        values.append(value)
        done.append(Operation(operator, left, right, value))
        return True

    for token in tokens:
        if isinstance(token, Fraction):
            values.append(token)
        elif token == "(":
            waiting.append(token)
        elif token == ")":
            while waiting and waiting[-1] != "(":
                if not apply():
                    return None
            if not waiting:
                return None
            waiting.pop()
        else:
            while waiting and waiting[-1] != "(" and PRIORITY[waiting[-1]] >= PRIORITY[token]:
                if not apply():
                    return None
            waiting.append(token)
    while waiting:
        if not apply():
            return None
    return done if len(values) == 1 else None


def compute(operator: str, left: Fraction, right: Fraction) -> Fraction:
    """Compute *left* *operator* *right*, exactly; *right* is not 0 for a division."""
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case _:
            return left / right


def tokenise(expression: str) -> list[Fraction | str] | None:
    """Split *expression* into numbers, operators and brackets; None where it has anything else."""
    tokens: list[Fraction | str] = []
    text = expression.replace(" ", "")
    place = 0
    after_number = after_value = False  # a value is a number or ends with a closing bracket
    while place < len(text):
        match = (_AFTER_VALUE if after_value else _BEFORE_VALUE).match(text, place)
        if match is None:
            return None
        token, place = match.group(), match.end()
        if token in "*/()" or (after_value and token in "+-"):
            tokens.append(token)
            after_number, after_value = False, token == ")"
        else:
            value = operand(token)
            if value is None or after_number:
                return None
            tokens.append(value)
            after_number = after_value = True
        if len(tokens) > 4 * MAX_TERMS:
            return None
    return tokens


def decimal(value: Fraction) -> str:
    """
    Write *value* as digits, rounded to six places.

    >>> decimal(Fraction(-7, 2)), decimal(Fraction(1, 128)), decimal(Fraction(-1, 10**7))
    ('-3.5', '0.007812', '0')
    """
    whole, part = divmod(round(abs(value) * 10**6), 10**6)
    text = f"{whole}.{part:06}".rstrip("0").rstrip(".")
    return f"-{text}" if value < 0 and text != "0" else text
