"""Grading answers that are yes or no."""

from redistill.grading import answers
from redistill.grading.answers import DRESS, JOINING

WORDS = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}
ENDS = ".,;:!?)]}*_\"'`$"
# "no" before any other word is part of a phrase: no doubt, no one, no longer
CLAUSES = "it they he she you we i this that these those the there because since as"
SUBJECTS = frozenset(CLAUSES.split())


def strict(completion: str) -> str | None:
    """
    Read yes or no after the last ``####`` of *completion*, as the task's format asks, else None.

    >>> strict("Hens lay eggs.\\n#### Yes."), strict("Yes, they do."), strict("#### not so")
    ('yes', None, None)
    """
    line = answers.marked(completion)
    return _opening(answers.plain(line).split()) if line is not None else None


def lenient(completion: str) -> str | None:
    """
    Find yes or no where *completion* states its answer, or else the last one that is a clause.

    >>> lenient("So the answer is no."), lenient("Nobody knows"), lenient("There is no doubt: yes")
    ('no', None, 'yes')
    """
    found = strict(completion)
    if found is not None:
        return found
    text = answers.tail(completion)
    for place in answers.stated(text):
        found = _opening(answers.plain(place).split())
        if found is not None:
            return found
    for line in reversed(answers.plain(text).split("\n")):
        words = line.split()
        for at in range(len(words) - 1, -1, -1):
            found = _clause(words, at)
            if found is not None:
                return found
    return None


def equal(answer: str | None, gold: str) -> bool:
    """
    Say whether *answer* says the same as *gold*.

    >>> equal("yes", "Yes"), equal("yes", "true"), equal("no", "yes"), equal(None, "no")
    (True, True, False, False)
    """
    return answer is not None and _word(answer) == _word(gold) and _word(gold) is not None


def _opening(words: list[str]) -> str | None:
    """What *words* open with, None where the opposite goes with it: "yes and no"."""
    found = _clause(words, 0) if words else None
    if found is not None and len(words) > 1 and words[1].casefold() in JOINING:
        return None
    return found


def _clause(words: list[str], at: int) -> str | None:
    """Yes or no at *at*, if it says something by itself: no phrase, and nothing that negates it."""
    found = _word(words[at])
    if found is None:
        return None
    before = words[at - 1].casefold() if at else ""
    if before == "not" or before.endswith(("n't", "n’t")):
        return None
    ended = words[at][-1] in ENDS or at + 1 == len(words)
    opens = not at or before[-1:] in (".", "!", "?", ":", "*")
    if ended or (opens and found == "yes") or (opens and words[at + 1].casefold() in SUBJECTS):
        return found
    return found if words[at + 1].casefold() in JOINING else None


def _word(word: str) -> str | None:
    return WORDS.get(word.strip(DRESS).casefold())
