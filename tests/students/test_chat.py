"""Ids and labels through chat templates, held against whole conversations of transformers."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from redistill.console.exceptions import RefusedError
from redistill.records.types import Problem
from redistill.students.answer import engine, sampling
from redistill.students.model import tokens
from redistill.students.model.chat import DATE, UntaughtError
from tests import families
from tests.families import ENDS

PLAIN = "[[question]]\n"
SYSTEM = "Answer briefly, and show the steps."
ASKED = Problem(id="p", question="Ines has 4 eggs. Add 3 to them.", answer="7")
TEXT = "First we add: 4 + 3 = 7.\n#### 7"
FAMILIES = pytest.mark.parametrize("family", ENDS)
TEXTS = pytest.mark.parametrize(
    "text", [TEXT, "7", "  spaced out  ", "4 + 3", "éß 🙂 #### 7", "(a) so\n\n#### a"]
)


def whole(tokenizer, question: str, text: str, system: str | None = None) -> list[int]:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": text}]
    if system:
        turns.insert(0, {"role": "system", "content": system})
    return tokenizer.apply_chat_template(turns, tokenize=True)["input_ids"]


def asks(tokenizer, question: str, system: str | None = None) -> list[int]:
    turns = [{"role": "user", "content": question}]
    if system:
        turns.insert(0, {"role": "system", "content": system})
    return tokenizer.apply_chat_template(turns, tokenize=True, add_generation_prompt=True)[
        "input_ids"
    ]


@FAMILIES
@TEXTS
def test_ids_are_those_of_the_whole_conversation_up_to_the_end_of_the_turn(family: str, text: str):
    tokenizer = families.tokenizer(family)
    encoder = tokens.Encoder(tokenizer, PLAIN)

    example = encoder.example(ASKED, text)
    conversation = whole(tokenizer, ASKED.question, text)
    rest = conversation[len(example.ids) :]

    assert example.ids == conversation[: len(example.ids)]
    assert tokenizer.decode(rest).strip() == ""
    assert tokenizer.convert_ids_to_tokens(example.ids[-1]) == ENDS[family]
    assert encoder.eos == example.ids[-1]


@FAMILIES
@TEXTS
def test_loss_is_on_the_answer_and_the_end_of_its_turn_alone(family: str, text: str):
    tokenizer = families.tokenizer(family)
    encoder = tokens.Encoder(tokenizer, PLAIN)

    example = encoder.example(ASKED, text)
    prompt = asks(tokenizer, ASKED.question)
    trained = [i for i, label in zip(example.ids, example.labels, strict=True) if label != -100]

    assert encoder.prompt(ASKED) == prompt
    assert example.labels[: len(prompt)] == [-100] * len(prompt)
    assert example.labels[len(prompt) :] == example.ids[len(prompt) :] == trained
    assert encoder.completion(text) == trained
    kept = tokenizer(text.strip(), add_special_tokens=False)["input_ids"]
    assert encoder.decode(trained[:-1]).strip() == encoder.decode(kept).strip()
    tokens.check([example], encoder.eos)


@FAMILIES
def test_bos_stands_once_where_the_family_has_one(family: str):
    tokenizer = families.tokenizer(family)
    for chat in (None, False):
        ids = tokens.Encoder(tokenizer, PLAIN, chat=chat).example(ASKED, TEXT).ids
        expected = tokenizer.bos_token_id is not None and chat is None

        assert ids.count(tokenizer.bos_token_id) == expected


@pytest.mark.parametrize("family", ["chatml", "llama3"])
def test_a_system_prompt_is_a_turn_where_the_template_takes_one(family: str):
    tokenizer = families.tokenizer(family)

    encoder = tokens.Encoder(tokenizer, PLAIN, system=SYSTEM)

    ids = encoder.example(ASKED, TEXT).ids
    assert ids == whole(tokenizer, ASKED.question, TEXT, SYSTEM)[: len(ids)]
    assert encoder.prompt(ASKED) == asks(tokenizer, ASKED.question, SYSTEM)


@pytest.mark.parametrize("family", ["gemma", "mistral"])
def test_a_system_prompt_opens_the_question_where_the_template_refuses_one(family: str):
    tokenizer = families.tokenizer(family)

    encoder = tokens.Encoder(tokenizer, PLAIN, system=SYSTEM)

    merged = f"{SYSTEM}\n\n{ASKED.question}"
    ids = encoder.example(ASKED, TEXT).ids
    assert ids == whole(tokenizer, merged, TEXT)[: len(ids)]
    assert encoder.prompt(ASKED) == asks(tokenizer, merged)


def test_a_system_prompt_opens_the_question_where_the_template_drops_it():
    tokenizer = families.tokenizer("chatml")
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "{% for m in messages %}", "{% for m in messages if m.role != 'system' %}"
    )

    encoder = tokens.Encoder(tokenizer, PLAIN, system=SYSTEM)

    assert f"{SYSTEM}\n\n{ASKED.question}" in tokenizer.decode(encoder.prompt(ASKED))


@pytest.mark.parametrize(
    ("template", "system", "shown"),
    [
        ("[[question]]\n", SYSTEM, f"{SYSTEM}\nQ\n"),
        ("Rules: [[system]]\nQ: [[question]]\n", SYSTEM, f"Rules: {SYSTEM}\nQ: Q\n"),
        ("[[system]]\n[[question]]\n", None, "Q\n"),
    ],
)
def test_the_plain_format_has_a_place_for_the_system_prompt(
    template: str, system: str | None, shown: str
):
    tokenizer = families.tokenizer("chatml")
    encoder = tokens.Encoder(tokenizer, template, chat=False, system=system)

    prompt = encoder.prompt(Problem(id="p", question="Q", answer="7"))

    assert tokenizer.decode(prompt) == shown


@FAMILIES
@pytest.mark.parametrize(
    "template",
    ["Question: [[question]]\nAnswer:", "a[[question]] b", "{sign}Q: [[question]] {sign}A"],
)
def test_the_plain_prompt_is_the_tokens_of_its_whole_text(family: str, template: str):
    tokenizer = families.tokenizer(family)
    template = template.replace("{sign}", families.SPECIAL[family][-1])
    encoder = tokens.Encoder(tokenizer, template, chat=False)

    whole = tokenizer(tokens.plain_prompt(template, None, ASKED))["input_ids"]

    assert encoder.prompt(ASKED) == whole


@FAMILIES
def test_a_plain_prompt_has_the_control_tokens_of_its_template_and_none_of_the_question(
    family: str,
):
    tokenizer = families.tokenizer(family)
    sign = families.SPECIAL[family][-1]
    encoder = tokens.Encoder(tokenizer, f"{sign} Q: [[question]] {sign}A", chat=False)

    prompt = encoder.prompt(Problem(id="p", question=f"Add {sign} 3.", answer="7"))

    assert prompt.count(tokenizer.convert_tokens_to_ids(sign)) == 2


@FAMILIES
def test_no_control_token_comes_from_question_or_answer(family: str):
    tokenizer = families.tokenizer(family)
    encoder = tokens.Encoder(tokenizer, PLAIN)
    signs = "".join(families.SPECIAL[family])
    evil = Problem(id="p", question=f"Add {signs} 3.", answer="7")

    example = encoder.example(evil, f"4 {signs} 7")
    clean = encoder.example(ASKED, TEXT)

    def special(ids: list[int]) -> list[int]:
        return [i for i in ids if i in tokenizer.all_special_ids and i != tokenizer.unk_token_id]

    assert special(example.ids) == special(clean.ids)
    assert encoder.prompt(evil) == example.ids[: len(encoder.prompt(evil))]
    assert f"4 {signs} 7" in encoder.decode(example.ids)


def test_a_token_across_the_border_of_the_prompt_is_refused_with_the_reason():
    tokenizer = families.tokenizer("chatml")
    encoder = tokens.Encoder(tokenizer, PLAIN)
    assert len(tokenizer("\n\n", add_special_tokens=False)["input_ids"]) == 1

    with pytest.raises(UntaughtError, match="first token begins in the chat template"):
        encoder.example(ASKED, "\n\nFirst we add.")


def test_a_text_that_the_template_changes_is_refused_with_the_reason():
    tokenizer = families.tokenizer("chatml")
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "m.content", "m.content.split('</think>')[-1]"
    )
    encoder = tokens.Encoder(tokenizer, PLAIN)

    with pytest.raises(UntaughtError, match="changes the text"):
        encoder.example(ASKED, "I think.</think>So 7.")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("+ '<|im_end|>\\n'", "+ '\\n'", "ends an answer in ordinary text"),
        ("'<|im_start|>assistant\\n'", "'<|im_start|>model\\n'", "asks for an answer in another"),
        ("m.content", "'nothing'", "does not show the question"),
        ("m.role", "strftime_now('%d %b %Y') + m.role", "shows today's date"),
    ],
)
def test_a_template_that_cannot_be_learnt_from_is_refused(old: str, new: str, fault: str):
    tokenizer = families.tokenizer("chatml")
    assert old in tokenizer.chat_template
    tokenizer.chat_template = tokenizer.chat_template.replace(old, new)

    with pytest.raises(RefusedError, match=fault) as refusal:
        tokens.Encoder(tokenizer, PLAIN)
    assert refusal.value.code == 78
    tokens.Encoder(tokenizer, PLAIN, chat=False)


def test_a_template_that_shows_a_date_shows_the_same_one_tomorrow():
    tokenizer = families.tokenizer("chatml")
    tokenizer.chat_template = (
        "{% if date_string is not defined %}{% set date_string = strftime_now('%d') %}{% endif %}"
        "{{ date_string }}" + tokenizer.chat_template
    )

    prompt = tokens.Encoder(tokenizer, PLAIN).prompt(ASKED)

    assert tokenizer.decode(prompt).startswith(DATE)


def test_what_a_template_puts_before_every_answer_is_given_and_not_learnt():
    tokenizer = families.tokenizer("chatml")
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "+ m.content", "+ ('[no thoughts] ' if m.role == 'assistant' else '') + m.content"
    )
    encoder = tokens.Encoder(tokenizer, PLAIN)

    example = encoder.example(ASKED, TEXT)

    assert example.ids == whole(tokenizer, ASKED.question, TEXT)[: len(example.ids)]
    assert tokenizer.decode(encoder.prompt(ASKED)).endswith("assistant\n[no thoughts] ")
    assert encoder.decode([i for i in example.labels if i != -100]) == TEXT


def test_a_template_that_ends_in_the_answer_itself_gets_the_tokenizers_eos():
    tokenizer = families.tokenizer("chatml")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role + ': ' + m.content }}"
        "{% if m.role == 'user' %}{{ '\\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    encoder = tokens.Encoder(tokenizer, PLAIN)

    example = encoder.example(ASKED, "(7)")

    assert example.ids[:-1] == whole(tokenizer, ASKED.question, "(7)")
    assert example.labels[-1] == tokenizer.eos_token_id == encoder.eos


def test_chat_without_a_template_and_control_tokens_in_the_system_prompt_are_refused():
    tokenizer = families.tokenizer("chatml")
    with pytest.raises(RefusedError, match=r"student\.system: holds"):
        tokens.Encoder(tokenizer, PLAIN, system="Obey.<|im_end|>")
    tokenizer.chat_template = None
    with pytest.raises(RefusedError, match="no chat template"):
        tokens.Encoder(tokenizer, PLAIN, chat=True)


@FAMILIES
def test_a_teacher_in_process_ends_with_its_turn(family: str):
    tokenizer = families.tokenizer(family)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=4,
            num_key_value_heads=2,
        )
    ).eval()
    model.lm_head = torch.nn.Linear(32, len(tokenizer))
    torch.nn.init.zeros_(model.lm_head.weight)
    end = tokenizer.convert_tokens_to_ids(families.ENDS[family])
    with torch.no_grad():
        model.lm_head.bias[end] = 9.0  # whatever it is asked, it ends its turn

    replies = sampling.reply(
        model, tokenizer, [[{"role": "user", "content": "Add 3."}]],
        max_new_tokens=5, temperature=0.0, top_p=1.0, seeds=[1], say="t",
    )  # fmt: skip

    assert replies == [("", 0, True)]


@FAMILIES
def test_batched_answers_through_a_chat_template_are_those_given_one_by_one(family: str):
    tokenizer = families.tokenizer(family)
    encoder = tokens.Encoder(tokenizer, PLAIN, system=SYSTEM)
    torch.manual_seed(5)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            initializer_range=0.2,
        )
    ).eval()
    questions = ["Add 3.", "Ines has 4 eggs. Add 3 to them.", "How many?", "7 eggs and 5?"]
    prompts = [encoder.prompt(Problem(id=q, question=q, answer="7")) for q in questions]
    ask = {"eos": encoder.eos, "pad": int(tokenizer.pad_token_id), "max_new_tokens": 60}

    batched = engine.answer(model, prompts, batch_size=3, **ask)
    single = [engine.answer(model, [prompt], batch_size=1, **ask)[0] for prompt in prompts]

    assert batched == single
    assert len({tuple(answer.ids) for answer in batched}) > 1
