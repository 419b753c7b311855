"""The student before the first round."""

from typing import Any

from redistill.refusals import CONFIG, RefusedError
from redistill.students import embedded, loading, training

EMBEDDED = "embedded"


def origin(student: loading.Settings) -> dict[str, str]:
    """
    What is noted of where the base student comes from: a hub id with the commit it stands for.

    Asked before the student is fetched, and fetched at that commit, so that the note is true.
    """
    if student.model == EMBEDDED:
        if student.revision is not None:
            raise RefusedError(
                "student.revision: only a hub id has revisions, so set it to null", code=CONFIG
            )
        return {"model": student.model}
    commit = loading.commit(student.model, student.revision)
    return {"model": student.model, **({"commit": commit} if commit else {})}


def begin(
    name: str, shape: embedded.Shape, seed: int, *, revision: str | None = None
) -> tuple[Any, Any, dict[str, Any]]:
    """
    Model, tokenizer and figures of the base student called *name*.

    "embedded" is built and pre-trained on the curriculum here; any other name is a Hugging Face
    directory, hub id or ``.gguf`` file, taken as it is, a hub id at its *revision*.
    """
    loading.quiet()
    if name != EMBEDDED:
        model, tokenizer = loading.pretrained(name, revision=revision)
        return model, tokenizer, {"parameters": model.num_parameters()}
    tokenizer = embedded.tokenizer(shape, seed)
    loading.seeded(seed)
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    model = embedded.untrained(shape, len(tokenizer), eos, pad).to(loading.device())
    plan = training.Plan(
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
    figures = training.train(model, rows, plan, pad=pad, say="base")
    return model, tokenizer, {**figures, "parameters": model.num_parameters()}
