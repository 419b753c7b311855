"""Grading answers that are the letter of a choice."""

MARKER = "####"
MAX_CHARACTERS = 4096  # the answer stands at the end; what is before it is not looked at
LETTERS = "ABCDEFGHIJ"


def strict(completion: str) -> str | None:
    """
    The letter after the last ``####`` of *completion*, as the task's format asks, else None.

    >>> strict("Cats purr.\\n#### (B)"), strict("It is B."), strict("#### Because")
    ('B', None, None)
    """
    _before, marker, after = completion[-MAX_CHARACTERS:].rpartition(MARKER)
    words = after.strip().split("\n")[0].split()
    return _letter(words[0]) if marker and words else None


def lenient(completion: str) -> str | None:
    """
    The last word of *completion* that is a letter of a choice, else None.

    A bare ``A`` counts only at the end of a line: elsewhere it is an article.

    >>> lenient("The answer is (c), I think."), lenient("A cat is B."), lenient("A cat")
    ('C', 'B', None)
    """
    for line in reversed(completion[-MAX_CHARACTERS:].split("\n")):
        words = line.split()
        for place in range(len(words) - 1, -1, -1):
            letter = _letter(words[place])
            article = words[place] in ("A", "I") and place < len(words) - 1
            if letter and not article and (words[place][:1] == "(" or letter in words[place]):
                return letter
    return None


def equal(answer: str | None, gold: str) -> bool:
    """
    Whether *answer* is the letter *gold*.

    >>> equal("B", "b"), equal("B", "C"), equal(None, "A")
    (True, False, False)
    """
    return answer is not None and answer.strip().upper() == gold.strip().upper()


def _letter(word: str) -> str | None:
    text = word.strip("()[]{}*'\".,!?;:").upper()
    return text if len(text) == 1 and text in LETTERS else None
