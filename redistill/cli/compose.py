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
from redistill.rounds.branches import KINDS
from redistill.settings import sections
from redistill.settings.sections import Params

# Sections that list things by name: an overlay that has one replaces it whole.
LISTS = (*KINDS, "targets", "sources", "pools", "tailored", "tables")
MADE = {"branches": KINDS, "rewrites": ("rounds", "arms", "tailored")}  # of which other sections
TOLD = {
    "branches": "every student that is trained: the rounds, the first one, and the controls",
    "rewrites": "everything that a teacher rewrites",
}
MADE_LINES = re.compile(rf"^(?:{'|'.join(MADE)}):.*\n(?:(?:[ #].*)?\n)*", re.MULTILINE)
CROWDED = re.compile(r"^([^\n#][^\n]*\n)(?=[a-z])()", re.MULTILINE)  # no line between two sections


def compose(base: Path, overlays: Iterable[CommentedMap]) -> CommentedMap:
    """
    Lay *overlays*, the later ones on top, over the settings in *base*, and keep the comments.

    Sections are merged key by key, lists of names are replaced whole, and null takes a branch away.
    ``branches`` and ``rewrites`` are composed anew from what the other sections list. Raises
    RefusedError (78) for a list that is none, and for an entry that belongs into another section.
    """
    content = dict(sections.read(base).content)
    before = dict(content)
    document = _loaded(MADE_LINES.sub("", base.read_text(encoding="utf-8")))
    for overlay in overlays:
        plain = _plain(overlay)
        for name in LISTS:
            if name in plain:
                content[name] = _entries(name, plain[name])
                _refill(document, name, overlay[name] or {})
        _check_made(plain, content)
        content = _merged(content, {k: v for k, v in plain.items() if k not in LISTS})
        for name in plain:  # a section that the settings below do not have comes with its comments
            if name not in document and name not in LISTS:
                document[name] = deepcopy(overlay[name])
    for name, kinds in MADE.items():
        listed = {key for kind in kinds for key in before.get(kind) or {}}
        own = {k: v for k, v in content[name].items() if k not in listed and v is not None}
        lists = {key: v for kind in kinds for key, v in (content.get(kind) or {}).items()}
        document[name] = own | lists
    _apply(document, {key: value for key, value in content.items() if key not in (*LISTS, *MADE)})
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
        elif isinstance(document[name], dict) and name not in (*LISTS, *MADE):
            del document[name]


def text(document: CommentedMap, head: str) -> str:
    """
    Write *document* as YAML with *head*, lines of comment, in place of its first ones.

    The sections that are composed of others merge them by their anchors, so that a further round
    or arm is a line in one place.
    """
    shown = copy(document)
    for name in {kind for kinds in MADE.values() for kind in kinds}:
        if name not in shown:
            shown[name] = CommentedMap()
        shown[name].yaml_set_anchor(name, always_dump=True)
    for name in MADE:
        shown.pop(name)
    for section in shown.values():  # DVC takes quotes away, without which {a: b:c} is no YAML
        if isinstance(section, CommentedMap) and any(":" in str(v) for v in section.values()):
            section.fa.set_block_style()
    if head:
        shown.yaml_set_start_comment(head)
    out = io.StringIO()
    _yaml().dump(shown, out)
    made = "".join(_block(name, document[name], document) for name in MADE)
    before, section, after = out.getvalue().partition("\nprepare:")
    if re.search("^(?:" + "|".join(LISTS[:3]) + "|tailored):", after, re.MULTILINE):
        return CROWDED.sub(r"\1\n\2", f"{out.getvalue()}\n{made}")  # no alias before its anchor
    return CROWDED.sub(r"\1\n\2", f"{_tidy(before)}\n{made}{section.lstrip()}{after}")


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
    """Put what an overlay lists into the section *name*, which stays the one that others merge."""
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


def _entries(name: str, listed: Any) -> dict[str, Any]:
    """What an overlay lists in the section *name*, by name."""
    if not isinstance(listed or {}, Mapping):
        raise RefusedError(f"{name}: expected entries by name, got {listed!r}", code=CONFIG)
    return dict(listed or {})


def _check_made(overlay: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    """Refuse what an *overlay* says in a section that is composed of others, and has no effect."""
    for name, kinds in MADE.items():
        for key in _entries(name, overlay.get(name)):
            kind = next((k for k in kinds if key in (content.get(k) or {})), None)
            if kind is None and name == "branches":
                continue
            told = f"is composed of {', '.join(kinds)}" if kind is None else f"stands in {kind}"
            raise RefusedError(f"{name}.{key}: {told}; say it there", code=CONFIG)


def _block(name: str, content: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """The section *name* as YAML: the lists that it merges by their anchors, then its own lines."""
    lines = [f"{name}:  # {TOLD[name]}", f"  <<: [{', '.join(f'*{kind}' for kind in MADE[name])}]"]
    listed = {key for kind in MADE[name] for key in document.get(kind) or {}}
    for key, value in content.items():
        if key not in listed:
            lines.append(f"  {key}: {_flow(value)}")
    return "\n".join(lines) + "\n\n"


def _flow(value: Any) -> str:
    """*value* as YAML in one line."""
    yaml: Any = YAML(typ="safe")
    yaml.default_flow_style, yaml.width, yaml.sort_base_mapping_type_on_output = True, 4096, False
    out = io.StringIO()
    yaml.dump(value, out)
    return out.getvalue().removesuffix("...\n").strip()


def _tidy(before: str) -> str:
    """*before* without the comments at its end, which told of sections that are written anew."""
    lines = before.split("\n")
    while lines and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
        lines.pop()
    return "\n".join([*lines, ""])


def _apply(document: CommentedMap, content: Mapping[str, Any]) -> None:
    """Change *document* in place until it says what *content* does."""
    for key, value in content.items():
        if isinstance(value, dict) and isinstance(document.get(key), CommentedMap):
            for gone in [k for k in document[key] if k not in value]:
                del document[key][gone]
            _apply(document[key], value)
        elif key not in document or document[key] != value:
            document[key] = value
