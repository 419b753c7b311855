"""Settings composed: overlays that say what differs, over settings that have everything."""

import io
import re
from collections.abc import Iterable, Mapping
from copy import copy, deepcopy
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.rounds.branches import refuse_former
from redistill.settings import sections
from redistill.settings.sections import Params

# Sections that list things by name: an overlay that has one replaces it whole.
LISTS = ("targets", "sources", "pools", "tables")
LINES = ("branches", "rewrites")  # a line for each name, and null takes one away
CROWDED = re.compile(r"^([^\n#][^\n]*\n)(?=[a-z])()", re.MULTILINE)  # no line between two sections


def compose(base: Path, overlays: Iterable[CommentedMap]) -> CommentedMap:
    """
    Lay *overlays*, the later ones on top, over the settings in *base*, and keep the comments.

    Sections are merged key by key, lists of names are replaced whole, and null takes a line of
    ``branches`` or ``rewrites`` away. Raises RefusedError (78) for a list that is none, and for a
    section that settings have no more.
    """
    content = dict(sections.read(base).content)
    document = _loaded(base.read_text(encoding="utf-8"))
    refuse_former(base, document)
    for overlay in overlays:
        plain = _plain(overlay)
        refuse_former("overlay", plain)
        for name in (*LISTS, *LINES):
            if name in plain:
                _check_entries(name, plain[name])
        for name in (name for name in LISTS if name in plain):
            content[name] = dict(plain[name] or {})
            _refill(document, name, overlay[name] or {})
        content = _merged(content, {k: v for k, v in plain.items() if k not in LISTS})
        for name in plain:  # a section that the settings below do not have comes with its comments
            if name not in document and name not in LISTS:
                document[name] = deepcopy(overlay[name])
    for name in LINES:
        lines = content.pop(name, None) or {}
        _rewrite(document, name, {key: line for key, line in lines.items() if line is not None})
    _apply(document, {key: value for key, value in content.items() if key not in LISTS})
    return document


def read_overlay(path: Path) -> CommentedMap:
    """Read the overlay *path*, comments and all; raises RefusedError as `sections.read` does."""
    sections.read(path)
    return _loaded(path.read_text(encoding="utf-8"))


def pruned(document: CommentedMap, read: Iterable[str], optional: Iterable[str]) -> None:
    """
    Take the sections out of *document* that nothing reads, in place.

    *read* are those that this run reads. One of *optional* that is not among them becomes null:
    DVC tracks it, so that it has to be there.
    """
    known = {*read}
    for name in [*document]:
        if name in known:
            continue
        if name in optional:
            document[name] = None
        elif isinstance(document[name], dict) and name not in (*LISTS, *LINES):
            del document[name]


def text(document: CommentedMap, head: str) -> str:
    """Write *document* as YAML with *head*, lines of comment, in place of its first ones."""
    shown = copy(document)
    for section in shown.values():  # DVC takes quotes away, without which {a: b:c} is no YAML
        if isinstance(section, CommentedMap) and any(":" in str(v) for v in section.values()):
            section.fa.set_block_style()
    if head:
        shown.yaml_set_start_comment(head)
    out = io.StringIO()
    _yaml().dump(shown, out)
    return CROWDED.sub(r"\1\n\2", out.getvalue())


def params(document: CommentedMap, file: Path) -> Params:
    """Return the settings that *document* is, as if they were read from *file*."""
    content: dict[str, Any] = _plain(document)
    return Params(file, content)


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = 4096
    yaml.preserve_quotes = True
    yaml.representer.add_representer(type(None), _null)
    return yaml


def _null(representer: Any, _: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _loaded(text: str) -> CommentedMap:
    loaded: CommentedMap = _yaml().load(text)
    return loaded


def _plain(value: Any) -> Any:
    """*value* without what remembers how it was written."""
    match value:
        case Mapping():
            return {_plain(key): _plain(found) for key, found in value.items()}
        case list():
            return [_plain(found) for found in value]
        case bool():
            return value
    kind = next((kind for kind in (str, int, float) if isinstance(value, kind)), None)
    return value if kind is None else kind(value)


def _refill(document: CommentedMap, name: str, listed: Mapping[str, Any]) -> None:
    """Put what an overlay lists into the section *name* of *document*, in place of what it has."""
    if name not in document or not isinstance(document[name], CommentedMap):
        document[name] = CommentedMap()
    section = document[name]
    for key in [*section]:
        del section[key]
    section.ca.items.clear()
    if listed:
        section.fa.set_block_style()
    for key, value in listed.items():
        section[key] = deepcopy(value)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """*below* with what *above* says differently, sections key by key; a text is never syntax."""
    found = dict(below)
    for key, value in above.items():
        under = below.get(key)
        if isinstance(under, Mapping) and isinstance(value, Mapping):
            value = _merged(under, value)
        found[key] = value
    return found


def _check_entries(name: str, listed: Any) -> None:
    """Refuse what an overlay has in the section *name* and that does not go by names."""
    if not isinstance(listed or {}, Mapping):
        raise RefusedError(f"{name}: expected entries by name, got {listed!r}", code=CONFIG)


def _rewrite(document: CommentedMap, name: str, lines: Mapping[str, Any]) -> None:
    """Change the section *name* of *document* until it has *lines*, a line of YAML for each."""
    section = document.setdefault(name, CommentedMap())
    for gone in [key for key in section if key not in lines]:
        del section[gone]
        section.ca.items.pop(gone, None)
    for key, line in lines.items():
        if section.get(key) != line:
            section[key] = _line(line)
    if section:
        section.fa.set_block_style()


def _line(value: Any) -> Any:
    """*value* as it is written: in one line."""
    if not isinstance(value, Mapping):
        return value
    line = CommentedMap(value)
    line.fa.set_flow_style()
    return line


def _apply(document: CommentedMap, content: Mapping[str, Any]) -> None:
    """Change *document* in place until it says what *content* does."""
    for key, value in content.items():
        if isinstance(value, dict) and isinstance(document.get(key), CommentedMap):
            for gone in [k for k in document[key] if k not in value]:
                del document[key][gone]
            _apply(document[key], value)
        elif key not in document or document[key] != value:
            document[key] = value
