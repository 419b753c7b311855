"""Which chat template a student has: its tokenizer's own, one of several, or a file of yours."""

from pathlib import Path
from typing import Any

from redistill.console.exceptions import CONFIG, RefusedError

WATCHED = Path("data/pretrained")  # what the stages that make base students depend on
ENDINGS = (".jinja", ".jinja2", ".j2")
DEFAULT = "default"


def apply(
    tokenizer: Any,
    template: str | None,
    *,
    place: str = "student.template",
    root: Path | None = None,
) -> None:
    """
    Give *tokenizer* the chat template that *template* names: one of its own, or a file.

    None leaves a single one, and the default among several. A file lies in data/pretrained, which
    DVC watches, so that another text makes other students. Raises RefusedError for a name or file
    that is not there. *place* is where the setting stands, *root* the folder of the run where that
    is not this one.
    """
    if template is None:
        return
    if template.endswith(ENDINGS) or "/" in template:
        tokenizer.chat_template = _read(root or Path(), template, place)
        return
    own = tokenizer.chat_template
    named = own if isinstance(own, dict) else {}
    if template not in named:
        has = f"those of the tokenizer are {', '.join(sorted(named))}" if named else (
            "the tokenizer has one without a name: set it to null" if own else
            "the tokenizer has no chat template"
        )  # fmt: skip
        raise RefusedError(
            f"{place}: there is no chat template {template!r}; {has}, or name a file such as "
            f"{WATCHED}/chat.jinja",
            code=CONFIG,
        )
    tokenizer.chat_template = named[template]


def text(tokenizer: Any) -> str:
    """Return the chat template of *tokenizer*; refuses several without a default, and no text."""
    found = tokenizer.chat_template
    if isinstance(found, dict):
        if DEFAULT not in found:
            raise RefusedError(
                f"the student's tokenizer has several chat templates ({', '.join(sorted(found))}) "
                "and none of them is the default; set student.template to one of these names, or "
                f"to a file such as {WATCHED}/chat.jinja",
                code=CONFIG,
            )
        found = found[DEFAULT]
    if not isinstance(found, str):
        raise RefusedError(
            "the student's chat template is no text; mend tokenizer_config.json, or set "
            "student.template to a file",
            code=CONFIG,
        )
    return found


def _read(root: Path, name: str, place: str) -> str:
    file = root / name
    inside = (root / WATCHED).resolve() in file.resolve().parents
    if not inside:
        raise RefusedError(
            f"{place}: {name}: put the file into {WATCHED}, which DVC watches: elsewhere a change "
            "of it would go unseen",
            code=CONFIG,
        )
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RefusedError(f"{place}: there is no file {name}", code=CONFIG) from None
    except (OSError, UnicodeDecodeError) as problem:
        raise RefusedError(f"{place}: {name} cannot be read: {problem}", code=CONFIG) from None
