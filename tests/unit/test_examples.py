"""The files in examples/: short, and read by what is going to read them, as far as that is here."""

import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest
from ruamel.yaml import YAML

from redistill.cli.main import main
from tests.imports import ROOT

EXAMPLES = sorted(file for file in (ROOT / "examples").iterdir() if file.is_file())
SHELLS = [file for file in EXAMPLES if file.suffix != ".py"]
SWEEPS = [ROOT / "examples/sky.yaml", ROOT / "examples/slurm-seeds.sh"]
# fields of a task of SkyPilot
OF_TASKS = {"name", "workdir", "file_mounts", "resources", "envs", "setup", "run"}
OPTION = re.compile(r"#SBATCH --[a-z-]+=\S+")


def scripts(file: Path) -> list[str]:
    """The shell scripts in *file*."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".sh":
        return [text]
    task = YAML(typ="safe").load(text)
    return [task["setup"], task["run"]]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_an_example_is_short(file: Path):
    assert len(file.read_text(encoding="utf-8").splitlines()) < 40


@pytest.mark.parametrize("file", SHELLS, ids=lambda file: file.name)
def test_the_shell_of_an_example_is_well_formed(file: Path):
    for script in scripts(file):
        ran = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
        assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("file", SHELLS, ids=lambda file: file.name)
def test_an_example_names_commands_and_options_that_there_are(file: Path):
    lines = [line for script in scripts(file) for line in script.replace("\\\n", " ").splitlines()]
    calls = [shlex.split(line, comments=True) for line in lines if line.strip().startswith("redis")]

    assert calls
    for _, name, *words in calls:
        command = main.commands[name]
        if isinstance(command, click.Group):
            command = command.commands[words[0]]
        known = {option for param in command.params for option in param.opts}
        assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: file.name)
def test_an_example_of_a_sweep_names_options_that_sweep_has(file: Path):
    known = {name for option in main.commands["sweep"].params for name in option.opts}
    lines = [line for script in scripts(file) for line in script.splitlines()]
    sweeps = [line for line in lines if line.startswith("redistill sweep")]

    assert sweeps
    for line in sweeps:
        assert {word for word in shlex.split(line) if word.startswith("--")} <= known


@pytest.mark.parametrize("name", ["slurm-seeds.sh", "slurm-machines.sh"])
def test_the_directives_of_slurm_stand_before_the_first_command(name: str):
    lines = (ROOT / "examples" / name).read_text(encoding="utf-8").splitlines()
    last = max(n for n, line in enumerate(lines) if line.startswith("#SBATCH"))

    assert all(line.startswith("#") for line in lines[: last + 1])
    assert all(OPTION.fullmatch(line) for line in lines if line.startswith("#SBATCH"))


def test_the_task_of_skypilot_has_no_other_fields_and_tracks_its_variables():
    task = YAML(typ="safe").load(ROOT / "examples/sky.yaml")

    assert set(task) == OF_TASKS
    assert {name for name in task["envs"] if f"${name}" in task["run"]} == set(task["envs"])
