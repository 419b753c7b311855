"""A record store that is not there, though dvc.lock knows of answers that were paid for."""

import sys
from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from redistill.console.exceptions import RefusedError
from redistill.console.safe_text import safe_text

LOCK = Path("dvc.lock")
ROLES = ("teacher", "refiner")


def tell(file: Path, teacher: str) -> None:
    """
    Say on stderr, before the store *file* is begun, which stages the paid *teacher* has worked for.

    The run goes on: a fresh clone has no store, and asks for nothing that `dvc pull` brings. Raises
    RefusedError (65) for a dvc.lock that cannot be read.
    """
    if file.exists() or not (stages := paid_stages(LOCK, teacher)):
        return
    more = f" and {len(stages) - 3} more" if len(stages) > 3 else ""
    told = (
        f"there is no record store {file}, though dvc.lock knows what {teacher} was paid for in "
        f"{', '.join(stages[:3])}{more}: stages that are stale ask and pay anew, and the budget is "
        "counted from nothing. Where there is such a store, end this run, and redistill store "
        "import an export of it, or name it with REDISTILL_STORE"
    )
    print(safe_text(told), file=sys.stderr)


def paid_stages(lock: Path, teacher: str) -> list[str]:
    """Read from *lock* the stages that have run with *teacher* as their teacher or refiner."""
    if not lock.is_file():
        return []
    try:
        content = YAML(typ="safe", pure=True).load(lock.read_text(encoding="utf-8"))
    except (OSError, ValueError, YAMLError) as problem:
        raise RefusedError(f"{lock}: damaged: no YAML; git checkout {lock}") from problem
    stages = content.get("stages") if isinstance(content, Mapping) else None
    found = stages.items() if isinstance(stages, Mapping) else ()
    return sorted(str(name) for name, stage in found if teacher in _teachers(stage))


def _teachers(stage: object) -> list[object]:
    """The teachers that the params of a *stage* in dvc.lock name."""
    params = stage.get("params") if isinstance(stage, Mapping) else None
    values = params.get("params.yaml") if isinstance(params, Mapping) else None
    return [values.get(f"teach.{role}") for role in ROLES] if isinstance(values, Mapping) else []
