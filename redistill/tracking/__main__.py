"""The process beside a stage that tells its tracker: what it is told of comes on standard input."""

import json
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from redistill.llm import store_place
from redistill.settings import sections
from redistill.tracking import figures as recorded
from redistill.tracking import sent, tracker
from redistill.tracking.figures import Told
from redistill.tracking.identity import ALL, Identity, identity
from redistill.tracking.secrets import redaction

PARAMS = Path("params.yaml")
PLACE = Path(".redistill/trackers")
QUIET = {  # trackers tell their makers how they are used; who sets one of these has it so
    "DO_NOT_TRACK": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
    "MPLBACKEND": "agg",
}
LONGEST = 300  # characters of a reason

Event = Mapping[str, Any]


def main() -> int:
    """Tell the tracker; print the reason on what was standard output, and end with 1, if not."""
    answer = _own_output()
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    begun = json.loads(sys.stdin.buffer.readline())
    events = _events(sys.stdin.buffer, begun["limit"], answer)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            tell(begun, events)
        fault = _complaint(begun["tracker"], warned)
    except BaseException as problem:
        fault = " ".join(f"{type(problem).__name__}: {problem}".split())
    if fault:
        os.write(answer, redaction().text(fault)[:LONGEST].encode())
    os._exit(bool(fault))  # what a tracker has to do at the end of its process may never end


def tell(begun: Event, events: Iterator[Event]) -> None:
    """Tell the tracker that *begun* names what it names: a training, a stage's files, or links."""
    params = sections.read(PARAMS)
    here = Path.cwd()
    place = store_place.home(store_place.project(here)) / PLACE
    module = tracker.load(begun["tracker"])
    where = json.dumps([os.environ.get(name) for name in module.DESTINATION])

    def kept(one: Identity) -> Any:
        return sent.kept(place, begun["tracker"], one.id, where)

    if "curve" in begun:
        one = identity(begun["curve"], params, here)
        with kept(one) as already:
            _follow(begun, events, one, module.begin(_redacted(one), place), already)
        return
    links = begun.get("links")
    found = [Told(ALL, words=links)] if links else _recorded(begun)
    for what in found:
        one = identity(what.branch, params, here)
        with kept(one) as already:
            _record(what, one, module, place, already)


def _follow(
    begun: Event, events: Iterator[Event], one: Identity, run: tracker.Run, already: sent.Sent
) -> None:
    from redistill.tracking.replay import replay

    replay(begun["tracker"], one, run, begun, events, already)
    run.end()


def _recorded(begun: Event) -> list[Told]:
    return recorded.told(begun["stage"], [Path(file) for file in begun["files"]])


def _record(
    what: Told, one: Identity, module: tracker.Tracker, place: Path, already: sent.Sent
) -> None:
    """Have a run told what it was not told before; it is not opened where that is nothing."""
    kinds = ("figures", "words", "tables")
    figures, words, tables = (already.fresh(kind, getattr(what, kind)) for kind in kinds)
    if not (figures or words or tables):
        return
    run = module.begin(_redacted(one), place)
    if figures:
        run.figures(figures)
    if words:
        safe = redaction()
        run.words({name: safe.text(text) for name, text in words.items()})
    for name, (head, *rows) in tables.items():
        run.table(name, head, rows)
    run.end()
    for kind, found in zip(kinds, (figures, words, tables), strict=True):
        already.told(kind, found)


def _redacted(one: Identity) -> Identity:
    """*one* without a secret in its settings, where none should be."""
    safe = redaction()
    settings = {
        name: safe.text(value) if isinstance(value, str) else value
        for name, value in one.settings.items()
    }
    return Identity(one.project, one.branch, one.id, one.commit, one.seed, settings)


def _own_output() -> int:
    """Keep standard output for the answer; what a tracker prints goes nowhere."""
    answer = os.dup(1)
    os.set_inheritable(answer, False)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(nothing, stream)
    return answer


def _events(pipe: IO[bytes], limit: float, answer: int) -> Iterator[Event]:
    """
    Yield what the stage says until it hangs up.

    From then on this process has *limit* seconds left, whatever it is doing: the stage may have
    been killed, and nobody else would end it.
    """
    said: SimpleQueue[Event | None] = SimpleQueue()

    def hear() -> None:
        for line in pipe:
            if line.endswith(b"\n"):
                said.put(json.loads(line))
        said.put(None)
        time.sleep(limit)
        os.write(answer, f"it gave no answer within {limit:g} s".encode())
        os._exit(1)

    threading.Thread(target=hear, daemon=True).start()
    return iter(said.get, None)


def _complaint(name: str, warned: list[warnings.WarningMessage]) -> str | None:
    """What the tracker's package warned of, in its own name, instead of raising it."""
    ours = [str(one.message) for one in warned if f"{name}.init" in str(one.message)]
    theirs = [str(one.message) for one in warned if "flush" in str(one.message)]
    return next(iter([*ours, *theirs]), None)


if __name__ == "__main__":
    sys.exit(main())
