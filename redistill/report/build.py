"""The whole report of a run: its figures, tables, pictures, and the page that shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from redistill.analysis import costs, ladder, plots, rewriting, summary
from redistill.analysis.ladder import Ladder
from redistill.analysis.summary import Summary, Verdict
from redistill.causes import evidence, why
from redistill.causes.evidence import Reach
from redistill.records.types import Prediction
from redistill.report import text
from redistill.report.explorer import Run
from redistill.report.text import Facts
from redistill.rounds.branches import Round


@dataclass(frozen=True)
class Report:
    """
    What a report consists of, beside the problems.

    *verdict* is on the round that is best on dev, *whole* has all figures, *climbed* the ladder;
    *tables* are CSV and *pictures* SVG, both by the names of their files.
    """

    verdict: Verdict
    whole: Summary
    climbed: Ladder
    tables: dict[str, str]
    pictures: dict[str, str]
    facts: Facts


def build(
    run: Run,
    metrics: Path,
    ledger: Sequence[Mapping[str, Any]],
    settings: summary.ReportSettings,
    tests_setting: str,
) -> Report:
    """
    Put the branches of *run* side by side, from what its stages recorded under *metrics*.

    *ledger* has the rows of the record store, *settings* name the control and the title,
    *tests_setting* is the setting of how many test problems there are.
    """
    branches, rounds, names = run.branches, run.rounds, list(run.branches)
    control, title = settings.control, settings.title
    found = summary.collect(names, rounds, metrics)
    tests: dict[str, Sequence[Prediction]] = run.of_split("test")
    chosen = summary.choose({name: found[name].dev for name in rounds if name in found})
    verdict = summary.verdict(chosen, control, found, tests)
    mined = [name for name, branch in branches.items() if branch.probe]
    whole = summary.summary(
        names,
        found,
        verdict,
        summary.advice(found, rounds[1:], mined),
        rewriting.reasons(branches, [name for name in names if name not in found], metrics),
        rewriting.untouched(branches, metrics),
    )
    steps = dict.fromkeys(names, 0) | {name: one.training.steps for name, one in found.items()}
    texts = {name: one.training.taught for name, one in found.items()}
    calls = ladder.calls(metrics / "rationales", branches)
    climbed = ladder.ladder(
        chosen, rounds, branches, control, tests, steps, calls, texts, run.outside
    )
    seen = summary.gap_table([name for name in names if tests[name]], metrics / "gaps")
    replies = costs.replies(metrics / "rationales", branches)
    probes = costs.probes(metrics / "probes", branches)
    spent = costs.table(branches, rounds, found, replies, ledger, probes)
    recorded = text.record(metrics, branches, rounds)
    reasons = why.of_rounds(branches, metrics, climbed, partial(_reached, run), tests_setting)
    return Report(
        verdict,
        whole,
        climbed,
        {
            "rounds": summary.as_csv(summary.table(found), summary.COLUMNS),
            "ladder": summary.as_csv(ladder.table(climbed), ladder.COLUMNS),
            "gaps": summary.as_csv([dict(row) for row in seen], summary.GAP_COLUMNS),
            "costs": summary.as_csv([dict(row) for row in spent], costs.COLUMNS),
        },
        {
            "curve": plots.curve(rounds, control, found, title),
            "ladder": plots.forest(ladder.bars(climbed), title),
            "gaps": plots.stacked(seen, title),
            "nll": plots.likelihood([row.round for row in spent], found, title),
            "costs": plots.costs(spent, title),
        },
        Facts(title, verdict, whole, climbed, spent, ledger, recorded, reasons),
    )


def _reached(run: Run, branch: Round, name: str) -> Reach:
    """How far the rewriting for the round *name* of *run* reached."""
    errors, lessons = run.errors[branch.from_], run.rationales[branch.rationales]
    return evidence.reach(errors.values(), lessons.values(), name)
