"""Grading answers that are yes or no."""

MARKER = "####"
MAX_CHARACTERS = 4096  # the answer stands at the end; what is before it is not looked at
WORDS = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}


def strict(completion: str) -> str | None:
    """
    Yes or no after the last ``####`` of *completion*, as the task's format asks, else None.

    >>> strict("Hens lay eggs.\\n#### Yes."), strict("Yes, they do."), strict("#### not so")
    ('yes', None, None)
    """
    _before, marker, after = completion[-MAX_CHARACTERS:].rpartition(MARKER)
    words = after.strip().split("\n")[0].split()
    return _word(words[0]) if marker and words else None


def lenient(completion: str) -> str | None:
    """
    The last yes or no (or true or false) anywhere in *completion*, else None.

    >>> lenient("So the answer is no."), lenient("Nobody knows")
    ('no', None)
    """
    for word in reversed(completion[-MAX_CHARACTERS:].split()):
        if (found := _word(word)) is not None:
            return found
    return None


def equal(answer: str | None, gold: str) -> bool:
    """
    Whether *answer* says the same as *gold*.

    >>> equal("yes", "Yes"), equal("yes", "true"), equal("no", "yes"), equal(None, "no")
    (True, True, False, False)
    """
    return answer is not None and _word(answer) == _word(gold) and _word(gold) is not None


def _word(word: str) -> str | None:
    return WORDS.get(word.strip("()[]{}*'\".,!?;:").casefold())
