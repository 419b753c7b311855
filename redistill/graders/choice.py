"""Grading answers that are the letter of a choice."""

from redistill.grading import answers
from redistill.grading.answers import DRESS, JOINING

LETTERS = "ABCDEFGHIJ"
LETTERED = True  # a problem that it judges has choices
NAMING = ("option", "choice", "answer", "letter")


def strict(completion: str) -> str | None:
    """
    Read the letter after the last ``####`` of *completion*, as the task's format asks, else None.

    >>> strict("Cats purr.\\n#### (B)"), strict("It is B."), strict("#### A cat")
    ('B', None, None)
    """
    line = answers.marked(completion)
    return _opening(answers.plain(line).split()) if line is not None else None


def lenient(completion: str) -> str | None:
    """
    Find the letter where *completion* states its answer, or else its last letter of a choice.

    A bare ``A`` or ``I`` counts only where nothing follows: elsewhere it is a word.

    >>> lenient("The answer is (c), I think."), lenient("A cat is B."), lenient("A cat")
    ('C', 'B', None)
    """
    found = strict(completion)
    if found is not None:
        return found
    text = answers.tail(completion)
    bold = answers.bold(text)
    for place in (*answers.stated(text), *([bold] if bold else [])):
        words = answers.plain(place).split()
        found = _opening(words) or _first(words)
        if found is not None:
            return found
    for line in reversed(answers.plain(text).split("\n")):
        words = line.split()
        for at in range(len(words) - 1, -1, -1):
            letter = _named(words, at)
            if letter is not None:
                return letter
    return None


def equal(answer: str | None, gold: str) -> bool:
    """
    Say whether *answer* is the letter *gold*.

    >>> equal("B", "b"), equal("B", "C"), equal(None, "A")
    (True, False, False)
    """
    return answer is not None and answer.strip().upper() == gold.strip().upper()


def _opening(words: list[str]) -> str | None:
    """The letter that *words* open with, None where there is none or another goes with it."""
    at = 0
    while at < len(words) and words[at].strip(DRESS).casefold() in NAMING:
        at += 1
    letter = _letter(words[at]) if at < len(words) else None
    if letter is None or _article(words, at):
        return None
    after = [word for word in words[at + 1 : at + 3] if word.casefold() not in JOINING]
    joined = len(after) < len(words[at + 1 : at + 3]) or words[at].endswith((",", ";"))
    if after and (joined or len(words) == at + 2):
        other = _letter(after[0])
        if other is not None and other != letter:
            return None
    return letter


def _first(words: list[str]) -> str | None:
    """The first letter among *words* that is surely one: in brackets, or a capital by itself."""
    for at in range(len(words)):
        letter = _named(words, at)
        if letter is not None:
            return letter
    return None


def _named(words: list[str], at: int) -> str | None:
    letter = _letter(words[at])
    if letter is None or _article(words, at):
        return None
    return letter if words[at][:1] == "(" or letter in words[at] else None


def _article(words: list[str], at: int) -> bool:
    """Whether the bare letter at *at* is the word "a" or "I": words go on after it."""
    if words[at] not in ("A", "a", "I", "i") or at + 1 >= len(words):
        return False
    return words[at + 1][0].isalnum()


def _letter(word: str) -> str | None:
    text = word.strip(DRESS).upper()
    return text if len(text) == 1 and text in LETTERS else None
