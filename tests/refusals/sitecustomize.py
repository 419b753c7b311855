"""
Write down which refusal each test provokes, in every Python with this folder in PYTHONPATH.

A refusal is a RefusedError that was made. It stands in the file that REDISTILL_REFUSALS names, as
a line of the test, the file and the line of code, for each frame from where it was made outwards.
"""

import importlib.abc
import importlib.machinery
import json
import os
import sys
from collections.abc import Sequence
from types import FrameType, ModuleType

MODULE = "redistill.console.exceptions"


class Finder(importlib.abc.MetaPathFinder):
    """Finds the module of RefusedError as Python does, and has its loader followed by `_watch`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
            run = spec.loader.exec_module
            spec.loader.exec_module = lambda module: (run(module), _watch(module))[0]  # type: ignore[method-assign]
        return spec


def _watch(module: ModuleType) -> None:
    made = module.RefusedError.__init__

    def __init__(self: Exception, *told: object, **more: object) -> None:
        made(self, *told, **more)
        _write(sys._getframe(1))

    module.RefusedError.__init__ = __init__


def _write(frame: FrameType | None) -> None:
    places = []
    while frame and len(places) < 4:
        if not isinstance(frame.f_locals.get("self"), BaseException):
            places.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    line = json.dumps({"test": test, "places": places}) + "\n"
    with open(os.environ["REDISTILL_REFUSALS"], "a", encoding="utf-8") as file:
        file.write(line)


if "REDISTILL_REFUSALS" in os.environ:
    sys.meta_path.insert(0, Finder())
