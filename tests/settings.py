"""Settings for tests: the shipped ones, with overlays, or with single values changed."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from redistill.cli import new_project
from redistill.settings import sections
from redistill.settings.sections import Params
from tests.imports import ROOT


def shipped(*overlays: str) -> Params:
    """Return the shipped settings with overlays of params/ over them."""
    file = ROOT / "params.yaml"
    if not overlays:
        return sections.read(file)
    return written(new_project.composed(file, [str(ROOT / f"params/{o}.yaml") for o in overlays]))


def written(text: str, file: Path = Path("params.yaml")) -> Params:
    """Return the settings that *text* is."""
    return Params(file, YAML(typ="safe").load(text))


def of(**content: Any) -> Params:
    """Return settings that are *content* and nothing else."""
    return Params(Path("params.yaml"), content)
