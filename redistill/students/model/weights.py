"""Whether a model got every weight that it has from its files, and no other."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from redistill.console.exceptions import RefusedError
from redistill.students.model.folder import TABLES

NAMED = 3  # weights that a message names, of each kind
# Prefixes that wrappers leave in the names of what they wrap, and what to save instead.
PREFIXES = {
    "_orig_mod.": "torch.compile; save model._orig_mod",
    "module.": "DataParallel; save model.module",
    "_fsdp_wrapped_module.": "FSDP; gather the whole state dict and save that",
    "base_model.model.": "peft; save what merge_and_unload gives",
}


def complete(student: str, info: Mapping[str, Any]) -> None:
    """
    Refuse *student* where transformers would make up weights, or leave some out.

    *info* is the loading info of `from_pretrained`; weights that are tied are not missing in it.
    Raises RefusedError with the names, and the cure where a wrapper's prefix is in all of them.
    """
    missing = sorted(info["missing_keys"])
    unexpected = sorted(name for name in info["unexpected_keys"] if not TABLES.search(name))
    mismatched = sorted(info["mismatched_keys"], key=lambda found: str(found[0]))
    if not (missing or unexpected or mismatched):
        return
    faults = [
        f"{len(names)} weights {what}: {_named(names)}" if len(names) > 1 else
        f"a weight {what}: {names[0]}"
        for what, names in (
            ("missing", missing),
            ("of no use to the model", unexpected),
            ("of another shape than config.json has", [_shapes(found) for found in mismatched]),
        )
        if names
    ]  # fmt: skip
    raise RefusedError(
        f"student {student}: its weights are not those of its config.json, {'; '.join(faults)}; "
        f"{_cure(missing, unexpected)}"
    )


def _cure(missing: Iterable[str], unexpected: Iterable[str]) -> str:
    prefix = _prefix(set(missing), list(unexpected))
    if prefix is None:
        return "save the whole model again (save_pretrained), or mend config.json"
    by = next((told for known, told in PREFIXES.items() if known in prefix), None)
    origin = f" ({by})" if by else ""
    return f"the names in the file open with {prefix!r}{origin}: rename them without it"


def _prefix(missing: set[str], unexpected: list[str]) -> str | None:
    """What stands before the names of all *missing* weights in the *unexpected* ones."""
    first = unexpected[0] if unexpected else ""
    for end in (place.end() for place in re.finditer(r"\.", first)):
        alike = all(name.startswith(first[:end]) for name in unexpected)
        if alike and {name[end:] for name in unexpected} & missing:
            return first[:end]
    return None


def _shapes(found: tuple[str, Iterable[int], Iterable[int]]) -> str:
    name, file, model = found
    return f"{name} ({' x '.join(map(str, file))} for {' x '.join(map(str, model))})"


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"
