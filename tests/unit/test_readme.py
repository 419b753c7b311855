"""What README says of stages and commands, held against the project."""

import json
import re

import pytest
from dvc.utils.serialize import load_yaml

from tests.imports import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
PIPELINE = load_yaml(str(ROOT / "dvc.yaml"))["stages"]
SETTINGS = load_yaml(str(ROOT / "params.yaml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_stage_table_has_what_the_default_run_runs():
    table = README.split("| stage | what it does |\n| --- | --- |\n")[1].split("\n\n")[0]
    rows = dict(re.findall(r"\| `([^`]+)` \| (.+) \|", table))

    described = {}
    for name, stage in PIPELINE.items():
        body, lists = stage.get("do", stage), stage.get("foreach", "").strip("${}")
        if lists and not SETTINGS.get(lists):
            continue
        text = re.sub(r"\$\{(?:key|item\.\w+)\}", lambda m: BLANKS[m.group()], body["desc"])
        described[f"{name}@NAME" if lists else name] = text
    assert rows == described


BLANKS = {
    "${key}": "NAME",
    "${item.of}": "the round before",
    "${item.from}": "its student",
    "${item.rationales}": "its round",
    "${item.start}": "the base student",
}


@pytest.mark.parametrize("target", sorted(set(re.findall(r"make ([a-z0-9]+)", README))))
def test_every_make_target_of_the_readme_exists(target: str):
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


def test_every_file_that_the_readme_links_exists():
    for link in re.findall(r"\]\(([^)h#][^)]*)\)", README):
        assert (ROOT / link).is_file(), link


def test_the_readme_is_short():
    assert len(README.split()) < 1000


def test_the_table_of_results_is_what_the_commands_wrote():
    files = sorted((ROOT / "docs" / "results").glob("embedded-seed*.json"))
    table = README.split("## Results")[1].split("## Three doors")[0]

    assert files
    assert table.count("\n| ") == len(files) + 2  # its head and the line under it
    for file in files:
        best = json.loads(file.read_text(encoding="utf-8"))
        against = best["against_control"]
        shares = (best[key]["accuracy"] for key in ("first_test", "control_test", "test"))
        first, control, chosen = (f"{100 * share:.1f} %" for share in shares)
        row = (
            f"| {file.stem.removeprefix('embedded-seed')} | {best['round']} | {first} | {control} "
            f"| {chosen} | {against['gain_points']:+.1f} | {against['p']:.0e} |"
        )
        assert row in table
