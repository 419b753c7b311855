"""The command ``redistill``: look at a run. (The run itself is ``dvc repro``.)"""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from itertools import chain, islice, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from redistill.analysis import summary as summaries
from redistill.cli import tables
from redistill.console.exceptions import USAGE, RefusedError
from redistill.console.safe_text import safe_text
from redistill.records import json_file, jsonl
from redistill.records.types import Error, Prediction, Problem, Rationale
from redistill.settings import branches

PARAMS = Path("params.yaml")
LADDER = Path("metrics/ladder.json")
REPORT = Path("data/report/index.html")
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


class Group(click.Group):
    """Commands whose refusals end as one line on stderr and their exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command."""
        try:
            return super().main(*args, **kwargs)
        except RefusedError as refusal:
            click.echo(f"redistill: {safe_text(str(refusal))}", err=True)
            sys.exit(refusal.code)


@click.group(cls=Group)
def main() -> None:
    """Look at a run of Redistill in the folder that holds its params.yaml."""


@main.command()
def rounds() -> None:
    """Print the rounds side by side, and check the balance of every stage."""
    summary = summaries.read_summary(Path("metrics/summary.json"))
    balances = summaries.balances(Path("metrics"))
    broken = [name for name, balance in balances if not balance["holds"]]
    if broken:
        raise RefusedError(f"rows do not balance in metrics/{', '.join(broken)}.json", code=70)
    tables.table(summaries.lines(summary), title="Rounds (* best on dev; accuracy is strict)")
    if outside := summaries.outside_lines(summary):
        tables.table(outside, title="Out of domain (test accuracy, 95 % interval)")
    click.echo(summaries.sentence(summary["best"]))
    if advice := summary.get("advice"):
        click.echo(advice)
    click.echo(f"Rows balance in all {len(balances)} stages that handle rows.")
    if REPORT.is_file():
        click.echo(f"The report, for a browser: {REPORT}")


@main.command()
@click.argument("problem", required=False)
def show(problem: str | None) -> None:
    """
    Print the life of PROBLEM (an id) over the rounds.

    Without PROBLEM, print the first prompt of each stage as a teacher would get it.
    """
    if problem is None:
        from redistill.cli import plan as plans

        for stage, prompt in plans.first_prompts(Path()):
            click.echo(f"== {stage}\n\n{safe_text(prompt, 100_000)}\n")
        return
    for split in ("train", "dev", "test"):
        found = {p.id: p for p in jsonl.read(Path(f"data/problems/{split}.jsonl"), Problem)}
        if problem in found:
            break
    else:
        raise RefusedError(f"there is no problem {problem!r} in data/problems")
    names = list(branches.branches(PARAMS))
    rationales = {n: Path(f"data/rationales/{n}.jsonl") for n in names}
    predictions = {n: Path(f"data/predictions/{n}/{split}.jsonl") for n in names}
    errors = {n: Path(f"data/errors/{n}.jsonl") for n in names}
    life = tables.life(
        found[problem],
        _of(problem, rationales, Rationale),
        _of(problem, predictions, Prediction),
        _of(problem, errors, Error),
    )
    click.echo(life)


@main.command()
@click.argument("versions", nargs=-1, required=True, metavar="A B")
@click.option(
    "--format", "form", type=click.Choice(["text", "markdown", "json", "html"]), default="text",
    show_default=True, help="json is one line a problem, or a step.",
)  # fmt: skip
@click.option("--stat", is_flag=True, help="One line a step instead; takes A B C and so on.")
@click.option("--gap", help="Only problems whose text treats this gap, or was rewritten for it.")
@click.option("--problem", "problems", multiple=True, help="Only this problem; can be repeated.")
@click.option(
    "--only", type=click.Choice(["added", "removed", "changed", "kept"]),
    help="List only these; without it, all but the kept.",
)  # fmt: skip
@click.option("--before", metavar="FILE", help="Predictions of the student that was taught A.")
@click.option("--after", metavar="FILE", help="Predictions of the student that was taught B.")
@click.option("--sort", is_flag=True, help="Sort files that are not sorted by problem, on disk.")
def diff(
    versions: tuple[str, ...],
    form: str,
    stat: bool,
    gap: str | None,
    problems: tuple[str, ...],
    only: Any,
    before: str | None,
    after: str | None,
    sort: bool,
) -> None:
    """
    Print what changed in the rationales from A to B, problem by problem and word by word.

    A and B are rounds (r0 r2), files, or either in a git revision (main~3:r1).
    """
    from redistill.diff import compare, render
    from redistill.diff import versions as revisions

    if len(versions) != 2 and (not stat or len(versions) < 2 or before or after):
        raise click.UsageError("give two versions, A and B; more of them go with --stat alone")
    if stat and only:
        raise click.UsageError("--only chooses what is listed, --stat lists nothing")
    width, terminal = max(20, shutil.get_terminal_size().columns), sys.stdout.isatty()
    with TemporaryDirectory(prefix="redistill-") as folder:
        editions = [revisions.find(name, Path(folder)) for name in versions]
        editions[0] = revisions.answered(editions[0], before, Path(folder))
        editions[-1] = revisions.answered(editions[-1], after, Path(folder))
        if sort:
            editions = [revisions.arranged(edition, Path(folder)) for edition in editions]

        def changes(old: revisions.Edition, new: revisions.Edition) -> Iterator[compare.Change]:
            return compare.chosen(revisions.changes(old, new), gap=gap, problems=problems)

        steps = [
            render.Step(old.name, new.name, compare.summed(changes(old, new)))
            for old, new in pairwise(editions)
            if stat or form != "json"
        ]
        if stat:
            _print(render.stat(form, steps, width if terminal else None), paged=False)
            return
        listed = compare.listed(changes(*editions), only)
        if form == "json":
            _print(render.rows(listed), paged=False)
            return
        colour = terminal and "NO_COLOR" not in os.environ
        lines = render.view(form, steps[0], listed, width=width, colour=colour)
        _print(lines, paged=terminal and form == "text")


@main.command("params")
@click.option("--file", type=click.Path(path_type=Path), default=PARAMS, help="The settings.")
def check_params(file: Path) -> None:
    """Check every section of params.yaml, and name the nearest key for each that is unknown."""
    from redistill.cli import check_params as params_check

    sections = params_check.check(file)
    click.echo(f"{file}: {sections} sections are well-formed")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def doctor(as_json: bool) -> None:
    """Check problems, labels, lengths, locks and disk, and show what carries loss in training."""
    from redistill.cli.doctor import as_rows, diagnose
    from redistill.console.preflight import failing

    found = diagnose(Path())
    if as_json:
        click.echo(json.dumps(as_rows(found), indent=2))
    else:
        tables.training_rows(found.examples)
        tables.findings(found.findings)
    faults = failing(found.findings)
    if faults:
        raise RefusedError(f"{len(faults)} of {len(found.findings)} checks fail")
    if not as_json:
        click.echo(f"All {len(found.findings)} checks hold, or are only to know.")


@main.command("plan")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def show_plan(as_json: bool) -> None:
    """Print what a run would ask of its teacher and what that can cost, without asking."""
    from redistill.cli import plan as plans

    rows = plans.plan(Path())
    rows.append(plans.total(rows))
    if as_json:
        click.echo(json.dumps([vars(row) for row in rows], indent=2))
        return
    cells = [
        (row.stage, str(row.cached), str(row.new), _known(row.tokens), _money(row.nano))
        for row in rows
    ]
    head = ("stage", "stored", "new calls, at most", "tokens, at most", "cost, at most")
    tables.table([head, *cells], title="Calls to the teacher, if none fails on the way")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def ledger(as_json: bool) -> None:
    """Print what the teacher's calls came to, by stage, round and model."""
    from redistill.llm import store

    with store.reading(store.path()) as known:
        rows = known.ledger()
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    head = ("stage", "round", "model", "outcome", "calls", "tokens in", "tokens out", "cost")
    cells = [
        (
            *(str(row[name]).replace("_", " ") for name in ("stage", "round", "model", "outcome")),
            *(str(row[name]) for name in ("calls", "prompt_tokens", "completion_tokens")),
            _money(row["nano"]),
        )
        for row in rows
    ]
    tables.table([head, *cells], title="Calls to the teacher, paid or reserved")


@main.command()
@click.option("--grader", "name", help="Another grader than that of params.yaml, by its name.")
@click.option("--write", is_flag=True, help="Replace predictions and scores by what comes out.")
@click.option("--predictions", type=FILE, help="One file instead of the run in this folder.")
@click.option("--problems", type=FILE, help="The problems that this file answers.")
@click.option("--out", type=FILE, help="Where its new predictions go.")
@click.option("--examples", default=5, show_default=True, help="Changed verdicts to be shown.")
def grade(
    name: str | None,
    write: bool,
    predictions: Path | None,
    problems: Path | None,
    out: Path | None,
    examples: int,
) -> None:
    """Grade stored completions again, without generating, and show which verdicts change."""
    from redistill.cli import regrade
    from redistill.grading import grader
    from redistill.settings import sections as settings_sections

    if (predictions is None) != (problems is None) or (out is not None and predictions is None):
        raise RefusedError("--predictions, --problems and --out go together", code=USAGE)
    if write and (name is not None or predictions is not None):
        raise RefusedError(
            "--write is for the run in this folder, by the grader of its params.yaml: "
            "set grade.grader there first",
            code=USAGE,
        )
    chosen = name or settings_sections.load(PARAMS, "grade", grader.GradeSettings).grader
    if predictions is not None and problems is not None:
        known = {problem.id: problem for problem in jsonl.read(problems, Problem)}
        before = jsonl.read(predictions, Prediction)
        after = regrade.again(before, known, grader.load_grader(chosen))
        splits = "/".join(sorted({p.split for p in before}))
        found = [regrade.Regraded(predictions.stem, splits, before, after)]
    else:
        found = regrade.run(Path(), list(branches.branches(PARAMS)), chosen)
    title = f"Verdicts, as they were -> by the grader {chosen}"
    tables.table([regrade.HEAD, *(one.cells() for one in found)], title=title)
    for one in found:
        for old, new in one.changed[: max(examples, 0)]:
            click.echo(tables.verdict(one.branch, old, new))
        examples -= len(one.changed)
    if out is not None:
        jsonl.write(out, found[0].after)
        click.echo(f"{len(found[0].after)} predictions in {out}")
    if write:
        names = regrade.stages(found)
        regrade.refuse_stale(Path(), names)
        written = regrade.write(Path(), found)
        click.echo(f"{len(written)} files written: {', '.join(written) or 'nothing changed'}")
        click.echo("DVC takes them for what the stages make, and goes on from there, with:")
        click.echo(f"  dvc commit --force {' '.join(names)} && dvc repro")


@main.command()
@click.option("--where", "conditions", multiple=True, required=True, help="As in outcome=refused.")
def retry(conditions: tuple[str, ...]) -> None:
    """Set stored answers aside, so that the next run asks for them again."""
    from redistill.llm import store

    pairs = [condition.partition("=") for condition in conditions]
    with store.writing(store.path()) as writer:
        chosen = writer.retire({name: value for name, _, value in pairs})
    click.echo(f"{len(chosen)} answers are set aside")
    stages = sorted({s if s == "generate" else f"{s}@{r}" for _, s, r, _ in chosen})
    if stages:
        told = f"ask again: dvc repro --force --single-item {' '.join(stages)} && dvc repro"
        click.echo(safe_text(told))


@main.command()
@click.option("--round", "name", help="Another round than the one that dev chose.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def ladder(name: str | None, as_json: bool) -> None:
    """Print what the chosen round gains over one-shot and over every control of the ladder."""
    from redistill.analysis import ladder as ladders

    found = json_file.read_json(LADDER)
    rows = ladders.rows_of(found, name)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    n = rows[0]["n"] if rows else 0
    title = f"{name or found['chosen']} against the ladder, on {n} test problems"
    tables.table(ladders.lines(rows), title=title)
    click.echo(safe_text(ladders.sentence(found, name)))


@main.command("transfer")
@click.option("--table", default="transfer", show_default=True, help="Which of the tables.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def show_transfer(table: str, as_json: bool) -> None:
    """Print what other students gain by rationales that were refined for one."""
    from redistill.analysis import transfer
    from redistill.settings import targets

    if table not in targets.tables(PARAMS):
        raise RefusedError(f"{PARAMS}: tables: there is none {table!r}; see docs/transfer.md")
    found = json_file.read_json(Path("metrics") / f"{table}.json")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    n = found["rows"][0]["n"] if found["rows"] else 0
    title = f"Other students, on {n} test problems"
    tables.table(transfer.lines(found), title=title)
    if found["passed_through"]:
        click.echo(safe_text(f"Passed through: {', '.join(found['passed_through'])}"))
    click.echo(safe_text(transfer.sentence(found)))


@main.command()
@click.option("--alpha", type=click.FloatRange(0, 1), default=0.05, show_default=True)
@click.option("--arm", "names", multiple=True, help="A branch instead of the control; repeatable.")
def check(alpha: float, names: tuple[str, ...]) -> None:
    """
    Exit with 0 if the chosen round is better on test than the step-matched control, with 1 if not.

    Better is a gain whose exact McNemar p is below alpha.
    """
    from redistill.analysis import ladder as ladders

    found = ladders.check(json_file.read_json(LADDER), names, alpha)
    click.echo(safe_text(found.told))
    if not found.better:
        sys.exit(ladders.NOT_BETTER)


@main.command()
@click.option("--seeds", "first", type=int, multiple=True, metavar="N [N ...]", help="As in 1 2 3.")
@click.argument("more", type=int, nargs=-1, metavar="")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="A setting; repeatable.")
@click.option(
    "--results",
    type=FOLDER,
    default=Path("metrics/seeds"),
    show_default=True,
    help="Where the results of each seed are kept.",
)
@click.option(
    "--out",
    type=FILE,
    default=Path("metrics/sweep.json"),
    show_default=True,
    help="Where what holds over the seeds goes.",
)
@click.option("--force", is_flag=True, help="Run seeds again whose results are there.")
@click.option("--queue", is_flag=True, help="Only queue the experiments, and say how to go on.")
@click.option("--gather", type=FOLDER, help="Run nothing: take the files of seeds in this folder.")
def sweep(
    first: tuple[int, ...],
    more: tuple[int, ...],
    pairs: tuple[str, ...],
    results: Path,
    out: Path,
    force: bool,
    queue: bool,
    gather: Path | None,
) -> None:
    """Run the loop with several seeds, one after the other, and print what holds over them."""
    from redistill.analysis import plots
    from redistill.analysis import seeds as seed_runs

    seeds = [*first, *more]
    if gather is None and (not first or min(seeds) < 0):
        raise click.UsageError("give the seeds, as in --seeds 1 2 3, or a folder with --gather")
    if gather is None:
        plan = seed_runs.plan(Path(), results, pairs)
        left = seed_runs.missing(plan, seeds, force=force)
        if queue and left:
            names = [seed_runs.queue(plan, seed) for seed in left]
            click.echo(f"{len(names)} experiments are queued; start them with: dvc queue start")
            click.echo("When they have ended, the same command without --queue gathers them.")
            return
        for seed in left:
            click.echo(f"== seed {seed}: {' '.join(plan.words(seed))}")
            seed_runs.run(plan, seed)
    found = seed_runs.summary(seed_runs.gather(gather or results, seeds))
    json_file.write_json(out, found)
    seeds_told = f"Mean gain on test over {len(found['seeds'])} seeds"
    json_file.write_text(out.with_suffix(".svg"), plots.forest(seed_runs.forest(found), seeds_told))
    tables.table(
        seed_runs.lines(found), title="Gains on test over seeds (chosen: by dev, per seed)"
    )
    chosen = ", ".join(f"{seed}: {name}" for seed, name in found["chosen"].items())
    told = f"All figures: {out}, drawn in {out.with_suffix('.svg').name}"
    click.echo(safe_text(f"Chosen by dev, by seed: {chosen}. {told}"))


@main.command("verify")
@click.argument("folders", nargs=-1, type=click.Path(file_okay=False, path_type=Path))
def verify_files(folders: tuple[Path, ...]) -> None:
    """
    Hash everything that dvc.lock and manifests name, and the store, and name what is damaged.

    With FOLDERS, hash only those, each against its own manifest.
    """
    from redistill.cli import verify
    from redistill.llm import store
    from redistill.records import manifest

    here = Path()
    checked = folders or verify.manifests(here)
    if folders:
        report = verify.Report([fault for f in folders for fault in manifest.verify(f)])
        told = "what the manifests list"
    else:
        report = verify.verify(
            here,
            cache=verify.cache_of(here),
            database=store.path(),
            folders=dict.fromkeys(checked, manifest.verify),
        )
        hashed = report.hashed
        told = f"{hashed['working tree']} files and {hashed['cache']} objects of the cache"
    for fault in report.faults:
        click.echo(safe_text(fault))
    if report.faults:
        count = len(report.faults)
        raise RefusedError(f"{count} fault{'' if count == 1 else 's'} in {told}")
    if folders:
        click.echo(f"folders that are what their manifests say: {len(checked)}")
        return
    click.echo(
        f"{told} are what dvc.lock says, {len(checked)} folders what their manifests say; "
        f"absent: {report.absent['working tree']} and {report.absent['cache']}"
    )


@main.command("publish")
@click.option("--push", "repo", metavar="ORG/NAME", help="Send it to this data set of the hub.")
@click.option("--public", is_flag=True, help="Let everyone see it; without this it is private.")
def publish_set(repo: str | None, public: bool) -> None:
    """Print what would go to the Hugging Face hub, or send it there."""
    from redistill.datasets import hub
    from redistill.datasets.rows import PublishSettings
    from redistill.settings import sections as settings_sections

    if public and repo is None:
        raise click.UsageError("--public goes with --push")
    folder = (
        Path("data/published") / settings_sections.load(PARAMS, "publish", PublishSettings).name
    )
    if repo is not None:
        from huggingface_hub import HfApi

        click.echo(safe_text(hub.push(folder, repo, HfApi(), public=public)))
        return
    parcel = hub.parcel(folder)
    cells = [(name, str(size), "" if n is None else str(n)) for name, size, n in parcel.files]
    tables.table([("file", "bytes", "rows"), *cells], title=f"{folder}, what a push would send")
    click.echo(safe_text(f"Front matter of the card:\n{parcel.front}"))
    for fault in parcel.missing:
        click.echo(safe_text(f"Before a push: {fault}"))
    click.echo("Nothing was sent; --push ORG/NAME sends it.")


@main.group("store")
def keep() -> None:
    """Export, import or reconcile the record store."""


@keep.command("export")
@click.argument("file", type=click.Path(path_type=Path))
def export_store(file: Path) -> None:
    """Write every call with its request and its answer to FILE, as sorted JSONL."""
    from redistill.llm import store

    with store.reading(store.path()) as known:
        count = jsonl.write_rows(file, known.export())
    click.echo(f"{count} calls in {file}")


@keep.command("import")
@click.argument("file", type=click.Path(path_type=Path))
def import_store(file: Path) -> None:
    """Add the calls in FILE, an export, that the store does not have yet."""
    from redistill.llm import store

    with store.writing(store.path()) as writer:
        added = writer.merge(jsonl.read_rows(file, store.EXPORTED))
    click.echo(f"{added} calls added")


@keep.command()
def reconcile() -> None:
    """Release what calls without an answer have reserved, once you have seen your bill."""
    from redistill.llm import store

    with store.writing(store.path()) as writer:
        count = writer.reconcile()
    click.echo(
        f"{count} calls without an answer hold no tokens or money any more; they remain calls"
    )


def _print(lines: Iterable[str], *, paged: bool) -> None:
    """Print *lines*, many at a time; *paged* shows what is longer than the screen in a pager."""
    lines = iter(lines)
    if paged:
        screen = list(islice(lines, shutil.get_terminal_size().lines))
        lines = chain(screen, lines)
        if len(screen) == shutil.get_terminal_size().lines:
            click.echo_via_pager(f"{line}\n" for line in lines)
            return
    while block := list(islice(lines, 1000)):
        click.echo("\n".join(block))


def _known(value: int | None) -> str:
    return "unknown" if value is None else str(value)


def _money(nano: int | None) -> str:
    return "unknown" if nano is None else f"{nano / 1_000_000_000:.4f}"


def _of(problem: str, files: dict[str, Path], kind: Any) -> dict[str, Any]:
    found = {}
    for name, file in files.items():
        rows = jsonl.read(file, kind) if file.is_file() else []
        for row in rows:
            if row.problem == problem:
                found[name] = row
    return found
