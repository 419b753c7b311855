"""The student before the first round."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.settings import sections
from redistill.settings.sections import Section
from redistill.students.base import embedded
from redistill.students.model import load, precision

EMBEDDED = "embedded"
BASE = Path("data/students/base")


class Target(Section):
    """
    A further base student: *model* and *revision* as in the section ``student``.

    *seed* and *shape* make an embedded one; the shape is null for any other.
    """

    model: str
    revision: str | None
    seed: Annotated[int, Field(ge=0)]
    shape: embedded.Shape | None


def target(path: Path, name: str) -> Target:
    """The target *name* of the settings *path*; refuses an embedded one without a shape."""
    content = sections.read(path).get("targets") or {}
    if name not in content:
        raise RefusedError(f"{path}: targets: there is none {name!r}", code=CONFIG)
    found = sections.hold(path, f"targets.{name}", content[name], Target)
    if (found.model == EMBEDDED) != (found.shape is not None):
        raise RefusedError(
            f"{path}: targets.{name}.shape: what an embedded student needs, and null for others",
            code=CONFIG,
        )
    return found


def size(target: Target, other: int) -> int:
    """The bytes of an embedded *target*; *other*, as the source is taken to have, for any other."""
    if target.shape is None:
        return other
    return 4 * embedded.parameters(target.shape, target.shape.vocabulary)


@dataclass(frozen=True)
class Words:
    """A student's tokenizer, what is known of its model without opening it, and where from."""

    tokenizer: Any
    vocabulary: int | None
    context: int | None
    bytes: int | None
    told: str


def words(root: Path, file: Path) -> Words:
    """
    The tokenizer of the base student of the run in *root* with the settings *file*.

    That in data/students/base where the run has begun with this student; else the embedded one is
    made anew, which takes a second, or yours is opened without its weights.
    """
    load.quiet()
    student = sections.load(file, "student", load.StudentSettings)
    name = student.model
    base = root / BASE
    if load.read_note(base).get("model") == name:
        return _of_folder(base, "as data/students/base has it")
    if name != EMBEDDED:
        if Path(name).is_dir():
            return _of_folder(Path(name), "as it is")
        opened = load.only_tokenizer(name, revision=student.revision)
        return Words(opened, None, None, None, "its weights are not opened")
    shape = sections.load(file, EMBEDDED, embedded.Shape)
    made = embedded.tokenizer(shape, sections.seed(file))
    size = 4 * embedded.parameters(shape, len(made))
    return Words(made, len(made), shape.context, size, "not pre-trained yet")


def _of_folder(folder: Path, told: str) -> Words:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return Words(
        load.tokenizer(folder),
        config.get("vocab_size"),
        config.get("max_position_embeddings"),
        size or None,
        told,
    )


def origin(student: load.StudentSettings | Target, place: str = "student") -> dict[str, str]:
    """
    What is noted of where the base student comes from: a hub id with the commit it stands for.

    Asked before the student is fetched, and fetched at that commit, so that the note is true.
    *place* is where *student* stands in the settings, for a refusal.
    """
    if student.model == EMBEDDED:
        if student.revision is not None:
            raise RefusedError(
                f"{place}.revision: only a hub id has revisions, so set it to null", code=CONFIG
            )
        return {"model": student.model}
    commit = load.commit(student.model, student.revision)
    return {"model": student.model, **({"commit": commit} if commit else {})}


def begin(
    name: str,
    shape: embedded.Shape | None,
    seed: int,
    *,
    revision: str | None = None,
    say: str = "base",
) -> tuple[Any, Any, dict[str, Any]]:
    """
    Model, tokenizer and figures of the base student called *name*.

    "embedded" is built and pre-trained on the curriculum here; any other name is a Hugging Face
    directory, hub id or ``.gguf`` file, taken as it is, a hub id at its *revision*. *say* is what
    its progress is called.
    """
    from redistill.students.train import loop

    load.quiet()
    if name != EMBEDDED or shape is None:
        model, tokenizer = load.pretrained(name, revision=revision)
        return model, tokenizer, {"parameters": model.num_parameters()}
    tokenizer = embedded.tokenizer(shape, seed)
    load.seeded(seed)
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    model = embedded.untrained(shape, len(tokenizer), eos, pad).to(precision.device())
    plan = loop.Plan(
        steps=shape.steps,
        batch_size=shape.batch_size,
        accumulate=1,
        learning_rate=shape.learning_rate,
        warmup=0.05,
        weight_decay=0.01,
        precision="fp32",
        seed=seed,
    )
    rows = embedded.rows(tokenizer, shape, seed)
    figures = loop.train(model, rows, plan, pad=pad, say=say)
    return model, tokenizer, {**figures, "parameters": model.num_parameters()}
