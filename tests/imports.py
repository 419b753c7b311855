"""Which of our own files a module really imports, found in its source without running it."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@cache
def imported(file: Path) -> frozenset[Path]:
    """The project's files that *file* imports, at any depth; empty ``__init__`` files left out."""
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        for target in direct(waiting.pop()):
            if target not in found:
                found.add(target)
                waiting.append(target)
    return frozenset(path.relative_to(ROOT) for path in found if path.stat().st_size)


@cache
def direct(file: Path, root: Path = ROOT) -> frozenset[Path]:
    """The files of the project in *root* that *file* itself imports, wherever in its text."""
    files = set()
    for name in _named(file.read_text(encoding="utf-8")):
        files |= _standing(root / name.replace(".", "/"))
    return frozenset(files)


@cache
def _standing(path: Path) -> frozenset[Path]:
    """The files that the module or package *path* may be, as far as they are there."""
    places = (path.with_suffix(".py"), path / "__init__.py")
    return frozenset(place for place in places if place.is_file())


def _named(source: str) -> frozenset[str]:
    """What the module *source* imports, by the names of modules and of what may be one."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)
