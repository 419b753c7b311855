"""The embedded student: a small Llama with a tokenizer of its own, pre-trained in minutes."""

from typing import Any

from redistill.params import Section
from redistill.students import curriculum
from redistill.students.labelling import IGNORED, Example


class Shape(Section):
    """The size of the embedded student, and how much it reads before the first round."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    context: int
    texts: int
    block: int
    batch_size: int
    steps: int
    learning_rate: float


def tokenizer(shape: Shape, seed: int) -> Any:
    """
    A byte-level BPE tokenizer in which every digit is a token, for any text at all.

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
    """A randomly initialised Llama of *shape*; seed torch before calling."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=shape.hidden,
            intermediate_size=shape.feed_forward,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.heads,
            max_position_embeddings=shape.context,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=eos,
            pad_token_id=pad,
        )
    )


def blocks(tokenizer: Any, shape: Shape, seed: int) -> list[Example]:
    """
    The curriculum as rows of *shape.block* ids: lessons in sequence, each ended by EOS.

    Loss is on what is to be written, not on what is given.
    """
    lessons = curriculum.lessons(seed, shape.texts)
    given = tokenizer([given for given, _ in lessons], add_special_tokens=False)["input_ids"]
    asked = tokenizer([asked for _, asked in lessons], add_special_tokens=False)["input_ids"]
    ids: list[int] = []
    labels: list[int] = []
    for before, after in zip(given, asked, strict=True):
        ids += [*before, *after, tokenizer.eos_token_id]
        labels += [*[IGNORED] * len(before), *after, tokenizer.eos_token_id]
    size = shape.block
    starts = range(0, len(ids) - size + 1, size)
    return [Example(ids[i : i + size], labels[i : i + size]) for i in starts]
