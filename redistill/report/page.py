"""The report as a folder of files: its page, and the problems beside it; times lie in another."""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from redistill.console import drafts
from redistill.console.exceptions import RefusedError
from redistill.console.safe_text import safe_text
from redistill.records.json_file import write_text
from redistill.report import explorer
from redistill.report.text import Facts, sentences, tables, tiles
from redistill.rounds.branches import FIRST

PAGES = Path(__file__).parent
INDEX = "index.html"
TIMING = "timing.js"
PROBLEMS = "problems"  # the folder of the data beside the page
LIVES, QUESTIONS = 100, 2000  # problems in a file of the one and of the other kind
_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"


CAPTIONS = (  # of the pictures, in the order of the page
    (
        "Accuracy by round",
        "Problems solved on dev and on test with 95 % intervals; the dashed line is the control.",
    ),
    (
        "Gains",
        "Every round over each of its opponents on test, in points, with 95 % intervals. Hollow: "
        "not told apart after Holm's correction. A grey tick is the smallest gain that would show.",
    ),
    ("Gaps", "What the errors on dev show, by branch, in percent of the dev problems."),
    (
        "NLL gap",
        "How likely the rationales were to the student before it was trained on them, and the "
        "loss at the end of the training. Restarted from the base student, a lower start says "
        "that the texts came closer to what it knew.",
    ),
    (
        "Cost",
        "Test accuracy against what it took to get there: the length of an answer, the tokens "
        "of training, and the teacher's calls, or its tokens and money where the ledger has them.",
    ),
)


def write(folder: Path, facts: Facts, pictures: Sequence[str], run: explorer.Run) -> int:
    """
    Write the report to *folder*, in place of one that is there; returns its bytes.

    The same records give the same bytes. The whole is made beside *folder* and moved at the end.
    Raises RefusedError where *folder* holds something else.
    """
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        if entry.name not in (INDEX, PROBLEMS):
            raise RefusedError(f"{entry}: no file of a report; take it out of {folder}")
    with drafts.folder(folder, whole=True) as draft:
        for name, text in files(facts, pictures, run):
            write_text(draft / name, text)
        return sum(file.stat().st_size for file in draft.rglob("*") if file.is_file())


def files(facts: Facts, pictures: Sequence[str], run: explorer.Run) -> Iterator[tuple[str, str]]:
    """
    Make the files of a report by their name.

    They are index.html, and scripts that hold nothing but data.
    """
    content = explorer.index(run) | {
        "first": FIRST,
        "chosen": facts.verdict.round,
        "lives": LIVES,
        "questions": QUESTIONS,
    }
    yield INDEX, page(facts, pictures, len(run.problems))
    yield f"{PROBLEMS}/index.js", script("index", content)
    shards = (
        ("questions", explorer.questions(run), QUESTIONS),
        ("lives", explorer.lives(run), LIVES),
    )
    for kind, rows, size in shards:
        for number, some in enumerate(_batched(rows, size)):
            name = f"{kind}-{number:03}"
            yield f"{PROBLEMS}/{name}.js", script(name, some)


def script(name: str, content: Any) -> str:
    """
    Write a script that hands *content* to the page.

    The script is ASCII, and nothing in it could be markup.
    """
    data = json.dumps(content, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":  # translate would take ten times as long
        data = data.replace(sign, f"\\u{ord(sign):04x}")
    return f"redistill({json.dumps(name)},{data});\n"


def write_timing(folder: Path, times: Mapping[str, Mapping[str, float]]) -> None:
    """
    Write *times* for the page to *folder*, which lies beside it and is of this machine alone.

    They differ from run to run, so they are no part of the report that DVC hashes.
    """
    rows = [[name, found["seconds"], found["tokens_per_second"]] for name, found in times.items()]
    write_text(folder / TIMING, script("timing", rows))


def page(facts: Facts, pictures: Sequence[str], problems: int) -> str:
    """
    Write the page itself: whatever is no question of problems stands in it and needs no script.

    Its policy lets nothing run but its own script, by its hash, and files; all text is escaped by
    the template, control characters are made visible before.
    """
    from markupsafe import Markup

    style, code = (_source(f"report.{kind}") for kind in ("css", "js"))
    drawn = [
        {"title": title, "told": told, "svg": Markup(inlined(svg, f"f{number}-"))}  # noqa: S704
        for number, ((title, told), svg) in enumerate(zip(CAPTIONS, pictures, strict=True))
    ]
    rendered: str = _template().render(
        title=facts.title,
        sentences=sentences(facts),
        tiles=tiles(facts),
        tables=tables(facts),
        figures=drawn,
        problems=problems,
        style=Markup(style),  # noqa: S704 - our own files
        code=Markup(code),  # noqa: S704
        style_hash=_hash(style),
        code_hash=_hash(code),
    )
    return f"{rendered}\n"


@cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    rules = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    rules.filters["shown"] = safe_text
    return rules.from_string(_source("report.html"))


def inlined(svg: str, prefix: str) -> str:
    """
    Make a picture of `plots` part of a page: black is the colour of its text, no style, own ids.

    Styles become attributes, which a style sheet can overrule by colour, and which a policy
    without inline styles lets through; ids get *prefix*, so that two pictures share none.
    """
    root = ElementTree.fromstring(svg)  # noqa: S314 - we drew it
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{_SVG}metadata", f"{_SVG}style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        for pair in element.attrib.pop("style", "").split(";"):
            name, _, value = pair.partition(":")
            if value:
                element.set(name.strip(), value.strip())
        _renamed(element, prefix)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("class", "plot")
    root.set("aria-hidden", "true")
    return ElementTree.tostring(root, encoding="unicode")


def _renamed(element: ElementTree.Element, prefix: str) -> None:
    for name, value in list(element.attrib.items()):
        if name == "id":
            element.set(name, prefix + value)
        elif name == _LINK:
            del element.attrib[name]
            element.set("href", f"#{prefix}{value.removeprefix('#')}")
        elif value.startswith("url(#"):
            element.set(name, f"url(#{prefix}{value.removeprefix('url(#')}")


def _source(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8").rstrip("\n")


def _hash(text: str) -> str:
    """*text* as a Content-Security-Policy names what may stand in a page."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _batched(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """*rows* in lists of *size*, the last one shorter."""
    waiting: list[Any] = []
    for row in rows:
        waiting.append(row)
        if len(waiting) == size:
            yield waiting
            waiting = []
    if waiting:
        yield waiting
