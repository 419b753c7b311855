"""The commands that check a run: before it starts, what it will ask, its bytes, its verdicts."""

import json
from pathlib import Path

import click

from redistill.cli import tables
from redistill.console.counted import counted
from redistill.console.exceptions import RefusedError
from redistill.console.safe_text import safe_text
from redistill.llm.budget import money
from redistill.rounds.branches import branches
from redistill.settings import sections

PARAMS = Path("params.yaml")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--repair", "mends", is_flag=True, help="Mend what can be mended, then check.")
def doctor(as_json: bool, mends: bool) -> None:
    """
    Check problems, labels, lengths, locks and disk, and show what carries loss in training.

    With --repair, first mend what a kill left of dvc.lock and of DVC's own lock file. No training
    that has ended is lost by it, and nothing is taken for done that was not.
    """
    from redistill.checks.doctor import as_rows, diagnose
    from redistill.cli import own_data, repair
    from redistill.console.preflight import failing

    for line in repair.repair(Path()) if mends else ():
        click.echo(safe_text(f"mended: {line}"), err=as_json)
    kept = (own_data.finding(Path()), own_data.in_git(Path()))
    found = diagnose(Path(), [*repair.findings(Path()), *kept])
    if as_json:
        click.echo(json.dumps(as_rows(found), indent=2))
    else:
        tables.training_rows(found.examples)
        tables.findings(found.findings)
    faults = failing(found.findings)
    if faults:
        named = ", ".join(fault.check for fault in faults)
        raise RefusedError(f"{len(faults)} of {len(found.findings)} checks fail: {named}")
    if not as_json:
        click.echo(f"All {len(found.findings)} checks hold, or are only to know.")


@click.command("plan")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def show_plan(as_json: bool) -> None:
    """Print what a run would ask of its teacher and what that can cost, without asking."""
    from redistill.checks import ready
    from redistill.cli import plan as plans

    rows = plans.plan(Path())
    rows.append(plans.total(rows))
    if as_json:
        click.echo(json.dumps([vars(row) for row in rows], indent=2))
        return
    cells = [
        (row.stage, str(row.cached), str(row.new), _known(row.tokens), money(row.nano))
        for row in rows
    ]
    head = ("stage", "stored", "new calls, at most", "tokens, at most", "cost, at most")
    tables.table([head, *cells], title="Calls to the teacher, if none fails on the way")
    params = sections.read(PARAMS)
    for told in (
        plans.over_budget(params, rows[-1]),
        plans.probes(params),
        plans.judged(Path(), params, rows[-1].cached + rows[-1].new),
        plans.unjudged(params),
        plans.on_dev(Path(), params),
        ready.missing(Path(), params),
    ):
        if told:
            click.echo(safe_text(str(told)))


@click.command("verify")
@click.argument("folders", nargs=-1, type=click.Path(file_okay=False, path_type=Path))
def verify_files(folders: tuple[Path, ...]) -> None:
    """
    Hash everything that dvc.lock and manifests name, and the store, and name what is damaged.

    With FOLDERS, hash only those, each against its own manifest.
    """
    from redistill.cli import running, verify
    from redistill.llm import store
    from redistill.records import manifest

    here = Path()
    checked = folders or verify.manifests(here)
    if folders:
        report = verify.Report([fault for f in folders for fault in manifest.verify(f)])
        told = "what the manifests list"
    else:
        cache, declared = verify.kept_by_dvc(here)
        at_work = running.writing(here)
        report = verify.verify(
            here,
            cache=cache,
            database=store.path(),
            folders=dict.fromkeys(checked, manifest.verify),
            declared=declared,
            writing=at_work,
        )
        for out in report.left_out:
            click.echo(safe_text(f"{out}: left out, {at_work[out]} is writing it"))
        hashed = report.hashed
        told = f"{hashed['working tree']} files and {hashed['cache']} objects of the cache"
    for fault in report.faults:
        click.echo(safe_text(fault))
    if report.faults:
        count = len(report.faults)
        raise RefusedError(f"{counted(count, 'fault')} in {told}")
    if folders:
        click.echo(f"folders that are what their manifests say: {len(checked)}")
        return
    click.echo(
        f"{told} are what dvc.lock says, {len(checked)} folders what their manifests say; "
        f"absent: {report.absent['working tree']} and {report.absent['cache']}"
    )


@click.command()
@click.option("--grader", "name", help="Another grader than that of params.yaml, by its name.")
@click.option("--examples", default=5, show_default=True, help="Changed verdicts to be shown.")
def grade(name: str | None, examples: int) -> None:
    """
    Show which verdicts another grader, or an edited one, would give; write nothing.

    What the run records is changed by `dvc repro`, which grades again and answers nothing anew.
    """
    from redistill.cli import regrade
    from redistill.grading.grader import Bench, GradeSettings

    params = sections.read(PARAMS)
    chosen = name or params.section("grade", GradeSettings).grader
    bench = Bench.reading(params)
    found = regrade.run(Path(), list(branches(params)), chosen, bench)
    if bench.unasked:
        raise RefusedError(
            f"{chosen}: {counted(bench.unasked, 'verdict')} on these completions to be asked for, "
            "or got by running code, and this command does neither; set grade.grader and run dvc "
            "repro"
        )
    title = f"Verdicts, as they are -> by the grader {chosen}"
    tables.table([regrade.HEAD, *(one.cells() for one in found)], title=title)
    for one in found:
        for old, new in one.changed[: max(examples, 0)]:
            click.echo(tables.verdict(one.branch, old, new))
        examples -= len(one.changed)


def _known(value: int | None) -> str:
    return "unknown" if value is None else str(value)
