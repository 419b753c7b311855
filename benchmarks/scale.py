"""
How long each stage without a model takes, and how much memory, on 1,000 to a million problems.

The problems are those of `wordproblems`: so many for train, a tenth as many each for dev and test.
What students would have answered is made here: half of it right, the rest wrong in one step, short
of one, cut off, or without an answer. Each stage is a process of its own, measured from start to
end. The exponent is that of the power of the problems by which the time grows.
"""

import hashlib
import json
import math
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
from ruamel.yaml import YAML

from redistill.records import json_file, jsonl
from redistill.records.types import Completion, Output, Problem

ROOT = Path(__file__).resolve().parent.parent
SIZES = (1_000, 10_000, 100_000)
SPLITS = ("train", "dev", "test")
BRANCHES = {"r0": "r0", "r1": "r1", "one-shot-matched": "r0"}  # and the rationales of each
SOLVED = {"r0": 0.35, "r1": 0.6, "one-shot-matched": 0.45}
FROM, TO = 10_000, 100_000  # the sizes between which the exponent is taken
LIMIT = 3 * 60 * 60  # seconds for a stage, after which it is ended and told as such

BALANCE = {"rows_in": 1, "rows_out": 1, "rejected": {}, "holds": True}
METRICS: dict[str, dict[str, Any]] = {  # what stages with a model would have recorded
    "training": {"steps": 1500, "tokens": 100_000, "rewritten": 0, "loss_last": 0.3,
                 "nll_before": 3.0, "labels": {"rows": 1000}},
    "completions": {"tokens": 1000},
    "completions-outside": {"tokens": 0},
    "probes": {"steps": 0},
    "outside": {"scores": {}},
}  # fmt: skip


def settings(root: Path, problems: int, *, alike: bool = True) -> None:
    """The shipped settings with so many *problems*, one round, and near-duplicates looked for."""
    reader = YAML(typ="safe", pure=True)
    content = reader.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for section in ("branches", "rewrites"):
        content[section] = {n: row for n, row in content[section].items() if n in BRANCHES}
    rest = max(problems // 10, 1)
    content["wordproblems"] |= {"train": problems, "dev": rest, "test": rest}
    if not alike:
        content["prepare"]["near_duplicates"] = None
    with (root / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(content, file)


def answered(folder: Path, branch: str, split: str, problems: Path) -> None:
    """What the student of *branch* would have written about the *problems* of *split*."""
    chance = random.Random(f"{branch} {split}")  # noqa: S311
    jsonl.write_rows(folder / f"{split}.jsonl", _completions(branch, split, problems, chance))


def _completions(
    branch: str, split: str, problems: Path, chance: random.Random
) -> Iterator[dict[str, Any]]:
    for _, problem in jsonl.each(problems, Problem):
        text = _written(problem, chance, right=chance.random() < SOLVED[branch])
        output = Output(text=text, eos=chance.random() > 0.02, tokens=len(text) // 2)
        row = Completion(id=problem.id, problem=problem.id, split=split, output=output)  # type: ignore[arg-type]
        yield row.model_dump()


def _written(problem: Problem, chance: random.Random, *, right: bool) -> str:
    """The equations of the solution, one of them wrong, left out or changed where not *right*."""
    marked = [part.partition(">>")[0] for part in (problem.solution or "").split("<<")[1:]]
    answer = problem.answer
    if not right:
        place = chance.randrange(len(marked))
        side, _, value = marked[place].partition("=")
        kind = chance.random()
        if kind < 0.7 or len(marked) < 2:  # does not hold
            answer = str(int(value) + chance.randint(1, 9))
            marked[place] = f"{side}={answer}"
        elif kind < 0.85:
            answer = marked.pop(place).partition("=")[2] + "0"
        else:
            answer = str(chance.randint(2, 300))
    end = [f"#### {answer}"] if right or chance.random() > 0.05 else []
    return "\n".join([*(f"<<{equation}>>" for equation in marked), *end])


def recorded(root: Path) -> None:
    """The metrics of stages that need a student, for report and publish."""
    for kind, content in METRICS.items():
        for name in BRANCHES:
            told = {**content, "passed_through": False, "balance": BALANCE}
            json_file.write_json(root / f"metrics/{kind}/{name}.json", told)


def locked(root: Path) -> None:
    """A dvc.yaml and a dvc.lock for what lies in data/, as `redistill verify` reads them."""
    subprocess.run(
        [sys.executable, "-m", "dvc", "init", "--no-scm", "-q", "-f"], cwd=root, check=True
    )
    files = [file for file in sorted((root / "data").rglob("*.jsonl")) if file.is_file()]
    stages, lock = {}, {}
    for number, file in enumerate(files):
        path = file.relative_to(root).as_posix()
        md5 = partial(hashlib.md5, usedforsecurity=False)
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, md5).hexdigest()
        out = {"path": path, "hash": "md5", "md5": found, "size": file.stat().st_size}
        stages[f"s{number}"] = {"cmd": "true", "outs": [path]}
        lock[f"s{number}"] = {"cmd": "true", "outs": [out]}
    (root / "dvc.yaml").write_text(json.dumps({"stages": stages}), encoding="utf-8")
    with (root / "dvc.lock").open("w", encoding="utf-8") as lock_file:
        YAML(typ="safe", pure=True).dump({"schema": "2.0", "stages": lock}, lock_file)


def commands() -> dict[str, list[str]]:
    """What is measured, in this order; a name with a space is a stage of that branch or manner."""
    problems = "--train data/problems/train.jsonl --dev data/problems/dev.jsonl"
    found = {
        "prepare": f"{problems} --test data/problems/test.jsonl"
        " --held-out data/problems/held-out.jsonl --sources data/problems/sources.jsonl"
        " --outside data/problems/outside --metrics metrics/problems/all.json",
        "generate": _generate("r0"),
        "generate replay": _generate("replayed"),
        "grade r0": _grade("r0"),
        "mine r0": _mine("r0", "r0"),
        "refine r1": "--name r1 --problems data/problems/train.jsonl"
        " --dev-problems data/problems/dev.jsonl --held-out data/problems/held-out.jsonl"
        " --rationales data/rationales/r0.jsonl --like data/rationales/r0.jsonl"
        " --errors data/errors/r0.jsonl --gaps metrics/gaps/r0.json"
        " --attempts data/attempts/r0.jsonl --student data/students/base"
        " --out data/rationales/r1.jsonl --metrics metrics/rationales/r1.json",
        **{f"grade {name}": _grade(name) for name in ("r1", "one-shot-matched")},
        **{f"mine {name}": _mine(name, "r0") for name in ("r1", "one-shot-matched")},
        "report": "--problems data/problems --rationales data/rationales --errors data/errors"
        " --metrics metrics --predictions data/predictions --outside data/predictions-outside"
        " --best metrics/best.json --summary metrics/summary.json --ladder metrics/ladder.json"
        " --tables metrics/tables --pictures metrics/pictures --page data/report"
        " --timing metrics/timing",
        "publish": "--problems data/problems --rationales data/rationales"
        " --predictions data/predictions --metrics metrics --out data/published"
        " --balance metrics/published/all.json",
    }
    stages = {
        name: [sys.executable, "-m", f"stages.{name.split()[0]}", *words.split()]
        for name, words in found.items()
    }
    command = [sys.executable, "-m", "redistill.cli"]
    return stages | {
        "diff --stat": [*command, "diff", "--stat", "r0", "r1"],
        "verify": [*command, "verify"],
    }


def _generate(out: str) -> str:
    return (
        "--round r0 --problems data/problems/train.jsonl --held-out data/problems/held-out.jsonl"
        f" --student data/students/base --out data/rationales/{out}.jsonl"
        f" --metrics metrics/rationales/{out}.json"
    )


def _grade(name: str) -> str:
    return (
        f"--completions data/completions/{name} --problems data/problems"
        f" --out data/predictions/{name} --held-out data/probes/{name}.jsonl"
        f" --metrics metrics/rounds/{name}.json"
    )


def _mine(name: str, before: str) -> str:
    return (
        "--train-problems data/problems/train.jsonl --dev-problems data/problems/dev.jsonl"
        f" --rationales data/rationales/{BRANCHES[name]}.jsonl"
        f" --train data/predictions/{name}/train.jsonl --dev data/predictions/{name}/dev.jsonl"
        f" --held-out data/predictions/{name}/held-out.jsonl"
        f" --before data/predictions/{before}/dev.jsonl --out data/errors/{name}.jsonl"
        f" --attempts data/attempts/{name}.jsonl --metrics metrics/gaps/{name}.json"
    )


def measure(root: Path, words: list[str]) -> dict[str, Any]:
    """Seconds from start to end, those of the CPU, and the most of memory, of one process."""
    with (root / "out").open("wb") as out:
        started = time.monotonic()
        child = subprocess.Popen(  # noqa: S603
            words,
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=out,
            stderr=out,
            preexec_fn=_limited,
        )
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - started
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        told = (root / "out").read_text(encoding="utf-8", errors="replace")[-800:]
        return {"ended_with": child.returncode, "told": told, "seconds": round(seconds, 2)}
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss / 1024),
    }


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT))


def run(
    root: Path, problems: int, only: Collection[str] = (), *, alike: bool = True
) -> Iterator[tuple[str, dict[str, Any]]]:
    """
    Run every stage on so many *problems*, in *root*; of these *only* some, if any are named.

    Where not *alike*, no near-duplicates are looked for. Yields each stage with its figures.
    """
    settings(root, problems, alike=alike)
    recorded(root)
    for name in BRANCHES:
        (root / "data/predictions-outside" / name).mkdir(parents=True)
        jsonl.write_rows(root / f"data/probes/{name}.jsonl", [])
    for name, words in commands().items():
        stage, _, branch = name.partition(" ")
        if only and name not in only:
            continue
        if stage == "grade":
            for split in SPLITS:
                folder = root / f"data/completions/{branch}"
                answered(folder, branch, split, root / f"data/problems/{split}.jsonl")
        if name == "generate replay":
            _replay(root)
        if name == "verify":
            locked(root)
        found = measure(root, words)
        if name == "generate replay":
            settings(root, problems, alike=alike)
        click.echo(f"{problems:,} {name}: {found}")
        yield name, found
        if "ended_with" in found and stage in ("prepare", "generate"):
            raise SystemExit(f"{name}: {found['told']}")


def _replay(root: Path) -> None:
    """Settings by which the teacher hands on what the tutor wrote."""
    content = YAML(typ="safe", pure=True).load((root / "params.yaml").read_text(encoding="utf-8"))
    content["teach"]["teacher"] = "replay"
    content["replay"] = {"rationales": "data/rationales/r0.jsonl", "texts": None, "store": None}
    with (root / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(content, file)


def exponent(figures: dict[str, dict[str, dict[str, Any]]], stage: str) -> float | None:
    """By which power of the problems the time of the CPU for *stage* grows from FROM to TO."""
    ends = [figures.get(str(size), {}).get(stage, {}) for size in (FROM, TO)]
    if not all("cpu_seconds" in end for end in ends):
        return None
    return round(math.log(ends[1]["cpu_seconds"] / ends[0]["cpu_seconds"], TO / FROM), 2)


def table(figures: dict[str, dict[str, dict[str, Any]]]) -> str:
    """The figures as a table of Markdown."""
    sizes = [*figures]
    head = ["stage", *(f"{int(size):,}" for size in sizes), f"exponent, {FROM:,} to {TO:,}"]
    lines = [head, ["---"] * len(head)]
    for stage in figures[sizes[0]]:
        found = exponent(figures, stage)
        told = "" if found is None else f"{found:.2f}"
        lines.append([stage, *(_cell(figures[size].get(stage)) for size in sizes), told])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    if "cpu_seconds" not in found:
        return f"ended after {found['seconds']:,.0f} s"
    return f"{found['cpu_seconds']:,.1f} s, {found['peak_mb']:,} MB"


@click.command()
@click.option("--sizes", type=int, multiple=True, default=SIZES, show_default=True)
@click.option("--stage", "only", multiple=True, help="To run this one, and those like it.")
@click.option("--alike/--not-alike", default=True, help="Whether near-duplicates are looked for.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The figures, as JSON.")
@click.option("--keep", type=click.Path(path_type=Path), help="A folder to leave the runs in.")
def main(
    sizes: tuple[int, ...], only: tuple[str, ...], alike: bool, out: Path, keep: Path | None
) -> None:
    """Measure every stage without a model on so many problems; a million is for the asking."""
    figures: dict[str, dict[str, dict[str, Any]]] = {str(size): {} for size in sizes}
    told = {"python": platform.python_version(), "cores": os.cpu_count(), "sizes": figures}
    for size in sizes:
        with _folder(keep, size) as folder:
            for name, found in run(folder, size, only, alike=alike):
                figures[str(size)][name] = found
                json_file.write_json(out, told)
    click.echo(table(figures))
    json_file.write_text(out.with_suffix(".md"), table(figures))


@contextmanager
def _folder(keep: Path | None, size: int) -> Iterator[Path]:
    """Yield the folder of *size* in *keep*, new, or one that is gone afterwards."""
    if keep is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    (keep / str(size)).mkdir(parents=True)
    yield keep / str(size)


if __name__ == "__main__":
    main()
