"""From texts to token ids and labels: one place for training and for answering."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.records.types import Problem
from redistill.students.model.settings import StudentSettings

IGNORED = -100  # the label that PyTorch's cross-entropy leaves out
_QUESTION = "\u241fquestion\u241f"
_ANSWER = "\u241fanswer\u241f"
DATE = "26 Jul 2024"  # for templates that show today's: a prompt must not change overnight


class UntaughtError(RefusedError):
    """A text that cannot be taught through the chat template as it is; its message says why."""


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

    Text from outside never becomes a special token. A BOS stands once, where the tokenizer or its
    template puts one. *eos* is the token that ends an answer: the one by which the chat template
    ends an assistant's turn, in the plain format the tokenizer's EOS.
    """

    @classmethod
    def of(cls, tokenizer: Any, student: StudentSettings) -> Self:
        """Make the encoder of *tokenizer* that the section ``student`` asks for."""
        return cls(tokenizer, student.prompt, chat=student.chat, system=student.system)

    def __init__(
        self,
        tokenizer: Any,
        template: str,
        *,
        chat: bool | None = None,
        system: str | None = None,
    ) -> None:
        if tokenizer.eos_token_id is None:
            raise RefusedError(
                "the student's tokenizer has no EOS token, so it cannot learn to stop"
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
        self._chat = _Chat(tokenizer, system) if uses_chat else None
        self.eos = self._chat.end if self._chat else int(tokenizer.eos_token_id)
        before, _, after = _filled(template, system).partition("[[question]]")
        self._before, self._after = self._plain(before), self._plain(after)
        if self._adds_bos():
            self._before.insert(0, int(tokenizer.bos_token_id))

    def prompt(self, problem: Problem) -> list[int]:
        """Return the ids that the student is given for *problem*."""
        if self._chat:
            return self._chat.prompt(question(problem))
        return [*self._before, *self.content(question(problem)), *self._after]

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

    def _adds_bos(self) -> bool:
        bos = self.tokenizer.bos_token_id
        return bos is not None and self.tokenizer("a")["input_ids"][:1] == [bos]


class _Chat:
    """
    Conversations of one question and one answer through a tokenizer's chat template.

    *end* is the first special token after the answer. What the template puts between its prompt
    and the answer is the answer's first token where it is white space (Mistral: `` answer``), as
    the student must write it; anything else is given to the student (Qwen3: empty thoughts).
    """

    def __init__(self, tokenizer: Any, system: str | None) -> None:
        self.tokenizer = tokenizer
        self.system = system
        self._options: dict[str, str] = {}
        self._check_template()
        self._in_user = bool(system) and not self._takes_system()
        asked = self._shown(_QUESTION)
        whole = self._shown(_QUESTION, _ANSWER)
        if asked.count(_QUESTION) != 1 or whole.count(_ANSWER) != 1:
            raise _refused("does not show the question and the answer once each")
        if not whole.startswith(asked):
            raise _refused(
                "asks for an answer in another way than it shows one, so that what is taught "
                "would not follow from what is asked"
            )
        between, _, after = whole[len(asked) :].partition(_ANSWER)
        self._given = self._ids_of(between) if between.strip() else []
        self._lead = "" if between.strip() else between
        self.end, self._trail = self._ending(after)

    def prompt(self, question: str) -> list[int]:
        """The ids that ask for the answer to *question*."""
        return [*self._ids(question), *self._given]

    def split(self, question: str, answer: str) -> tuple[list[int], list[int]]:
        """The ids of the whole conversation, up to *end*: those of the prompt, and the others."""
        shown = self._shown(question, answer)
        if question.strip() not in shown or answer.strip() not in shown:
            raise UntaughtError("the chat template changes the text of the question or the answer")
        prompt, whole = self.prompt(question), self._ids(question, answer)
        if whole[: len(prompt)] != prompt:
            raise UntaughtError("the answer's first token begins in the chat template's prompt")
        completion = whole[len(prompt) :]
        if self.end not in completion:  # a template that ends in the answer itself
            completion.append(self.end)
        return prompt, completion[: completion.index(self.end) + 1]

    def bare(self, text: str) -> str:
        """*text* without the white space that the template puts around an answer."""
        return text.removeprefix(self._lead).removesuffix(self._trail)

    def _check_template(self) -> None:
        if not self.tokenizer.chat_template:
            raise RefusedError(
                "student.chat: is true, but the tokenizer has no chat template", code=CONFIG
            )
        template = self.tokenizer.get_chat_template()
        if "strftime_now" in template:
            if "date_string" not in template:
                raise _refused("shows today's date, so that prompts would change overnight")
            self._options = {"date_string": DATE}

    def _takes_system(self) -> bool:
        """Whether the template shows a system turn, rather than refuse or drop it."""
        from jinja2 import TemplateError

        self._in_user = False
        try:
            return str(self.system).strip() in self._shown(_QUESTION)
        except TemplateError:
            return False

    def _ending(self, after: str) -> tuple[int, str]:
        """The token that ends an answer, and the text before it, given all the text *after* one."""
        if not after:
            return int(self.tokenizer.eos_token_id), ""
        added = self.tokenizer.added_tokens_decoder
        for id in self._ids_of(after):
            if id in added and added[id].content.strip():
                return id, after.partition(added[id].content)[0]
        raise _refused(f"ends an answer in ordinary text ({after[:40]!r}), so none would ever end")

    def _turns(self, question: str, answer: str | None) -> list[dict[str, str]]:
        turns = []
        if self.system and self._in_user:
            question = f"{self.system}\n\n{question}"
        elif self.system:
            turns.append({"role": "system", "content": self.system})
        turns.append({"role": "user", "content": question})
        return turns if answer is None else [*turns, {"role": "assistant", "content": answer}]

    def _shown(self, question: str, answer: str | None = None) -> str:
        return str(
            self.tokenizer.apply_chat_template(
                self._turns(question, answer),
                tokenize=False,
                add_generation_prompt=answer is None,
                **self._options,
            )
        )

    def _ids(self, question: str, answer: str | None = None) -> list[int]:
        """Ids of the conversation, in which no control token comes from the question or answer."""
        encoded = self.tokenizer.apply_chat_template(
            self._turns(question, answer),
            add_generation_prompt=answer is None,
            sanitize_control_tokens=True,
            **self._options,
        )
        return list(encoded["input_ids"])

    def _ids_of(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def _filled(template: str, system: str | None) -> str:
    """The plain *template* with *system* in it; without one its blank goes, and its line."""
    if not system:
        return template.replace("[[system]]\n", "").replace("[[system]]", "")
    if "[[system]]" not in template:
        return f"{system}\n{template}"
    return template.replace("[[system]]", system)


def _refused(fault: str) -> RefusedError:
    return RefusedError(
        f"the student's chat template {fault}; mend the template, or set student.chat to false",
        code=CONFIG,
    )


def question(problem: Problem) -> str:
    """Write the question as the student reads it, its choices below it."""
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
