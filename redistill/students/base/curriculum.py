"""What the embedded student reads before any rationale: stories, copies and digit facts."""

import random
from collections.abc import Iterator
from itertools import zip_longest

from redistill.problems import stories

LETTERS = "abcdefgh"


Lesson = list[tuple[str, str]]  # what is given, and what is to be written after it, in turn


def lessons(seed: int, count: int) -> list[Lesson]:
    """
    Draw *count* short lessons.

    They are stories to set up as equations without results, numbers to copy, reverse and lay out
    in columns, and one-digit facts. None is a rationale of a task, and the people in the stories
    have names that no task uses, so no question of a task is among them.
    """
    rng = random.Random(f"curriculum {seed}")  # noqa: S311 - data, not a secret
    kinds = (
        [_story] * 6 + [_layout] * 4 + [_copy, _reverse] + [_join] * 3 + [_columns] * 6
        + [_facts] * 7 + [_marked] * 4
    )  # fmt: skip
    return [rng.choice(kinds)(rng) for _ in range(count)]


def vocabulary(seed: int) -> Iterator[str]:
    """Write texts in which every word of the stories occurs often, for building the tokenizer."""
    yield from ("".join(given + asked for given, asked in lesson) for lesson in lessons(seed, 3000))
    for name in stories.NAMES:
        yield from (f"{name} {name}. {name}'s of {name}" for _ in range(40))
    yield from ("<<1+2=3>>\n<<4*5=20>>\n#### 20" for _ in range(400))


def _number(rng: random.Random) -> int:
    return rng.randrange(10 ** rng.choice([1, 2, 2, 3, 3]))


def _story(rng: random.Random) -> Lesson:
    story = stories.tell(
        rng,
        steps=rng.choice([1, 1, 2, 2, 3]),
        up_to=rng.choice([9, 99, 200, 300]),
        names=stories.READERS,
    )
    seen: dict[int, str] = {}
    lines = []
    for index, (left, operator, right, result) in enumerate(story.operations):
        lines.append(f"{LETTERS[index]}: {seen.get(left, left)}{operator}{seen.get(right, right)}")
        seen[result] = LETTERS[index]
    return [(f"{story.question}\n", "\n".join(lines))]


def _copy(rng: random.Random) -> Lesson:
    numbers = " ".join(str(_number(rng)) for _ in range(rng.randint(1, 3)))
    return [(f"copy {numbers}\n", numbers)]


def _reverse(rng: random.Random) -> Lesson:
    digits = str(_number(rng))
    return [(f"reverse {digits}\n", " ".join(reversed(digits)))]


def _join(rng: random.Random) -> Lesson:
    digits = str(_number(rng))
    return [(f"join {' '.join(reversed(digits))}\n", digits)]


def _columns(rng: random.Random) -> Lesson:
    """Which digits meet in an operation, units first; what comes out is not said."""
    return [_column(rng) for _ in range(rng.randint(1, 3))]


def _layout(rng: random.Random) -> Lesson:
    """A story of one step, its operation, and which digits meet in it."""
    story = stories.tell(rng, steps=1, up_to=rng.choice([99, 300]), names=stories.READERS)
    a, operator, b, _ = story.operations[0]
    if operator == "/":
        return [(f"{story.question}\n", f"{a}/{b}:")]
    first, rest = _laid_out(str(a), operator, str(b))
    return [(f"{story.question}\n", first + rest)]


def _column(rng: random.Random) -> tuple[str, str]:
    operator = rng.choice("+-*")
    b = rng.randrange(2, 10) if operator == "*" else _number(rng)
    return _laid_out(str(_number(rng)), operator, str(b))


def _laid_out(a: str, operator: str, b: str) -> tuple[str, str]:
    pairs = zip_longest(reversed(a), reversed(b), fillvalue="0")
    if operator == "*":
        pairs = zip_longest(reversed(a), "", fillvalue=b)
    return f"{a}{operator}{b}:", "".join(f" {x}{operator}{y}" for x, y in pairs) + "\n"


def _facts(rng: random.Random) -> Lesson:
    return [_fact(rng) for _ in range(rng.randint(3, 8))]


def _fact(rng: random.Random) -> tuple[str, str]:
    x, y, carry = rng.randrange(10), rng.randrange(10), rng.randrange(2)
    match rng.choice("+-*/"):
        case "+":
            if rng.random() < 0.2:
                x, carry = rng.randrange(10, 90), 0
            return f"{x}+{y}{'+1' if carry else ''}=", f"{x + y + carry} "
        case "-":
            top = x + 10 if x - carry < y else x
            return f"{top}-{y}{'-1' if carry else ''}=", f"{top - y - carry} "
        case "*":
            carry = rng.randrange(9)
            return f"{x}*{y}{f'+{carry}' if carry else ''}=", f"{x * y + carry} "
        case _:
            y = rng.randint(2, 9)
            rest = rng.randrange(y * 10)
            over = f"+{rest % y}" if rest % y else ""
            return f"{rest}={y}*", f"{rest // y}{over} "


def _marked(rng: random.Random) -> Lesson:
    """Facts between the marks that tasks put around equations; divisions without a remainder."""
    return [_marked_fact(rng) for _ in range(rng.randint(2, 5))]


def _marked_fact(rng: random.Random) -> tuple[str, str]:
    x, y = rng.randint(1, 9), rng.randint(1, 9)
    match rng.choice("+-*/"):
        case "+":
            return f"<<{x}+{y}=", f"{x + y}>>\n"
        case "-":
            return f"<<{x + y}-{y}=", f"{x}>>\n"
        case "*":
            return f"<<{x}*{y}=", f"{x * y}>>\n"
        case _:
            return f"<<{x * y}/{y}=", f"{x}>>\n"
