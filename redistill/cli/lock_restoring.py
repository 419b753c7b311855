"""dvc.lock put together again from what is on disk: its own rest, DVC's run cache, git."""

import logging
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from redistill.cli.dvc_locks import LOCK, SCHEMA, Lock, parse, whole
from redistill.console.exceptions import RefusedError
from redistill.records.json_file import write_text

KEPT = ".redistill/dvc.lock.damaged"  # what was found; another repair overwrites it


def restore(root: Path, damaged: Lock) -> str:
    """
    Write a whole dvc.lock in *root* in place of the *damaged* one, and say where it is from.

    Entries come from what is whole in the damaged file, else from DVC's run cache where it has a
    run of the very command, inputs and settings that are there now, else from the last commit. All
    three say what once was run; none is made up from what lies on disk. So an out that changed
    since is stale to DVC, and what is not known is looked up in the run cache by `dvc repro`, or
    run. The file is whole after every write; what was found is kept beside the store.
    """
    write_text(root / KEPT, (root / LOCK).read_bytes().decode("utf-8", errors="replace"))
    committed = _committed(root)
    _write(root, damaged, {}, committed)  # whole from here on, and what DVC needs to be asked
    known = dict(_known_runs(root, skip=damaged.whole))
    _write(root, damaged, known, committed)
    left = committed.whole.keys() - known.keys() - damaged.whole.keys()
    return (
        f"it has {len(damaged.whole)} entries of its own again, {len(known)} of DVC's run cache "
        f"and {len(left)} of the last commit; go on with dvc repro (as it was: {KEPT})"
    )


def _write(root: Path, damaged: Lock, known: Mapping[str, Any], committed: Lock) -> None:
    """Write what was *damaged*, *known* and *committed*, the first of them that has an entry."""
    from dvc.utils.serialize import dumps_yaml

    names = dict.fromkeys([*damaged.whole, *committed.whole, *known])
    found = {**committed.whole, **known, **damaged.whole}
    if not names:
        (root / LOCK).unlink(missing_ok=True)  # DVC takes an absent one for a first run
        return
    head = {"schema": SCHEMA, **committed.rest, **damaged.rest}
    write_text(root / LOCK, dumps_yaml({**head, "stages": {name: found[name] for name in names}}))


def _committed(root: Path) -> Lock:
    """What the last commit has as dvc.lock; nothing where there is none."""
    ran = subprocess.run(  # noqa: S603 - git, no shell
        ["git", "show", f"HEAD:./{LOCK}"],  # noqa: S607 - the git on the PATH, as DVC uses it
        cwd=root,
        capture_output=True,
        check=False,
    )
    return parse(ran.stdout.decode("utf-8", errors="replace")) if not ran.returncode else Lock({})


def _known_runs(root: Path, skip: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """
    The runs that DVC's run cache has of stages as they are now, but for those in *skip*.

    DVC keeps the entry of a run in the cache before it writes it to dvc.lock.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.stage import PipelineStage

    here = root.resolve()
    logging.getLogger("dvc").setLevel(logging.ERROR)  # it warns of every file that is empty
    try:
        with Repo(str(root)) as repo, repo.lock:
            for stage in repo.index.stages:
                own = isinstance(stage, PipelineStage) and Path(stage.path).parent == here
                if own and stage.name not in skip:
                    entry = _known_run(repo, stage)
                    if entry is not None:
                        yield stage.name, entry
    except DvcException as problem:
        raise RefusedError(f"{root / LOCK}: it is whole, but DVC fails: {problem}") from problem


def _known_run(repo: Any, stage: Any) -> Any:
    """The latest run of *stage* in the run cache with the inputs and settings as they are."""
    from dvc.exceptions import DvcException
    from dvc.stage.cache import _can_hash

    try:
        stage.save_deps()
    except DvcException:  # an input is not there, so that it was never run with it
        return None
    entry = repo.stage_cache._load(stage) if _can_hash(stage) else None
    return entry if whole(entry) else None
