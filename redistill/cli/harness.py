"""The commands that speak with lm-evaluation-harness: tasks for it, and the samples it logged."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from redistill.cli import running, tables
from redistill.console.exceptions import CONFIG, RefusedError
from redistill.console.safe_text import safe_text
from redistill.settings import sections

if TYPE_CHECKING:
    from redistill.harness.samples import Samples

PARAMS = Path("params.yaml")
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
SHOWN = 10  # samples that are judged in two ways


@click.group("export")
def export() -> None:
    """Write what other tools read."""


@click.group("import")
def import_() -> None:
    """Read what other tools wrote."""


@export.command("lm-eval")
@click.option("--student", type=FOLDER, default=Path("data/students/base"), show_default=True)
@click.option("--out", type=FOLDER, default=Path("lm-eval"), show_default=True)
def export_tasks(student: Path, out: Path) -> None:
    """
    Write the test split and the out-of-domain tests as tasks of lm-evaluation-harness.

    The command that runs them for STUDENT is printed.
    """
    from redistill.grading.grader import GradeSettings
    from redistill.harness import tasks
    from redistill.problems import sets
    from redistill.students.answer.settings import EvaluateSettings
    from redistill.students.model import load
    from redistill.students.model.settings import StudentSettings
    from redistill.students.model.tokens import Encoder

    params = sections.read(PARAMS)
    asked = params.section("student", StudentSettings)
    limit = params.section("evaluate", EvaluateSettings).max_new_tokens
    tokenizer = load.tokenizer(student)
    chats = bool(tokenizer.chat_template) if asked.chat is None else asked.chat
    asking = tasks.Asking(asked, chats, limit)
    running.refuse(Path(), "data/problems/test.jsonl", "export it")
    found = {"test": sets.read(Path("data/problems"))["test"]}
    found |= sets.read(Path("data/problems/outside"))
    names = tasks.write(out, found, asking, params.section("grade", GradeSettings).grader)
    command = [
        *("lm_eval", "--model", "hf", "--model_args", f"pretrained={student},dtype=float32"),
        *("--include_path", str(out), "--tasks", ",".join(names), *asking.arguments()),
        *("--log_samples", "--output_path", f"{out}-results"),
    ]
    click.echo(safe_text(f"{out}: {', '.join(names)}; run them with\n{shlex.join(command)}"))
    other = tasks.respelt(found, asking, tokenizer.encode, Encoder.of(tokenizer, asked).prompt)
    for loss in filter(None, (asking.loss(), other)):
        click.echo(safe_text(loss))


@import_.command("lm-eval")
@click.argument("samples", type=FILE)
@click.argument("other", type=FILE, required=False)
@click.option("--grader", "name", help="Who judges; else who the samples name, or params.yaml.")
def import_samples(samples: Path, other: Path | None, name: str | None) -> None:
    """Judge what lm-evaluation-harness logged by our graders; compare OTHER with SAMPLES."""
    from redistill.harness import reading
    from redistill.harness import samples as logged

    found = {}
    for label, path in zip("AB", (samples, other), strict=True):
        if path is not None:
            grader = name or logged.grader_named(path) or _grader()
            found[label] = logged.read(path, reading.comparing(grader))
            click.echo(safe_text(f"{label}: {path}, judged by {grader}"))
    head = ("", "n", "correct", "95 %", "lenient", "no answer", "the harness", "judged otherwise")
    rows = [(label, *_cells(one)) for label, one in found.items()]
    tables.table([head, *rows], title="Samples, by our grader")
    for label, one in found.items():
        for p in one.apart()[:SHOWN]:
            said = "correct" if one.theirs[p.problem] else "wrong"
            read = "none" if p.answer is None else repr(p.answer)
            told = f"{label}: {p.problem}: {p.verdict} here, {said} there; answer {read}"
            click.echo(safe_text(told))
    if len(found) == 2:
        _compare(found["A"], found["B"])


def _compare(before: "Samples", after: "Samples") -> None:
    from redistill.analysis import comparison
    from redistill.harness import samples as logged

    head = ("judged", "A", "B", "gain, 95 % (points)", "only B", "only A", "p", "smallest gain")
    rows = [
        (
            *(way, str(row.k_against), str(row.k), comparison.gain_text(row)),
            *(str(row.fixed), str(row.broken), comparison.p_text(row.p)),
            "none" if row.smallest_points is None else f"{row.smallest_points:.1f} points",
        )
        for way, row in logged.compare(before, after).items()
    ]
    tables.table([head, *rows], title="B against A, problem by problem (p: exact McNemar)")
    click.echo("smallest gain: what so many problems show in 4 cases of 5")


def _cells(found: "Samples") -> tuple[str, ...]:
    from redistill.analysis.scores import wilson

    n = len(found.predictions)
    low, high = (100 * bound for bound in wilson(found.right, n))
    lenient = sum(p.lenient for p in found.predictions)
    none = sum(p.verdict == "no_answer" for p in found.predictions)
    theirs = f"{sum(found.theirs.values())} of {len(found.theirs)}" if found.theirs else "not said"
    correct = f"{found.right} ({100 * found.right / n:.1f} %)"
    counts = (str(lenient), str(none), theirs, str(len(found.apart())))
    return (str(n), correct, f"{low:.1f} to {high:.1f}", *counts)


def _grader() -> str:
    from redistill.grading.grader import GradeSettings

    if not PARAMS.is_file():
        raise RefusedError(
            "there is no params.yaml here to name a grader: add --grader numeric, choice, yes_no "
            "or math",
            code=CONFIG,
        )
    return sections.read(PARAMS).section("grade", GradeSettings).grader
