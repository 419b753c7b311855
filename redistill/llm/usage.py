"""What a server says it bills for an answer: the most tokens that any of its fields implies."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_COUNT = 10**8  # tokens; more in one answer are no count of anything
TOTAL = "total_tokens"
SHARED = "prompt_counted_elsewhere"  # our own mark: of several draws of a call, not the first
PROMPTS = ("prompt_tokens", "input_tokens", "prompt_eval_count")
OUTPUTS = ("completion_tokens", "output_tokens", "eval_count")
BESIDE = ("cache_creation_input_tokens", "cache_read_input_tokens")  # beside the input tokens
SPLIT = ("prompt_cache_hit_tokens", "prompt_cache_miss_tokens")  # parts of the prompt
PLAIN = ("text_tokens", "image_tokens", "audio_tokens")  # kinds of the prompt, without overlap


@dataclass(frozen=True)
class Usage:
    """
    Tokens that an answer is billed at; None where nothing tells.

    *total* is set where only the sum is known. *hidden* of the completion tokens stand beside what
    the server calls completion tokens. *source* names the field that implies more than the usual
    ones; empty where they have all.
    """

    prompt: int | None = None
    completion: int | None = None
    hidden: int = 0
    total: int | None = None
    source: str = ""


@dataclass(frozen=True)
class _Claim:
    """A number of tokens that a field implies."""

    tokens: int
    source: str = ""


def read(content: Mapping[str, Any]) -> Usage:
    """
    Read the usage in the answer *content*; what is no count is left out.

    Servers disagree on whether reasoning, cached and audio tokens are part of the usual counts or
    stand beside them. What is larger than the whole it would be a part of stands beside it, and the
    largest number that follows is taken.
    """
    own = content.get("usage")
    fields = own if isinstance(own, dict) else content  # Ollama's counts stand in the answer itself
    prompt, output = _prompt(fields), _output(fields)
    total = _count(fields, TOTAL)
    if prompt is None and output is None:
        return Usage(total=total, source=TOTAL if total is not None else "")
    if total is not None:
        prompt, output = _completed(prompt, output, total)
    if prompt is not None and not prompt.tokens and fields.get(SHARED) is not True:
        prompt = None  # no prompt takes nothing: the server does not count it
    return Usage(
        None if prompt is None else prompt.tokens,
        None if output is None else output.tokens,
        _hidden(fields, output),
        source=", ".join(dict.fromkeys(c.source for c in (prompt, output) if c and c.source)),
    )


def _completed(
    prompt: _Claim | None, output: _Claim | None, total: int
) -> tuple[_Claim | None, _Claim | None]:
    """Add what *total* has beyond both: to the one that is unknown, else to the output."""
    if prompt is None and output is not None:
        return _Claim(max(0, total - output.tokens), TOTAL), output
    rest = total - (prompt.tokens if prompt else 0)
    if output is None or rest > output.tokens:
        output = _Claim(max(0, rest), TOTAL)
    return prompt, output


def _hidden(fields: Mapping[str, Any], output: _Claim | None) -> int:
    named = [n for name in OUTPUTS if (n := _count(fields, name)) is not None]
    return output.tokens - max(named) if output and named else 0


def _prompt(fields: Mapping[str, Any]) -> _Claim | None:
    base = _largest(_named(fields, PROMPTS))
    details = _details(fields, "prompt_tokens_details", "input_tokens_details")
    kinds = _sum(details, PLAIN)
    cached = max(_count(details, "cached_tokens") or 0, _count(fields, "cached_tokens") or 0)
    found = [base, _sum(fields, SPLIT, "prompt_cache_miss_tokens"), kinds]
    if base is not None:
        if any((_count(details, name) or 0) > base.tokens for name in PLAIN):
            beside = _sum(details, PLAIN[1:])
            found.append(beside and _Claim(base.tokens + beside.tokens, beside.source))
        if cached > base.tokens:
            found.append(_Claim(base.tokens + cached, "cached_tokens"))
        beside = _sum(fields, BESIDE, "cache_read_input_tokens")
        anthropic = _count(fields, "input_tokens") == base.tokens
        if beside is not None and (anthropic or beside.tokens > base.tokens):
            found.append(_Claim(base.tokens + beside.tokens, beside.source))
    return _largest(found)


def _output(fields: Mapping[str, Any]) -> _Claim | None:
    base = _largest(_named(fields, OUTPUTS))
    details = _details(fields, "completion_tokens_details", "output_tokens_details")
    apart = _count(fields, "reasoning_tokens")
    if apart is not None and apart > (_count(details, "reasoning_tokens") or 0):
        details["reasoning_tokens"] = apart
    parts = {name: n for name in details if (n := _count(details, name))}
    found = [base]
    if parts:
        most = max(parts, key=lambda name: parts[name])
        found.append(_Claim(sum(parts.values()), most))
        if base is not None and parts[most] > base.tokens:
            beside = sum(n for name, n in parts.items() if name != "text_tokens")
            found.append(_Claim(base.tokens + beside, most))
    return _largest(found)


def _details(fields: Mapping[str, Any], *names: str) -> dict[str, int]:
    """The details under all of *names* together: of one that is told twice, the larger."""
    told: dict[str, int] = {}
    for place in names:
        found = fields.get(place)
        if isinstance(found, dict):
            told |= {name: max(told.get(name, 0), _count(found, name) or 0) for name in found}
    return told


def _named(fields: Mapping[str, Any], names: Iterable[str]) -> list[_Claim]:
    return [_Claim(n) for name in names if (n := _count(fields, name)) is not None]


def _sum(fields: Mapping[str, Any], names: Iterable[str], source: str = "") -> _Claim | None:
    counts = {name: n for name in names if (n := _count(fields, name)) is not None}
    if not counts:
        return None
    return _Claim(sum(counts.values()), source or max(counts, key=lambda name: counts[name]))


def _largest(claims: Iterable[_Claim | None]) -> _Claim | None:
    """The first of the largest, so that the usual fields speak where others say the same."""
    found = [claim for claim in claims if claim is not None]
    if not found:
        return None
    most = max(found, key=lambda claim: claim.tokens)
    return _Claim(min(most.tokens, MAX_COUNT), most.source)


def _count(fields: Mapping[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 12:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_COUNT:
        return None
    return value
