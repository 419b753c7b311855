"""The student before the first round."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.console.timing import Timing
from redistill.settings.sections import Params
from redistill.students.base import embedded
from redistill.students.base.settings import (
    EMBEDDED,
    Shape,
    Target,
    parameters,
)
from redistill.students.model import load, precision
from redistill.students.model.note import read_note
from redistill.students.model.settings import StudentSettings

BASE = Path("data/students/base")


@dataclass(frozen=True)
class BaseFacts:
    """A student's tokenizer, what is known of its model without opening it, and where from."""

    tokenizer: Any
    vocabulary: int | None
    context: int | None
    bytes: int | None
    told: str


def facts(root: Path, params: Params) -> BaseFacts:
    """
    Open the tokenizer of the base student of the run in *root* with the settings *params*.

    That in data/students/base where the run has begun with this student; else the embedded one is
    made anew, which takes a second, or yours is opened without its weights.
    """
    load.quiet()
    student = params.section("student", StudentSettings)
    name = student.model
    base = root / BASE
    if read_note(base).get("model") == name:
        return _of_folder(base, "as data/students/base has it")
    if name != EMBEDDED:
        if Path(name).is_dir():
            return _of_folder(Path(name), "as it is")
        tokenizer = load.only_tokenizer(name, revision=student.revision)
        return BaseFacts(tokenizer, None, None, None, "its weights are not opened")
    shape = params.section(EMBEDDED, Shape)
    made = embedded.tokenizer(shape, params.seed)
    size = 4 * parameters(shape, len(made))
    return BaseFacts(made, len(made), shape.context, size, "not pre-trained yet")


def _of_folder(folder: Path, told: str) -> BaseFacts:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return BaseFacts(
        load.tokenizer(folder),
        config.get("vocab_size"),
        config.get("max_position_embeddings"),
        size or None,
        told,
    )


def origin(student: StudentSettings | Target, place: str = "student") -> dict[str, str]:
    """
    Say what is noted of the base student's origin: a hub id with the commit it stands for.

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
    shape: Shape | None,
    seed: int,
    *,
    revision: str | None = None,
    say: str = "base",
) -> tuple[Any, Any, dict[str, Any], Timing | None]:
    """
    Make the base student called *name*: model, tokenizer, figures, and how long it was trained.

    "embedded" is built and pre-trained on the curriculum here; any other name is a Hugging Face
    directory, hub id or ``.gguf`` file, taken as it is, a hub id at its *revision*. *say* is what
    its progress is called.
    """
    from redistill.students.train import loop

    load.quiet()
    if name != EMBEDDED or shape is None:
        model, tokenizer = load.pretrained(name, revision=revision)
        return model, tokenizer, {"parameters": model.num_parameters()}, None
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
    figures, timing = loop.train(model, rows, plan, pad=pad, say=say)
    return model, tokenizer, {**figures, "parameters": model.num_parameters()}, timing
