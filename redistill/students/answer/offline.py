"""A student's completions by vLLM in this process, where that is installed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redistill.console.exceptions import CONFIG, INTERNAL, RefusedError
from redistill.records.types import Output
from redistill.students.answer.local import Draws, Engine
from redistill.students.answer.settings import EvaluateSettings
from redistill.students.model.precision import precision
from redistill.students.model.tokens import Encoder

DTYPE = {"fp32": "float32", "bf16": "bfloat16"}
SEEDS = 2**31  # vLLM's seeds are below that, as a server's are


@contextmanager
def offline(student: Path, encoder: Encoder, settings: EvaluateSettings) -> Iterator[Engine]:
    """
    Open *student* by vLLM's class for work without a server, once for all that is asked of it.

    It plans its memory itself: with a number as batch_size no more rows than that are at work.
    Raises RefusedError where vLLM is not installed.
    """
    vllm = _vllm()
    rows = {} if settings.batch_size == "auto" else {"max_num_seqs": settings.batch_size}
    model = vllm.LLM(
        model=str(student),
        dtype=DTYPE[precision(settings.precision)],
        generation_config="vllm",  # nothing of the model's own file but what is said below
        trust_remote_code=False,
        **rows,
    )

    def complete(prompts: Sequence[Sequence[int]], draws: Draws | None, say: str) -> list[Output]:
        if not prompts:
            return []
        answers = model.generate(
            [{"prompt_token_ids": list(prompt)} for prompt in prompts],
            [
                vllm.SamplingParams(**_wanted(draws, place, encoder.eos, settings.max_new_tokens))
                for place in range(len(prompts))
            ],
            use_tqdm=False,
        )
        return [
            _understood(answer, prompt, encoder)
            for answer, prompt in zip(answers, prompts, strict=True)
        ]

    yield complete


def _vllm() -> Any:
    try:
        import vllm
    except ImportError as problem:
        raise RefusedError(
            f"evaluate.engine: vllm cannot be imported here ({problem}); serve the student from an "
            "environment of its own (engine: server), see docs/answering.md",
            code=CONFIG,
        ) from None
    return vllm


def _wanted(draws: Draws | None, place: int, eos: int, new: int) -> dict[str, Any]:
    """
    How the prompt at *place* is completed.

    EOS ends an answer by being listed: vLLM would take others of the model's files as well.
    """
    wanted = {
        "max_tokens": new,
        "temperature": draws.temperature if draws else 0.0,
        "stop_token_ids": [eos],
        "ignore_eos": True,
        "detokenize": False,
    }
    if draws:
        wanted |= {"top_p": draws.top_p, "seed": draws.seeds[place] % SEEDS}
    return wanted


def _understood(answer: Any, prompt: Sequence[int], encoder: Encoder) -> Output:
    written = answer.outputs[0]
    if list(answer.prompt_token_ids) != list(prompt) or written.finish_reason not in (
        "stop",
        "length",
    ):
        raise RefusedError(
            f"vLLM ended a prompt of {len(prompt)} tokens with {written.finish_reason!r}, not "
            "with an end token or at evaluate.max_new_tokens; no prediction was written",
            code=INTERNAL,
        )
    ids = list(written.token_ids)
    eos = ids[-1:] == [encoder.eos]
    ids = ids[:-1] if eos else ids
    return Output(text=encoder.decode(ids), eos=eos, tokens=len(ids))
