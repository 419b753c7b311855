"""Settings composed: overlays that say what differs, over settings that have everything."""

import io
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from redistill.rounds.branches import KINDS
from redistill.settings import sections
from redistill.settings.sections import Params

# Sections that list things by name: an overlay that has one replaces it whole.
LISTS = (*KINDS, "targets", "sources", "pools", "tailored", "tables")
MADE = {"branches": KINDS, "rewrites": ("rounds", "arms", "tailored")}  # of which other sections


def compose(base: Path, overlays: Iterable[Mapping[str, Any]]) -> CommentedMap:
    """
    Lay *overlays*, the later ones on top, over the settings in *base*, and keep its comments.

    Sections are merged key by key, lists of names are replaced whole, and null takes a section
    away. ``branches`` and ``rewrites`` are composed anew from what the other sections list.
    """
    document = _load(base)
    content = dict(sections.read(base).content)
    for overlay in overlays:
        plain = _plain(overlay)
        for name in LISTS:
            if name in plain:
                content[name] = plain[name] or {}
                _refill(document, name, overlay[name] or {})
        merged = OmegaConf.merge(
            OmegaConf.create({k: v for k, v in content.items() if k not in LISTS}),
            OmegaConf.create({k: v for k, v in plain.items() if k not in LISTS}),
        )
        content |= cast(dict[str, Any], OmegaConf.to_container(merged))
    for name, kinds in MADE.items():
        content[name] = _made(name, content, kinds, sections.read(base).content)
    _apply(document, content)
    return document


def read_overlay(path: Path) -> CommentedMap:
    """Read the overlay *path*, comments and all; raises RefusedError as `sections.read` does."""
    sections.read(path)
    return _load(path)


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
    """Write *document* as YAML below *head*, lines of comment in place of its first ones."""
    out = io.StringIO()
    document.yaml_set_start_comment(head)
    _yaml().dump(document, out)
    return out.getvalue()


def params(document: CommentedMap, file: Path) -> Params:
    """Return the settings that *document* is, as if they were read from *file*."""
    return Params(file, YAML(typ="safe").load(text(document, "")))


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = 4096
    yaml.preserve_quotes = True
    return yaml


def _load(path: Path) -> CommentedMap:
    loaded: CommentedMap = _yaml().load(path.read_text(encoding="utf-8"))
    return loaded


def _plain(overlay: Mapping[str, Any]) -> dict[str, Any]:
    out = io.StringIO()
    _yaml().dump(overlay, out)
    return dict(YAML(typ="safe").load(out.getvalue()) or {})


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


def _made(
    name: str,
    content: Mapping[str, Any],
    kinds: Iterable[str],
    before: Mapping[str, Any],
) -> dict[str, Any]:
    """The section *name* of *content*, whose own entries are those that no list had *before*."""
    listed = {key for kind in kinds for key in before.get(kind) or {}}
    own = {key: value for key, value in content[name].items() if key not in listed}
    return own | {key: v for kind in kinds for key, v in (content.get(kind) or {}).items()}


def _apply(document: Any, content: Mapping[str, Any], path: tuple[str, ...] = ()) -> None:
    """Change *document* in place until it says what *content* does."""
    merged = {key for _, other in getattr(document, "merge", []) for key in other}
    for key in [*document]:
        if key not in content and key not in merged:
            del document[key]
    for key, value in content.items():
        if not path and key in LISTS:
            continue
        if key in MADE and not path:
            _apply_made(document[key], value)
        elif isinstance(value, dict) and isinstance(document.get(key), CommentedMap):
            _apply(document[key], value, (*path, key))
        elif key not in document or document[key] != value:
            document[key] = value


def _apply_made(section: CommentedMap, content: Mapping[str, Any]) -> None:
    """Change what a section says by itself, beside the lists that it merges."""
    others = [other for _, other in section.merge]
    own = {k: v for k, v in content.items() if not any(k in other for other in others)}
    for key in [*section]:
        if key not in own and not any(key in other for other in others):
            section.pop(key, None)
    for key, value in own.items():
        if isinstance(section.get(key), CommentedMap):
            _apply(section[key], value, (key,))
        else:
            section[key] = value
