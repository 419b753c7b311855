"""
The embedded run in the ways that a round can learn: lessons, held-out errors, rewrite or repair.

``python -m benchmarks.ways FOLDER --seeds 1 2 3 4 5 --out docs/results/ways`` runs each way and
seed in a project in FOLDER, keeps what the stage report wrote of it in OUT/WAY/seedN.json, and
writes OUT/../ways.json: the gain of the chosen round over the step-matched control, by way. What is
there already is not run again. A way is words joined by +: latest, all or distinct, folds2, repair.
"""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from redistill.analysis import seeds as seed_runs
from redistill.analysis import statistics

WAYS = ("latest", "all", "distinct", "latest+folds2", "all+folds2", "distinct+folds2",
        "latest+repair", "latest+folds2+repair")  # fmt: skip
CONTROL = "one-shot, step-matched"
KEPT = ("best", "ladder")


def settings(shipped: str, seed: int, way: str) -> str:
    """Return the *shipped* settings with *seed*, changed as the words of *way* say."""
    text = re.sub(r"^seed: \d+", f"seed: {seed}", shipped, count=1, flags=re.MULTILINE)
    for word in way.split("+"):
        if word in ("latest", "all", "distinct"):
            rounds = (
                r"^(  (?!r0:|one-shot-matched:)\S.*)lessons: \w+"  # those two have one text each
            )
            text, count = re.subn(rounds, rf"\1lessons: {word}", text, flags=re.M)
        elif word.startswith("folds"):
            text, count = re.subn(r"^  folds: \w+", f"  folds: {word[5:]}", text, flags=re.M)
        else:
            text, count = re.subn(r"^  manner: \w+", f"  manner: {word}", text, flags=re.M)
        if not count:
            raise click.UsageError(f"no such way: {word!r}")
    return text


def run(project: Path, shipped: str, seed: int, way: str, file: Path) -> None:
    """Run *way* with *seed* in *project*, and keep its results in *file*."""
    (project / "params.yaml").write_text(settings(shipped, seed, way), encoding="utf-8")
    log = project / f"{way}-{seed}.log"
    with log.open("wb") as out:
        words = [sys.executable, "-m", "dvc", "repro", "report"]
        ran = subprocess.run(  # noqa: S603 - dvc, no shell
            words, cwd=project, stdout=out, stderr=subprocess.STDOUT, check=False
        )
    if ran.returncode:
        raise click.ClickException(f"{way}, seed {seed} ended with {ran.returncode}: {log}")
    found = {name: json.loads((project / f"metrics/{name}.json").read_text()) for name in KEPT}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def table(out: Path, ways: Sequence[str]) -> dict[str, dict[str, object]]:
    """Return the gains over the step-matched control of each of *ways* in *out*, and their mean."""
    found: dict[str, dict[str, object]] = {}
    for way in ways:
        if not (out / way).is_dir():
            continue
        runs = seed_runs.gather(out / way)
        gain = seed_runs.summary(runs).comparisons["chosen"][CONTROL]
        solved = {
            str(run.seed): json.loads((out / way / f"seed{run.seed}.json").read_text())["best"]
            for run in runs
        }
        found[way] = {
            "gain": gain.as_dict(),
            "chosen": {seed: best["round"] for seed, best in solved.items()},
            "solved": {seed: best["test"]["k"] for seed, best in solved.items()},
            "control": {seed: best["control_test"]["k"] for seed, best in solved.items()},
        }
    return found


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seeds", "first", type=int, multiple=True)
@click.argument("more", nargs=-1, type=int)
@click.option("--way", "chosen", multiple=True, help="Only this way; repeatable.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(
    folder: Path, first: tuple[int, ...], more: tuple[int, ...], chosen: tuple[str, ...], out: Path
) -> None:
    """Run the ways that are not in OUT yet, and put all that are into one table."""
    ways, seeds = chosen or WAYS, [*first, *more]
    if seeds and not folder.exists():
        words = [sys.executable, "-m", "redistill.cli", "init", str(folder)]
        subprocess.run(words, check=True)  # noqa: S603 - this very package
    for seed in seeds:
        shipped = Path("params.yaml").read_text(encoding="utf-8")
        for way in ways:
            file = out / way / f"seed{seed}.json"
            if not file.is_file():
                run(folder, shipped, seed, way, file)
    found = table(out, WAYS)
    file = out.with_name(f"{out.name}.json")
    file.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    for way, row in found.items():
        gain = statistics.Mean.model_validate(row["gain"]["gain_points"])  # type: ignore[index]
        interval = "one seed" if gain.low is None else f"{gain.low:+.1f} to {gain.high:+.1f}"
        click.echo(f"{way:24} {gain.mean:+.1f} ({interval}; {gain.n} seeds) {row['solved']}")


if __name__ == "__main__":
    main()
