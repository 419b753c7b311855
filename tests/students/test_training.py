"""LoRA, packing, recomputing and running out of memory, on a student of a few thousand weights."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from redistill.console.exceptions import RefusedError
from redistill.students.model import load, memory, tokens
from redistill.students.train import batch as batches
from redistill.students.train import checkpoints, likelihood, loop, packing, trainer
from redistill.students.train import lora as loras
from redistill.students.train.settings import LoraSettings
from tests.loop import training as small

LORA = LoraSettings(rank=4, alpha=8.0, dropout=0.0, targets="all-linear")
PLAN = loop.Plan(
    steps=4,
    batch_size=6,
    accumulate=2,
    learning_rate=0.01,
    warmup=0.0,
    weight_decay=0.0,
    precision="fp32",
    seed=3,
)


def trained(base: Path, examples: list[tokens.Example], attention=None, **changes):
    plan = replace(PLAN, **changes)
    model = load.model(base, attention=attention)
    figures, _ = loop.train(model, examples, plan, pad=1, say="test")
    return model, figures


def logits(model, rows: list[list[int]]) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([model.eval()(input_ids=torch.tensor([row])).logits[0] for row in rows])


def test_what_lora_learnt_is_in_the_merged_weights_and_the_base_is_untouched(
    base: Path, examples: list[tokens.Example]
):
    plain, before = load.model(base), small.digest(base)
    adapted = loras.adapted(load.model(base), LORA, seed=1)
    loop.train(adapted, examples, PLAN, pad=1, say="test")
    rows = [example.ids for example in examples[:3]]
    unmerged = logits(adapted, rows)
    frozen = {
        name.removeprefix("base_model.model.").replace(".base_layer", ""): weight.clone()
        for name, weight in adapted.named_parameters()
        if "lora" not in name
    }

    merged = loras.merged(adapted)

    torch.testing.assert_close(logits(merged, rows), unmerged, atol=1e-4, rtol=1e-4)
    assert (unmerged - logits(plain, rows)).abs().max() > 0.1
    assert all(torch.equal(weight, frozen[name]) for name, weight in plain.named_parameters())
    assert small.digest(base) == before
    changed = [
        name
        for (name, weight), old in zip(merged.named_parameters(), plain.parameters(), strict=True)
        if not torch.equal(weight, old)
    ]
    assert len(changed) == 14  # seven linear layers in each of two blocks; no norm, no embedding
    assert all("_proj" in name for name in changed)


def test_a_lora_round_is_an_ordinary_student_that_the_next_one_starts_from(
    base: Path, tmp_path: Path
):
    first = small.fit(base, tmp_path / "r0", method="lora", save_every=0)
    second = small.fit(tmp_path / "r0", tmp_path / "r1", method="lora", save_every=0)

    names = {file.name for file in (tmp_path / "r1").iterdir()}
    assert names == {file.name for file in base.iterdir()}
    assert first["method"] == second["method"] == "lora"
    assert second["nll_before"] < first["nll_before"]
    assert load.model(tmp_path / "r1").config.model_type == "llama"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"targets": ["no_such_layer"]}, "lora.targets"),
    ],
)
def test_lora_settings_that_cannot_be_are_refused(base: Path, changes: dict, fault: str):
    with pytest.raises(RefusedError, match=fault) as refusal:
        loras.adapted(load.model(base), LORA.model_copy(update=changes), seed=1)
    assert refusal.value.code == 78


@pytest.mark.parametrize("attention", ["sdpa", pytest.param("eager", marks=pytest.mark.slow)])
def test_packed_rows_have_the_logits_of_single_ones(
    base: Path, examples: list[tokens.Example], attention
):
    model = load.model(base, attention=attention).eval()
    rows = [batches.row(example) for example in examples[:5]]
    batch = packing.collate(rows)
    del batch["labels"]

    with torch.inference_mode():
        packed = model(**batch).logits[0]

    torch.testing.assert_close(
        packed, logits(model, [row["input_ids"] for row in rows]), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("attention", ["sdpa", pytest.param("eager", marks=pytest.mark.slow)])
def test_no_token_of_a_packed_row_depends_on_another_row(
    base: Path, examples: list[tokens.Example], attention
):
    model = load.model(base, attention=attention).eval()
    rows = [batches.row(example) for example in examples[:4]]
    batch = packing.collate(rows)
    del batch["labels"]
    inputs = model.get_input_embeddings()(batch.pop("input_ids")).detach().requires_grad_()
    places = torch.tensor([n for n, row in enumerate(rows) for _ in row["input_ids"]])

    for number in range(len(rows)):
        out = model(inputs_embeds=inputs, **batch).logits[0]
        (gradient,) = torch.autograd.grad(out[places == number].sum(), inputs)
        reached = gradient[0].abs().sum(-1) > 0
        assert reached[places == number].all()
        assert not reached[places != number].any()


@pytest.mark.parametrize("accumulate", [2, pytest.param(1, marks=pytest.mark.slow)])
def test_packing_changes_neither_the_losses_nor_what_a_step_sees(
    base: Path, examples: list[tokens.Example], accumulate: int
):
    _, padded = trained(base, examples, accumulate=accumulate, learning_rate=1e-3)
    _, packed = trained(base, examples, accumulate=accumulate, learning_rate=1e-3, packed=True)

    assert packed["losses"] == pytest.approx(padded["losses"], abs=2e-4)
    assert packed["tokens"] == padded["tokens"]


@pytest.mark.parametrize(
    ("packed", "lora"),
    [
        (True, True),
        (False, False),
        *(pytest.param(packed, not packed, marks=pytest.mark.slow) for packed in (True, False)),
    ],
)
def test_leaving_out_the_logits_of_prompts_changes_no_loss(
    base: Path,
    examples: list[tokens.Example],
    monkeypatch: pytest.MonkeyPatch,
    packed: bool,
    lora: bool,
):
    losses = []
    seen = []
    for large in (10**6, 1):
        monkeypatch.setattr(trainer, "LARGE", large)
        model = load.model(base)
        model.lm_head.register_forward_hook(
            lambda head, given, logits: seen.append(logits.shape[1])
        )
        model = loras.adapted(model, LORA, seed=1) if lora else model
        plan = replace(PLAN, packed=packed, learning_rate=1e-3)
        losses.append(loop.train(model, examples, plan, pad=1, say="test")[0]["losses"])

    assert losses[1] == pytest.approx(losses[0], abs=2e-4)
    assert sum(seen[len(seen) // 2 :]) < sum(seen[: len(seen) // 2])


def test_packing_is_refused_where_a_model_lets_rows_see_each_other(
    base: Path, examples: list[tokens.Example], monkeypatch: pytest.MonkeyPatch
):
    model = load.model(base)
    forward = model.forward

    def without_positions(position_ids=None, **inputs):
        return forward(**inputs)

    monkeypatch.setattr(model, "forward", without_positions)

    with pytest.raises(RefusedError, match=r"train\.packing: rows packed together change") as it:
        loop.train(model, examples, replace(PLAN, packed=True), pad=1,
                       say="test")  # fmt: skip
    assert it.value.code == 78


def test_recomputing_activations_changes_nothing_but_memory(
    base: Path, examples: list[tokens.Example]
):
    kept, _ = trained(base, examples)
    again, _ = trained(base, examples, recomputed=True)

    for one, other in zip(kept.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    assert again.config.use_cache == kept.config.use_cache is True


def test_bf16_trains_weights_that_stay_fp32(base: Path, examples: list[tokens.Example]):
    model, figures = trained(base, examples, precision="bf16")

    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert figures["loss_last"] < figures["loss_first"]


def test_the_recorded_loss_curve_is_short(base: Path, tmp_path: Path):
    figures = small.fit(base, tmp_path / "r0", steps=70, save_every=0)

    assert figures["losses_every"] == 2
    assert len(figures["losses"]) == 35
    assert figures["precision"] == "fp32"


def test_two_runs_of_one_training_at_a_time_are_refused(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(checkpoints.VARIABLE, str(tmp_path / "checkpoints"))
    monkeypatch.setattr(checkpoints, "key", lambda *_: "k")

    with (
        checkpoints.kept("r0", "k"),
        pytest.raises(RefusedError, match="another process trains r0") as refusal,
    ):
        small.fit(base, tmp_path / "r0")
    assert refusal.value.code == 75


@pytest.mark.parametrize(("shared", "stays"), [(True, ["at work", "idle"]), (False, ["at work"])])
def test_trainings_of_one_name_go_on_side_by_side_and_only_a_folder_of_ones_own_is_cleared(
    shared: bool, stays: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(checkpoints.VARIABLE, str(tmp_path / "c") if shared else "c")
    (tmp_path / "c/r0/idle/checkpoint-10").mkdir(parents=True)

    with checkpoints.kept("r0", "at work") as other:
        with checkpoints.kept("r0", "own") as own:
            (own / "checkpoint-20").mkdir()
        assert sorted(path.name for path in (tmp_path / "c/r0").iterdir()) == stays
        assert other.is_dir()


def test_a_folder_that_is_removed_while_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(checkpoints.VARIABLE, str(tmp_path))
    real, removed = checkpoints.fcntl.flock, []

    def flock(lock: int, how: int) -> None:
        if not removed:  # by the run before, which ends just now
            shutil.rmtree(tmp_path / "r0/k")
        removed.append(lock)
        real(lock, how)

    monkeypatch.setattr(checkpoints.fcntl, "flock", flock)
    with checkpoints.kept("r0", "k") as folder:
        assert len(removed) == 2
        assert (folder / checkpoints.LOCK).is_file()


def test_another_row_plan_or_start_is_another_training(
    base: Path, examples: list[tokens.Example], tmp_path: Path
):
    other = load.model(base)
    with torch.no_grad():
        other.lm_head.weight[0, 0] += 1
    load.save(other, load.tokenizer(base), tmp_path / "other", {})
    key = checkpoints.key(examples, base, {"steps": 3})

    assert key == checkpoints.key(list(examples), base, {"steps": 3})
    assert key != checkpoints.key(examples[1:], base, {"steps": 3})
    assert key != checkpoints.key(examples, base, {"steps": 4})
    assert key != checkpoints.key(examples, tmp_path / "other", {"steps": 3})


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    with pytest.raises(RuntimeError, match="shapes"), memory.watched("training", "nothing"):
        raise RuntimeError("shapes do not match")


class Fixed:
    """A model that finds the next token as likely as *shares* say, whatever came before."""

    device = torch.device("cpu")
    config = SimpleNamespace(_attn_implementation="sdpa")

    def __init__(self, shares: list[float]) -> None:
        self.logits = torch.tensor(shares).log()

    def __call__(self, input_ids: torch.Tensor, **_: object) -> SimpleNamespace:
        return SimpleNamespace(logits=self.logits.expand(*input_ids.shape, -1))


def taught(*completion: int) -> tokens.Example:
    prompt = [0, 0]
    return tokens.Example([*prompt, *completion], [tokens.IGNORED] * 2 + [*completion])


def test_the_rank_surprisal_ratio_is_the_mean_rank_over_the_mean_surprisal():
    model = Fixed([0.6, 0.2, 0.1, 0.1])
    rows = [taught(1, 2), taught(0), taught(3, 0, 1)]

    found = likelihood.rank_surprisal(model, rows, pad=0)

    surprisals = [-math.log(share) for share in (0.6, 0.2, 0.1, 0.1)]
    assert found == pytest.approx(
        [
            (2 + 3) / (surprisals[1] + surprisals[2]),
            1 / surprisals[0],
            (3 + 1 + 2) / (surprisals[3] + surprisals[0] + surprisals[1]),  # as likely: as high
        ]
    )


def test_a_rank_counts_as_a_hundred_at_most_and_a_text_without_surprise_is_never_the_best():
    falling = Fixed([1 / 2**n for n in range(1, 128)])

    (far,) = likelihood.rank_surprisal(falling, [taught(120)], pad=0)
    (certain,) = likelihood.rank_surprisal(Fixed([1.0, 0.0]), [taught(0, 0)], pad=0)

    assert far == pytest.approx(100 / (121 * math.log(2)), rel=1e-4)
    assert certain == math.inf


def test_every_text_has_the_ratio_that_it_has_alone_and_in_its_own_place(base: Path):
    problems = list(small.PROBLEMS.values())[:3]
    rows = [(p, f"{'so ' * n}\n#### {n}") for p, n in zip(problems, (30, 1, 9), strict=True)]
    encoder = tokens.Encoder(load.tokenizer(base), small.ASKED.prompt)
    model = load.model(base).eval()

    found = likelihood.rank_surprisal_each(base, rows, small.ASKED)

    alone = [likelihood.rank_surprisal(model, [encoder.example(p, t)], pad=1)[0] for p, t in rows]
    assert found == pytest.approx(alone, rel=1e-4)
    assert len(set(found)) == 3
