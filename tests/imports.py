"""Which of our own files a module really imports, found in its source without running it."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def imported(file: Path) -> set[Path]:
    """The project's files that *file* imports, at any depth; empty ``__init__`` files left out."""
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        for target in direct(waiting.pop()):
            if target not in found:
                found.add(target)
                waiting.append(target)
    return {path.relative_to(ROOT) for path in found if path.stat().st_size}


def direct(file: Path, root: Path = ROOT) -> set[Path]:
    """The files of the project in *root* that *file* itself imports, wherever in its text."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    files = set()
    for name in names:
        path = root / name.replace(".", "/")
        files |= {p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()}
    return files
