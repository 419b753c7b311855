"""Short stories about growing and shrinking heaps of things, with the arithmetic behind them."""

import random
from dataclasses import dataclass

NAMES = [
    "Amir", "Bella", "Carlos", "Dana", "Elif", "Farid", "Grace", "Hugo", "Ines", "Jonas",
    "Keiko", "Lena", "Marco", "Nadia", "Omar", "Paula", "Quinn", "Rosa", "Samir", "Tara",
    "Ugo", "Vera", "Wim", "Yara",
]  # fmt: skip
READERS = ["Alba", "Boris", "Chen", "Dora", "Emil", "Fiona", "Gita", "Hana", "Ivan", "Jade"]
THINGS = [
    "apples", "beads", "books", "bottles", "buttons", "cards", "coins", "cookies", "crayons",
    "eggs", "flowers", "grapes", "lemons", "marbles", "nails", "nuts", "oranges", "pears",
    "pencils", "pins", "plums", "seeds", "shells", "stamps", "stickers", "stones", "tickets",
    "tiles", "tokens", "toys",
]  # fmt: skip
STARTS = [
    "{name} has {n} {things}.",
    "{name} starts with {n} {things}.",
    "There are {n} {things} in a box that belongs to {name}.",
    "{name} finds {n} {things} in the attic.",
    "In the morning {name} counts {n} {things}.",
    "{name} owns a bag with {n} {things}.",
    "On Monday {name} collects {n} {things}.",
    "{name} brings {n} {things} to the market.",
]
MOVES = {
    "+": [
        "{name} buys {n} more.",
        "Then {n} more {things} arrive.",
        "A friend gives {name} {n} {things}.",
        "{name} picks up another {n} {things}.",
        "Later {n} {things} are added.",
        "{name} wins {n} {things} in a game.",
        "A parcel with {n} {things} comes in the mail.",
        "An aunt sends {n} extra {things}.",
    ],
    "-": [
        "{name} gives away {n} {things}.",
        "{n} of them get lost.",
        "{name} sells {n} {things}.",
        "Then {n} {things} break.",
        "A neighbour takes {n} of the {things}.",
        "{name} throws out {n} old ones.",
        "{n} {things} are used up.",
        "{name} lends {n} {things} to a cousin.",
    ],
    "*": [
        "Then the heap grows to {n} times its size.",
        "A week later {name} has {n} times as many.",
        "A machine turns each of the {things} into {n}.",
        "{name} trades every one of them for {n} smaller ones.",
        "The number of {things} is multiplied by {n}.",
        "{name} gets {n} new ones for each old one and gives the old ones back.",
    ],
    "/": [
        "{name} splits them evenly into {n} bags and keeps one bag.",
        "The {things} are shared equally among {n} children, and {name} is one of them.",
        "{name} puts them into {n} equal piles and takes one pile home.",
        "Only one out of every {n} {things} is kept.",
        "The {things} are dealt evenly to {n} players, and {name} plays on with one share.",
        "{name} divides them into {n} equal rows and looks at one row.",
    ],
}
ENDS = [
    "How many {things} does {name} have now?",
    "How many {things} are there in the end?",
    "How many {things} is that?",
    "With how many {things} does {name} end up?",
    "What is the number of {things} now?",
]
OTHERS = {
    "+": "{other} has {n} more {things} than {name}.",
    "*": "{other} has {n} times as many {things} as {name}.",
}
TOGETHER = [
    "How many {things} do {name} and {other} have together?",
    "How many {things} do the two of them have in all?",
]
MAX_VALUE = 9999


@dataclass(frozen=True)
class Size:
    """A share of the stories whose numbers are at most *up_to*."""

    up_to: int
    share: float


@dataclass(frozen=True)
class Story:
    """A question and the operations that answer it, each with its operands and result."""

    question: str
    things: str
    name: str
    operations: tuple[tuple[int, str, int, int], ...]

    @property
    def answer(self) -> int:
        """The result of the last operation."""
        return self.operations[-1][3]


def tell(rng: random.Random, *, steps: int, up_to: int, names: list[str] = NAMES) -> Story:
    """
    Tell a story of *steps* operations on whole numbers of at most *up_to*.

    Factors and divisors have one digit, divisions leave no remainder, results stay positive
    and below ten thousand.
    """
    name, other = rng.sample(names, 2)
    words = {"name": name, "other": other, "things": rng.choice(THINGS)}
    value = start = rng.randint(2, up_to)
    sentences = [rng.choice(STARTS).format(n=start, **words)]
    operations: list[tuple[int, str, int, int]] = []
    together = steps > 1 and rng.random() < 0.25
    while len(operations) < steps - (2 if together else 0):
        operator, n, result = _move(rng, value, up_to)
        operations.append((value, operator, n, result))
        sentences.append(rng.choice(MOVES[operator]).format(n=n, **words))
        value = result
    if together:
        operator = rng.choice("+*")
        n = rng.randint(2, up_to if operator == "+" else min(9, up_to))
        theirs = value + n if operator == "+" else value * n
        operations += [(value, operator, n, theirs), (value, "+", theirs, value + theirs)]
        sentences.append(OTHERS[operator].format(n=n, **words))
        sentences.append(rng.choice(TOGETHER).format(**words))
    else:
        sentences.append(rng.choice(ENDS).format(**words))
    return Story(" ".join(sentences), words["things"], name, tuple(operations))


def _move(rng: random.Random, value: int, up_to: int) -> tuple[str, int, int]:
    while True:
        operator = rng.choice("+-*/")
        n = rng.randint(2, up_to if operator in "+-" else min(9, up_to))
        if operator == "+":
            return operator, n, value + n
        if operator == "-" and n < value:
            return operator, n, value - n
        if operator == "*" and value * n <= MAX_VALUE:
            return operator, n, value * n
        if operator == "/":
            divisors = [d for d in range(2, min(9, up_to) + 1) if value % d == 0 and d < value]
            if divisors:
                n = rng.choice(divisors)
                return operator, n, value // n


def draw_size(rng: random.Random, sizes: list[Size]) -> int:
    """Draw one of *sizes* by its share."""
    return rng.choices([s.up_to for s in sizes], weights=[s.share for s in sizes])[0]
