"""What models wrap a rationale in: fences, bold markers, a label, tokens of a chat template."""

import re

from redistill.grading.answers import MARKER
from redistill.llm import thought_tags

DEPTH = 4  # how many wrappings, one within the other, are taken off
PAIRED = ("**", "__", "`")
LONE = (*PAIRED, "*", "``")  # between spaces these mark no word of the text
_LABEL = r"(?:(?:new|worked|mended|corrected|improved) )?(?:rationale|answer|solution)"
OPENING = re.compile(
    r"(?:```|~~~)[\w+-]{0,20}[ \t]*\n"
    r"|(?:\*\*|__|\*|``?)(?=\s)"
    rf"|(?:\#{{1,3}} )?(?:\*\*|__)?{_LABEL} ?:?(?:\*\*|__)?:?[ \t]*\n"
    r"|(?:\*\*|__)rationale ?(?::(?:\*\*|__)|(?:\*\*|__):?)[ \t]*",
    re.IGNORECASE,
)
CLOSING = ("```", "~~~")
TOKEN = re.compile(
    r"<\|[\w./-]{1,40}\|?>|<[\w./-]{1,40}\|>|<｜[^<>\n]{1,40}｜>|</?s>|<(?:start|end)_of_turn>"
    r"|<(?:bos|eos|pad|unk)>|\[/?INST\]|</?(?:answer|response|output|solution)>"
    r"|</?tool_(?:call|response)>|\[/?(?:TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|AVAILABLE_TOOLS|SYSTEM_PROMPT|IMG|PREFIX|SUFFIX|"
    r"MIDDLE|BOS|EOS|PAD|UNK|CLS|SEP|MASK)\]|\[(?:end|start|beginning) of (?:text|turn|message|"
    r"output|response|document)\]|<0x[0-9A-Fa-f]{2}>|<unused\d{1,4}>|<</?SYS>>"
)
NEXT_TURN = re.compile(
    r"(?:<\|(?:im_end|eot_id|end_of_text|endoftext|end|eom_id|return|END_OF_TURN_TOKEN)\|>"
    r"|<｜end▁of▁sentence｜>|</s>|<end_of_turn>|<turn\|>|<eos>)\s*+"
    r"(?:<\|(?:im_start|start_header_id|start|user|START_OF_TURN_TOKEN|begin_of_text)\|>|<｜User｜>"
    r"|<start_of_turn>|<\|turn>|\[INST\]|<s>)"
)
LEFT = re.compile(
    rf"{TOKEN.pattern}|</?(?:rationale|kept)>|^[ \t]{{0,3}}(?:```|~~~)|^(?:\*\*|__)$"
    r"|^[ \t]{0,3}(?:\*\*|__|#{1,4} )?(?:User|Assistant|Human|System|Chatbot|Instruction|"
    r"Response) ?(?:\*\*|__)?:",
    re.MULTILINE | re.IGNORECASE,
)
ANSWER = re.compile(rf"[*_`]{{0,3}}({MARKER} ?)[*_`]{{0,3}}([^*_`\n]{{1,200}})[*_`]{{0,3}}")


def turn(reply: str) -> str:
    """
    Return *reply* up to where a next turn begins, all of it where none does.

    Where a server does not stop at the token that ends a turn, a model goes on with turns that
    nobody took, a user's and its own answer to that.
    """
    after = NEXT_TURN.search(reply)
    return reply[: after.start()] if after and reply[: after.start()].strip() else reply


def unwrapped(text: str) -> str:
    """
    Take off what *text* is wrapped in: code fences, bold markers, a label, special tokens.

    What stands within the text is left to the guard that finds it (`left_in`).
    """
    for _ in range(DEPTH):
        before, text = text, _layer(_between_tokens(text.strip()))
        if text == before:
            break
    lines = text.split("\n")
    if found := ANSWER.fullmatch(lines[-1].strip()):
        lines[-1] = found[1] + found[2]
    return "\n".join(lines).strip()


def _layer(text: str) -> str:
    """*text* without its outermost fence, pair of bold markers or label, as far as it has one."""
    if opening := OPENING.match(text):
        text = text[opening.end() :].strip()
    for mark in CLOSING:
        if len(re.findall(rf"^[ \t]{{0,3}}{mark}", text, re.MULTILINE)) % 2 or "\n" not in text:
            text = text.removesuffix(mark).rstrip()  # else it closes a fence within the text
    words = text.rsplit(None, 1)
    if len(words) > 1 and words[1] in LONE:
        return words[0]
    for mark in PAIRED:
        inner = text[len(mark) : -len(mark)]
        if text.startswith(mark) and text.endswith(mark) and inner and mark not in inner:
            return inner
    return text


def _between_tokens(text: str) -> str:
    """*text* without the special tokens at its beginning and at its end."""
    tokens = list(TOKEN.finditer(text))
    start, end = 0, len(text)
    for token in tokens:
        if text[start : token.start()].strip():
            break
        start = token.end()
    for token in reversed(tokens):
        if token.start() < start or text[token.end() : end].strip():
            break
        end = token.start()
    return text[start:end].strip()


def left_in(text: str, question: str) -> bool:
    """Say whether *text* has such markup in it that *question* does not have itself."""
    asked = question.casefold()
    found = (*LEFT.finditer(text), *thought_tags.MARK.finditer(text))
    return any(mark.group().strip().casefold() not in asked for mark in found)
