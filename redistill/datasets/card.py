"""The card of a published data set: what it is, where it comes from, what it is worth."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData
from yaml import YAMLError

from redistill.console.exceptions import RefusedError
from redistill.console.safe_text import safe_text

TEMPLATE = Path(__file__).parent / "card.md"
START, END = "<!-- redistill: start -->", "<!-- redistill: end -->"
FIRST_VIEW = "sft"  # what is loaded where no view is named
MAX_SHOWN = 200  # characters of a text from outside
UNITED = ("tags", "task_categories", "source_datasets")
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

VIEWS = {
    "records": "every rationale with its whole lineage",
    "sft": "`prompt` and `completion`, for supervised fine-tuning: what the student was taught",
    "messages": "the same as a conversation of `user` and `assistant`",
    "preference": "`chosen`, a refined rationale, and `rejected`, what a student wrote before it",
    "privileged_context": "the rationale as what a student that teaches itself may see (SDFT)",
    "feedback": "what a student wrote, said to be wrong, as what it may see of it (SDPO)",
}


def card(provenance: Mapping[str, Any]) -> str:
    """
    Write the card of the data set with *provenance*, front matter and all.

    Whatever comes from outside stands in it as code, with the signs that could end that escaped.
    """
    views = {name: rows for name, rows in provenance["views"].items() if rows}
    fields: dict[str, Any] = {
        "pretty_name": provenance["name"],
        "task_categories": ["text-generation"],
        "tags": ["distillation", "rationales", "redistill"],
        "size_categories": [_size(provenance["views"]["records"])],
        "configs": [_config(name) for name in views],
    }
    if provenance["license"] is not None:
        fields["license"] = provenance["license"]
    front = DatasetCardData(**fields).to_yaml()
    return str(DatasetCard(f"---\n{front}\n---\n\n{START}\n{_body(provenance, views)}\n{END}\n"))


def merged(theirs: str, ours: str) -> str:
    """
    Return the card *theirs* with our section replaced by that of *ours*, or put at its end.

    What others wrote outside our section stays, and so do their keys of the front matter; views
    and tags are united. Raises RefusedError where the two state different licences, and for a card
    that cannot be read.
    """
    try:
        old, new = DatasetCard(theirs), DatasetCard(ours)
    except (ValueError, TypeError, YAMLError) as problem:
        told = " ".join(str(problem).split())
        raise RefusedError(f"the card on the hub cannot be read: {told}") from problem
    before, after = _front(old.data), _front(new.data)
    stated = before.get("license", after.get("license"))
    if stated != after.get("license"):
        raise RefusedError(
            f"the card on the hub states the licence {stated!r}, publish.license is "
            f"{after.get('license')!r}; make them the same first"
        )
    fields = {**after, **before, "size_categories": after["size_categories"]}
    fields["configs"] = _united_configs(before.get("configs"), after["configs"])
    for name in UNITED:
        both = [*_listed(before.get(name)), *_listed(after.get(name))]
        if both:
            fields[name] = list(dict.fromkeys(both))
    front = DatasetCardData(**fields).to_yaml()
    return f"---\n{front}\n---\n{_replaced(old.text, _section(new.text) or new.text)}"


def code(text: str) -> str:
    """
    Write *text* from outside as inline code that nothing in it can end, not in a table either.

    >>> code("a|`<b>`"), code("")
    ('`a\\\\x7c\\\\x60\\\\x3cb>\\\\x60`', 'not stated')
    """
    shown = safe_text(text, MAX_SHOWN)
    for sign in "\n`|<":
        shown = shown.replace(sign, f"\\x{ord(sign):02x}")
    return f"`{shown}`" if shown.strip() else "not stated"


def _body(found: Mapping[str, Any], views: Mapping[str, int]) -> str:
    text: str = _template().render(**found, shown=views, told=VIEWS, first_view=FIRST_VIEW)
    return text


@cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    rules = Environment(  # noqa: S701 - Markdown; what comes from outside goes through `code`
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    rules.filters |= {"code": code, "counts": _counts}
    return rules.from_string(TEMPLATE.read_text(encoding="utf-8").rstrip("\n"))


def _counts(found: Mapping[str, int]) -> str:
    shown = [f"{code(name)} {count}" for name, count in list(found.items())[:20]]
    more = [f"{len(found) - 20} more"] if len(found) > 20 else []
    return ", ".join([*shown, *more])


def _front(data: Any) -> dict[str, Any]:
    return dict(data.to_dict())


def _size(rows: int) -> str:
    return next((name for limit, name in SIZES if rows < limit), "n>1M")


def _config(view: str) -> dict[str, Any]:
    files = [{"split": "train", "path": f"{view}.parquet"}]
    default = {"default": True} if view == FIRST_VIEW else {}
    return {"config_name": view, **default, "data_files": files}


def _united_configs(theirs: Any, ours: list[dict[str, Any]]) -> list[Any]:
    names = {*VIEWS}
    kept = [
        config
        for config in _listed(theirs)
        if not isinstance(config, dict) or config.get("config_name") not in names
    ]
    if any(isinstance(config, dict) and config.get("default") for config in kept):
        ours = [{k: v for k, v in config.items() if k != "default"} for config in ours]
    return [*ours, *kept]


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def _section(text: str) -> str | None:
    """Our section of a card's *text* with its marks; None where there is none."""
    if text.count(START) != 1 or text.count(END) != 1 or text.index(END) < text.index(START):
        if START in text or END in text:
            raise RefusedError(f"the card on the hub: {START} and {END} are not one pair")
        return None
    return text[text.index(START) : text.index(END) + len(END)]


def _replaced(text: str, ours: str) -> str:
    old = _section(text)
    return f"{text.rstrip()}\n\n{ours}\n" if old is None else text.replace(old, ours)
