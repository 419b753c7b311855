"""Students as people bring them: small folders, each with a fault drawn by a seed."""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from redistill.students.model import load
from tests import families

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 12\n"
FILES = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]
ODD_VALUES: list[Any] = [None, -1, 0, 1e400, "x", "", [], [-1], {}, True, 10**12, 0.5, "🙂"]


def chat_model(folder: Path, *, tied: bool = False, context: int = 256, seed: int = 1) -> Path:
    """Write a llama of a few thousand parameters with a ChatML tokenizer, as one is downloaded."""
    tokenizer = families.tokenizer("chatml")
    load.seeded(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=context,
        tie_word_embeddings=tied,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]):
    """Write the weights of *folder* again, as *change* has them."""
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def set_json(file: Path, **values: Any) -> None:
    """Set *values* in the JSON object of *file*; None stays, a key that is ... goes."""
    content = json.loads(file.read_text()) if file.is_file() else {}
    content |= values
    file.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))


def sharded(folder: Path) -> None:
    """Write the weights of *folder* as two shards with an index."""
    found = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(found)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, own in parts.items():
        save_file({name: found[name] for name in own}, folder / file, metadata={"format": "pt"})
    index = {name: file for file, own in parts.items() for name in own}
    whole = {"metadata": {}, "weight_map": index}
    (folder / "model.safetensors.index.json").write_text(json.dumps(whole))


def _drop(folder: Path, random: Random) -> None:
    weights(folder, lambda w: {n: w[n] for n in random.sample(sorted(w), len(w) - 1)})


def _reshape(folder: Path, random: Random) -> None:
    name = random.choice(["lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"])
    weights(folder, lambda w: {**w, name: torch.cat([w[name], w[name][:3]])})


def _prefix(folder: Path, random: Random) -> None:
    prefix = random.choice(["_orig_mod.", "module.", "student.", "base_model.model.", "x.y."])
    weights(folder, lambda w: {prefix + name: value for name, value in w.items()})


def _dtype(folder: Path, random: Random) -> None:
    kind = random.choice([torch.int8, torch.uint8, torch.int64, torch.float8_e4m3fn, torch.bool])
    weights(folder, lambda w: {n: v.to(kind) if "up_proj" in n else v for n, v in w.items()})


def _cut(folder: Path, random: Random) -> None:
    file = folder / random.choice([*FILES, "model.safetensors"])
    content = file.read_bytes()
    file.write_bytes(content[: random.randrange(len(content))])


def _garble(folder: Path, random: Random) -> None:
    file = folder / random.choice([*FILES, "model.safetensors"])
    content = bytearray(file.read_bytes())
    for _ in range(random.randrange(1, 9)):
        content[random.randrange(min(len(content), 4000))] = random.randrange(256)
    file.write_bytes(content)


def _pointer(folder: Path, random: Random) -> None:
    (folder / random.choice([*FILES, "model.safetensors"])).write_text(POINTER)


def _absent(folder: Path, random: Random) -> None:
    (folder / random.choice([*FILES, "model.safetensors"])).unlink()


def _shard_gone(folder: Path, random: Random) -> None:
    sharded(folder)
    (folder / random.choice(["a.safetensors", "b.safetensors"])).unlink()


def _config(folder: Path, random: Random) -> None:
    keys = sorted(json.loads((folder / "config.json").read_text()))
    set_json(folder / "config.json", **{random.choice(keys): random.choice(ODD_VALUES)})


def _generation(folder: Path, random: Random) -> None:
    keys = [
        "temperature", "top_p", "top_k", "eos_token_id", "pad_token_id", "bos_token_id",
        "do_sample", "max_new_tokens", "num_beams", "num_return_sequences", "early_stopping",
        "cache_implementation", "penalty_alpha", "max_length", "anything",
    ]  # fmt: skip
    chosen = {random.choice(keys): random.choice(ODD_VALUES) for _ in range(3)}
    set_json(folder / "generation_config.json", **chosen)


def _words(folder: Path, random: Random) -> None:
    file = random.choice(["tokenizer_config.json", "tokenizer.json"])
    keys = sorted(json.loads((folder / file).read_text()))
    set_json(folder / file, **{random.choice(keys): random.choice(ODD_VALUES)})


def _template(folder: Path, random: Random) -> None:
    texts = [
        "{% for m in messages %}", "{{ messages[0].text.x }}", "{{ 1 / 0 }}", "", "plain", "\0",
        "{{ raise_exception('no') }}", "{% for i in range(10**9) %}x{% endfor %}",
        "{{ strftime_now('%d') }}{{ messages }}", "{{ messages[5].content }}", "{{ x + 1 }}",
        families.CHATML.replace("assistant\\n", "assistant\\n<think>\\n"), families.GEMMA,
    ]  # fmt: skip
    (folder / "chat_template.jinja").write_text(random.choice(texts))


FAULTS = [
    _drop, _reshape, _prefix, _dtype, _cut, _garble, _pointer, _absent, _shard_gone, _config,
    _config, _generation, _words, _template,
]  # fmt: skip


def student(whole: Path, folder: Path, seed: int) -> str:
    """Copy *whole* to *folder* with one fault or two, drawn by *seed*, and say which."""
    random = Random(seed)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    told = []
    for fault in random.sample(FAULTS, random.choice([1, 1, 2])):
        with suppress(Exception):  # a file that the first fault took away
            fault(folder, random)
            told.append(fault.__name__.strip("_"))
    return f"{seed}: {' and '.join(told)}"
