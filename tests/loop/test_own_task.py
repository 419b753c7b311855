"""A task of one's own, the file that docs/tasks.md shows, run by the stage as it stands there."""

import json
import shutil
from pathlib import Path

from ruamel.yaml import YAML

from redistill.records import jsonl
from redistill.records.types import Problem
from tests import forks, settings
from tests.imports import ROOT
from tests.unit.test_outside import BLOCKS

OPTIONS = (
    "--train t.jsonl --dev d.jsonl --test e.jsonl --held-out h.jsonl --sources s.jsonl --outside o "
    "--metrics m.json"
)


def test_the_task_of_the_docs_is_one_file_that_prepare_runs(tmp_path: Path):
    for part in ("redistill", "stages"):
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / part, tmp_path / part, ignore=skip)
    (tmp_path / "redistill/tasks/riverquiz.py").write_text(BLOCKS["riverquiz.py"])
    content = dict(settings.shipped().content)
    del content["wordproblems"]
    content["prepare"] |= {"task": "riverquiz"}
    content["grade"] = {"grader": "choice"}
    file = tmp_path / "params.yaml"
    YAML(typ="safe").dump(content, file)
    file.write_text(file.read_text() + BLOCKS["params.yaml"])
    for split, count in (("train", 40), ("test", 9)):
        rows = [
            Problem(id=f"{split}-{i}", question=f"{split} {i}?", answer="B", choices={"B": "Po"})
            for i in range(count)
        ]
        jsonl.write(tmp_path / f"data/external/riverquiz/{split}.jsonl", rows)

    for module, *words in (["redistill.cli", "params"], ["stages.prepare", *OPTIONS.split()]):
        ran = forks.run(module, words, tmp_path)
        assert ran.returncode == 0, ran.stdout + ran.stderr

    told = json.loads((tmp_path / "m.json").read_text())
    assert told["sizes"]["test"] == 9
    assert told["sizes"]["train"] + told["sizes"]["dev"] == 40
    assert told["balance"]["holds"]
