"""From texts to token ids and labels: one place for training and for answering."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from redistill.console.exceptions import CONFIG, INTERNAL, RefusedError
from redistill.records.types import Problem
from redistill.students.model.chat import Chat
from redistill.students.model.settings import StudentSettings

NAMED = 3  # problems that a message names
IGNORED = -100  # the label that PyTorch's cross-entropy leaves out


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

    The prompt is the tokenizer's chat template where it has one (*chat* None), else *template*
    with ``[[question]]`` filled in. *system* is a system turn; where the chat template takes none
    it stands before the question in the user's turn, a blank line between them, and in the plain
    format it fills ``[[system]]``, or is a first line where the template has no such blank.

    *arguments* are the chat template's variables. Text from outside never becomes a special token.
    The plain prompt is the tokens of its whole text, as other programs read it, unless the question
    holds the text of a special token. A BOS stands once, where the tokenizer or its template puts
    one. *eos* is the token that ends an answer: the one by which the chat template ends an
    assistant's turn, in the plain format the tokenizer's EOS.
    """

    @classmethod
    def of(cls, tokenizer: Any, student: StudentSettings) -> Self:
        """Make the encoder of *tokenizer* that the section ``student`` asks for."""
        return cls(
            tokenizer,
            student.prompt,
            chat=student.chat,
            system=student.system,
            arguments=student.template_arguments,
        )

    def __init__(
        self,
        tokenizer: Any,
        template: str,
        *,
        chat: bool | None = None,
        system: str | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        if tokenizer.eos_token_id is None:
            raise RefusedError(
                "the student's tokenizer has no EOS token, so it cannot learn to stop; name one as "
                "eos_token in its tokenizer_config.json"
            )
        if "[[question]]" not in template:
            raise RefusedError("student.prompt: needs [[question]] where the question goes")
        self.tokenizer = tokenizer
        self._special = {
            *tokenizer.all_special_ids,
            *(id for id, token in tokenizer.added_tokens_decoder.items() if token.special),
        }
        if system and ("[[question]]" in system or self._special & set(self._plain(system))):
            raise RefusedError(
                "student.system: holds the text of a special token, or [[question]]", code=CONFIG
            )
        uses_chat = bool(tokenizer.chat_template) if chat is None else chat
        self.format = "the tokenizer's chat template" if uses_chat else "the plain student.prompt"
        self._chat = Chat(tokenizer, system, arguments or {}) if uses_chat else None
        self.eos = self._chat.end if self._chat else int(tokenizer.eos_token_id)
        before, _, after = _filled(template, system).partition("[[question]]")
        self._around = before, after
        self._before, self._after = self._plain(before), self._plain(after)
        self._own = self._controls([*self._before, *self._after])
        self._first = [int(tokenizer.bos_token_id)] if self._adds_bos() else []

    def hints(self) -> list[str]:
        """Say what of the chat template may not be what was meant: open thoughts, and typos."""
        return self._chat.hints() if self._chat else []

    def prompt(self, problem: Problem) -> list[int]:
        """Return the ids that the student is given for *problem*."""
        if self._chat:
            return self._chat.prompt(question(problem))
        asked = question(problem)
        whole = self._plain(asked.join(self._around))
        if self._controls(whole) != self._own:
            whole = [*self._before, *self.content(asked), *self._after]
        return [*self._first, *whole]

    def completion(self, text: str) -> list[int]:
        """Return the ids of *text*, ended by EOS."""
        if self._chat:
            return self._chat.split("?", text)[1]
        return [*self.content(text), self.eos]

    def example(self, problem: Problem, text: str) -> Example:
        """
        Make the training row for *text* as the answer to *problem*.

        Its ids are those of the whole conversation through the chat template, up to the token
        that ends the answer. Raises UntaughtError where that is not the prompt with *text* after
        it: the template changes the text, or a token spans the border between the two.
        """
        if self._chat:
            prompt, completion = self._chat.split(question(problem), text)
        else:
            prompt, completion = self.prompt(problem), self.completion(text)
        return Example(prompt + completion, [IGNORED] * len(prompt) + completion)

    def content(self, text: str) -> list[int]:
        """Return the ids of text from outside, in which nothing is a special token."""
        ids = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)
        return list(ids["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """Write *ids* as text, without special tokens and what the template puts around answers."""
        text = str(
            self.tokenizer.decode(
                list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )
        return self._chat.bare(text) if self._chat else text

    def _plain(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _controls(self, ids: Sequence[int]) -> list[int]:
        """Those of *ids* that are special tokens; one for what is unknown stands for text."""
        return [i for i in ids if i in self._special and i != self.tokenizer.unk_token_id]

    def _adds_bos(self) -> bool:
        bos = self.tokenizer.bos_token_id
        return bos is not None and self.tokenizer("a")["input_ids"][:1] == [bos]


def _filled(template: str, system: str | None) -> str:
    """The plain *template* with *system* in it; without one its blank goes, and its line."""
    if not system:
        return template.replace("[[system]]\n", "").replace("[[system]]", "")
    if "[[system]]" not in template:
        return f"{system}\n{template}"
    return template.replace("[[system]]", system)


def plain_prompt(template: str, system: str | None, problem: Problem) -> str:
    """Write the whole prompt for *problem* in the plain format: *template*, *system* filled in."""
    before, _, after = _filled(template, system).partition("[[question]]")
    return f"{before}{question(problem)}{after}"


def question(problem: Problem) -> str:
    """Write the question as the student reads it, its choices below it."""
    choices = [f"({letter}) {text}" for letter, text in (problem.choices or {}).items()]
    return "\n".join([problem.question, *choices])


def crowded(name: str, sizes: Mapping[str, int], room: int) -> str | None:
    """
    Name the prompts of the set *name* that are over *room* tokens; None where none is.

    *sizes* are the tokens of the prompts by their problems' ids.
    """
    over = [f"{problem} ({size} tokens)" for problem, size in sizes.items() if size > room]
    if not over:
        return None
    return (
        f"{len(over)} of {len(sizes)} prompts of {name} have more than {room} tokens, which is "
        "the model's context less evaluate.max_new_tokens, so they are not asked and count as cut "
        f"off; lower evaluate.max_new_tokens, or take the problems out: {some(over)}"
    )


def some(names: Sequence[str]) -> str:
    """List the first of *names*, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def check(examples: Sequence[Example], eos: int) -> dict[str, int]:
    """
    Prove the labels of *examples*, or refuse: EOS last, loss on completions only, nothing empty.

    Returns the counts that a run records, ``prompt_tokens_in_loss`` among them.
    """
    for number, example in enumerate(examples):
        if example.labels[-1:] != [eos]:
            raise RefusedError(f"training row {number}: its last label is not EOS", code=INTERNAL)
        if example.completion_tokens < 2:
            raise RefusedError(f"training row {number}: its completion is empty", code=INTERNAL)
        first = len(example.labels) - example.completion_tokens
        if leaked := sum(label != IGNORED for label in example.labels[:first]):
            raise RefusedError(
                f"training row {number}: {leaked} prompt tokens carry loss", code=INTERNAL
            )
        if example.labels[first:] != example.ids[first:]:
            raise RefusedError(f"training row {number}: labels and ids differ", code=INTERNAL)
    return {
        "rows": len(examples),
        "prompt_tokens_in_loss": 0,  # a row with one is refused
        "rows_ended_by_eos": len(examples),
        "completion_tokens": sum(example.completion_tokens for example in examples),
        "longest_completion": max((e.completion_tokens for e in examples), default=0),
    }
