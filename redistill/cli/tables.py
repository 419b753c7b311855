"""Text from outside, made safe for a terminal; tables for people."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from redistill.console.preflight import Finding
from redistill.console.safe_text import MAX_SHOWN, safe_text
from redistill.records.types import Error, Prediction, Problem, Rationale

MAX_END = 200  # characters of a completion: its answer stands at the end


def table(rows: Sequence[Sequence[str]], *, title: str) -> None:
    """Print *rows*, their first the header, with nothing read as markup."""
    drawn = Table(title=Text(safe_text(title)), title_justify="left")
    for head in rows[0]:
        drawn.add_column(Text(safe_text(head)), overflow="fold")
    for row in rows[1:]:
        drawn.add_row(*(Text(safe_text(cell)) for cell in row))
    Console(width=None if Console().is_terminal else 120).print(drawn)


COLOURS = {"prompt": "dim", "completion": "green", "EOS": "bold reverse magenta"}
STATES = {"holds": ("holds", "green"), "note": ("note", "yellow"), "fails": ("FAILS", "bold red")}


def training_rows(rows: Sequence[Sequence[tuple[str, str]]]) -> None:
    """
    Print training *rows*, runs of (prompt, completion or EOS, text), each kind in its colour.

    Where there is no colour, every run opens with its name between double brackets.
    """
    console = Console()
    for number, row in enumerate(rows):
        head = Text(f"Training row {number + 1}: ")
        for name, colour in COLOURS.items():
            head.append(name, style=colour)
            head.append(" (no loss) " if name == "prompt" else " (loss) ")
        body = Text()
        for name, text in row:
            mark = "" if console.color_system else f"[[{name}]]"
            body.append(mark + safe_text(text, MAX_SHOWN), style=COLOURS[name])
        console.print(head, body, "", sep="\n", soft_wrap=True)


def findings(found: Sequence[Finding]) -> None:
    """Print what checks found, one row each."""
    drawn = Table(title=Text("Checks"), title_justify="left")
    for head in ("check", "", "found"):
        drawn.add_column(head, overflow="fold")
    for finding in found:
        word, colour = STATES[finding.state]
        drawn.add_row(finding.check, Text(word, style=colour), Text(safe_text(finding.told)))
    Console(width=None if Console().is_terminal else 120).print(drawn)


def life(
    problem: Problem,
    rationales: Mapping[str, Rationale],
    predictions: Mapping[str, Prediction],
    held_out: Mapping[str, Prediction],
    errors: Mapping[str, Sequence[Error]],
) -> str:
    """
    Tell the life of *problem* over the rounds.

    That is what was taught, what came back, and what was wrong.
    """
    offered = [f"({letter}) {text}" for letter, text in (problem.choices or {}).items()]
    asked = [f"{problem.id}: {problem.question}", *offered]
    parts = [*asked, f"gold answer: {problem.answer}"]
    for name in dict.fromkeys([*rationales, *predictions]):
        parts.append(f"\n== {name}")
        if lesson := rationales.get(name):
            reason = f", {lesson.reason}" if lesson.reason else ""
            parts.append(f"rationale ({lesson.status}, written in {lesson.round}{reason}):")
            parts.append(_indented(lesson.text))
        if answer := predictions.get(name):
            parts.append(f"student ({answer.verdict}, {answer.tokens} tokens):")
            parts.append(_indented(answer.completion))
        held = held_out.get(name)
        if held:
            parts.append(f"held out, not taught this problem ({held.verdict}):")
            parts.append(_indented(held.completion))
        told = {found.completion for found in (answer, held) if found}
        for error in errors.get(name, ()):
            if error.completion not in told:
                parts += ["also wrong:", _indented(error.completion)]
            parts.append(f"gap: {error.gap}; first wrong: {error.first_wrong_step or 'none seen'}")
    return safe_text("\n".join(parts), 20 * MAX_SHOWN)


def verdict(branch: str, old: Prediction, new: Prediction) -> str:
    """Show how the verdict on a completion changed, and the end of what was written."""
    head = (
        f"{branch} {new.id}: {old.verdict} ({old.answer!r}) -> {new.verdict} ({new.answer!r}), "
        "which ends:"
    )
    return safe_text(f"{head}\n{_indented(new.completion[-MAX_END:])}")


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.split("\n"))
