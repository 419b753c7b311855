"""The shape of embedded students, and the base students of targets, as params.yaml has them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.settings.bounds import Above, Count, Length, Seed, Text, Width
from redistill.settings.sections import Params, Section
from redistill.students.model.settings import StudentSettings

EMBEDDED = "embedded"


class Shape(Section):
    """
    The size of the embedded student, and how much it reads before the first round.

    *architecture* is that of Transformers: ``llama``; ``qwen2``, with biases in the attention; or
    ``gpt_neox``, with layer norms, a feed-forward of two matrices beside the attention instead of
    after it, biases everywhere, and rotary positions in a quarter of each head.
    """

    architecture: Literal["llama", "gpt_neox", "qwen2"]
    hidden: Width
    layers: Annotated[int, Field(ge=1, le=1000)]
    heads: Annotated[int, Field(ge=1, le=1000)]
    feed_forward: Width
    vocabulary: Width
    context: Length
    texts: Count
    batch_size: Width
    steps: Count
    learning_rate: Above

    @model_validator(mode="after")
    def _divides(self) -> "Shape":
        """Refuse heads of a width that is no even number, in which positions cannot rotate."""
        if self.hidden % (2 * self.heads):
            raise PydanticCustomError(
                "heads", "heads: hidden has to be a multiple of twice their number"
            )
        return self


class Target(Section):
    """
    A further base student: *model*, *revision* and *template* as in the section ``student``.

    *seed* and *shape* make an embedded one; the shape is null for any other. The template may be
    left out, as most targets have a single one.
    """

    model: Text
    revision: Text | None
    template: Text | None = None
    seed: Seed
    shape: Shape | None


def shape(params: Params, model: str) -> Shape | None:
    """Return the section ``embedded`` where the student *model* is made by it, else None."""
    return params.section(EMBEDDED, Shape) if model == EMBEDDED else None


def load_target(params: Params, name: str) -> Target:
    """Return the target *name*; refuses an embedded one without a shape, and one that is none."""
    content = params.named("targets")
    if name not in content:
        raise RefusedError(f"{params.file}: targets: there is none {name!r}", code=CONFIG)
    found = params.hold(f"targets.{name}", content[name], Target)
    if (found.model == EMBEDDED) != (found.shape is not None):
        raise RefusedError(
            f"{params.file}: targets.{name}.shape: what an embedded student needs, and null for "
            "others",
            code=CONFIG,
        )
    return found


def pretrains(params: Params, options: Mapping[str, Any]) -> bool:
    """Say whether the student of the stage with *options*, a target's ``name``, is trained here."""
    if "name" in options:
        return load_target(params, options["name"]).model == EMBEDDED
    return params.section("student", StudentSettings).model == EMBEDDED


def target_size(target: Target, other: int) -> int:
    """Return the bytes of an embedded *target*; for any other *other*, as the source has."""
    if target.shape is None:
        return other
    return 4 * parameters(target.shape, target.shape.vocabulary)


def parameters(shape: Shape, vocabulary: int) -> int:
    """Count the weights of a student of *shape*: embeddings (tied), attention, layers, norms."""
    hidden, inner = shape.hidden, shape.feed_forward
    attention = 4 * hidden**2
    if shape.architecture == "gpt_neox":
        layer = attention + 4 * hidden + 2 * hidden * inner + inner + hidden + 4 * hidden
        return vocabulary * hidden + shape.layers * layer + 2 * hidden
    biases = 3 * hidden if shape.architecture == "qwen2" else 0
    layer = attention + biases + 3 * hidden * inner + 2 * hidden
    return vocabulary * hidden + shape.layers * layer + hidden
