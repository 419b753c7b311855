"""The card of a published data set: what it is, where it comes from, what it is worth."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData
from yaml import YAMLError

from redistill.console.exceptions import RefusedError
from redistill.console.safe_text import safe_text

START, END = "<!-- redistill: start -->", "<!-- redistill: end -->"
FIRST_VIEW = "sft"  # what is loaded where no view is named
MAX_SHOWN = 200  # characters of a text from outside
UNITED = ("tags", "task_categories", "source_datasets")
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

VIEWS = {
    "records": "every rationale with its whole lineage",
    "sft": "`prompt` and `completion`, for supervised fine-tuning",
    "messages": "the same as a conversation of `user` and `assistant`",
    "preference": "`chosen`, a refined rationale, and `rejected`, what a student wrote before it",
}
LIMITS = """\
- Every rationale reaches the gold answer; its single steps are not proven.
- A gold answer is as good as the source is.
- The round was chosen on dev. Its accuracy on test is of the students of this run; that of yours differs.
- `rejected` is wrong by its final answer only: the start of it can be right. What was cut off is left out.
- Which rationales were refined, and how, follows one student's errors and is of most use to students like it.
- `parent` is the start of the SHA-256 of the text before, over the UTF-8 bytes and a zero byte; `""` and `[]` stand for what is not known or does not apply, no value is null.
"""  # noqa: E501 - one sentence a line


def card(provenance: Mapping[str, Any]) -> str:
    """
    The card of the data set with *provenance*, front matter and all.

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
    The card *theirs* with our section replaced by that of *ours*, or put at its end.

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
    *text* from outside as inline code that nothing in it can end, not in a table either.

    >>> code("a|`<b>`"), code("")
    ('`a\\\\x7c\\\\x60\\\\x3cb>\\\\x60`', 'not stated')
    """
    shown = safe_text(text, MAX_SHOWN)
    for sign in "\n`|<":
        shown = shown.replace(sign, f"\\x{ord(sign):02x}")
    return f"`{shown}`" if shown.strip() else "not stated"


def _body(found: Mapping[str, Any], views: Mapping[str, int]) -> str:
    return "\n\n".join(
        [
            f"# {found['name']}",
            f"Problems with worked answers (rationales) that a teacher refined around the mistakes "
            f"of a student: round {code(found['round'])} of a run of Redistill, chosen on "
            f"{found['chosen_on']}. The rows are of the train split only.",
            "## Views",
            _table(
                ("view", "rows", "what it has"),
                ((code(n), str(rows), VIEWS[n]) for n, rows in views.items()),
            ),
            f'```python\nfrom datasets import load_dataset\n\nload_dataset(FOLDER, "{FIRST_VIEW}", '
            'split="train")  # this folder, or its name on the hub\n```',
            "Each view is there as Parquet and as JSONL. In both every value is text, answers too.",
            _unpaired(found["unpaired"]),
            "## Where it comes from",
            _table(("", ""), _facts(found)),
            "## Rounds",
            _table(
                ("round", "errors of", "texts accepted", "texts rejected", "kept as they were"),
                (_round(row) for row in found["rounds"]),
            ),
            "## Results of the run",
            _table(found["results"][0], found["results"][1:]),
            found["verdict"],
            "## Overlap with dev and test",
            _overlap(found["overlap"]),
            "## Licence",
            _licence(found),
            "## Limits",
            LIMITS.rstrip(),
            "## Is it what was written?",
            "`manifest.json` has the size and SHA-256 of every file and the rows of every view, "
            "`provenance.json` all that this card tells.",
        ]
    )


def _facts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    task, student, teach = found["task"], found["student"], found["teach"]
    model = code(student["model"])
    if student["revision"] is not None:
        model += f" at {code(student['revision'])}"
    mined = [code(row["errors_of"]) for row in found["rounds"] if row["errors_of"] is not None]
    return [
        ("task", f"{code(task['name'])} from {code(task['source'])}"),
        ("licence of the task's source", code(task["licence"])),
        ("sources of the problems", _counts(found["sources"])),
        ("teacher, as set", f"{code(teach['teacher'])}, refining {code(teach['refiner'])}"),
        ("who wrote the rationales", _counts(found["teachers"])),
        ("round they were written in", _counts(found["written_in"])),
        ("gaps that they treat", _counts(found["gaps"]) or "none"),
        ("student", model),
        ("students whose errors were shown", ", ".join(mined) or "none"),
        *(
            (f"prompt file {code(name)}, for teachers that read prompts", f"SHA-256 `{sha256}`")
            for name, sha256 in found["prompts"].items()
        ),
    ]


def _round(row: Mapping[str, Any]) -> tuple[str, ...]:
    rejected, kept = row["rejected"], row["kept"]
    return (
        code(row["round"]),
        "none" if row["errors_of"] is None else code(row["errors_of"]),
        str(row["accepted"]),
        _counts(rejected) or "0",
        _counts(kept) or "0",
    )


def _unpaired(reasons: Mapping[str, int]) -> str:
    if not reasons:
        return "Every rationale has a pair in `preference`."
    return f"Rationales that are not in `preference`, by reason: {_counts(reasons)}."


def _overlap(found: Mapping[str, Any]) -> str:
    lines = [
        f"- {split}: none of {found[split]['questions']} questions stands in the published text; "
        f"{found[split]['overlapping']} share {found['words_in_a_row']} words in a row with it."
        for split in ("dev", "test")
    ]
    return "\n".join(lines)


def _licence(found: Mapping[str, Any]) -> str:
    if found["license"] is None:
        stated = "No licence is stated for this data set, so nobody is given leave to use it."
    else:
        stated = f"Published under {code(found['license'])}."
    return (
        f"{stated} The problems are under the licence of their source, "
        f"{code(found['task']['licence'])}; the terms of a teacher can bind what is made of its "
        "texts."
    )


def _counts(found: Mapping[str, int]) -> str:
    shown = [f"{code(name)} {count}" for name, count in list(found.items())[:20]]
    more = [f"{len(found) - 20} more"] if len(found) > 20 else []
    return ", ".join([*shown, *more])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


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
