"""The student before the first round."""

from typing import Any

from redistill.students import embedded, loading, training

EMBEDDED = "embedded"


def begin(name: str, shape: embedded.Shape, seed: int) -> tuple[Any, Any, dict[str, Any]]:
    """
    Model, tokenizer and figures of the base student called *name*.

    "embedded" is built and pre-trained on the curriculum here; any other name is a Hugging Face
    directory, hub id or ``.gguf`` file, taken as it is.
    """
    loading.quiet()
    if name != EMBEDDED:
        model, tokenizer = loading.pretrained(name)
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
