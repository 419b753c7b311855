"""The student before the first round."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.console.preflight import Finding, held
from redistill.console.timing import Timing
from redistill.settings.sections import Params
from redistill.students.base import embedded
from redistill.students.base.settings import (
    EMBEDDED,
    Shape,
    Target,
    load_target,
    parameters,
)
from redistill.students.model import folder, load, precision, ranks
from redistill.students.model import template as templates
from redistill.students.model.note import read_note
from redistill.students.model.settings import StudentSettings
from redistill.students.model.tokens import Encoder

BASE = Path("data/students/base")


@dataclass(frozen=True)
class BaseFacts:
    """
    A student's tokenizer, what is known of its model without reading weights, and where from.

    *sketch* is that model without weights, None where it is not here yet.
    """

    tokenizer: Any
    vocabulary: int | None
    context: int | None
    bytes: int | None
    told: str
    sketch: load.Sketch | None = None


def facts(root: Path, params: Params) -> BaseFacts:
    """
    Open the tokenizer of the base student of the run in *root* with the settings *params*.

    That in data/students/base where the run has begun with this student; else the embedded one is
    made anew, which takes a second, or yours is opened without its weights. Raises RefusedError
    for all that `base` refuses, but for a hub id's weights, which are not fetched.
    """
    load.quiet()
    student = params.section("student", StudentSettings)
    found = _facts(root, params, student)
    templates.apply(found.tokenizer, student.template, root=root)
    return found


def _facts(root: Path, params: Params, student: StudentSettings) -> BaseFacts:
    name = student.model
    base = root / BASE
    noted = read_note(base)
    if noted.get("model") == name and noted.get("template") == student.template is None:
        return _of_folder(base, "as data/students/base has it")
    if name == EMBEDDED:
        shape = params.section(EMBEDDED, Shape)
        made = embedded.tokenizer(shape, params.seed)
        size = 4 * parameters(shape, len(made))
        return BaseFacts(made, len(made), shape.context, size, "not pre-trained yet")
    here = folder.located(name)
    if here is not None and here.is_dir():
        return _of_folder(here, "as it is")
    tokenizer = load.only_tokenizer(name, revision=student.revision)
    return BaseFacts(tokenizer, None, None, None, "its weights are not opened")


def _of_folder(student: Path, told: str) -> BaseFacts:
    tokenizer = load.tokenizer(student)
    known = load.sketch(student, tokenizer)
    return BaseFacts(tokenizer, known.vocabulary, known.context, known.bytes, told, known)


def findings(base: BaseFacts) -> list[Finding]:
    """Say what was found of the weights of *base*, and of saving it; nothing before it is here."""
    if base.sketch is None:
        return []
    files = "config, generation config and tokenizer can be saved"
    state: Literal["note", "holds"] = "note" if base.sketch.mended else "holds"
    return [
        Finding("weights", "holds", "each has the name and shape that config.json has"),
        Finding("saving", state, "; ".join(base.sketch.mended) or files),
    ]


def target_findings(root: Path, params: Params) -> list[Finding]:
    """Say of each target that is a folder here whether it can be opened, asked and saved."""
    asked = params.section("student", StudentSettings)
    found = []
    for name in params.named("targets"):
        target, fault = load_target(params, name), None
        if target.model == EMBEDDED:
            continue
        try:
            here = folder.located(target.model, f"targets.{name}.model")
            if here is not None and here.is_dir():
                base = _of_folder(here, "as it is")
                place = f"targets.{name}.template"
                templates.apply(base.tokenizer, target.template, place=place, root=root)
                Encoder.of(base.tokenizer, asked)
        except RefusedError as refusal:
            fault = str(refusal)
        found.append(held(f"target {name}", fault, f"{target.model}: what can be seen of it"))
    return found


def origin(student: StudentSettings | Target, place: str = "student") -> dict[str, str]:
    """
    Say what is noted of the base student's origin: a hub id with the commit it stands for.

    Asked before the student is fetched, and fetched at that commit, so that the note is true. A
    chat template that was chosen is noted, too. *place* is where *student* stands in the settings,
    for a refusal.
    """
    chosen = {"template": student.template} if student.template else {}
    if student.model == EMBEDDED:
        if student.revision is not None:
            raise RefusedError(
                f"{place}.revision: only a hub id has revisions, so set it to null", code=CONFIG
            )
        return {"model": student.model, **chosen}
    commit = load.commit(student.model, student.revision, place)
    return {"model": student.model, **({"commit": commit} if commit else {}), **chosen}


def begin(
    name: str,
    shape: Shape | None,
    seed: int,
    *,
    revision: str | None = None,
    template: str | None = None,
    say: str = "base",
) -> tuple[Any, Any, dict[str, Any], Timing | None]:
    """
    Make the base student called *name*: model, tokenizer, figures, and how long it was trained.

    "embedded" is built and pre-trained on the curriculum here; any other name is a Hugging Face
    directory, hub id or ``.gguf`` file, taken as it is, a hub id at its *revision*. Its tokenizer
    gets the chat template that *template* names. *say* is what its progress is called.
    """
    from redistill.students.train import loop

    load.quiet()
    if name != EMBEDDED or shape is None:
        model, tokenizer = load.pretrained(name, revision=revision)
        templates.apply(tokenizer, template)
        return model, tokenizer, {"parameters": model.num_parameters()}, None
    tokenizer = embedded.tokenizer(shape, seed)
    templates.apply(tokenizer, template)
    ranks.begin()
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
