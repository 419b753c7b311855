"""
Where Redistill refuses something, and which test provokes that.

`make refusals` runs the tests with a recorder and writes `provoked.jsonl`: one line a refusal, with
its function, its sentence as the code has it, and a test that provokes it.
"""

import ast
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("provoked.jsonl")
OPEN = Path(__file__).with_name("unprovoked.jsonl")  # those that no test provokes yet
KIND = "RefusedError"


@dataclass(frozen=True, order=True)
class Site:
    """A place in the code that makes a refusal: *told* is the source text of its sentence."""

    file: str
    function: str
    told: str


@dataclass(frozen=True)
class Place:
    """The lines of a file on which a refusal is made."""

    site: Site
    first: int
    last: int


def places(root: Path = ROOT) -> Iterator[Place]:
    """Find all places of `redistill` and `stages` in *root* that make a refusal."""
    texts = {
        str(file.relative_to(root)): file.read_text(encoding="utf-8")
        for top in ("redistill", "stages")
        for file in sorted((root / top).rglob("*.py"))
    }
    kinds = _kinds([ast.parse(text) for text in texts.values() if KIND in text])
    for file, text in texts.items():
        if any(kind in text for kind in kinds):  # else it makes none, and a parse takes long
            tree = ast.parse(text)
            yield from _places(file, tree, kinds | _makers(tree), ())


def _kinds(trees: object) -> set[str]:
    """The class of refusals, and those derived from it."""
    kinds = {KIND}
    classes = [n for tree in trees for n in tree.body if isinstance(n, ast.ClassDef)]  # type: ignore[attr-defined]
    return kinds | {c.name for c in classes if any(ast.unparse(b) in kinds for b in c.bases)}


def _makers(tree: ast.AST) -> set[str]:
    """The functions of a module that return a refusal: who calls them refuses."""
    found = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.returns)
    return {n.name for n in found if n.name.startswith("_") and ast.unparse(n.returns) == KIND}  # type: ignore[arg-type]


def _places(file: str, node: ast.AST, kinds: set[str], inside: tuple[str, ...]) -> Iterator[Place]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if child.name not in kinds:
                yield from _places(file, child, kinds, (*inside, child.name))
            continue
        if isinstance(child, ast.Call) and _last(child.func) in kinds:
            told = ", ".join(ast.unparse(given) for given in child.args)
            site = Site(file, ".".join(inside), told)
            yield Place(site, child.lineno, child.end_lineno or child.lineno)
        yield from _places(file, child, kinds, inside)


def _last(called: ast.expr) -> str:
    """The name by which *called* is called, without what stands before it."""
    return getattr(called, "attr", "") or getattr(called, "id", "")


def listed() -> dict[Site, str]:
    """The refusals of the list, each with the test that provokes it."""
    rows = [json.loads(line) for line in LIST.read_text(encoding="utf-8").splitlines()]
    return {Site(r["file"], r["function"], r["told"]): r["test"] for r in rows}


def unprovoked() -> set[Site]:
    """The refusals that no test provokes yet: the list is to become shorter, never longer."""
    return {Site(**json.loads(line)) for line in OPEN.read_text(encoding="utf-8").splitlines()}


def provoked(record: Path, root: Path = ROOT) -> dict[Site, str]:
    """Read what the recorder wrote: for each refusal the first test, in order of names."""
    found: dict[Site, str] = {}
    known = [*places(root)]
    for line in sorted({*record.read_text(encoding="utf-8").splitlines()}):
        row = json.loads(line)
        if not row["test"]:
            continue
        for file, number in row["places"]:
            tail = re.search(r"(?:redistill|stages)/(?!.*(?:redistill|stages)/).*\.py$", file)
            hit = [
                place.site for place in known
                if tail and place.site.file == tail[0] and place.first <= number <= place.last
            ]  # fmt: skip
            if hit:
                test = row["test"].partition("[")[0]
                found.setdefault(hit[0], test)
                break
    return found


def write(record: Path) -> list[Site]:
    """Write the list from the *record* and from the list before; return what nothing provokes."""
    before = listed() if LIST.exists() else {}
    found = before | provoked(record)
    sites = sorted({place.site for place in places()})
    rows = [{**asdict(site), "test": found[site]} for site in sites if site in found]
    missing = [site for site in sites if site not in found]
    for file, listing in ((LIST, rows), (OPEN, [asdict(site) for site in missing])):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in listing)
        file.write_text(lines, encoding="utf-8")
    return missing


if __name__ == "__main__":
    for missing in write(Path(sys.argv[1])):
        print(f"no test provokes: {missing.file} {missing.function}: {missing.told}")
