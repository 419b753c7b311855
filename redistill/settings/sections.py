"""The settings of a run: read as DVC reads them, and held to strict models."""

import difflib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.settings.secrets import refuse_keys

MAX_BYTES = 1024 * 1024


class Section(BaseModel):
    """A section of params.yaml: every key required, none unknown, no coercion."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


S = TypeVar("S", bound=Section)


def load(path: Path, name: str, model: type[S]) -> S:
    """
    Read section *name* of the YAML file *path* into *model*.

    Raises RefusedError for an unknown key (with the nearest known name), a missing key or section,
    and a value of the wrong type.
    """
    settings = read(path)
    if name not in settings:
        raise _refused(f"{path}: no section {name!r}{_nearest(name, settings)}")
    return hold(path, name, settings[name], model)


def hold(path: Path, place: str, content: object, model: type[S]) -> S:
    """Hold *content*, which stands at *place* of the file *path*, to *model*, as `load` does."""
    if not isinstance(content, dict):
        raise _refused(f"{path}: {place}: expected a section, got {type(content).__name__}")
    try:
        return model.model_validate(content)
    except ValidationError as problem:
        raise _refused("; ".join(_told(path, place, model, e) for e in problem.errors())) from None


def seed(path: Path) -> int:
    """The run's seed, a whole number from 0."""
    value = read(path).get("seed")
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _refused(f"{path}: seed: expected a whole number from 0, got {value!r}")
    return value


def value(path: Path, section: str, key: str) -> Any:
    """One value of *section* in *path*, for those who need no more of it."""
    content = read(path).get(section)
    if not isinstance(content, dict) or key not in content:
        raise _refused(f"{path}: {section}.{key}: missing")
    return content[key]


def read(path: Path) -> dict[str, Any]:
    """The whole of *path* as YAML 1.2, in which repeated keys are errors, as DVC reads it."""
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
    return content


def _told(path: Path, name: str, model: type[Section], error: Any) -> str:
    place = ".".join([name, *(str(part) for part in error["loc"])])
    match error["type"]:
        case "extra_forbidden":
            known = _fields(model, error["loc"][:-1])
            return f"{path}: {place}: unknown key{_nearest(str(error['loc'][-1]), known)}"
        case "missing":
            return f"{path}: {place}: missing"
        case _:
            return f"{path}: {place}: {error['msg']}, got {error['input']!r}"


def _fields(model: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    for part in loc:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return list(model.model_fields)


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"


def _refused(message: str) -> RefusedError:
    return RefusedError(message, code=CONFIG)
