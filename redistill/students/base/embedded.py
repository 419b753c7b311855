"""The embedded student: a small model with a tokenizer of its own, pre-trained in minutes."""

from typing import Any

from redistill.students.base import curriculum
from redistill.students.base.settings import Shape
from redistill.students.model.tokens import IGNORED, Example

INITIAL = 0.06  # spread of the first weights: the usual 0.02 is for models ten times as wide
WIDTH = 128  # tokens of a row that lessons are packed into
QUARTER = 0.25  # of a head has rotary positions in GPT-NeoX
THETA = 100.0  # base of the rotary positions: sharp at the short distances that digits have


def tokenizer(shape: Shape, seed: int) -> Any:
    """
    Train a byte-level BPE tokenizer in which every digit is a token, for any text at all.

    Saved with ``save_pretrained`` it is an ordinary Hugging Face tokenizer.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=shape.vocabulary,
        special_tokens=["<|end|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(curriculum.vocabulary(seed), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|end|>",  # noqa: S106 - a token of text, no password
        pad_token="<|pad|>",  # noqa: S106
        model_max_length=shape.context,
        clean_up_tokenization_spaces=False,
    )


def untrained(shape: Shape, vocabulary: int, eos: int, pad: int) -> Any:
    """Make a randomly initialised model of *shape*; seed torch before calling."""
    import transformers

    rotary: dict[str, Any] = {"rope_type": "default", "rope_theta": THETA}
    shared = {
        "vocab_size": vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "max_position_embeddings": shape.context,
        "tie_word_embeddings": True,
        "initializer_range": INITIAL,
        "bos_token_id": None,
        "eos_token_id": eos,
        "pad_token_id": pad,
    }
    if shape.architecture == "gpt_neox":
        rotary |= {"partial_rotary_factor": QUARTER}
        neox = transformers.GPTNeoXConfig(**shared, rope_parameters=rotary)
        return transformers.GPTNeoXForCausalLM(neox)
    heads = {"num_key_value_heads": shape.heads, "rope_parameters": rotary}
    if shape.architecture == "qwen2":
        return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**shared, **heads))
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**shared, **heads))


def rows(tokenizer: Any, shape: Shape, seed: int) -> list[Example]:
    """
    Make training rows of the curriculum: loss on what is to be written, not on what is given.

    Lessons end in EOS and are packed into rows of at most WIDTH tokens, a longer one by itself:
    without padding, and with lessons of all kinds in every batch.
    """
    lessons = curriculum.lessons(seed, shape.texts)
    pieces = [piece for lesson in lessons for pair in lesson for piece in pair]
    encoded = iter(tokenizer(pieces, add_special_tokens=False)["input_ids"])
    found = []
    row = Example([], [])
    for lesson in lessons:
        ids: list[int] = []
        labels: list[int] = []
        for _ in lesson:
            given, asked = next(encoded), next(encoded)
            ids += [*given, *asked]
            labels += [*[IGNORED] * len(given), *asked]
        ids.append(tokenizer.eos_token_id)
        labels.append(tokenizer.eos_token_id)
        if row.ids and len(row.ids) + len(ids) > WIDTH:
            found.append(row)
            row = Example([], [])
        row = Example(row.ids + ids, row.labels + labels)
    return [*found, row]
