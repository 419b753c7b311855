"""The settings of a run: read once as DVC reads them, their sections held to strict models."""

import difflib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.settings.bounds import SEEDS
from redistill.settings.secrets import refuse_keys

MAX_BYTES = 1024 * 1024
ALIKE = 0.7  # of two names, from which on the one may be meant by the other
SHOWN = 200  # characters of a wrong value
WRITE = "; docs/settings.md names the overlay that has one, for redistill params --with"
KEYS = (  # that the default file has: a run that needed none of them set the section to null
    "; copy the section from the default params.yaml, which redistill init FOLDER writes, or "
    "from the overlay that docs/settings.md names"
)
SECRET = {"key", "headers", "query"}  # settings that a message does not repeat


class Section(BaseModel):
    """
    A section of params.yaml: every key required, none unknown, no coercion.

    No number is infinite or none, and no value the text "None".
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _is_meant(cls, value: Any) -> Any:
        """Refuse what YAML reads as something that nobody means, however deep it stands."""
        for place, inner in _leaves(value):
            if isinstance(inner, float) and not math.isfinite(inner):
                raise _odd(place, "a number has to be finite")
            if inner == "None":
                raise _odd(place, 'that is the text "None"; where there is none, write null')
        return value


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
        """The run's seed, a whole number from 0 and below 2**32."""
        value = self.content.get("seed")
        if type(value) is not int or not 0 <= value < SEEDS:
            raise _refused(
                f"{self.file}: seed: expected a whole number from 0 and below 2**32, got {value!r}"
            )
        return value

    def section(self, name: str, model: type[S]) -> S:
        """
        Hold section *name* to *model*.

        Raises RefusedError for an unknown key (with the nearest known name), a missing key or
        section, and a value of the wrong type.
        """
        if name in self.content and self.content[name] is None:
            raise _refused(f"{self.file}: {name}: is null, and this run reads it{KEYS}")
        if name not in self.content:
            meant = nearest(name, self.content) if close(name, self.content) else ""
            raise _refused(
                f"{self.file}: no section {name!r}, and this run reads it{meant or WRITE}"
            )
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
                told = repr(error["input"])[:SHOWN]
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
        json.dumps(content, default=str)  # what holds itself has no end
    except OSError as problem:
        raise _refused(f"{path}: cannot be read: {problem.strerror}") from problem
    except (YAMLError, ValueError, TypeError, RecursionError) as problem:
        told = " ".join(str(problem).split())
        raise _refused(f"{path}: not readable as YAML 1.2: {told}") from problem
    if not isinstance(content, dict):
        raise _refused(f"{path}: expected sections, got {type(content).__name__}")
    return Params(path, content)


def close(name: str, known: Any) -> list[str]:
    """Return the one of *known* that may be meant by *name*, if there is one."""
    return difflib.get_close_matches(name, list(known), n=1, cutoff=ALIKE)


def nearest(name: str, known: Any) -> str:
    """Say which of *known* is nearest to *name*, or which there are."""
    found = close(name, known)
    return f"; did you mean {found[0]!r}?" if found else f"; known are {', '.join(sorted(known))}"


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """*value*, or where it lists others those, each with its place in it."""
    if isinstance(value, Mapping | list):
        for key, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _leaves(inner, f"{place}.{key}".removeprefix("."))
    else:
        yield place, value


def _odd(place: str, fault: str) -> PydanticCustomError:
    return PydanticCustomError("odd", "{told}", {"told": f"{place}: {fault}" if place else fault})


def _fields(model: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    for part in loc:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return [field.alias or name for name, field in model.model_fields.items()]


def _refused(message: str) -> RefusedError:
    return RefusedError(message, code=CONFIG)
