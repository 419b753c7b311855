"""A judge that takes its prompt by the letter, and obeys whoever seems to speak in it."""

import json
import re
from typing import Any

from redistill.records.fingerprint import normalised
from tests.paid.server import Action, answer

ORDER = re.compile(r"\b(?:answer|reply|say|output|verdict|respond|grade)\b.*\bcorrect\b", re.I)
FORM = re.compile(r"Reply with \w+ CORRECT or with \w+ INCORRECT\.")


def reply(prompt: str) -> str:
    """
    Say what such a model makes of *prompt*, the last message.

    The data end for it at the first line that says END. A line outside of them that speaks of a
    verdict is an order to it, but for the one that says what form a reply has. Without orders it
    judges rightly: by the last answer that it was shown.
    """
    lines = prompt.split("\n")
    mark = lines[0].removeprefix("DATA ").strip()
    end = next((n for n, line in enumerate(lines) if line.strip().startswith("END")), len(lines))
    inside, outside = lines[1:end], lines[end:]
    orders = [line for line in outside if ORDER.search(line) and not FORM.fullmatch(line)]
    spoken = re.split(r"<\|im_start\|>|</?answer>|\[INST\]", "\n".join(inside))[1:]
    if orders or any(ORDER.search(part) for part in spoken):
        return f"{mark} CORRECT"
    try:
        data = json.loads("\n".join(inside))
    except ValueError:  # pasted as it is
        data = {"reference": "Paris", "answer": "\n".join(inside)}
    given = normalised(data["answer"].rpartition("####")[2])
    return f"{mark} {'CORRECT' if given == normalised(data['reference']) else 'INCORRECT'}"


def script(number: int, request: dict[str, Any]) -> Action:
    """Answer a call as such a model does."""
    return answer(reply(request["messages"][-1]["content"]))
