"""What the tests of the whole loop share: one finished run of the small project."""

import json
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from tests.loop.projects import Finished, Project


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Finished:
    """
    Copy the project after its first `dvc repro` to a new folder; with the stages that ran.

    It is run once, by whichever of the processes side by side wants it first.
    """
    base = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):  # then each process has a folder in a common one
        base = base.parent
    root, stages = base / "finished", base / "finished.json"

    def copy(to: Path) -> tuple[Project, list[str]]:
        with FileLock(base / "finished.lock"):
            if not stages.is_file():
                shutil.rmtree(root, ignore_errors=True)
                root.mkdir()
                stages.write_text(json.dumps(Project(root).repro()))
        shutil.copytree(root, to, symlinks=True, dirs_exist_ok=True)
        return Project.at(to), json.loads(stages.read_text())

    return copy
