"""Where in a completion its answer stands: after the marker, in a box, after a cue, in bold."""

import re
from collections.abc import Iterator

MARKER = "####"
DRESS = "()[]{}<>*_'\"`$.,!?;:\\"  # what may stand around a word that is an answer
JOINING = ("or", "and", "&", "/")  # between two answers, which are then none
MAX_CHARACTERS = 4096  # the answer stands at the end; what is before it is not looked at
# Every quantifier is bounded or possessive, so that no text makes a search more than linear.
BRACES = re.compile(r"\\(?:boxed|fbox) ?\{|\\.|[{}]", re.DOTALL)
UNBRACED = re.compile(r"\\(?:boxed|fbox) ++([^{$]++)")
BOLD = re.compile(r"\*\*(?![\s*])([^*\n]{1,80})(?<!\s)\*\*")
CUE = re.compile(
    r"\b(?:answer|(?:correct|right|best) (?:option|choice))(?: (?:to|for) (?:the|this) \w{1,12}+)?"
    r"(?:\*\*)?(?: ?[:=]| is\b| would be\b)(?: ?:)?",
    re.IGNORECASE,
)
COMMAND = re.compile(r"\\(?:boxed|text(?:bf|it|rm)?|math(?:rm|bf|bb|sf)|bf|rm)(?![A-Za-z]) ?")


def tail(completion: str) -> str:
    """Return the part of *completion* in which an answer is looked for."""
    return completion[-MAX_CHARACTERS:]


def marked(completion: str) -> str | None:
    """
    Find the line after the last ``####``, None where there is no marker or nothing after it.

    Of several markers the last one counts: what a text says last is what it stands by.

    >>> marked("#### 4\\nNo, wait.\\n#### 5 apples\\nDone."), marked("5"), marked("####")
    ('5 apples', None, None)
    """
    _before, marker, after = tail(completion).rpartition(MARKER)
    line = after.strip().split("\n")[0].strip()
    return line if marker and line else None


def boxes(text: str) -> list[tuple[int, int, str]]:
    r"""
    Find start, end and content of every complete ``\boxed{...}`` in *text*, by where they end.

    Braces are counted in one pass, as they can be nested and may never close.

    >>> boxes(r"so \boxed{\frac{1}{2}} and \boxed{3")
    [(3, 22, '\\frac{1}{2}')]
    """
    found = []
    opened: list[tuple[int, int] | None] = []
    for match in BRACES.finditer(text):
        sign = match.group()
        if sign == "{":
            opened.append(None)
        elif sign == "}":
            box = opened.pop() if opened else None
            if box is not None:
                found.append((box[0], match.end(), text[box[1] : match.start()]))
        elif len(sign) > 2:
            opened.append((match.start(), match.end()))
    return found


def boxed(text: str) -> tuple[int, str] | None:
    """Find place and content of the last complete box in *text*."""
    found = boxes(text)
    return (found[-1][0], found[-1][2]) if found else None


def last_box(text: str) -> str | None:
    r"""
    Return what the last ``\boxed`` or ``\fbox`` of *text* holds, with braces or without.

    None where there is none that closes.

    >>> last_box(r"so $\boxed{\frac{1}{2}}$."), last_box(r"$\boxed 7$"), last_box(r"\boxed{3")
    ('\\frac{1}{2}', '7', None)
    """
    found, bare = boxed(text), None
    for match in UNBRACED.finditer(text):
        bare = match
    if bare is not None and (found is None or bare.start() > found[0]):
        return bare.group(1).strip(" .") or None
    return found[1].strip() or None if found is not None else None


def cued(text: str) -> tuple[int, str] | None:
    """
    Find the place of the last "answer is" or "answer:" in *text*, and the rest of its line.

    >>> cued("The answer is 5.\\nBye.")
    (4, ' 5.')
    """
    last = None
    for match in CUE.finditer(text):
        last = match
    if last is None:
        return None
    return last.start(), text[last.end() :].partition("\n")[0]


def stated(text: str) -> Iterator[str]:
    """Find the places where *text* says that it gives its answer, the last one first."""
    places = [place for place in (boxed(text), cued(text)) if place is not None]
    for _, found in sorted(places, reverse=True):
        yield found


def bold(text: str) -> str | None:
    """
    Find what stands last in bold in *text*.

    >>> bold("**Step 1**: so it is **18 apples**.")
    '18 apples'
    """
    found = BOLD.findall(text)
    return found[-1] if found else None


def plain(text: str) -> str:
    r"""
    Strip *text* of the LaTeX commands that only dress a word.

    >>> plain(r"\boxed{\text{yes}}")
    '{{yes}}'
    """
    return COMMAND.sub("", text) if "\\" in text else text
