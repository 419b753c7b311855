"""A student's completions by the continuous batching of transformers, in this process."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import GenerationConfig, LogitsProcessorList
from transformers.generation import ContinuousBatchingConfig
from transformers.generation.continuous_batching.cb_logits_processors import (
    ContinuousBatchingLogitsProcessor,
    ContinuousBatchingLogitsProcessorList,
)

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.console.progress import Progress
from redistill.records.types import Output
from redistill.students.answer import rows, sampling
from redistill.students.answer.engine import PREFILL, Answer, Pick
from redistill.students.answer.local import Draws, Engine
from redistill.students.answer.settings import Rows
from redistill.students.model import load
from redistill.students.model.settings import Attention, Precision
from redistill.students.model.tokens import Encoder

PAGE = {"cpu": 32, "cuda": 256}  # tokens of a page; flash attention reads pages of 256 in place
LOG = "ContinuousBatchingLogger"  # what it logs as an error comes back as one, and is told once


@contextmanager
def continuous(
    student: Path,
    tokenizer: Any,
    encoder: Encoder,
    *,
    max_new_tokens: int,
    batch_size: Rows,
    precision: Precision,
    attention: Attention | None = None,
) -> Iterator[Engine]:
    """
    Open the model of *student* in this process, and have transformers batch what is asked of it.

    Draws have the seeds, and the draw of a token, of `local`. Raises RefusedError for a model with
    layers that transformers does not batch so.
    """
    model = load.model(student, dtype=precision, attention=attention).eval()
    logging.getLogger(LOG).setLevel(logging.CRITICAL)

    def complete(prompts: Sequence[Sequence[int]], draws: Draws | None, say: str) -> list[Output]:
        pick = sampling.Nucleus(draws.temperature, draws.top_p, draws.seeds) if draws else None
        batching = _Batching(model, encoder.eos, int(tokenizer.pad_token_id), max_new_tokens, pick)
        answers = batching.answer(prompts, batch_size, say)
        return [Output(text=encoder.decode(a.ids), eos=a.eos, tokens=len(a.ids)) for a in answers]

    yield complete


class _Batching:
    """How prompts are answered by the manager of transformers: all are queued before it starts."""

    def __init__(
        self, model: Any, eos: int, pad: int, max_new_tokens: int, pick: Pick | None
    ) -> None:
        self.model, self.eos, self.pad = model, eos, pad
        self.max_new_tokens, self.pick = max_new_tokens, pick
        self.kind = torch.device(model.device).type

    def answer(self, prompts: Sequence[Sequence[int]], wanted: Rows, say: str) -> list[Answer]:
        """Answer *prompts*, in the order given."""
        answers: dict[int, Answer] = {}
        order = sorted(range(len(prompts)), key=lambda place: (-len(prompts[place]), place))
        progress = Progress(say, len(prompts))

        def work(most: int) -> None:
            asked = {place: prompts[place] for place in order if place not in answers}
            for place, ids in self._answered(asked, most):
                ended = ids[-1:] == [self.eos]
                answers[place] = Answer(ids[:-1] if ended else ids, ended)
                progress.to(len(answers))

        left, new = (lambda: len(prompts) - len(answers)), self.max_new_tokens
        if prompts:
            rows.lasting(work, left, self._rows(wanted, prompts), prompts, new, say)
        progress.close()
        return [answers[place] for place in range(len(prompts))]

    def _rows(self, wanted: Rows, prompts: Sequence[Sequence[int]]) -> int:
        if wanted != "auto":
            return wanted
        size = int(self.model.dtype.itemsize)
        cost = rows.Cost.of(self.model.config, size)
        columns = self._pages(prompts) * self._page

        def taken(count: int) -> int:
            """Bytes of the pages, and of a mask of all new tokens by all columns."""
            mask = 2 * self._budget(count) * count * columns * size
            return count * (columns * cost.token + cost.rest) + mask

        device = torch.device(self.model.device)
        return rows.planned(rows.room(device), rows.most(device), taken)

    @property
    def _page(self) -> int:
        return PAGE.get(self.kind, PAGE["cuda"])

    def _pages(self, prompts: Sequence[Sequence[int]]) -> int:
        longest = max(len(prompt) for prompt in prompts)
        return -(-(longest + self.max_new_tokens) // self._page)

    def _budget(self, most: int) -> int:
        return max(most, PREFILL.get(self.kind, PREFILL["cuda"]))

    def _answered(
        self, asked: dict[int, Sequence[int]], most: int
    ) -> Iterator[tuple[int, list[int]]]:
        """The places of *asked* with what was written there, the end token with it, as they end."""
        manager = self._manager(list(asked.values()), most)
        if self.pick:
            self.pick.begin(list(asked))
        for place, prompt in asked.items():
            options = {"place": place} if self.pick else {}
            manager.add_request(
                list(prompt), str(place), self.max_new_tokens, eos_token_id=self.eos, **options
            )
        manager.start()
        faults: list[str] = []
        try:
            waiting = len(asked)
            while waiting and (
                manager.is_running() or not manager.output_router.output_queue.empty()
            ):
                result = manager.get_result(timeout=0.5)
                if result is None:
                    continue
                waiting -= 1
                if result.error is None:
                    yield int(result.request_id), result.generated_tokens
                else:
                    faults.append(result.error)
        finally:
            manager.stop(hard_stop=True)
            manager.destroy()
        fatal = manager.background_thread_status.fatal_error
        if waiting or faults:
            raise fatal or RuntimeError(faults[0] if faults else "transformers left prompts out")

    def _manager(self, prompts: Sequence[Sequence[int]], most: int) -> Any:
        drawn = self.pick is not None
        config = ContinuousBatchingConfig(
            page_size=self._page,
            num_blocks=most * self._pages(prompts) + 1,
            max_batch_tokens=self._budget(most),
            max_requests_per_batch=most,
            allow_block_sharing=False,
            safety_margin=0.0,  # there are pages for all rows at their longest
            use_cuda_graph=False if drawn else None,  # a draw is made on the CPU
            use_async_batching=False if drawn else None,
            auto_switch_to_flash=self.model.dtype == torch.bfloat16,  # which has no fp32
        )
        generation = GenerationConfig(
            max_new_tokens=self.max_new_tokens,
            do_sample=False,
            eos_token_id=self.eos,
            pad_token_id=self.pad,
        )
        try:
            manager = self.model.init_continuous_batching(generation, config)
        except ValueError as problem:
            raise RefusedError(
                f"evaluate.engine: transformers does not batch this student: {problem}; set it to "
                "local",
                code=CONFIG,
            ) from None
        if self.pick:
            seeded = ContinuousBatchingLogitsProcessorList(
                LogitsProcessorList([_Seeded(self.pick)])
            )
            seeded.tensors_required = 1
            manager.logit_processor = seeded
        return manager


class _Seeded(ContinuousBatchingLogitsProcessor):  # type: ignore[misc]  # transformers has no types
    """Leave of a row's scores the token that *pick* draws, so that the likeliest is that one."""

    supported_kwargs: ClassVar[dict[str, type]] = {"place": int}
    ignored_kwargs: tuple[str, ...] = ()

    def __init__(self, pick: Pick) -> None:
        self.pick = pick

    def fill_defaults(self, int32_tensor: torch.Tensor) -> None:
        """Have rows that nobody asked for stand at place 0."""
        int32_tensor.fill_(0)

    def prepare_tensor_args(self, requests_with_new_token: list[Any]) -> torch.Tensor:
        """The places of the rows."""
        places = [row.state.logit_processor_kwargs["place"] for row in requests_with_new_token]
        return torch.tensor(places, dtype=torch.int32)

    def __call__(self, scores: torch.Tensor, tensor_arg: torch.Tensor) -> torch.Tensor:
        """Rule out all tokens but the one drawn for each row."""
        chosen = self.pick(scores, tensor_arg[: len(scores)].tolist())
        return torch.full_like(scores, -torch.inf).scatter(1, chosen[:, None], 0.0)
