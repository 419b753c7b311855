"""The settings of a run: read once as DVC reads them, their sections held to strict models."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.settings.secrets import refuse_keys

MAX_BYTES = 1024 * 1024
SECRET = {"key", "headers", "query"}  # settings that a message does not repeat


class Section(BaseModel):
    """A section of params.yaml: every key required, none unknown, no coercion."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


S = TypeVar("S", bound=Section)


@dataclass(frozen=True)
class Params:
    """
    All settings of a run, as one reading of *file* found them.

    A section is held to its model when it is asked for, so that a stage stumbles over its own
    sections only; `redistill params` asks for all of them.
    """

    file: Path
    content: Mapping[str, Any]

    @property
    def seed(self) -> int:
        """The run's seed, a whole number from 0."""
        value = self.content.get("seed")
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise _refused(f"{self.file}: seed: expected a whole number from 0, got {value!r}")
        return value

    def section(self, name: str, model: type[S]) -> S:
        """
        Hold section *name* to *model*.

        Raises RefusedError for an unknown key (with the nearest known name), a missing key or
        section, and a value of the wrong type.
        """
        if name in self.content and self.content[name] is None:
            raise _refused(f"{self.file}: {name}: is null, and this run reads it")
        if name not in self.content:
            raise _refused(f"{self.file}: no section {name!r}{nearest(name, self.content)}")
        return self.hold(name, self.content[name], model)

    def named(self, name: str) -> dict[str, Any]:
        """
        Return what section *name* lists by name; empty where it is absent.

        Raises RefusedError for a section that is no list of names.
        """
        content = self.content.get(name, {})
        if content is None:
            raise _refused(f"{self.file}: {name}: is null, which DVC refuses; {{}} or no section")
        if not isinstance(content, dict):
            raise _refused(f"{self.file}: {name}: expected names, got {type(content).__name__}")
        return content

    def hold(self, place: str, content: object, model: type[S]) -> S:
        """Hold *content*, which stands at *place* of the file, to *model*, as `section` does."""
        if not isinstance(content, dict):
            raise _refused(
                f"{self.file}: {place}: expected a section, got {type(content).__name__}"
            )
        try:
            return model.model_validate(content)
        except ValidationError as problem:
            faults = "; ".join(self._told(place, model, error) for error in problem.errors())
            raise _refused(faults) from None

    def _told(self, name: str, model: type[Section], error: Any) -> str:
        place = ".".join([name, *(str(part) for part in error["loc"])])
        match error["type"]:
            case "extra_forbidden":
                known = _fields(model, error["loc"][:-1])
                return f"{self.file}: {place}: unknown key{nearest(str(error['loc'][-1]), known)}"
            case "missing":
                return f"{self.file}: {place}: missing"
            case _:
                told = repr(error["input"])
                if not SECRET.isdisjoint(error["loc"]):  # a key, it may be, in the wrong place
                    told = type(error["input"]).__name__
                return f"{self.file}: {place}: {error['msg']}, got {told}"


def read(path: Path) -> Params:
    """Read the whole of *path* as YAML 1.2, in which repeated keys are errors, as DVC does."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _refused(f"{path}: larger than {MAX_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
        refuse_keys(path, text)
        content = YAML(typ="safe").load(text)
    except OSError as problem:
        raise _refused(f"{path}: cannot be read: {problem.strerror}") from problem
    except (YAMLError, UnicodeDecodeError) as problem:
        told = " ".join(str(problem).split())
        raise _refused(f"{path}: not readable as YAML 1.2: {told}") from problem
    if not isinstance(content, dict):
        raise _refused(f"{path}: expected sections, got {type(content).__name__}")
    return Params(path, content)


def nearest(name: str, known: Any) -> str:
    """Say which of *known* is nearest to *name*, or which there are."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"


def _fields(model: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    for part in loc:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return list(model.model_fields)


def _refused(message: str) -> RefusedError:
    return RefusedError(message, code=CONFIG)
