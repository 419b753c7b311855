"""What makes two questions alike: their words, whatever their order, and the same numbers."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from redistill.problems.overlap import question
from redistill.records.types import Problem

STEM = 5  # letters of a word that count, so that sell, sells and selling are one
FEWEST = 4  # words of a question that is compared: fewer say too little
MOST = 4  # words of an answer that is compared: more can be put in other words
APART = 0.2  # how much less alike what is asked may be than what is told before it
VOUCHED = 2  # numbers in common from which the set likeness is enough

TOKEN = re.compile(
    r"(?<![\w.])1/(?=\d)|(?<![^\W\d_])(?:\d+(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?"
    r"|(?<!\w)\.\d+|[^\W\d_]+|[+*/=<>^×÷√]"
)
SENTENCE = re.compile(r"[.?!]\s+")
TITLE = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St)\.")
SINGLE = """
    three:3 four:4 five:5 six:6 seven:7 eight:8 nine:9 ten:10 eleven:11 twelve:12 thirteen:13
    fourteen:14 fifteen:15 sixteen:16 seventeen:17 eighteen:18 nineteen:19 thrice:3 triple:3
    tripled:3 third:3 thirds:3 quadruple:4 fourth:4 fourths:4 quarter:4 quarters:4 fifth:5 fifths:5
    sixth:6 sixths:6 seventh:7 sevenths:7 eighth:8 eighths:8 ninth:9 ninths:9 tenth:10 tenths:10
    dozen:12 twenty:20 thirty:30 forty:40 fifty:50 sixty:60 seventy:70 eighty:80 ninety:90
"""
NUMBERS = {word: int(value) for word, value in (pair.split(":") for pair in SINGLE.split())}
LOOSE = dict.fromkeys(("one", "once"), "1")
LOOSE |= dict.fromkeys(("two", "twice", "double", "doubled", "half", "halves", "halved"), "2")
UNITS = {"one": 1, "two": 2} | {word: value for word, value in NUMBERS.items() if value < 10}
SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6}
UNSURE = frozenset({"1", "2"})  # said as "a", "both", "each other": a text may have them or not
COMMON = """
    a an the of to in on at for is are was were be been he she it they his her him its them their
    there this that these those and or if then so with by from as has have had do does did who
    which will would can could how many much what s zero
"""
SILENT = frozenset({"1/", *COMMON.split(), *NUMBERS, *LOOSE, *SCALES})
SAME = dict.fromkeys(("altogether", "together", "combined", "collectively"), "total")
SAME |= dict.fromkeys(("remain", "remains", "remaining"), "left")


@dataclass(frozen=True)
class Told:
    """
    A question as it is compared: stems of its words, and its numbers.

    *story* has the stems of all sentences but the last, *asked* those of the last; choices count
    as words of the story. *numbers* are those written in digits or words, *written* those in
    digits. *answer* is the gold answer: its numbers, or its words where they are few.
    """

    story: frozenset[str]
    asked: frozenset[str]
    numbers: frozenset[str]
    written: frozenset[str]
    answer: str

    @property
    def words(self) -> frozenset[str]:
        """The stems of the whole question."""
        return self.story | self.asked

    @property
    def sure(self) -> frozenset[str]:
        """The numbers that a text of the same problem has as well."""
        return self.numbers - UNSURE


def told(problem: Problem) -> Told:
    """
    Write the question of *problem* as it is compared.

    >>> asked = "Ann sells 1,200 figs. How many are left?"
    >>> found = told(Problem(id="p", question=asked, answer="1"))
    >>> sorted(found.story), sorted(found.asked), sorted(found.numbers)
    (['ann', 'figs', 'sells'], ['left'], ['1200'])
    """
    text, start = problem.question, _last_sentence(problem.question)
    choices = question(problem)[len(text) :]
    before, asked = (TOKEN.findall(part.lower()) for part in (text[:start], text[start:]))
    story = [*before, *TOKEN.findall(choices.lower())] if choices else before
    written = frozenset(_plain(token) for token in (*story, *asked) if token[-1].isdecimal())
    spoken = _spoken((*before, *asked))
    answer = _answer((problem.choices or {}).get(problem.answer, problem.answer))
    return Told(_stems(story), _stems(asked), written.union(spoken), written, answer)


def likeness(one: Told, other: Told) -> float:
    """Compute the share of the words of either that are in both (Jaccard), from 0 to 1."""
    return _shared(one.words, other.words)


def alike(one: Told, other: Told, least: float) -> bool:
    """
    Say whether two questions are one problem in other words, by *least* of their words in common.

    They have the same answer, where that is a number or short, and the same numbers; a 1 or a 2
    may be missing where it is a word. Of questions with fewer than VOUCHED numbers more words have
    to be the same: half of what *least* leaves open. And what is asked last is as like as what is
    told before, up to APART: of one story many questions can be asked.
    """
    if one.answer != other.answer or not _same_numbers(one, other):
        return False
    if likeness(one, other) < needed(least, vouched=len(one.sure) >= VOUCHED):
        return False
    return _within(one.asked, other.asked) >= _shared(one.story, other.story) - APART


def needed(least: float, *, vouched: bool) -> float:
    """Say how alike another question has to be, by whether enough numbers have *vouched* for it."""
    return least if vouched else (1 + least) / 2


def _shared(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 1.0


def _answer(text: str) -> str:
    """
    What of the gold answer *text* has to be the same.

    >>> _answer("$1,200.00"), _answer("New York."), _answer("It all depends on the weather")
    ('1200', 'new york', '')
    """
    tokens = TOKEN.findall(text.lower())
    numbers = [_plain(token) for token in tokens if token[-1].isdecimal()]
    return " ".join(numbers or (tokens if len(tokens) <= MOST else ()))


def _within(one: frozenset[str], other: frozenset[str]) -> float:
    """The share of the shorter one's words that the longer one has."""
    return len(one & other) / min(len(one), len(other)) if one and other else 1.0


def _same_numbers(one: Told, other: Told) -> bool:
    if one.sure != other.sure:
        return False
    return not (one.written - other.numbers or other.written - one.numbers)


def _last_sentence(text: str) -> int:
    """Where the last sentence of *text* begins; a title before a name ends none."""
    start = 0
    for end in SENTENCE.finditer(text.rstrip()):
        if not TITLE.search(text, max(end.start() - 4, 0), end.start() + 1):
            start = end.end()
    return start


def _stems(tokens: Iterable[str]) -> frozenset[str]:
    return frozenset(map(_stem, tokens)) - {""}


@lru_cache(maxsize=100_000)
def _stem(token: str) -> str:
    """The start of a word that says something; nothing of others, and of numbers."""
    if token[-1].isdecimal() or token in SILENT:
        return ""
    return SAME.get(token, token)[:STEM]


def _plain(digits: str) -> str:
    """Write *digits* without separators, and without zeros that change nothing."""
    whole, _, part = digits.replace(",", "").partition(".")
    whole, part = whole.lstrip("0") or "0", part.rstrip("0")
    return f"{whole}.{part}" if part else whole


def _spoken(tokens: Sequence[str]) -> set[str]:
    """The numbers said in words: thirty-two is one, five hundred too; one and two are unsure."""
    found: set[str] = set()
    place = 0
    while place < len(tokens):
        word, place = tokens[place], place + 1
        if word in LOOSE:
            found.add(LOOSE[word])
        elif value := NUMBERS.get(word):
            if value >= 20 and (ones := UNITS.get(_at(tokens, place), 0)):
                value, place = value + ones, place + 1
            if scale := SCALES.get(_at(tokens, place)):
                value, place = value * scale, place + 1
            found.add(str(value))
    return found


def _at(tokens: Sequence[str], place: int) -> str:
    return tokens[place] if place < len(tokens) else ""
