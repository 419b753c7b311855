"""The command that holds a judge against labelled answers before it steers a run."""

from collections import Counter

import click

from redistill.cli import tables
from redistill.cli.project import PARAMS
from redistill.console.safe_text import safe_text
from redistill.grading.grader import Bench
from redistill.grading.judging import Verdict
from redistill.settings import sections

KINDS: tuple[Verdict, ...] = ("right", "wrong", "unusable")
LABELLED = "labelled"  # in the ledger, where calls of a run have their stage
SHOWN = 300  # characters of an answer, or a reply


@click.command()
@click.option("--examples", default=5, show_default=True, help="Differing verdicts to be shown.")
def judge(examples: int) -> None:
    """
    Hold the judge against the labelled answers: Cohen's kappa, and where they differ.

    Its verdicts on them are bought within the budget, and stored: the run buys none of them again.
    Ends with 65 where the run would refuse the judge.
    """
    from redistill.graders.judge import configured

    found = configured(Bench(sections.read(PARAMS), LABELLED))
    sample = found.sample
    counts = Counter((row.right, verdict) for row, verdict, _ in sample)
    head = ("people say", *(f"judge: {kind}" for kind in KINDS))
    rows = [
        (name, *(str(counts[label, kind]) for kind in KINDS))
        for name, label in (("right", True), ("wrong", False))
    ]
    tables.table([head, *rows], title=f"Verdicts of {found.settings.model}")
    click.echo(f"{found.agreement}; grade.judge.least_kappa is {found.settings.least_kappa}")
    differing = [one for one in sample if one[0].right != (one[1] == "right")]
    for row, verdict, reply in differing[: max(examples, 0)]:
        label = "right" if row.right else "wrong"
        told = f"{row.id}: people say {label}, the judge {verdict} ({reply[:SHOWN]})"
        click.echo(safe_text(told))
        click.echo(safe_text(f"  reference: {row.answer}\n  answer: {row.completion[-SHOWN:]}"))
    found.hold()
