"""From texts to token ids and labels: one place for training and for answering."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redistill.records import Problem
from redistill.refusals import RefusedError

IGNORED = -100  # the label that PyTorch's cross-entropy leaves out
_CONTENT = "\u241fquestion\u241f"


@dataclass(frozen=True)
class Example:
    """One training row: *labels* are *ids* where the completion stands, -100 on the prompt."""

    ids: list[int]
    labels: list[int]

    @property
    def completion_tokens(self) -> int:
        """How many tokens carry loss, EOS among them."""
        return sum(label != IGNORED for label in self.labels)


class Encoder:
    """
    Turns problems and rationales into ids for one tokenizer.

    The prompt is the tokenizer's chat template where it has one (*chat* "auto"), else *template*
    with ``[[question]]`` filled in. Text from outside never becomes a special token. A BOS stands
    once, where the tokenizer or its template puts one. Refuses a tokenizer without an EOS token.
    """

    def __init__(self, tokenizer: Any, template: str, *, chat: bool | None = None) -> None:
        if tokenizer.eos_token_id is None:
            raise RefusedError(
                "the student's tokenizer has no EOS token, so it cannot learn to stop"
            )
        if "[[question]]" not in template:
            raise RefusedError("student.prompt: needs [[question]] where the question goes")
        self.tokenizer = tokenizer
        self.eos = int(tokenizer.eos_token_id)
        uses_chat = bool(tokenizer.chat_template) if chat is None else chat
        self.format = "the tokenizer's chat template" if uses_chat else "the plain student.prompt"
        if uses_chat:
            template = tokenizer.apply_chat_template(
                [{"role": "user", "content": _CONTENT}],
                tokenize=False,
                add_generation_prompt=True,
            ).replace(_CONTENT, "[[question]]")
            if template.count("[[question]]") != 1:
                raise RefusedError("the student's chat template does not show the question once")
        before, _, after = template.partition("[[question]]")
        self._before = self._plain(before)
        self._after = self._plain(after)
        if not uses_chat and self._adds_bos():
            self._before.insert(0, int(tokenizer.bos_token_id))

    def prompt(self, problem: Problem) -> list[int]:
        """The ids that the student is given for *problem*."""
        return [*self._before, *self.content(question(problem)), *self._after]

    def completion(self, text: str) -> list[int]:
        """The ids of *text*, ended by EOS."""
        return [*self.content(text), self.eos]

    def example(self, problem: Problem, text: str) -> Example:
        """The training row for *text* as the answer to *problem*."""
        prompt, completion = self.prompt(problem), self.completion(text)
        return Example(prompt + completion, [IGNORED] * len(prompt) + completion)

    def content(self, text: str) -> list[int]:
        """The ids of text from outside, in which nothing is a special token."""
        ids = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)
        return list(ids["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of *ids*, special tokens left out."""
        return str(
            self.tokenizer.decode(
                list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def _plain(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _adds_bos(self) -> bool:
        bos = self.tokenizer.bos_token_id
        return bos is not None and self.tokenizer("a")["input_ids"][:1] == [bos]


def question(problem: Problem) -> str:
    """The question as the student reads it, its choices below it."""
    choices = [f"({letter}) {text}" for letter, text in (problem.choices or {}).items()]
    return "\n".join([problem.question, *choices])


def check(examples: Sequence[Example], eos: int) -> dict[str, int]:
    """
    Prove the labels of *examples*, or refuse: EOS last, loss on completions only, nothing empty.

    Returns the counts that a run records, ``prompt_tokens_in_loss`` among them.
    """
    leaked = 0
    for number, example in enumerate(examples):
        if example.labels[-1:] != [eos]:
            raise RefusedError(f"training row {number}: its last label is not EOS", code=70)
        if example.completion_tokens < 2:
            raise RefusedError(f"training row {number}: its completion is empty", code=70)
        first = len(example.labels) - example.completion_tokens
        leaked += sum(label != IGNORED for label in example.labels[:first])
        if example.labels[first:] != example.ids[first:]:
            raise RefusedError(f"training row {number}: labels and ids differ", code=70)
    if leaked:
        raise RefusedError(f"{leaked} prompt tokens carry loss", code=70)
    return {
        "rows": len(examples),
        "prompt_tokens_in_loss": leaked,
        "rows_ended_by_eos": len(examples),
        "completion_tokens": sum(example.completion_tokens for example in examples),
        "longest_completion": max((e.completion_tokens for e in examples), default=0),
    }
