"""A project outside of the repository: settings composed, and stages run from the package."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from redistill.checks import check_params
from redistill.cli import compose
from redistill.console import disk, drafts
from redistill.console.exceptions import CONFIG, DATA, IO, RefusedError
from redistill.problems.task import load_task
from redistill.records.json_file import write_text
from redistill.settings import installed, sections
from redistill.students.base.settings import EMBEDDED

PROJECT = Path(str(files("redistill"))) / "project"
IGNORED = """\
__pycache__/
/.redistill/
/metrics/timing/
.*.tmp
.*.old
/dvc_plots/
/data/attempts/?*
/data/completions/?*
/data/completions-outside/?*
/data/errors/?*
/data/predictions/?*
/data/predictions-outside/?*
/data/probes/?*
/data/problems/?*
/data/published/?*
/data/rationales/?*
/data/report
/data/students/?*
/data/external/?*
/data/pretrained/?*
!/data/*/.gitignore
!/data/*/*.dvc
!/data/*/README.md
!/data/pretrained/*.jinja
"""
# By these DVC took the whole folder for ignored, and found no .dvc file in it
OUTDATED = ("/data/external/*", "/data/pretrained/*")
DVC_IGNORED = """\
/.redistill/
/metrics/timing/
.*.tmp
.*.old
.gitignore
"""
FOLDERS = ("external", "imported", "pretrained", "rubrics")
TEACHING = ("teach", "generate", "refine", "spending", "openai", "local", "replay", "tutor")
OWN_PROBLEMS, OWN_CHOICES = "own-problems", "own-choices"  # the overlays of the task jsonl
PRETRAINED = "pretrained"  # the overlay for students that come from elsewhere
FAULT = re.compile(r"(?i:error|fatal): ")  # a line of git or DVC that says why it fails
SQLITE = ("database or disk is full", "disk I/O error")  # of DVC's own database
OWN = re.compile(r"(?:redistill|stages)/\S+")
# What the section of a task begins with, by its keys
STARTING: Mapping[str, Any] = {
    "folder": None, "dev_share": 0.1, "train_share": 0.4, "take_train": None, "take_dev": None,
    "take_test": None,
}  # fmt: skip


def settings(
    overlays: Sequence[str], task: str | None, teacher: str | None, student: str | None
) -> str:
    """
    Compose the settings of a new project over the shipped ones, and check them.

    Of *overlays* the shipped ones are laid over first, then what *task*, *teacher* and *student*
    ask for, then files: a budget that a user wrote down is not raised by what is shipped.
    """
    layers: list[CommentedMap] = []
    if student not in (None, EMBEDDED):
        layers += [
            compose.read_overlay(_found(PRETRAINED)),
            _layer({"student": {"model": student}}),
        ]
    if teacher is not None:
        layers.append(_teacher(teacher))
    if task is not None:
        layers.append(_own(overlays) if task == "jsonl" else _task(task))
    named = [*overlays, *(x for x in (student, teacher, task) if x is not None)]
    head = "The settings of this project" + (f", from {', '.join(named)}" if named else "")
    return _composed(PROJECT / "params.yaml", overlays, layers, f"{head}.")


def composed(base: Path, overlays: Sequence[str]) -> str:
    """Compose the settings in *base* with *overlays*, files or shipped ones, and check them."""
    return _composed(base, overlays, [], f"{base.name} with {', '.join(overlays)}")


def lay_out(folder: Path, params: str) -> list[str]:
    """
    Make the project in *folder* with the settings *params*, and return what was done, in words.

    It is made whole or not at all. Raises RefusedError where *folder* holds a project already, and
    (74) where the disk is full or fails; whatever else is there stays.
    """
    if (folder / "dvc.yaml").exists() or (folder / "params.yaml").exists():
        raise RefusedError(
            f"{folder}: there is a project already; redistill upgrade, in it, brings it to this "
            "version",
            code=CONFIG,
        )
    with drafts.undone(folder):
        folder.mkdir(parents=True, exist_ok=True)
        done = [*_set_up(folder)]
        with drafts.together():
            _write_folders(folder)
            write_text(folder / "params.yaml", params)
            _write_ignored(folder)
            _write_pipeline(folder)
    return [
        *done,
        f"{folder}: params.yaml, dvc.yaml and {installed.STAMP} are written",
        f"run it: cd {folder} && redistill doctor && dvc repro && redistill rounds",
        "dvc exp run and redistill sweep want a commit first: git add -A && git commit",
    ]


def upgrade(root: Path) -> Iterator[str]:
    """Write dvc.yaml and the stamp of the project in *root* anew, and say what becomes stale."""
    file = root / installed.STAMP
    if not file.is_file():
        raise RefusedError(
            f"{root.resolve()}: no project of redistill init: there is no {installed.STAMP}",
            code=CONFIG,
        )
    theirs, ours = installed.read(file), installed.stamp()
    changed = [name for name in installed.differences(theirs, ours) if name != "version"]
    with drafts.together():
        _write_folders(root)
        _write_pipeline(root)
        _write_ignored(root)
    yield f"{theirs.get('version')} -> {ours['version']}: modules that differ: {len(changed)}"
    yield from (f"  {name}" for name in changed[:20])
    yield "dvc status says which stages are stale; dvc repro runs them"


def pipeline() -> str:
    """
    Return dvc.yaml for a project: as the repository's, but for deps on source files.

    In their place stages depend on the entries of the stamp, as on parameters.
    """
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = yaml.load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))
    for stage in document["stages"].values():
        body = stage.get("do", stage)
        own = [dep for dep in body["deps"] if OWN.fullmatch(dep)]
        body["deps"] = CommentedSeq([dep for dep in body["deps"] if dep not in own])
        keys = [re.sub(r"\.(?:py|txt)$", "", dep).replace("/", ".") for dep in own]
        body["params"] = CommentedSeq([*body["params"], CommentedMap({installed.STAMP: keys})])
    out = StringIO()
    yaml.dump(document, out)
    return out.getvalue()


def _composed(
    base: Path, overlays: Sequence[str], layers: Sequence[CommentedMap], head: str
) -> str:
    named = {name: compose.read_overlay(_found(name)) for name in overlays}
    own = [overlay for name, overlay in named.items() if Path(name).is_file()]
    shipped = [overlay for name, overlay in named.items() if not Path(name).is_file()]
    ordered = [*shipped, *layers, *own] if layers else [*named.values()]
    document = compose.compose(base, ordered)
    params = compose.params(document, base)
    read = check_params.read_by(params)
    known = {*read, *check_params.PLAIN}
    strange = [key for one in (*own, *layers) for key in one if key not in known]
    if unread := [key for key in strange if key not in check_params.OPTIONAL]:
        hint = sections.nearest(unread[0], known)
        raise RefusedError(
            f"{', '.join(overlays)}: {unread[0]}: nothing reads this section{hint}", code=CONFIG
        )
    compose.pruned(document, known, check_params.OPTIONAL)
    check_params.check(compose.params(document, base))
    return compose.text(document, head)


def _found(name: str) -> Path:
    """The overlay *name*: a file, or one that the package brings."""
    shipped = PROJECT / "params" / f"{name}.yaml"
    if Path(name).is_file() or not shipped.is_file():
        if not Path(name).is_file():
            known = ", ".join(sorted(file.stem for file in shipped.parent.glob("*.yaml")))
            raise RefusedError(f"{name}: no file, and none of {known}", code=CONFIG)
        return Path(name)
    return shipped


def _teacher(name: str) -> CommentedMap:
    if name == "tutor":
        return _layer({})
    overlay = compose.read_overlay(_found(name))
    found = {key: overlay[key] for key in overlay if key in TEACHING}
    if "teach" not in found:
        raise RefusedError(f"--teacher {name}: these settings are of no teacher", code=CONFIG)
    return _layer(found)


def _task(name: str) -> CommentedMap:
    task = load_task(name, "--task")
    keys = task.Settings.model_fields
    if name == "wordproblems":
        return _layer({})
    start = {key: STARTING[key] for key in keys if key in STARTING}
    try:
        task.Settings(**start)
    except ValidationError:
        raise RefusedError(
            f"--task {name}: its section has no beginning; write an overlay, see docs/tasks.md",
            code=CONFIG,
        ) from None
    layer: dict[str, Any] = {"prepare": {"task": name}, name: start}
    if task.GRADER is not None:
        prompts = task.GRADER if task.GRADER in ("choice", "yes_no") else "math"
        layer |= {"grade": {"grader": task.GRADER}, "teach": {"prompts": prompts}}
    layer["publish"] = {"name": f"{name.replace('_', '-')}-refined"}
    layer["report"] = {"title": name}
    return _layer(layer)


def _own(overlays: Sequence[str]) -> CommentedMap:
    """What the task jsonl begins with: that of *overlays* which is for it, else two files."""
    named = [name for name in overlays if name in (OWN_PROBLEMS, OWN_CHOICES)]
    layer = compose.read_overlay(_found(named[-1] if named else OWN_PROBLEMS))
    if not named:
        layer["jsonl"] |= {name: f"data/external/{name}.jsonl" for name in ("train", "test")}
    return layer


def _layer(content: Mapping[str, Any]) -> CommentedMap:
    """*content* as an overlay."""
    return CommentedMap(
        {k: CommentedMap(v) if isinstance(v, dict) else v for k, v in content.items()}
    )


def _set_up(folder: Path) -> Iterator[str]:
    """Set up git and DVC in *folder*, where a repository around it does not have them already."""
    inside = not _ran(folder, "git", "rev-parse", "--git-dir")
    if not inside or not _ran(folder, "git", "check-ignore", "--quiet", "."):
        _run(folder, "git", "init")
        yield f"{folder}: a git repository"
    own = (folder / ".git").exists()
    if own or _ran(folder, sys.executable, "-m", "dvc", "root"):
        options = [] if own else ["--subdir"]
        _run(folder, sys.executable, "-m", "dvc", "init", *options)  # --quiet hides why it fails
        for key in ("core.analytics", "core.check_update"):
            _run(folder, sys.executable, "-m", "dvc", "config", key, "false")
        yield f"{folder}: set up for DVC"


def _write_pipeline(folder: Path) -> None:
    stamp = json.dumps(installed.stamp(), indent=2, sort_keys=True)
    write_text(folder / installed.STAMP, f"{stamp}\n")
    write_text(folder / "dvc.yaml", pipeline())


def _write_folders(folder: Path) -> None:
    """Write the folders that stages depend on, as far as *folder* has none of the name."""
    for name in FOLDERS:
        if (folder / "data" / name).exists():
            continue
        for file in sorted((PROJECT / "data" / name).iterdir()):
            write_text(folder / "data" / name / file.name, file.read_text(encoding="utf-8"))


def _write_ignored(folder: Path) -> None:
    """Have git and DVC leave alone what is not theirs; lines of an older version are replaced."""
    for name, lines in ((".gitignore", IGNORED), (".dvcignore", DVC_IGNORED)):
        file = folder / name
        there = file.read_text(encoding="utf-8") if file.is_file() else ""
        ours = {*OUTDATED, *lines.split("\n")} - {""}
        # what is left out of a line comes after it, so that all of ours go to the end
        kept = "\n".join(line for line in there.split("\n") if line not in ours)
        start = kept if not kept or kept.endswith("\n") else f"{kept}\n"
        write_text(file, start + lines)


def _ran(folder: Path, *words: str) -> int:
    return subprocess.run(words, cwd=folder, capture_output=True, check=False).returncode  # noqa: S603


def _run(folder: Path, *words: str) -> None:
    ran = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if not ran.returncode:
        return
    lines = [line for line in (ran.stderr or ran.stdout).split("\n") if line.strip()]
    faults = [line for line in lines if FAULT.match(line)] or lines[-1:] or ["no word of why"]
    limited = ran.returncode == -signal.SIGXFSZ  # git, by the limit on the size of files
    full = limited or disk.said(ran.stderr) or any(words in ran.stderr for words in SQLITE)
    code = IO if full else DATA
    raise RefusedError(f"{' '.join(words[-2:])} failed in {folder}: {faults[0][-300:]}", code=code)
