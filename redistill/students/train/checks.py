"""What must hold of training rows before a step is taken; `redistill doctor` shows it as well."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from redistill.console.exceptions import RefusedError
from redistill.console.preflight import Finding, held
from redistill.records.types import Problem
from redistill.students.model import tokens
from redistill.students.model.chat import UntaughtError
from redistill.students.model.tokens import IGNORED, Encoder, Example

READ_BACK = 500  # rows whose text is decoded again: a tokenizer that loses text loses it at once

Lesson = tuple[Problem, str]


@dataclass(frozen=True)
class Limits:
    """
    The lengths that rows are held to, in tokens.

    *max_tokens* and *max_loss* are those of section ``train``, *max_new_tokens* that of
    ``evaluate``; *context* and *vocabulary* are the model's own, None where they are not known.
    """

    max_tokens: int
    max_loss: float
    max_new_tokens: int
    context: int | None
    vocabulary: int | None


@dataclass(frozen=True)
class Rows:
    """
    The training rows of lessons, and for each that cannot be taught its problem and why.

    *problems* are the ids of those that the examples are of.
    """

    examples: list[Example]
    untaught: list[tuple[str, str]]
    problems: list[str] = field(default_factory=list)


def rows(encoder: Encoder, lessons: Sequence[Lesson]) -> Rows:
    """Have *encoder* make the training rows of *lessons*."""
    made = Rows([], [])
    for problem, text in lessons:
        try:
            made.examples.append(encoder.example(problem, text))
            made.problems.append(problem.id)
        except UntaughtError as refusal:
            made.untaught.append((problem.id, str(refusal)))
    return made


def fits(row: Example, limits: Limits) -> bool:
    """Say whether *row* is within the context; what is taught depends on no length of answers."""
    return limits.context is None or len(row.ids) <= limits.context


def unfit(made: Rows, limits: Limits) -> str | None:
    """Name the problems whose rows do not fit the context; None where all do."""
    names = [
        f"{name} ({len(row.ids)} tokens)"
        for name, row in zip(made.problems, made.examples, strict=True)
        if len(row.ids) <= limits.max_tokens and not fits(row, limits)
    ]
    if not names:
        return None
    return (
        f"{len(names)} of {len(made.examples)} rows do not fit the model's context of "
        f"{limits.context} tokens: {tokens.some(names)}"
    )


def prompts(
    encoder: Encoder, sets: Iterable[tuple[str, Sequence[Problem]]], limits: Limits
) -> list[Finding]:
    """
    Say of which problems of each set the prompts leave no room for an answer.

    It fails where none of a set has room, as answering does.
    """
    if limits.context is None:
        return [Finding("context", "note", "the model does not say how many tokens it can take")]
    most = limits.context - limits.max_new_tokens
    found = []
    for name, problems in sets:
        sizes = {problem.id: len(encoder.prompt(problem)) for problem in problems}
        if told := tokens.crowded(name, sizes, most):
            state: Literal["fails", "note"]
            state = "fails" if all(size > most for size in sizes.values()) else "note"
            found.append(Finding("context", state, told))
    told = f"every prompt leaves {limits.max_new_tokens} of {limits.context} tokens to its answer"
    return found or [Finding("context", "holds", told)]


def examine(
    encoder: Encoder, lessons: Sequence[Lesson], made: Rows, limits: Limits
) -> list[Finding]:
    """Run every check on the rows that *encoder* has *made* of *lessons*, failing ones included."""
    rows = made.examples
    kept = [row for row in rows if len(row.ids) <= limits.max_tokens and fits(row, limits)]
    return [
        _mask(kept, encoder.eos),
        _bos(encoder.tokenizer, rows),
        _template(made.untaught, len(lessons), limits),
        _lengths(made, limits),
        _answers(kept, limits),
        _pad(encoder.tokenizer, encoder.eos, limits),
        _vocabulary(rows, limits),
        _content(encoder, lessons),
        _read_back(encoder, lessons),
    ]


def _template(untaught: Sequence[tuple[str, str]], count: int, limits: Limits) -> Finding:
    if not untaught:
        return Finding("template", "holds", "every row is the whole conversation, ended by EOS")
    first, why = untaught[0]
    told = f"{len(untaught)} of {count} rows cannot be taught through it; {first!r}: {why}"
    state: Literal["fails", "note"]
    state = "fails" if len(untaught) / count > limits.max_loss else "note"
    return Finding("template", state, told)


def segments(
    encoder: Encoder, example: Example
) -> list[tuple[Literal["prompt", "completion", "EOS"], str]]:
    """
    Cut a training row into runs of text: what carries no loss, what does, and the EOS at its end.

    Special tokens are shown by their names.
    """
    found: list[tuple[Literal["prompt", "completion", "EOS"], list[int]]] = []
    last = len(example.ids) - 1
    for place, (token, label) in enumerate(zip(example.ids, example.labels, strict=True)):
        kind: Literal["prompt", "completion", "EOS"]
        kind = "prompt" if label == IGNORED else "completion"
        kind = "EOS" if place == last and token == encoder.eos and kind == "completion" else kind
        if not found or found[-1][0] != kind:
            found.append((kind, []))
        found[-1][1].append(token)
    decode = encoder.tokenizer.decode
    return [
        (kind, str(decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)))
        for kind, ids in found
    ]


def _mask(rows: Sequence[Example], eos: int) -> Finding:
    fault = None
    try:
        checked = tokens.check(rows, eos)
    except RefusedError as refusal:
        fault = str(refusal)
    if not rows:
        fault = "no row is left to train on"
    told = "" if fault else f"{checked['completion_tokens']} tokens carry loss, all of completions"
    return held("labels", fault, f"{told}; EOS is the last label of all {len(rows)} rows")


def _bos(tokenizer: Any, rows: Sequence[Example]) -> Finding:
    bos = tokenizer.bos_token_id
    if bos is None:
        return Finding("BOS", "holds", "the tokenizer has none")
    twice = sum(row.ids[:2] == [bos, bos] for row in rows)
    adds = tokenizer("a")["input_ids"][:1] == [bos]
    without = sum(row.ids[:1] != [bos] for row in rows) if adds else 0
    fault = f"{twice} rows open with two of {tokenizer.bos_token}" if twice else None
    if without:
        fault = f"the tokenizer puts {tokenizer.bos_token} first, {without} rows have none"
    once = f"{tokenizer.bos_token} opens every row once"
    return held(
        "BOS", fault, once if rows and rows[0].ids[:1] == [bos] else "none, as its template"
    )


def _lengths(made: Rows, limits: Limits) -> Finding:
    rows = made.examples
    longest = max((len(row.ids) for row in rows), default=0)
    over = sum(len(row.ids) > limits.max_tokens for row in rows)
    told = unfit(made, limits)
    misfits = sum(not fits(row, limits) for row in rows if len(row.ids) <= limits.max_tokens)
    if rows and over / len(rows) > limits.max_loss:
        fault = (
            f"{over} of {len(rows)} rows are over train.max_tokens = {limits.max_tokens} (the "
            f"longest has {longest}), more than train.max_loss = {limits.max_loss}; raise one"
        )
        return Finding("truncation", "fails", fault)
    if rows and (over + misfits) / len(rows) > limits.max_loss:
        fault = f"{told}; lower evaluate.max_new_tokens, or raise train.max_loss"
        return Finding("truncation", "fails", fault)
    if told:
        return Finding("truncation", "note", f"left out whole: {told}")
    if over:
        return Finding("truncation", "note", f"{over} of {len(rows)} rows are left out whole: "
                       f"over train.max_tokens = {limits.max_tokens}")  # fmt: skip
    whole = f"no row is cut off; the longest has {longest} of at most {limits.max_tokens} tokens"
    return Finding("truncation", "holds", whole)


def _answers(rows: Sequence[Example], limits: Limits) -> Finding:
    longest = max((row.completion_tokens for row in rows), default=0)
    fault = None
    if longest > limits.max_new_tokens:
        fault = (
            f"the longest completion taught has {longest} tokens, evaluate.max_new_tokens is "
            f"{limits.max_new_tokens}: the student would be cut off; raise it"
        )
    told = f"the longest completion has {longest} of evaluate.max_new_tokens = "
    return held("answers", fault, f"{told}{limits.max_new_tokens}")


def _pad(tokenizer: Any, eos: int, limits: Limits) -> Finding:
    pad = tokenizer.pad_token_id
    fault = None if pad is not None else "the tokenizer has no padding token"
    if pad is not None and limits.vocabulary is not None and pad >= limits.vocabulary:
        fault = f"the padding token {pad} is beyond the model's {limits.vocabulary} embeddings"
    same = " and EOS in one; padding is masked by its place, so EOS still carries loss"
    return held("padding", fault, f"{tokenizer.pad_token}{same if pad == eos else ''}")


def _vocabulary(rows: Sequence[Example], limits: Limits) -> Finding:
    highest = max((max(row.ids) for row in rows if row.ids), default=0)
    fault = None
    if limits.vocabulary is not None and highest >= limits.vocabulary:
        fault = f"token {highest} is beyond the model's {limits.vocabulary} embeddings"
    size = "an unknown number of" if limits.vocabulary is None else limits.vocabulary
    return held("vocabulary", fault, f"every token is among {size} embeddings")


def _content(encoder: Encoder, lessons: Sequence[Lesson]) -> Finding:
    special = set(encoder.tokenizer.all_special_ids)
    bad = [
        problem.id
        for problem, text in lessons
        if special & {*encoder.content(tokens.question(problem)), *encoder.content(text)}
    ]
    fault = None
    if bad:
        fault = f"the text of {bad[0]!r} and {len(bad) - 1} more becomes special tokens"
    return held("content", fault, "no text becomes a special token")


def _read_back(encoder: Encoder, lessons: Sequence[Lesson]) -> Finding:
    chosen = lessons[:: max(1, len(lessons) // READ_BACK)]
    lost = [
        problem.id
        for problem, text in chosen
        if encoder.decode(encoder.content(text)).strip() != text.strip()
    ]
    fault = None
    if lost:
        fault = (
            f"the tokenizer does not give back the rationale of {lost[0]!r} and {len(lost) - 1} "
            "more as it was written, so answers could not be graded"
        )
    return held("read back", fault, f"{len(chosen)} rationales come back as they were written")
