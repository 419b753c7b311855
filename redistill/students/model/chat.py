"""Conversations of one question and one answer through a tokenizer's chat template."""

import re
from collections.abc import Mapping
from typing import Any

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.students.model import template
from redistill.students.model.folder import told

_QUESTION = "\u241fquestion\u241f"
_ANSWER = "\u241fanswer\u241f"
DATE = "26 Jul 2024"  # for templates that show today's: a prompt must not change overnight
# Thoughts that a prompt opens and leaves to the student: <think>, [THINK], <|START_THINKING|>.
OPEN = re.compile(
    r"[<\[](?!/|\|?END)([^<>\[\]\s]*(?:think|thought|reason)[^<>\[\]\s]*)[>\]]\s*$", re.IGNORECASE
)
# Thoughts that a prompt opens and closes, with nothing in them.
EMPTY = re.compile(
    r"\s*[<\[][^<>\[\]\s/]+[>\]]\s*(</[^<>\s]+>|\[/[^\[\]\s]+\]|<\|?END[^<>\s]*>)\s*", re.IGNORECASE
)


class UntaughtError(RefusedError):
    """A text that cannot be taught through the chat template as it is; its message says why."""


class Chat:
    """
    Conversations of one question and one answer through a tokenizer's chat template.

    *end* is the first special token after the answer. What the template puts between its prompt
    and the answer is the answer's first token where it is white space (Mistral: `` answer``), as
    the student must write it; anything else is given to the student (Qwen3: empty thoughts). So
    are empty thoughts that stand in the prompt alone. *arguments* are the template's variables.
    """

    def __init__(self, tokenizer: Any, system: str | None, arguments: Mapping[str, Any]) -> None:
        self.tokenizer = tokenizer
        self.system = system
        self._template = _found(tokenizer)
        self._options = _settled(self._template, arguments)
        self._in_user = bool(system) and not self._takes_system()
        self._check_date()
        asked = self._shown(_QUESTION)
        whole = self._shown(_QUESTION, _ANSWER)
        if asked.count(_QUESTION) != 1 or whole.count(_ANSWER) != 1:
            raise _refused("does not show the question and the answer once each")
        stem, self._opener = _divided(asked, whole, self._reads())
        between, _, after = whole[len(stem) :].partition(_ANSWER)
        self._given = self._ids_of(between) if between.strip() else []
        self._lead = "" if between.strip() else between
        self.end, self._trail = self._ending(after)
        self._opening = self._ids_of(self._opener) if self._opener else []
        if self._opening and self._ids(_QUESTION)[-len(self._opening) :] != self._opening:
            raise _refused("joins the thoughts in its prompt to the text before them in one token")
        self._thinks = OPEN.search(asked)

    def hints(self) -> list[str]:
        """Say what may not be what was meant: thoughts left open, arguments that nothing reads."""
        said = []
        if self._thinks:
            said.append(
                f"the chat template opens <{self._thinks[1]}> in its prompt, and answers are "
                "taught as what follows; student.template_arguments may turn thoughts off"
            )
        reads = self._reads()
        if unread := sorted(set(self._options) - reads):
            said.append(
                f"student.template_arguments: the chat template does not read {', '.join(unread)}; "
                f"it reads {', '.join(sorted(reads)) or 'no variable'}"
            )
        return said

    def prompt(self, question: str) -> list[int]:
        """Return the ids that ask for the answer to *question*."""
        return [*self._ids(question), *self._given]

    def split(self, question: str, answer: str) -> tuple[list[int], list[int]]:
        """
        Return the ids of the whole conversation, up to *end*: those of the prompt, and the others.

        Raises UntaughtError where the template changes a text, or a token spans the border.
        """
        shown = self._shown(question, answer)
        if question.strip() not in shown or answer.strip() not in shown:
            raise UntaughtError("the chat template changes the text of the question or the answer")
        prompt, whole = self.prompt(question), self._ids(question, answer)
        before = prompt[: len(prompt) - len(self._opening)]
        if whole[: len(before)] != before:
            raise UntaughtError("the answer's first token begins in the chat template's prompt")
        completion = whole[len(before) :]
        if self.end not in completion:  # a template that ends in the answer itself
            completion.append(self.end)
        return prompt, completion[: completion.index(self.end) + 1]

    def bare(self, text: str) -> str:
        """Take off *text* the white space that the template puts around an answer."""
        return text.removeprefix(self._lead).removesuffix(self._trail)

    def _takes_system(self) -> bool:
        """Whether the template shows a system turn, rather than refuse or drop it."""
        self._in_user = False
        try:
            return str(self.system).strip() in self._shown(_QUESTION)
        except UntaughtError:
            return False

    def _check_date(self) -> None:
        """Refuse a template that asks for today's date in spite of what it is given."""
        for answer in (None, _ANSWER):
            self._shown(_QUESTION, answer)
            try:
                self._shown(_QUESTION, answer, strftime_now="")  # which cannot be called
            except UntaughtError:
                reads = ", ".join(sorted(self._reads() - {"strftime_now"})) or "no variable"
                raise _refused(
                    "shows today's date, so that prompts would change overnight; it reads "
                    f"{reads}, and student.template_arguments may set one of those to a date"
                ) from None

    def _reads(self) -> set[str]:
        """The variables that the template reads."""
        from jinja2 import Environment, TemplateError, meta
        from jinja2.ext import loopcontrols

        try:
            parsed = Environment(extensions=[loopcontrols]).parse(self._template)  # noqa: S701
        except TemplateError:  # a block that only transformers knows: nothing is known of it
            return set(self._options)
        return meta.find_undeclared_variables(parsed) - {"messages", "raise_exception"}

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

    def _shown(self, question: str, answer: str | None = None, **more: str) -> str:
        return str(self._applied(question, answer, tokenize=False, **more))

    def _ids(self, question: str, answer: str | None = None) -> list[int]:
        """Ids of the conversation, in which no control token comes from the question or answer."""
        return list(self._applied(question, answer, sanitize_control_tokens=True)["input_ids"])

    def _applied(self, question: str, answer: str | None, **how: Any) -> Any:
        """The conversation as the template has it; raises UntaughtError where it breaks down."""
        try:
            return self.tokenizer.apply_chat_template(
                self._turns(question, answer),
                chat_template=self._template,
                add_generation_prompt=answer is None,
                **{**self._options, **how},
            )
        except Exception as problem:  # Jinja's own errors, and whatever its expressions raise
            raise UntaughtError(
                f"the student's chat template fails: {type(problem).__name__}: {told(problem)}; "
                "mend it, set student.template to another one, or set student.chat to false",
                code=CONFIG,
            ) from problem

    def _ids_of(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def _found(tokenizer: Any) -> str:
    if not tokenizer.chat_template:
        raise RefusedError(
            "student.chat: is true, but the tokenizer has no chat template", code=CONFIG
        )
    return template.text(tokenizer)


def _settled(text: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The template's variables: *arguments*, and a date for one that would show today's."""
    dated = "strftime_now" in text and "date_string" in text
    return {**({"date_string": DATE} if dated else {}), **arguments}


def _divided(asked: str, whole: str, reads: set[str]) -> tuple[str, str]:
    """
    Divide what the template shows before an answer: in both cases, and in the prompt alone.

    The second is empty thoughts, or nothing: a template that opens thoughts and leaves them open
    would have the student taught to answer inside them.
    """
    if whole.startswith(asked):
        return asked, ""
    stem = whole.partition(_ANSWER)[0]
    opener = asked.removeprefix(stem)
    if opener != asked and EMPTY.fullmatch(opener):
        return stem, opener
    if found := OPEN.search(opener):
        hints = sorted(name for name in reads if "think" in name or "reason" in name)
        told = f"; it reads {', '.join(hints)}" if hints else ""
        raise _refused(
            f"opens <{found[1]}> in its prompt and shows answers without, so that an answer would "
            f"be taught as thoughts{told}: set student.template_arguments, such as "
            f"{{{hints[0] if hints else 'enable_thinking'}: false}}, or student.template"
        )
    raise _refused(
        "asks for an answer in another way than it shows one, so that what is taught would not "
        "follow from what is asked"
    )


def _refused(fault: str) -> RefusedError:
    return RefusedError(
        f"the student's chat template {fault}; mend the template, name another one in "
        "student.template, or set student.chat to false",
        code=CONFIG,
    )
