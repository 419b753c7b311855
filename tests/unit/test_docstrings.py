"""The docstring of a public function says what to do: its first line opens with an imperative."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.imports import ROOT

RUFF = Path(sys.executable).with_name("ruff")
FOLDERS = ("redistill", "stages")
# Ruff knows verbs and some words that are none; these it does not know, and takes as they are.
NO_VERBS = """
A After All An And As At Before Both By Each Either Every Everything For From How If In It Its
Many Most No None Not Of On One Our Some Such That The Their There These They This Those Two
Three Four To What When Where Whether Which While Who Whose Why With Yes
"""


@dataclass(frozen=True)
class Documented:
    """A public function or method, by its dotted name, with the place and text of its docstring."""

    name: str
    line: int
    text: str


def documented(tree: ast.Module) -> Iterator[Documented]:
    """Find the public functions and methods of *tree* that have a docstring; no property is one."""
    waiting: list[tuple[ast.AST, str]] = [(tree, "")]
    while waiting:
        node, inside = waiting.pop()
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                waiting.append((child, inside))
                continue
            if child.name.startswith("_"):
                continue
            name = f"{inside}{child.name}"
            waiting.append((child, f"{name}."))
            text = ast.get_docstring(child)
            if text and not isinstance(child, ast.ClassDef) and not _is_property(child):
                yield Documented(name, child.body[0].lineno, text)


def _is_property(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("property" in ast.unparse(each) for each in function.decorator_list)


def flagged(root: Path) -> set[tuple[Path, int]]:
    """Find the file and line of every docstring in *root* that ruff holds to be no imperative."""
    ran = subprocess.run(
        [RUFF, "check", "--select", "D401", "--output-format", "json", "--no-cache", *FOLDERS],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode in (0, 1), ran.stderr
    return {(Path(each["filename"]), each["location"]["row"]) for each in json.loads(ran.stdout)}


def told(root: Path) -> list[str]:
    """Name the public functions in *root* whose docstring does not open with an imperative."""
    ruff, found = flagged(root), []
    for file in sorted(file for folder in FOLDERS for file in (root / folder).rglob("*.py")):
        place = file.relative_to(root)
        if any(part.startswith("_") and part != "__init__.py" for part in place.parts):
            continue
        for each in documented(ast.parse(file.read_text(encoding="utf-8"))):
            first = each.text.splitlines()[0]
            word = first.split()[0].rstrip(",:;.")
            verb = word[0].isupper() and word not in NO_VERBS.split()
            if not verb or (file.resolve(), each.line) in ruff:
                found.append(f"{place}:{each.line}: {each.name}: {first}")
    return found


def test_the_docstring_of_every_public_function_opens_with_an_imperative():
    places = told(ROOT)
    assert not places, "\n".join(["say what the function does, as an order:", *places])


@pytest.mark.parametrize(
    "line",
    [
        "The records of *path* with their line numbers.",
        "Whether two records are the same.",
        "*text* without its commands.",
        "One line a record.",
        "Returns the records.",
    ],
)
def test_a_docstring_that_names_a_thing_is_found(tmp_path: Path, line: str):
    (tmp_path / "stages").mkdir()
    (tmp_path / "redistill").mkdir()
    (tmp_path / "redistill" / "some.py").write_text(
        f'''class Some:
    """The name of a thing."""

    @property
    def size(self):
        """The size of it."""

    def method(self):
        """
        {line}

        With more to it.
        """

    def right(self):
        """Return the records."""

    def _private(self):
        """{line}"""


class _Private:
    def method(self):
        """{line}"""
''',
        encoding="utf-8",
    )
    assert told(tmp_path) == [f"redistill/some.py:9: Some.method: {line}"]
