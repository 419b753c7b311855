"""How the library hangs together: no module and no package imports one that imports it."""

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.imports import ROOT, direct

PLANTED = {
    "at the top": ("from redistill.b import two\n", "import redistill.a.one\n"),
    "in a function": (
        "from redistill.b import two\n",
        "def f() -> None:\n    from redistill.a.one import g\n",
    ),
    "for types alone": (
        "from redistill.b.two import T\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from redistill.a import one\n",
    ),
}


def modules(root: Path) -> dict[Path, set[Path]]:
    """The modules of redistill in *root*, each with those that it imports."""
    files = sorted((root / "redistill").rglob("*.py"))
    return {
        file.relative_to(root): {found.relative_to(root) for found in direct(file, root)}
        for file in files
    }


def packages(root: Path) -> dict[Path, set[Path]]:
    """The folders that have modules, each with the others whose modules its own import."""
    found: dict[Path, set[Path]] = {}
    for module, imports in modules(root).items():
        others = {path.parent for path in imports} - {module.parent}
        found.setdefault(module.parent, set()).update(others)
    return found


def circle(graph: dict[Path, set[Path]]) -> list[str]:
    """A way through *graph* that ends where it began; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as found:
        return [str(path) for path in found.args[1]]
    return []


def plant(root: Path, files: dict[str, str]) -> Path:
    """Write the modules *files* into packages of redistill in *root*."""
    for name, text in files.items():
        file = root / "redistill" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        (file.parent / "__init__.py").touch()
        file.write_text(text, encoding="utf-8")
    return root


def test_no_module_imports_one_that_imports_it():
    assert circle(modules(ROOT)) == []


def test_no_package_imports_one_that_imports_it():
    assert circle(packages(ROOT)) == []


def test_every_module_lies_in_a_package():
    assert {str(path) for path in modules(ROOT) if len(path.parts) < 3} == {"redistill/__init__.py"}


@pytest.mark.parametrize("place", PLANTED)
def test_a_planted_circle_is_found_wherever_the_import_stands(place: str, tmp_path: Path):
    one, two = PLANTED[place]
    root = plant(tmp_path, {"a/one.py": one, "b/two.py": two})

    assert set(circle(modules(root))) == {"redistill/a/one.py", "redistill/b/two.py"}
    assert set(circle(packages(root))) == {"redistill/a", "redistill/b"}


def test_packages_can_go_round_where_modules_do_not(tmp_path: Path):
    files = {"a/one.py": "import redistill.b.two\n", "b/two.py": "import redistill.a.three\n"}
    root = plant(tmp_path, {**files, "a/three.py": "import os\n"})

    assert circle(modules(root)) == []
    assert set(circle(packages(root))) == {"redistill/a", "redistill/b"}


def test_a_package_that_imports_itself_goes_round_nowhere(tmp_path: Path):
    files = {"a/one.py": "from redistill.a import two\n", "a/two.py": "import json\n"}

    assert circle(packages(plant(tmp_path, files))) == []
