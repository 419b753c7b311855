"""Answering problems many at once: rows that finish leave, others join; greedy or drawn."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from redistill.console.progress import Progress
from redistill.students.answer import kv_cache
from redistill.students.answer.rows import lasting

# Share of a batch at or below which others join it. Rows of several ages make all of them as wide
# as the oldest: on a CPU that costs more than short steps of few rows do, on a GPU it does not.
REFILL = {"cpu": 0.0, "cuda": 0.5}
PREFILL = {"cpu": 2048, "cuda": 16384}  # tokens of prompts read at once, padding among them
LOOK = {"cpu": 1, "cuda": 8}  # steps between two looks at the tokens, for which a GPU must stop


@dataclass(frozen=True)
class Answer:
    """What a student wrote: ids without EOS, and whether it stopped by itself."""

    ids: list[int]
    eos: bool


class Pick(Protocol):
    """How the next token of each row is chosen."""

    def begin(self, places: Sequence[int]) -> None:
        """Make ready for rows at *places* that write their first token, it may be once more."""
        ...

    def __call__(self, logits: torch.Tensor, places: Sequence[int]) -> torch.Tensor:
        """Choose from *logits* (rows x vocabulary) the next tokens of the rows at *places*."""
        ...


class Greedy:
    """The likeliest token of each row."""

    def begin(self, places: Sequence[int]) -> None:
        """Nothing is remembered of a row."""

    def __call__(self, logits: torch.Tensor, places: Sequence[int]) -> torch.Tensor:
        """Choose the likeliest."""
        return logits.argmax(-1)


def answer(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    eos: int,
    pad: int,
    max_new_tokens: int,
    batch_size: int,
    say: str = "answering",
    pick: Pick | None = None,
) -> list[Answer]:
    """
    Complete every prompt, in the order given, with at most *max_new_tokens* tokens.

    *pick* chooses each next token, given the places of the rows in *prompts*; None is greedy.

    At most *batch_size* rows are at work at once, the longest prompts first. Rows that have stopped
    leave, so that a step costs what the others need; equal prompts are read once. In fp32 the
    tokens do not depend on *batch_size*. Where memory runs out, finished answers stay, and the
    others begin again with half the rows; raises RefusedError where one row is too many.
    """
    model.eval()
    answers: dict[int, Answer] = {}
    order = sorted(range(len(prompts)), key=lambda p: (-len(prompts[p]), tuple(prompts[p]), p))
    progress = Progress(say, len(prompts))

    def work(most: int) -> None:
        waiting = deque(place for place in order if place not in answers)
        rows = _Rows(model, most, eos, pad, max_new_tokens, pick or Greedy())
        with torch.inference_mode():
            while waiting or rows.alive:
                while rows.has_room() and waiting:
                    rows.join([(place, prompts[place]) for place in rows.joining(waiting, prompts)])
                if rows.alive:
                    rows.step()
                answers.update(rows.finished())
                progress.to(len(answers))

    lasting(work, lambda: len(prompts) - len(answers), batch_size, prompts, max_new_tokens, say)
    progress.close()
    return [answers[place] for place in range(len(prompts))]


@dataclass
class _Row:
    """A prompt at work: its place, the column that it starts at, and what it wrote so far."""

    place: int
    start: int
    written: list[int] = field(default_factory=list)
    eos: bool = False


class _Rows:
    """
    The rows at work: row r of every tensor is that of ``alive[r]``.

    ``ids`` (rows x 1) are the tokens chosen last, ``position`` where they go, and ``last`` the
    position that a row never goes beyond.
    """

    def __init__(
        self, model: Any, most: int, eos: int, pad: int, max_new_tokens: int, pick: Pick
    ) -> None:
        self.model, self.most, self.eos, self.pad = model, most, eos, pad
        self.max_new_tokens, self.pick = max_new_tokens, pick
        kind = torch.device(model.device).type
        self.refill, self.prefill = REFILL.get(kind, 0.5) * most, PREFILL.get(kind, 16384)
        self.look = LOOK.get(kind, 8)
        self.filling = False
        self.cache = kv_cache.cache(model.config, most, model.device)
        self.alive: list[_Row] = []
        self.done: list[_Row] = []
        self.recent: list[torch.Tensor] = []  # tokens chosen since the last look
        self.ids = self.position = self.last = torch.zeros(0, 1, dtype=torch.long).to(model.device)

    def has_room(self) -> bool:
        """Whether others join: from when enough rows have left until all places are taken."""
        if self.recent or len(self.alive) == self.most:
            self.filling = False
        elif not self.alive or (self.cache.joins and len(self.alive) <= self.refill):
            self.filling = True
        return self.filling and (self.cache.joins or not self.alive)

    def joining(self, waiting: deque[int], prompts: Sequence[Sequence[int]]) -> list[int]:
        """Take the places that are read next off *waiting*: as many as room and budget allow."""
        count = self.most - len(self.alive)
        if self.cache.joins:
            count = min(count, max(1, self.prefill // max(1, len(prompts[waiting[0]]))))
        return [waiting.popleft() for _ in range(min(count, len(waiting)))]

    def join(self, rows: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Read the prompts of *rows*, places and ids, and choose their first tokens."""
        unique = list({tuple(prompt): None for _, prompt in rows})
        number = {prompt: row for row, prompt in enumerate(unique)}
        width = len(unique[0])
        ids = self._tensor([[self.pad] * (width - len(p)) + list(p) for p in unique])
        mask = self._tensor([[0] * (width - len(p)) + [1] * len(p) for p in unique])
        which = self._tensor([number[tuple(prompt)] for _, prompt in rows])
        shared = self.cache.joins and len(unique) < len(rows)
        if not shared:
            ids, mask, which = ids[which], mask[which], torch.arange(len(rows), device=ids.device)
        first = len(self.alive)
        self.cache.opens(first, mask[which], which if shared else None)
        logits = self._forward(ids, mask, (mask.cumsum(-1) - 1).clamp(min=0))[which]
        self.alive += [_Row(place, self.cache.end - len(prompt)) for place, prompt in rows]
        places = [place for place, _ in rows]
        self.pick.begin(places)
        chosen = self.pick(logits, places)[:, None]
        lengths = self._tensor([[len(prompt)] for _, prompt in rows])
        self.ids = torch.cat([self.ids, chosen])
        self.position = torch.cat([self.position, lengths])
        self.last = torch.cat([self.last, lengths + self.max_new_tokens - 1])
        self._note(first, chosen.tolist())

    def step(self) -> None:
        """Write one more token of every row."""
        mask = self.cache.advances(len(self.alive))
        logits = self._forward(self.ids, mask, self.position)
        chosen = self.pick(logits, [row.place for row in self.alive])
        self.ids = chosen[:, None]
        self.position = torch.minimum(self.position + 1, self.last)
        self.recent.append(chosen)
        if len(self.recent) == self.look:
            tokens = torch.stack(self.recent, dim=1).tolist()
            self.recent = []
            self._note(0, tokens)

    def finished(self) -> Iterator[tuple[int, Answer]]:
        """The rows that have left since the last call, with their places."""
        done, self.done = self.done, []
        return ((row.place, Answer(row.written, row.eos)) for row in done)

    def _forward(
        self, ids: torch.Tensor, mask: torch.Tensor, position: torch.Tensor
    ) -> torch.Tensor:
        logits: torch.Tensor = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=position,
            past_key_values=self.cache.layers,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        return logits

    def _note(self, first: int, tokens: list[list[int]]) -> None:
        """Take down the *tokens* of the rows from *first* on; those that are done leave."""
        gone = set()
        for number, written in enumerate(tokens, first):
            row = self.alive[number]
            for token in written:
                row.eos = token == self.eos
                if not row.eos:
                    row.written.append(token)
                if row.eos or len(row.written) == self.max_new_tokens:
                    gone.add(number)
                    break
        if gone:
            self._leave(gone)

    def _leave(self, gone: set[int]) -> None:
        """Let the rows *gone* leave; the last ones that stay move into their places."""
        self.done += [self.alive[number] for number in sorted(gone)]
        left = len(self.alive) - len(gone)
        movers = (number for number in range(left, len(self.alive)) if number not in gone)
        order = [next(movers) if number in gone else number for number in range(left)]
        self.alive = [self.alive[number] for number in order]
        rows = self._tensor(order)
        self.ids, self.position, self.last = self.ids[rows], self.position[rows], self.last[rows]
        start = min((row.start for row in self.alive), default=self.cache.end)
        self.cache.moves(rows, left, start)

    def _tensor(self, content: Sequence[Any]) -> torch.Tensor:
        return torch.tensor(content, dtype=torch.long, device=self.model.device)
