"""Small tokenizers with the turn formats of four families of chat models, built here."""

from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

LINES = [
    "Ines has 4 eggs. Add 3 to them. How many are there?",
    "First we add: 4 + 3 = 7, so there are 7 eggs in all.\n#### 7",
    "Answer briefly, and show the steps.\n\nThe steps are 12 - 5 = 7 and 7 * 2 = 14.",
    "user assistant system model\n\n\n",
] * 40
PIECES = r"\s*[\r\n]+| ?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+"  # a run of line ends is a piece

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role "
    "+ '<|end_header_id|>\\n\\n' + (m.content | trim) + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('no system turns') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' "
    "+ (m.content | trim) + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}"
    "{% else %}{{ raise_exception('turns are of user and assistant') }}{% endif %}{% endfor %}"
)
ENDS = {
    "chatml": "<|im_end|>",
    "llama3": "<|eot_id|>",
    "gemma": "<end_of_turn>",
    "mistral": "</s>",
}
SPECIAL = {
    "chatml": ["<|im_start|>", "<|im_end|>", "<|endoftext|>"],
    "llama3": [
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
    ],
    "gemma": ["<bos>", "<eos>", "<pad>", "<unk>", "<start_of_turn>", "<end_of_turn>"],
    "mistral": ["<s>", "</s>", "<unk>"],
}
NAMED: dict[str, dict[str, str]] = {
    "chatml": {"eos_token": "<|endoftext|>"},  # as a base model's tokenizer has it: no turn's end
    "llama3": {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"},
    "gemma": {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"},
    "mistral": {"bos_token": "<s>", "eos_token": "</s>"},
}
TEMPLATES = {"chatml": CHATML, "llama3": LLAMA3, "gemma": GEMMA, "mistral": MISTRAL}


def tokenizer(family: str) -> Any:
    """A tokenizer of *family*: byte-level, or with spaces as a sign of their own."""
    if family in ("chatml", "llama3"):
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(PIECES), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        made.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        made = Tokenizer(models.BPE(unk_token="<unk>"))  # noqa: S106 - a token of text
        alphabet = [chr(n) for n in range(33, 127)] + ["▁", "\n"]
        if family == "gemma":
            made.normalizer = normalizers.Replace(" ", "▁")
            made.decoder = decoders.Replace("▁", " ")
            made.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
        else:
            made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
            made.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=SPECIAL[family],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    made.train_from_iterator(LINES, trainer)
    found = PreTrainedTokenizerFast(
        tokenizer_object=made, clean_up_tokenization_spaces=False, **NAMED[family]
    )
    found.chat_template = TEMPLATES[family]
    if found.pad_token_id is None:
        found.pad_token = found.eos_token
    return found
