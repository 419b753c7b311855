"""What docs/grading.md says of graders, held against them and against the results."""

import json
import re

import pytest

from redistill.graders import choice, math, numeric, yes_no
from tests.imports import ROOT

DOCS = (ROOT / "docs/grading.md").read_text(encoding="utf-8")
RESULTS = json.loads((ROOT / "docs/results/grading.json").read_text(encoding="utf-8"))
ROW = re.compile(r"^\| (\w+) \| `(.+)` \| `(.+?)` \| `(.+?)` \|$", re.MULTILINE)
EXAMPLES = ROW.findall(DOCS.split("## What is read")[1].split("## Rules")[0])
GRADERS = {"numeric": numeric, "choice": choice, "yes_no": yes_no, "math": math}


def test_there_are_examples_of_every_grader():
    assert {name for name, *_ in EXAMPLES} == set(GRADERS)
    assert len(EXAMPLES) > 30


@pytest.mark.parametrize(("name", "text", "strict", "lenient"), EXAMPLES)
def test_an_example_is_read_as_the_docs_say(name: str, text: str, strict: str, lenient: str):
    grader = GRADERS[name]

    assert (str(grader.strict(text)), str(grader.lenient(text))) == (strict, lenient)


@pytest.mark.parametrize(
    ("suite", "row"),
    [
        ("math-verify", "| Math-Verify | `math` |"),
        ("math-verify-numbers", "| Math-Verify, numbers | `numeric` |"),
        ("minerva", "| lm-evaluation-harness, minerva_math | `math`, `numeric` |"),
        ("choices", "| both, choices | `choice` |"),
    ],
)
def test_the_agreement_in_the_docs_is_what_the_command_wrote(suite: str, row: str):
    found = RESULTS["agreement"][suite]

    assert f"{row} {found['agreed']} of {found['cases']} |" in DOCS
