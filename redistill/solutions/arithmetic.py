"""An operation on two numbers, worked digit by digit as it is taught at school."""

from fractions import Fraction

from redistill.solutions.equations import compute, decimal

MAX_WIDTH = 9  # digits; wider numbers make more small steps than a student can follow
MAX_DIVISOR = 99


def small_steps(
    operator: str, left: Fraction, right: Fraction, *, finer: bool = False
) -> list[str]:
    """
    Write the small equations that lead to *left* *operator* *right*, units first (division: last).

    Each has operands of one digit and at most a carry, or is itself a simpler operation of
    whole numbers; *finer* makes the carry a step of its own. An operation that is a digit fact, or
    cannot be worked this way, has none.

    >>> small_steps("+", Fraction(48), Fraction(27))
    ['8+7=15', '4+2+1=7']
    >>> small_steps("-", Fraction(52), Fraction(27))
    ['12-7=5', '5-2-1=2']
    >>> small_steps("*", Fraction(34), Fraction(6))
    ['4*6=24', '3*6+2=20']
    >>> small_steps("/", Fraction(96), Fraction(4))
    ['9=4*2+1', '16=4*4']
    >>> small_steps("*", Fraction(34), Fraction(6), finer=True)
    ['4*6=24', '3*6=18', '18+2=20']
    """
    if left < 0 or right < 0:
        return []
    if left.denominator != 1 or right.denominator != 1:
        return _scaled(operator, left, right, finer)
    a, b = left.numerator, right.numerator
    if max(len(str(a)), len(str(b))) > MAX_WIDTH:
        return []
    match operator:
        case "+":
            return _add(a, b, finer) if max(a, b) > 9 else []
        case "-":
            return _subtract(a, b, finer) if a > 18 and a >= b else []
        case "*":
            return _multiply(a, b, finer) if max(a, b) > 9 else []
        case "/":
            return _divide(a, b, finer) if a > 9 and 0 < b <= MAX_DIVISOR else []
    return []


def _columns(a: int, b: int) -> list[tuple[int, int]]:
    """The digits of *a* and *b* in pairs, units first."""
    width = max(len(str(a)), len(str(b)))
    return [(a // 10**place % 10, b // 10**place % 10) for place in range(width)]


def _add(a: int, b: int, finer: bool) -> list[str]:
    lines, carry = [], 0
    for x, y in _columns(a, b):
        total = x + y + carry
        if carry and finer:
            lines += [f"{x}+{y}={x + y}", f"{x + y}+1={total}"]
        else:
            lines.append(f"{x}+{y}{'+1' if carry else ''}={total}")
        carry = total // 10
    return lines


def _subtract(a: int, b: int, finer: bool) -> list[str]:
    lines, borrowed = [], 0
    for x, y in _columns(a, b):
        top = x + 10 if x - borrowed < y else x
        if borrowed and finer:
            lines += [f"{top}-1={top - 1}", f"{top - 1}-{y}={top - 1 - y}"]
        else:
            lines.append(f"{top}-{y}{'-1' if borrowed else ''}={top - y - borrowed}")
        borrowed = int(top != x)
    return lines


def _multiply(a: int, b: int, finer: bool) -> list[str]:
    if a < 10:
        a, b = b, a
    if b < 10:
        lines, carry = [], 0
        for place in range(len(str(a))):
            digit = a // 10**place % 10
            total = digit * b + carry
            if carry and finer:
                lines += [f"{digit}*{b}={digit * b}", f"{digit * b}+{carry}={total}"]
            else:
                lines.append(f"{digit}*{b}{f'+{carry}' if carry else ''}={total}")
            carry = total // 10
        return lines
    parts = [int(d) * 10**place for place, d in enumerate(reversed(str(b))) if d != "0"]
    if len(parts) == 1 and a % 10 == 0:  # 30*200: the zeros are all there is to it
        first, second = str(a).rstrip("0"), str(b).rstrip("0")
        return [f"{first}*{second}={int(first) * int(second)}"]
    lines, total = [], 0
    for part in parts:
        lines.append(f"{a}*{part}={a * part}")
        if total:
            lines.append(f"{total}+{a * part}={total + a * part}")
        total += a * part
    if len(parts) > 1:
        return lines
    return _multiply(a, parts[0] // 10 ** (len(str(parts[0])) - 1), finer)


def _divide(a: int, b: int, finer: bool) -> list[str]:
    if a % b or b == 1:
        return []
    lines: list[str] = []
    rest = 0
    for digit in str(a):
        rest = rest * 10 + int(digit)
        if rest < b and not lines:
            continue
        over = rest % b
        if over and finer:
            lines += [f"{b}*{rest // b}={rest - over}", f"{rest}-{rest - over}={over}"]
        else:
            lines.append(f"{rest}={b}*{rest // b}{f'+{over}' if over else ''}")
        rest %= b
    return lines


def _scaled(operator: str, left: Fraction, right: Fraction, finer: bool) -> list[str]:
    """Decimals as whole numbers first, then the point put back."""
    a, shift_a = _whole(left)
    b, shift_b = _whole(right)
    if a is None or b is None or operator == "/":
        return []
    if operator in "+-":
        shift = max(shift_a, shift_b)
        a, b, back = a * 10 ** (shift - shift_a), b * 10 ** (shift - shift_b), shift
    else:
        back = shift_a + shift_b
    if operator == "-" and a < b:
        return []
    value = compute(operator, Fraction(a), Fraction(b))
    if len(str(value)) > MAX_WIDTH:
        return []
    inner = small_steps(operator, Fraction(a), Fraction(b), finer=finer)
    point = f"{value}/{10**back}={decimal(value / 10**back)}"
    return [*inner, f"{a}{operator}{b}={value}", point]


def _whole(value: Fraction) -> tuple[int | None, int]:
    """*value* times the smallest power of ten that makes it whole, and that power's exponent."""
    for shift in range(5):
        if (scaled := value * 10**shift).denominator == 1:
            return scaled.numerator, shift
    return None, 0
