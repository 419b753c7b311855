"""How many of a thing there are, in words."""


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """
    Write *count* with *noun*, or with its *plural*, which is that with an s.

    >>> counted(1, "problem"), counted(2_000, "problem"), counted(0, "query", "queries")
    ('1 problem', '2,000 problems', '0 queries')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
