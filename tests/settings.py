"""Settings for tests: the shipped ones, with overlays, or with single values changed."""

import re
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from redistill.cli import new_project
from redistill.settings.sections import Params
from tests.imports import ROOT

SHIPPED = ROOT / "params.yaml"
# What a branch says besides, where it does not matter.
PLAIN: dict[str, Any] = {"lessons": "latest", "probe": False}


def shipped(*overlays: str) -> Params:
    """Return the shipped settings with overlays of params/ over them."""
    return written(text(*overlays), Path("params.yaml") if overlays else SHIPPED)


@cache
def text(*overlays: str) -> str:
    """Return the text of the shipped settings with overlays of params/ over them."""
    if not overlays:
        return SHIPPED.read_text(encoding="utf-8")
    return new_project.composed(SHIPPED, [str(ROOT / f"params/{o}.yaml") for o in overlays])


def changed(old: str, new: str, *overlays: str) -> Params:
    """Return the settings that come of writing *new* for the first *old* in that text."""
    before = text(*overlays)
    assert old in before
    return written(before.replace(old, new, 1))


def added(branches: str = "", rewrites: str = "", *overlays: str) -> Params:
    """Return these settings with lines of YAML more in the sections *branches* and *rewrites*."""
    return written(with_lines(text(*overlays), branches, rewrites))


def with_lines(text: str, branches: str = "", rewrites: str = "") -> str:
    """Return the settings *text* with lines of YAML more in the sections that are named."""
    for section, lines in (("branches", branches), ("rewrites", rewrites)):
        head = re.compile(rf"^{section}:.*\n", re.MULTILINE)
        text, count = head.subn(lambda found, lines=lines: found[0] + lines, text)
        assert count == 1
    return text


def written(text: str, file: Path = Path("params.yaml")) -> Params:
    """Return the settings that *text* is."""
    return Params(file, deepcopy(_parsed(text)))


def of(**content: Any) -> Params:
    """Return settings that are *content* and nothing else."""
    return Params(Path("params.yaml"), content)


@cache
def _parsed(text: str) -> Any:
    return YAML(typ="safe").load(text)
