"""Steps by tokens: steady, the same lessons for every arm, whatever the parts and processes."""

from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from redistill.checks import check_params
from redistill.console import rank
from redistill.console.exceptions import RefusedError
from redistill.students.model import load, tokens
from redistill.students.model.tokens import IGNORED
from redistill.students.train import collator, loop, packing, parts, trainer
from redistill.students.train.parts import Lengths, Parts
from tests.settings import shipped

PLAN = loop.Plan(
    steps=6, batch_size=6, accumulate=1, learning_rate=1e-3, warmup=0.0, weight_decay=0.0,
    precision="fp32", seed=3, batch_tokens=60,
)  # fmt: skip
SIZES = st.lists(st.integers(2, 400), min_size=1, max_size=90)


def trained(base: Path, examples: list[tokens.Example], **changes) -> dict:
    model = load.model(base)
    return loop.train(model, examples, replace(PLAN, **changes), pad=1, say="test")[0]


@given(SIZES, st.integers(1, 9), st.integers(0, 99))
def test_every_epoch_has_each_lesson_once_in_steps_of_as_many_tokens(
    sizes: list[int], batch_size: int, seed: int
):
    torch.manual_seed(seed)

    steps = parts.dealt(sizes, batch_size)

    assert sorted(row for step in steps for row in step) == list(range(len(sizes)))
    assert [len(step) for step in steps[:-1]] == [batch_size] * (len(steps) - 1)
    whole = [sum(sizes[row] for row in step) for step in steps if len(step) == batch_size]
    assert not whole or max(whole) - min(whole) <= max(sizes) - min(sizes)


def test_steps_are_steadier_than_by_chance_and_their_rows_meet_anew_each_epoch():
    torch.manual_seed(1)
    sizes = torch.randint(100, 420, (400,)).tolist()

    first, second = parts.dealt(sizes, 8), parts.dealt(sizes, 8)

    sums = [sum(sizes[row] for row in step) for step in first]
    assert max(sums) - min(sums) < 0.05 * sum(sums) / len(sums)
    assert not {frozenset(step) for step in first} & {frozenset(step) for step in second}


@given(SIZES, st.integers(1, 900), st.booleans())
def test_a_part_is_of_at_most_so_many_tokens_unless_it_is_one_row(
    sizes: list[int], most: int, packed: bool
):
    lengths = Lengths(sizes, packed)

    made = parts.cut(range(len(sizes)), lengths, most)

    assert sorted(row for part in made for row in part) == list(range(len(sizes)))
    assert all(len(part) == 1 or lengths.of(part) <= most for part in made)


@pytest.mark.parametrize("count", [2, 3])
def test_processes_share_the_rows_that_one_takes_and_have_as_many_parts(
    count: int, monkeypatch: pytest.MonkeyPatch
):
    lengths = Lengths([5, 90, 7, 30, 31, 8, 60, 9, 12, 4, 6, 3, 70], packed=False)
    torch.manual_seed(2)
    alone = [sorted(chain.from_iterable(step)) for step in Parts(lengths, 6, 64)]
    monkeypatch.setattr(rank, "count", lambda: count)
    monkeypatch.setattr(parts.ranks, "agreed", lambda found: found)
    shared = []
    for number in range(count):
        torch.manual_seed(2)
        monkeypatch.setattr(rank, "number", lambda number=number: number)
        shared.append(list(Parts(lengths, 6, 64)))

    for step, together in zip(alone, zip(*shared, strict=True), strict=True):
        rows = [row for each in together for part in each for row in part]
        assert sorted(row for row in rows if row != 13) == step  # 13 teaches nothing
        assert len({len(each) for each in together}) == 1


@pytest.mark.parametrize("packed", [True, False])
def test_the_size_of_the_parts_changes_no_loss(
    base: Path, examples: list[tokens.Example], packed: bool, monkeypatch: pytest.MonkeyPatch
):
    whole = trained(base, examples, batch_tokens=10**6, packed=packed)
    small_parts = trained(base, examples, batch_tokens=60, packed=packed)
    monkeypatch.setattr(trainer, "LARGE", 1)
    taught = trained(base, examples, batch_tokens=60, packed=packed)

    assert small_parts["losses"] == pytest.approx(whole["losses"], abs=2e-4)
    assert taught["losses"] == pytest.approx(whole["losses"], abs=2e-4)
    assert small_parts["tokens"] == taught["tokens"] == whole["tokens"]


def test_arms_with_short_and_with_long_texts_take_as_many_steps_and_lessons(
    base: Path, examples: list[tokens.Example], monkeypatch: pytest.MonkeyPatch
):
    longer = [
        tokens.Example([*e.ids[:1] * 30, *e.ids], [IGNORED] * 30 + e.labels) for e in examples
    ]
    rows = []
    real = collator.Collator.__call__
    monkeypatch.setattr(
        collator.Collator,
        "__call__",
        lambda own, given: rows.append(len(given)) or real(own, given),
    )

    told = [trained(base, arm, steps=7) for arm in (examples, longer)]

    assert [figures["steps"] for figures in told] == [7, 7]
    assert [figures["lessons_seen"] for figures in told] == [42, 42]  # of 18 lessons, 6 a step
    assert sum(rows) >= 84
    for figures, arm in zip(told, (examples, longer), strict=True):
        sizes = [len(example.ids) for example in arm]
        assert figures["step_tokens_most"] - figures["step_tokens_least"] <= max(sizes) - min(sizes)


def test_the_last_step_of_an_epoch_has_what_remains_and_is_told_of_as_such():
    assert parts.told([10] * 7, 3, [30, 60, 70, 100]) == {
        "lessons_seen": 10,
        "step_tokens_least": 30,
        "step_tokens_most": 30,
    }


def test_parts_by_tokens_and_by_a_number_at_once_are_refused_with_the_settings():
    params = shipped()
    params.content["train"].update(batch_tokens=64, accumulate=2)

    with pytest.raises(RefusedError, match="accumulate: batch_tokens says how much") as refusal:
        check_params.check(params)
    assert refusal.value.code == 78


def test_what_is_taught_is_found_row_by_row():
    labels = torch.tensor([[-100, -100, 7, 8, -100], [-100, 5, 6, -100, -100]])

    found = collator.taught(labels)

    assert found["places"].tolist() == [0, 1, 2]  # the columns before 5, before 7 and 6, before 8
    assert found["cells"].tolist() == [1, 2, 3, 4]
    assert found["targets"].tolist() == [7, 8, 5, 6]
    assert collator.taught(torch.full((1, 2), -100))["places"].tolist() == [0]


def test_a_causal_student_trains_the_same_without_a_mask_of_the_padding(
    base: Path, examples: list[tokens.Example], monkeypatch: pytest.MonkeyPatch
):
    masked = trained(base, examples)
    unmasked(monkeypatch)

    assert trained(base, examples)["losses"] == pytest.approx(masked["losses"], abs=2e-4)


def unmasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make batches as a GPU has them."""
    real = loop._collator
    monkeypatch.setattr(loop, "_collator", lambda *given: replace(real(*given), masked=False))


class Asked(TorchDispatchMode):
    """Counts what a GPU's host would wait for: values, and shapes that depend on values."""

    WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "unique")

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        masks = name in ("index", "index_put", "index_put_") and any(
            each is not None and each.dtype == torch.bool for each in args[1]
        )
        self.count += masks or name.startswith(self.WAITS)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("changes", [{}, {"accumulate": 2}, {"batch_tokens": 60}])
@pytest.mark.parametrize("large", [1, 10**6])
def test_the_host_waits_for_nothing_but_transformers_one_look_at_positions(
    base: Path,
    examples: list[tokens.Example],
    changes: dict,
    large: int,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(trainer, "LARGE", large)
    unmasked(monkeypatch)
    waited: list[int] = []
    real = trainer.StudentTrainer.training_step

    def counted(own, model, inputs, number=None):
        with Asked() as asked:
            loss = real(own, model, inputs, number)
            own._track_num_input_tokens(inputs)
        waited.append(asked.count - len(inputs.get("parts", [inputs])))
        return loss

    monkeypatch.setattr(trainer.StudentTrainer, "training_step", counted)

    trained(base, examples, **{"batch_tokens": None, **changes})

    assert len(waited) >= 6
    assert set(waited) == {0}


def test_rows_side_by_side_come_with_their_borders_for_flash_attention():
    rows = [{"input_ids": [4] * size, "labels": [4] * size} for size in (3, 5, 2)]

    made = packing.collate(rows, borders=True)

    assert made["cu_seq_lens_q"].tolist() == made["cu_seq_lens_k"].tolist() == [0, 3, 8, 10]
    assert made["cu_seq_lens_q"].dtype == torch.int32
    assert made["max_length_q"] == made["max_length_k"] == 5
    assert "cu_seq_lens_q" not in packing.collate(rows)


def test_flash_attention_is_told_the_borders_and_does_not_look_for_them(
    base: Path, examples: list[tokens.Example], monkeypatch: pytest.MonkeyPatch
):
    from transformers import modeling_flash_attention_utils as flash

    def one_by_one(q, k, v, cu_seqlens_q, cu_seqlens_k, **_):
        bounds = list(zip(cu_seqlens_q.tolist(), cu_seqlens_q.tolist()[1:], strict=False))
        each = [
            torch.nn.functional.scaled_dot_product_attention(
                *(x[start:end].transpose(0, 1) for x in (q, k, v)), is_causal=True
            ).transpose(0, 1)
            for start, end in bounds
        ]
        return torch.cat(each)

    kernels = (None, one_by_one, None, None, None), (lambda **_: {}, None)
    monkeypatch.setattr(flash, "lazy_import_flash_attention", lambda name: kernels)
    monkeypatch.setattr(flash, "_is_packed_sequence", lambda *_: pytest.fail("looked for borders"))
    plain = trained(base, examples, packed=True)
    model = load.model(base)
    model.config._attn_implementation = "flash_attention_2"

    figures, _ = loop.train(model, examples, replace(PLAN, packed=True), pad=1, say="test")

    assert figures["losses"] == pytest.approx(plain["losses"], abs=2e-4)
