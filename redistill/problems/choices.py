"""The choices of a question in the forms that people write them, and which of them is right."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from redistill.console.exceptions import RefusedError

LETTERS = "ABCDEFGHIJ"
LABELLED = re.compile(r"\(?([A-Za-z0-9])[).:]\s*(\S.*)", re.DOTALL)  # "A) dog"
COLUMN = re.compile(r"(?:(?:choice|option)[ _-]?)?([A-J]|[0-9])", re.IGNORECASE)  # Option A


def read(value: Any) -> list[tuple[str | None, str]]:
    """
    Read *value* as labels and texts, in order; a label is None where there is none.

    It may be an object of labels and texts, an array of texts (``A) dog`` has its label), an array
    of objects with ``label`` and ``text``, an object of both as arrays, or any of these as JSON in
    a string. Raises RefusedError, with what is wrong, for anything else.
    """
    if isinstance(value, str):
        value = _decoded(value)
    if isinstance(value, Mapping) and {*value} in ({"label", "text"}, {"labels", "texts"}):
        (_, labels), (_, texts) = sorted(value.items())
        if not isinstance(labels, list) or not isinstance(texts, list):
            raise RefusedError("expected an array of labels and one of texts")
        if len(labels) != len(texts):
            raise RefusedError(f"{len(labels)} labels for {len(texts)} texts")
        return [(_text(a), _text(b)) for a, b in zip(labels, texts, strict=True)]
    if isinstance(value, Mapping):  # what is null there, Parquet has added
        return [(_text(a), _text(b)) for a, b in value.items() if b is not None]
    if isinstance(value, list):
        found = [_element(element) for element in value]
        bare = [LABELLED.fullmatch(text) for label, text in found if label is None]
        if len(bare) == len(found) and all(bare):
            cut = [(match[1], match[2]) for match in bare if match]
            if [label.upper() for label, _ in cut] == [*LETTERS[: len(cut)]]:
                return [*cut]
        return found
    raise RefusedError(f"expected an object or an array, got {type(value).__name__}")


def columns(row: Mapping[str, Any]) -> dict[str, str]:
    """
    Find the columns of *row* that are its choices, by label: A to D, option_a to option_d, choice1.

    Empty where there are fewer than two, or they do not follow each other from the first.
    """
    found = {m[1].upper(): name for name in row if (m := COLUMN.fullmatch(name))}
    labels = sorted(found)
    for start in (LETTERS, "1234567890", "0123456789"):
        if len(labels) > 1 and labels == sorted(start[: len(labels)]):
            return {label: found[label] for label in start[: len(labels)]}
    return {}


def settled(found: Sequence[tuple[str | None, str]], gold: str) -> tuple[dict[str, str], str]:
    """
    Give the choices *found* their letters, and find the letter of the *gold* answer.

    Labels A to J stay; all others become letters by their place. *gold* is a label, or else the
    text of exactly one choice. Raises RefusedError where it is neither.
    """
    labels = [_bare(label) for label, _ in found if label is not None]
    texts = [text.strip() for _, text in found]
    if not 1 <= len(found) <= len(LETTERS):
        raise RefusedError(
            f"{len(found)} choices; there may be 1 to {len(LETTERS)}",
        )
    if not all(texts):
        raise RefusedError("a choice is empty")
    if labels and len({label.casefold() for label in labels}) != len(found):
        raise RefusedError("a label stands twice, or is missing")
    kept = len(labels) == len(found) and all(len(x) == 1 and x in LETTERS for x in labels)
    letters = labels if kept else [*LETTERS[: len(found)]]
    lettered = bool(labels) and all(label.isalpha() for label in labels)
    choices = dict(zip(letters, (text for _, text in found), strict=True))
    return choices, letters[_place(labels or letters, texts, gold, lettered=lettered)]


def _place(labels: Sequence[str], texts: Sequence[str], gold: str, *, lettered: bool) -> int:
    """The place of the *gold* answer; a label that is a text too counts only if *lettered*."""
    named = [i for i, label in enumerate(labels) if label.casefold() == _bare(gold).casefold()]
    same = [i for i, text in enumerate(texts) if text == gold.strip()]
    if not same:
        same = [i for i, text in enumerate(texts) if text.casefold() == gold.strip().casefold()]
    if len(named) == len(same) == 1 and named != same and not lettered:
        raise RefusedError(
            f"{gold!r} is the label of one choice and the text of another "
            f"({texts[named[0]]!r}, label {labels[same[0]]}); give labels that are no texts"
        )
    for places in (named, same):
        if len(places) == 1:
            return places[0]
    told = f"{gold!r} is the text of {len(same)}" if same else f"{gold!r} is none"
    shown = ", ".join(f"{a}: {b}"[:40] for a, b in zip(labels, texts, strict=True))
    raise RefusedError(f"{told} of the choices ({shown}); give the label of the right one")


def _bare(label: str) -> str:
    return label.strip().strip("().:") or label


def _element(value: Any) -> tuple[str | None, str]:
    if isinstance(value, Mapping):
        label, text = value.get("label", value.get("key")), value.get("text", value.get("content"))
        if label is None or text is None:
            raise RefusedError("expected label and text in each object of the array")
        return _text(label), _text(text)
    return None, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RefusedError(f"expected texts, got {type(value).__name__}")
    return value if isinstance(value, str) else str(value)


def _decoded(text: str) -> Any:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict | list):
        raise RefusedError('expected an object or an array of JSON, such as {"A": "dog"}')
    return found
