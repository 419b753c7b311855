"""Base students of other architectures: their size, their answers, and what is refused of them."""

import json
from pathlib import Path

import pytest

from redistill.console.exceptions import RefusedError
from redistill.settings.sections import Params
from redistill.students.answer import engine
from redistill.students.base import embedded, make
from redistill.students.base.settings import Shape, load_target, parameters, target_size
from redistill.students.model import load
from tests import settings

SHAPE = Shape(
    architecture="llama", hidden=32, layers=2, heads=2, feed_forward=64, vocabulary=400,
    context=256, texts=60, batch_size=4, steps=2, learning_rate=0.002,
)  # fmt: skip
KINDS = ("llama", "qwen2", "gpt_neox")


def shaped(kind: str) -> Shape:
    return SHAPE.model_copy(update={"architecture": kind})


@pytest.mark.parametrize("kind", KINDS)
def test_a_students_size_is_known_before_it_is_made(kind: str):
    for change in ({}, {"hidden": 48, "feed_forward": 80, "layers": 3}):
        shape = shaped(kind).model_copy(update=change)
        made = embedded.untrained(shape, 400, 0, 1)

        assert made.num_parameters() == parameters(shape, 400)
        assert made.config.model_type == kind


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_of_any_architecture_is_saved_opened_and_answers_the_same_in_a_batch(
    kind: str, tmp_path: Path
):
    model, words, figures, timing = make.begin("embedded", shaped(kind), seed=3)
    load.save(model, words, tmp_path / "made", {"model": "embedded"})
    opened, config = load.model(tmp_path / "made"), tmp_path / "made/config.json"
    prompts = [
        words(text)["input_ids"] for text in ("Ines has 4 eggs.", "Add 3 and 4 and 50.", "9")
    ]

    def answers(chosen: list[list[int]]) -> list[engine.Answer]:
        ends = {"eos": words.eos_token_id, "pad": words.pad_token_id}
        return engine.answer(opened, chosen, **ends, max_new_tokens=20, batch_size=3)

    assert figures["parameters"] == opened.num_parameters()
    assert timing is not None
    assert json.loads(config.read_text(encoding="utf-8"))["model_type"] == kind
    assert answers(prompts) == [answers([prompt])[0] for prompt in prompts]


def with_target(text: str) -> Params:
    return settings.written(f"targets:\n  wide: {text}\n")


SIZES = ", ".join(f"{name}: {value}" for name, value in SHAPE.model_dump().items())


def test_a_target_has_a_seed_and_a_shape_of_its_own():
    other = with_target("{model: some/where, revision: null, seed: 1, shape: null}")

    assert load_target(other, "wide").shape is None
    assert target_size(load_target(other, "wide"), 99) == 99
    made = with_target(f"{{model: embedded, revision: null, seed: 7, shape: {{{SIZES}}}}}")
    found = load_target(made, "wide")
    assert (found.seed, found.shape) == (7, SHAPE)
    assert target_size(found, 99) == 4 * parameters(SHAPE, 400)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{model: embedded, revision: null, seed: 1, shape: null}", "targets.wide.shape"),
        ("{model: x, revision: null, seed: 1, shape: {" + SIZES + "}}", "null for others"),
        ("{model: x, revision: null, seed: -1, shape: null}", "targets.wide.seed"),
        ("{model: x, seed: 1, shape: null}", "targets.wide.revision: missing"),
        (
            "{model: x, revision: null, seed: 1, shape: {" + SIZES.replace("llama", "bloom") + "}}",
            "architecture",
        ),
    ],
)
def test_a_target_that_cannot_be_made_is_refused_by_name(text: str, fault: str):
    with pytest.raises(RefusedError, match=fault):
        load_target(with_target(text), "wide")
    with pytest.raises(RefusedError, match="there is none 'deep'"):
        load_target(with_target(text), "deep")
