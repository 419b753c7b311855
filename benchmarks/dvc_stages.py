"""
What DVC itself costs with many stages: `dvc status`, a `dvc repro` that runs nothing, a stage.

Each project is made here: a chain of stages that write a byte, with the code of Redistill among
their deps as dvc.yaml has it, or with fewer. Only DVC works in what is measured, in
seconds of a core, so that what else the machine does counts little.
"""

import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import click
from ruamel.yaml import YAML

from redistill.records import json_file

ROOT = Path(__file__).resolve().parent.parent
LIKE = "refine"  # the stage whose deps on code each stage here has
TURNS = 1
OUT = "data/{}.txt"


def code_deps(stage: str = LIKE) -> list[str]:
    """The deps of *stage* in our dvc.yaml that are code, templates left out."""
    stages = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"][stage]
    deps = stages.get("do", stages)["deps"]
    return [dep for dep in deps if dep.startswith(("redistill", "stages")) and "$" not in dep]


def stage(number: int, deps: list[str]) -> dict[str, Any]:
    """The stage of *number*, after the one before it."""
    before = [OUT.format(number - 1)] if number else []
    return {
        "cmd": f"printf x > {OUT.format(number)}",
        "deps": [*before, *deps],
        "params": ["seed"],
        "outs": [OUT.format(number)],
    }


def lay_out(root: Path, count: int, deps: list[str]) -> None:
    """Make a project of *count* stages in *root*, all of which have run as DVC knows it."""
    for name in ("redistill", "stages"):
        skip = shutil.ignore_patterns("__pycache__", "project")  # as .dvcignore has it
        shutil.copytree(ROOT / name, root / name, ignore=skip)
    (root / "params.yaml").write_text("seed: 1\n")
    (root / "data").mkdir()
    dvc(root, "init", "-q", "--no-scm")
    write(root / "dvc.yaml", {"stages": {f"s{n}": stage(n, deps) for n in range(count)}})
    dvc(root, "repro", "-q", "s1")
    lock = YAML(typ="safe").load(root / "dvc.lock")
    run = lock["stages"]["s1"]
    for number in range(2, count):  # DVC itself would take minutes for it
        mine = lock["stages"][f"s{number}"] = deepcopy(run)
        mine["cmd"] = stage(number, deps)["cmd"]
        mine["outs"][0]["path"] = OUT.format(number)
        next(d for d in mine["deps"] if d["path"] == OUT.format(0))["path"] = OUT.format(number - 1)
        mine["deps"].sort(key=lambda dep: dep["path"])
        shutil.copy(root / OUT.format(0), root / OUT.format(number))
    write(root / "dvc.lock", lock)


def write(file: Path, content: Any) -> None:
    """Write *content* as YAML."""
    yaml = YAML()
    yaml.width = 4096
    yaml.dump(content, file)


def dvc(root: Path, *words: str) -> str:
    """What DVC prints."""
    env = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    ran = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "dvc", *words], cwd=root, env=env, capture_output=True, text=True
    )
    if ran.returncode:
        raise SystemExit(ran.stdout + ran.stderr)
    return ran.stdout


def seconds(root: Path, *words: str, runs: int) -> float:
    """The seconds of a core, the least of TURNS, of a command that runs so many stages."""
    took = []
    for _ in range(TURNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        told = dvc(root, *words)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if told.count("Running stage") != runs:
            raise SystemExit(f"dvc {' '.join(words)}: not {runs} stages:\n{told}")
    return round(min(took), 2)


def locked(root: Path) -> float:
    """The seconds of a core that DVC takes to write the entry of one stage into dvc.lock."""
    code = (
        "import time, sys; from dvc.repo import Repo; repo = Repo('.');"
        "stage = repo.stage.load_one(name='s1'); repo.lock.lock();"
        "started = time.process_time(); stage.dump(update_pipeline=False);"
        "print(time.process_time() - started)"
    )
    took = []
    for _ in range(TURNS):
        ran = subprocess.run(  # noqa: S603
            [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
        )
        took.append(float(ran.stdout.splitlines()[-1]))
    return round(min(took), 2)


def figures(count: int, deps: list[str]) -> dict[str, Any]:
    """What DVC takes for a project of *count* stages with the *deps* of each."""
    with tempfile.TemporaryDirectory(prefix="redistill-dvc-") as name:
        root = Path(name)
        lay_out(root, count, deps)
        return {
            "deps_a_stage": len(deps) + 1,
            "status": seconds(root, "status", runs=0),
            "repro_of_nothing": seconds(root, "repro", runs=0),
            "one_entry_of_dvc_lock": locked(root),
        }


@click.command()
@click.argument("counts", type=int, nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), help="The figures, as JSON.")
def main(counts: tuple[int, ...], out: Path | None) -> None:
    """Measure with COUNTS stages; without, with 20, 60 and 200."""
    found: dict[str, Any] = {"python": platform.python_version(), "cores": os.cpu_count()}
    found["dvc"] = dvc(ROOT, "--version").strip()
    found["load"] = round(os.getloadavg()[0], 1)  # what else the machine was busy with
    every = code_deps()
    for count in counts or (20, 60, 200):
        for what, deps in (("as in dvc.yaml", every), ("one folder of code", ["redistill"])):
            found[f"{count} stages, {what}"] = figures(count, deps)
            click.echo(f"{count} stages, {what}: {found[f'{count} stages, {what}']}")
    if out is not None:
        json_file.write_json(out, found)


if __name__ == "__main__":
    main()
