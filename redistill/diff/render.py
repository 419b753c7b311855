"""What changed between two versions, for people and programs: text, Markdown, JSON, a page."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from redistill.console.safe_text import safe_text
from redistill.diff.compare import KINDS, Change, Edit, Operation, Summary, edits

Fact = tuple[str, str]  # a label and what is said under it

PAGE = Path(__file__).parent / "diff.html"
INDENT = "    "
LIMIT = 20_000  # characters of one text that people are shown; programs get all of it
SIGNS: Mapping[Operation, tuple[str, str]] = {"=": ("", ""), "-": ("[-", "-]"), "+": ("{+", "+}")}
COLOURS: Mapping[str, str] = {"=": "", "-": "\x1b[31m", "+": "\x1b[32m"}
BOLD, PLAIN = "\x1b[1m", "\x1b[0m"
CONSOLE = Console()  # where texts are measured and wrapped; nothing is printed on it
_TICKS = re.compile(r"`+")


@dataclass(frozen=True)
class Step:
    """From one version to the next: their names, and what changed in all."""

    before: str
    after: str
    summary: Summary


def view(
    form: str, step: Step, changes: Iterable[Change], *, width: int, colour: bool
) -> Iterator[str]:
    """Write the lines of *changes* as *form*: text, markdown or html."""
    match form:
        case "text":
            return text(step, changes, width=width, colour=colour)
        case "markdown":
            return markdown(step, changes)
        case "html":
            return page(step, changes)
    raise ValueError(form)


def stat(form: str, steps: Sequence[Step], width: int | None) -> Iterator[str]:
    """Write one line a step, as *form*: text, markdown, json or html."""
    match form:
        case "text":
            return stat_text(steps, width)
        case "markdown":
            return stat_markdown(steps)
        case "json":
            return stat_rows(steps)
        case "html":
            return stat_page(steps)
    raise ValueError(form)


def text(step: Step, changes: Iterable[Change], *, width: int, colour: bool) -> Iterator[str]:
    """
    Write the summary and then each of *changes*, as lines of at most *width* cells for a terminal.

    What was removed stands in [-...-], what was added in {+...+}; *colour* adds red and green.
    Nothing in it but those colours is a control character.
    """
    for line in (f"{_name(step)}: {_counts(step)}", *map(_plain, _summed(step))):
        yield from _folded(line, width)
    for change in changes:
        title = _one_line(f"== {change.problem}: {_told(change)}")
        lines = list(_folded(title, width))
        yield from ["", *(f"{BOLD}{line}{PLAIN}" if colour else line for line in lines)]
        facts = _facts(change)
        for of_student in (False, True):
            told = [_plain(fact) for fact in facts if (fact[0] == "student") == of_student]
            yield from _folded(f"   {'; '.join(told)}", width) if told else ()
        for line in _lines(shown(change), width - len(INDENT), colour):
            yield INDENT + line if line else ""


def markdown(step: Step, changes: Iterable[Change]) -> Iterator[str]:
    """Write the same for a review or an issue; texts stand in fences that do not occur in them."""
    yield from [f"# {_code(_name(step))}", "", f"{_counts(step)}.", ""]
    yield from (f"- {label}: {_code(value)}" for label, value in _summed(step))
    for change in changes:
        yield from ["", f"## {_code(change.problem)}: {_told(change)}", ""]
        yield from (f"- {label}: {_code(value)}" for label, value in _facts(change))
        lines = list(_lines(shown(change), None, False))
        fence = "`" * max(3, 1 + max(map(len, _TICKS.findall("\n".join(lines))), default=0))
        yield from ["", f"{fence}text", *lines, fence]


def rows(changes: Iterable[Change]) -> Iterator[str]:
    """
    Write one line of JSON for each of *changes*, complete and in ASCII.

    docs/diff.md has the keys of a line.
    """
    return (json.dumps(row(change)) for change in changes)


def row(change: Change) -> dict[str, Any]:
    """Return a change as JSON holds it; what there is none of is null."""
    before, after = change.before, change.after
    pair = {"before": before, "after": after}
    then, now = change.verdicts
    return {
        "problem": change.problem,
        "kind": change.kind,
        "reason": change.reason,
        "gaps": change.gaps,
        "round": {key: record and record.round for key, record in pair.items()},
        "similarity": None if change.similarity is None else round(change.similarity, 4),
        "characters": {key: record and len(record.text) for key, record in pair.items()},
        "words": {key: record and len(record.text.split()) for key, record in pair.items()},
        "verdict": {"before": then, "after": now},
        "edits": edits(*change.texts),
    }


def page(step: Step, changes: Iterable[Change]) -> Iterator[str]:
    """
    Write the same as a page of HTML that needs nothing else: no script, no file, no network.

    All text is escaped by the template, control characters are made visible before.
    """
    head = {"counts": _counts(step), "facts": _summed(step)}
    drawn = (
        {
            "problem": _one_line(change.problem),
            "told": _told(change),
            "facts": _facts(change),
            "edits": shown(change),
        }
        for change in changes
    )
    return _rendered(title=_name(step), head=head, table=None, changes=drawn)


def stat_page(steps: Sequence[Step]) -> Iterator[str]:
    """Write one line a step, as a page of HTML."""
    title = " -> ".join([steps[0].before, *(step.after for step in steps)])
    return _rendered(title=_one_line(title), head=None, table=stat_cells(steps), changes=None)


def _rendered(**values: Any) -> Iterator[str]:
    rest = ""
    for part in _template().generate(**values):
        *lines, rest = "".join((rest, part)).split("\n")  # + would escape what comes before Markup
        yield from lines
    yield rest


@cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    rules = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return rules.from_string(PAGE.read_text(encoding="utf-8"))


def stat_text(steps: Sequence[Step], width: int | None) -> Iterator[str]:
    """
    Write one line a step, in columns.

    *width* bounds how many reasons are told, None tells all.
    """
    table = stat_cells(steps)
    widths = [max(cell_len(row[column]) for row in table) for column in range(len(table[0]) - 1)]
    for cells in table:
        start = "  ".join(
            cell + " " * (wide - cell_len(cell)) if not column else cell.rjust(wide)
            for column, (cell, wide) in enumerate(zip(cells, widths, strict=False))
        )
        yield f"{start}  {_fitting(cells[-1], width and width - cell_len(start) - 2)}".rstrip()


def stat_markdown(steps: Sequence[Step]) -> Iterator[str]:
    """Write one line a step, as a table."""
    head, *cells = stat_cells(steps)
    yield f"| {' | '.join(head)} |"
    yield "| --- |" + " ---: |" * (len(head) - 2) + " --- |"
    for line in cells:
        name, *counts, reasons = (cell.replace("|", "\\|") for cell in line)
        yield f"| {' | '.join([_code(name), *counts, _code(reasons)])} |"


def stat_rows(steps: Iterable[Step]) -> Iterator[str]:
    """Write one line of JSON a step."""
    for step in steps:
        yield json.dumps({"before": step.before, "after": step.after, **step.summary.as_dict()})


def stat_cells(steps: Iterable[Step]) -> list[tuple[str, ...]]:
    """Write the head and one row a step, as text."""
    head = ("step", "changed", "added", "removed", "kept", "texts", "alike", "chars", "words")
    table: list[tuple[str, ...]] = [(*head, "reasons")]
    for step in steps:
        summary = step.summary
        counts = (str(summary.counts[kind]) for kind in KINDS)
        alike, *lengths = (summary.mean(k) for k in ("similarity", "characters", "words"))
        kept = f"kept: {_counted(summary.kept_for)}" if summary.kept_for else ""
        table.append(
            (
                _name(step),
                *counts,
                str(summary.texts),
                "-" if alike is None else f"{alike:.0%}".replace("%", " %"),
                *("-" if mean is None else f"{mean:+.1f}" for mean in lengths),
                _one_line(_counted(summary.reasons) or kept),
            )
        )
    return table


def shown(change: Change) -> list[Edit]:
    """Return the edits of *change* for people."""
    return words(*change.texts)


def words(before: str, after: str) -> list[Edit]:
    """Find the edits from *before* to *after*: control characters made visible, long texts cut."""
    found: list[Edit] = []
    left = LIMIT
    parts = edits(before, after)
    for operation, part in parts:
        found.append((operation, safe_text(part[:left], left)))
        left -= len(part)
        if left < 0:
            found.append(("=", f"\n[{sum(len(p) for _, p in parts) - LIMIT} more characters]"))
            break
    return found


def _name(step: Step) -> str:
    return _one_line(f"{step.before} -> {step.after}")


def _counts(step: Step) -> str:
    counts = step.summary.counts
    kinds = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS)
    return f"{_number(step.summary.problems, 'problem')}, {kinds}"


def _summed(step: Step) -> list[Fact]:
    """What changed in all, and why."""
    summary = step.summary
    facts = []
    alike, longer, words = (summary.mean(k) for k in ("similarity", "characters", "words"))
    if alike is not None:
        means = f"{100 * alike:.1f} % alike, {longer:+.1f} characters, {words:+.1f} words"
        facts.append(("changed on average", means))
    facts += [("reasons", _counted(summary.reasons)), ("kept because", _counted(summary.kept_for))]
    pairs = {f"{then} -> {now}": n for (then, now), n in summary.verdicts.items()}
    facts.append(("student on the changed", _counted(pairs)))
    return [(label, _one_line(value)) for label, value in facts if value]


def _told(change: Change) -> str:
    before, after = change.texts
    if change.similarity is None or change.kind == "kept":
        return change.kind
    words = len(after.split()) - len(before.split())
    lengths = (_number(len(after) - len(before), "character", "+"), _number(words, "word", "+"))
    alike = min(99, round(100 * change.similarity))  # what changed is not the same
    return f"changed, {alike} % alike, {', '.join(lengths)}"


def _facts(change: Change) -> list[Fact]:
    """Why it is so, and what the student made of it, as far as that is known."""
    facts = [("reason", change.reason or ""), ("gaps", ", ".join(change.gaps))]
    if change.kind == "changed" and change.after:
        facts.insert(0, ("round", change.after.round))
    if any(change.verdicts):
        facts.append(("student", " -> ".join(verdict or "unknown" for verdict in change.verdicts)))
    return [(label, _one_line(value)) for label, value in facts if value]


def _plain(fact: Fact) -> str:
    return f"{fact[0]}: {fact[1]}"


def _number(count: int, noun: str, sign: str = "") -> str:
    return f"{count:{sign}d} {noun}{'' if abs(count) == 1 else 's'}"


def _counted(counts: Mapping[str, int]) -> str:
    ordered = Counter(counts).most_common()
    return ", ".join(f"{name} {n}" for name, n in ordered)


def _fitting(reasons: str, width: int | None) -> str:
    """As many of *reasons* as *width* has room for, at least one."""
    parts = reasons.split(", ")
    for count in range(len(parts), 0, -1):
        more = f", {len(parts) - count} more" if count < len(parts) else ""
        fitted = ", ".join(parts[:count]) + more
        if width is None or count == 1 or cell_len(fitted) <= width:
            return fitted
    return reasons


def _one_line(value: str) -> str:
    return safe_text(value).replace("\n", "\\n")


def _code(name: str) -> str:
    """*name* as code in Markdown, with more backticks around it than in it."""
    safe = _one_line(name)
    if not safe:
        return ""
    ticks = "`" * (1 + max(map(len, _TICKS.findall(safe)), default=0))
    return f"{ticks} {safe} {ticks}" if len(ticks) > 1 else f"`{safe}`"


def _folded(line: str, width: int) -> Iterator[str]:
    """*line* broken at words, the later lines further in."""
    start = line[: len(line) - len(line.lstrip())]
    lines = _lines([("=", line.strip())], width - len(start) - 2, False)
    yield start + next(lines, "")
    yield from (f"{start}  {rest}" for rest in lines)


def _lines(parts: Sequence[Edit], width: int | None, colour: bool) -> Iterator[str]:
    """
    *parts* in lines of at most *width* cells, broken at words; marks end with the line of a text.

    A word that is longer than a line is broken.
    """
    line: list[Edit] = []
    for operation, piece in _pieces(parts):
        first, *rest = piece.split("\n")
        line.append((operation, first))
        for text in rest:
            yield from _broken(line, width, colour)
            line = [(operation, text)]
    yield from _broken(line, width, colour)


def _pieces(parts: Iterable[Edit]) -> Iterator[Edit]:
    """
    *parts* as they are drawn: the space at the ends of a marked part stands outside of the marks.

    A part of nothing but space is marked, its line ends in sight.
    """
    for operation, part in parts:
        if operation == "=":
            yield operation, part
        elif part.isspace():
            yield operation, part.replace("\n", "\\n")
            if operation == "+" and "\n" in part:
                yield "=", "\n"
        else:
            start = len(part) - len(part.lstrip())
            end = len(part.rstrip())
            yield from (("=", part[:start]), (operation, part[start:end]), ("=", part[end:]))


def _broken(runs: Sequence[Edit], width: int | None, colour: bool) -> Iterator[str]:
    """One line of text, as the lines of the screen that it takes."""
    joined = [(key, "".join(t for _, t in run)) for key, run in groupby(runs, lambda run: run[0])]
    marked = [(key, text.join(SIGNS[key])) for key, text in joined if text]
    if width is None or sum(_cells(text) for _, text in marked) <= width:
        yield _drawn(marked, colour)
        return
    line = Text.assemble(*((text, key) for key, text in marked), end="")
    for part in line.wrap(CONSOLE, max(1, width), overflow="fold"):
        spans = ((str(span.style), part.plain[span.start : span.end]) for span in part.spans)
        yield _drawn(list(spans), colour)


def _drawn(runs: Sequence[tuple[str, str]], colour: bool) -> str:
    """*runs* of an operation and a text as one line, which ends in no space."""
    if not colour:
        return "".join(text for _, text in runs).rstrip()
    drawn = (f"{COLOURS[key]}{text}{PLAIN}" if COLOURS[key] else text for key, text in runs if text)
    return "".join(drawn).rstrip()


def _cells(text: str) -> int:
    """How many cells *text* takes on the screen; East Asian characters take two."""
    return len(text) if text.isascii() else cell_len(text)
