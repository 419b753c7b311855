"""The project with settings that run in seconds, for the tests of the whole loop."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ruamel.yaml import YAML

from tests import forks, settings
from tests.imports import ROOT

COMMITTER = {  # who commits in a test; and DVC tells nobody
    "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@localhost",
    "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@localhost", "DVC_NO_ANALYTICS": "1",
}  # fmt: skip
TINY = {
    "wordproblems": {"train": 24, "dev": 12, "test": 12},
    "embedded": {
        "hidden": 16, "layers": 1, "heads": 2, "feed_forward": 32, "vocabulary": 300, "texts": 60,
        "batch_size": 8, "steps": 2,
    },
    "train": {"steps": 2, "batch_size": 4, "nll_rows": 4},
    "evaluate": {"batch_size": 48, "max_new_tokens": 150},
}  # fmt: skip
CHECKING = {"settings", "check"}  # stages that rerun with every edit, and after which nothing does
LAST = (  # left out
    "  r3: {from: r2, rationales: r3, start: base, times: 1, lessons: latest, probe: true}\n",
    "  r3: {from: r2, of: r2, like: r2, start: base}\n",
)
# What a branch is put through between its training and the mining of its errors.
ANSWERED = ("answer", "probe", "grade", "answer-outside", "grade-outside")
PARTS = [
    "redistill",
    "stages",
    "dvc.yaml",
    "params.yaml",
    ".dvc",
    ".dvcignore",
    "data/external/README.md",
]
PARTS += ["data/imported/README.md", "data/pretrained/README.md", "data/rubrics", ".gitignore"]


class Project:
    """A copy of the project in a repository of its own, with settings that run in seconds."""

    def __init__(self, root: Path, **more: str) -> None:
        self.root, self.more = root, more
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                skip = shutil.ignore_patterns("cache", "tmp", "__pycache__", "config.local")
                shutil.copytree(source, root / part, ignore=skip)
            else:
                (root / part).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, root / part)
        file = root / "params.yaml"
        text = file.read_text(encoding="utf-8")
        for line in LAST:
            text = text.replace(line, "")
        file.write_text(text, encoding="utf-8")
        self.change(TINY)
        self.git("init", "-q")
        self.commit("start")

    @classmethod
    def at(cls, root: Path) -> "Project":
        """The project that is in *root*."""
        made = cls.__new__(cls)
        made.root, made.more = root, {}
        return made

    @property
    def env(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**os.environ, **COMMITTER, "PATH": path, **self.more}

    def change(self, changes: dict) -> None:
        """Change single values of sections of params.yaml."""
        yaml = YAML()
        yaml.width = 4096  # a branch stays on its line
        content = yaml.load(self.root / "params.yaml")
        for section, values in changes.items():
            content[section].update(values)
        yaml.dump(content, self.root / "params.yaml")

    def compose(self, *overlays: str) -> None:
        """Take the shipped settings as they are, with *overlays* of params/ over them."""
        composed = settings.text(*overlays)
        (self.root / "params.yaml").write_text(composed, encoding="utf-8")

    def run(self, module: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a Python module as a command in the project."""
        return forks.run(module, words, self.root, **self.env)

    def git(self, *words: str) -> str:
        """What `git` prints."""
        ran = subprocess.run(
            ["git", *words], cwd=self.root, env=self.env, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def commit(self, message: str) -> None:
        """Commit everything that git does not ignore."""
        self.git("add", "-A")
        self.git("commit", "-qm", message)

    def dvc(self, *words: str, fails: bool = False) -> str:
        ran = self.run("dvc", *words)
        assert (ran.returncode != 0) == fails, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr

    def repro(self, *last: str) -> list[str]:
        """The stages that `dvc repro` ran, as far as the *last* ones, but for those that check."""
        ran = re.findall(r"Running stage '([^']+)'", self.dvc("repro", *last))
        return [name for name in ran if name not in CHECKING]

    def redistill(self, *words: str) -> str:
        """What `redistill` prints."""
        ran = self.run("redistill.cli", *words)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def check(self, *words: str) -> int:
        """The exit code of `redistill check`."""
        return self.run("redistill.cli", "check", *words).returncode

    def stale(self) -> set[str]:
        """The stages that `dvc repro` would run, but for those that only check."""
        return set(json.loads(self.dvc("status", "--json").split("\n")[0])) - CHECKING

    def hashes(self) -> dict[str, str]:
        """The hash of every data file and student in dvc.lock."""
        lock = YAML(typ="safe").load(self.root / "dvc.lock")["stages"]
        outs = [out for stage in lock.values() for out in stage.get("outs", [])]
        return {out["path"]: out["md5"] for out in outs if out["path"].startswith("data/")}


# Copies a finished project to a folder; with the stages that ran (tests/loop/conftest.py).
Finished = Callable[[Path], tuple[Project, list[str]]]
