"""The command ``redistill``: look at a run. (The run itself is ``dvc repro``.)"""

import sys
from pathlib import Path
from typing import Any

import click

from redistill import records, reporting, showing
from redistill import rounds as branching
from redistill.records import Error, Prediction, Problem, Rationale
from redistill.refusals import RefusedError

PARAMS = Path("params.yaml")


class Group(click.Group):
    """Commands whose refusals end as one line on stderr and their exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command."""
        try:
            return super().main(*args, **kwargs)
        except RefusedError as refusal:
            click.echo(f"redistill: {showing.safe_text(str(refusal))}", err=True)
            sys.exit(refusal.code)


@click.group(cls=Group)
def main() -> None:
    """Look at a run of Redistill in the folder that holds its params.yaml."""


@main.command()
def rounds() -> None:
    """Print the rounds side by side, and check the balance of every stage."""
    summary = reporting.read_summary(Path("metrics/summary.json"))
    balances = reporting.balances(Path("metrics"))
    broken = [name for name, balance in balances if not balance["holds"]]
    if broken:
        raise RefusedError(f"rows do not balance in metrics/{', '.join(broken)}.json", code=70)
    showing.table(reporting.lines(summary), title="Rounds (* best on dev; accuracy is strict)")
    click.echo(reporting.sentence(summary["best"]))
    click.echo(f"Rows balance in all {len(balances)} stages that handle rows.")


@main.command()
@click.argument("problem")
def show(problem: str) -> None:
    """Print the life of PROBLEM (an id) over the rounds."""
    for split in ("train", "dev", "test"):
        found = {p.id: p for p in records.read(Path(f"data/problems/{split}.jsonl"), Problem)}
        if problem in found:
            break
    else:
        raise RefusedError(f"there is no problem {problem!r} in data/problems")
    names = list(branching.branches(PARAMS))
    rationales = {n: Path(f"data/rationales/{n}.jsonl") for n in names}
    predictions = {n: Path(f"data/predictions/{n}/{split}.jsonl") for n in names}
    errors = {n: Path(f"data/errors/{n}.jsonl") for n in names}
    life = showing.life(
        found[problem],
        _of(problem, rationales, Rationale),
        _of(problem, predictions, Prediction),
        _of(problem, errors, Error),
    )
    click.echo(life)


@main.command("params")
@click.option("--file", type=click.Path(path_type=Path), default=PARAMS, help="The settings.")
def check_params(file: Path) -> None:
    """Check every section of params.yaml, and name the nearest key for each that is unknown."""
    from redistill import settings

    sections = settings.check(file)
    click.echo(f"{file}: {sections} sections are well-formed")


def _of(problem: str, files: dict[str, Path], kind: Any) -> dict[str, Any]:
    found = {}
    for name, file in files.items():
        rows = records.read(file, kind) if file.is_file() else []
        for row in rows:
            if row.problem == problem:
                found[name] = row
    return found


if __name__ == "__main__":
    main()
