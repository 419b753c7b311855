"""A project of one's own from a built wheel, in a virtual environment that is not the clone's."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.imports import ROOT
from tests.loop.projects import COMMITTER, TINY

pytestmark = [pytest.mark.slow, pytest.mark.processes]
BUILT_OF = ("redistill", "stages", "params", "params.yaml", "dvc.yaml", "pyproject.toml",
            "README.md", "LICENSE", "data/external/README.md", "data/imported/README.md",
            "data/pretrained/README.md", "data/rubrics")  # fmt: skip
ROUNDS = {"branches": {"r1": {"probe": False}, "r2": None, "r3": None},
          "rewrites": {"r2": None, "r3": None}}  # fmt: skip
BEFORE_MINING = {"prepare", "base", "generate", "train", "answer", "probe", "grade"}


def ran(*words: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Installed:
    """A virtual environment in *place* with the package from wheels, and a project beside it."""

    def __init__(self, place: Path) -> None:
        self.source, self.dist = place / "source", place / "dist"
        self.home, self.project = place / "venv", place / "demo"
        skip = shutil.ignore_patterns("__pycache__", "*.egg-info")
        self.source.mkdir()
        for name in BUILT_OF:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self.source / name, symlinks=True, ignore=skip)
            else:
                (self.source / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self.source / name)
        venv.create(self.home, with_pip=False)
        site = next(self.home.glob("lib/python*/site-packages"))
        libraries = sysconfig.get_path("purelib")  # all it needs, but not the clone: no .pth there
        (site / "libraries.pth").write_text(f"{libraries}\n", encoding="utf-8")

    @property
    def env(self) -> dict[str, str]:
        outer = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        path = f"{self.home / 'bin'}:{os.environ['PATH']}"
        return {**outer, **COMMITTER, "PATH": path, "HF_HUB_OFFLINE": "1"}

    def build(self) -> Path:
        """Build the wheel of the source, and install it."""
        shutil.rmtree(self.dist, ignore_errors=True)
        pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
        alone = ("--no-deps", "--no-index")
        ran(*pip, "wheel", *alone, "--no-build-isolation", "-w", str(self.dist), str(self.source),
            cwd=self.source)  # fmt: skip
        wheel = next(self.dist.glob("redistill-*.whl"))
        python = ("--python", str(self.home / "bin/python"))
        ran(*pip, *python, "install", *alone, "--force-reinstall", str(wheel), cwd=self.dist)
        return wheel

    def run(self, *words: str) -> str:
        """What a command prints in the project."""
        return ran(*words, cwd=self.project, env=self.env)

    def dvc(self, *words: str) -> str:
        return self.run("python", "-m", "dvc", *words)

    def repro(self) -> set[str]:
        """The stages that `dvc repro` ran."""
        return set(re.findall(r"Running stage '([^']+)'", self.dvc("repro")))

    def stale(self) -> set[str]:
        return set(json.loads(self.dvc("status", "--json")))


def test_a_project_from_a_wheel_runs_is_upgraded_and_reruns_what_changed(tmp_path: Path):
    made = Installed(tmp_path)
    wheel = made.build()
    assert {
        "redistill/project/params.yaml", "redistill/project/dvc.yaml",
        "redistill/project/params/openai.yaml", "redistill/project/data/external/README.md",
        "redistill/datasets/card.md", "redistill/report/report.html", "stages/train.py",
        "redistill/prompts/explain-math.txt",
    } <= {*zipfile.ZipFile(wheel).namelist()}  # fmt: skip
    with (tmp_path / "small.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(TINY | ROUNDS, file)

    said = ran("redistill", "init", "demo", "--with", "small.yaml", cwd=tmp_path, env=made.env)
    where = made.run("python", "-c", "import redistill; print(redistill.__file__)")
    first, stale, again = made.repro(), made.stale(), made.repro()
    table = made.run("redistill", "rounds")

    assert "redistill doctor && dvc repro && redistill rounds" in said
    assert Path(where.strip()).is_relative_to(made.home)
    assert {"prepare", "base", "generate", "train@r1", "refine@r1", "report"} <= first
    assert stale == again == set()
    assert "r1" in table
    assert (made.project / "data/report/index.html").is_file()

    with (made.source / "redistill/diagnosis/mine.py").open("a", encoding="utf-8") as file:
        file.write("\n# a remark\n")
    made.build()
    refused = subprocess.run(
        ["python", "-m", "dvc", "repro", "--force", "--single-item", "mine@r0"],
        cwd=made.project, env=made.env, capture_output=True, text=True,
    )  # fmt: skip
    told = made.run("redistill", "upgrade")
    stale = {name.partition("@")[0] for name in made.stale()}
    rerun, again = made.repro(), made.repro()

    assert refused.returncode != 0
    assert "redistill upgrade" in refused.stderr
    assert "modules that differ: 1" in told
    assert "mine" in stale
    assert not stale & BEFORE_MINING
    assert "mine@r0" in rerun
    assert again == set()
