"""
The prompts that docs/teachers.md shows, as `redistill show` prints them of a run of a few records.

``python -m tests.prompts docs/teachers.md`` writes them there anew.
"""

import re
import sys
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

from click.testing import CliRunner
from ruamel.yaml import YAML

from redistill.cli.main import main
from redistill.diagnosis import mine, pool
from redistill.diagnosis.settings import MineSettings
from redistill.grading.grader import load_grader, predict
from redistill.problems import held_out
from redistill.problems.held_out import HeldOut
from redistill.records import json_file, jsonl
from redistill.records.types import Error, Problem, Rationale, Slip, Version
from tests import settings

BLOCK = re.compile(r"```text\n\$ redistill ([^\n]+)\n(.*?)\n```", re.DOTALL)
MINE = settings.shipped().section("mine", MineSettings)
EGGS = Problem(
    id="eggs",
    question="A farm has 24 hens. Each lays 6 eggs a week. How many eggs are there in 3 weeks?",
    answer="432",
)
HONEY = Problem(
    id="honey",
    question="A farm has 14 hives. Each gives 8 jars a month. How many jars are there in 2 months?",
    answer="224",
    solution="<<14*8=112>>\n<<112*2=224>>\n#### 224",
)
BREAD = Problem(
    id="bread",
    question="A baker sells 35 loaves a day. How many loaves are there in 9 days?",
    answer="315",
    solution="<<35*9=315>>\n#### 315",
)
COAT = Problem(
    id="coat",
    question="Where does a wet coat dry fastest?",
    answer="B",
    choices={"A": "in a drawer", "B": "above a stove", "C": "in a cellar"},
)
BUTTER = Problem(
    id="butter",
    question="Where does butter melt fastest?",
    answer="C",
    choices={"A": "in a cellar", "B": "on snow", "C": "on a stove"},
)
FIRST = Rationale(
    id="eggs",
    problem="eggs",
    text="24 * 6 = 144\n144 * 3 = 432\n#### 432",
    round="r0",
    teacher="m",
    status="first",
)
SECOND = FIRST.model_copy(
    update={
        "text": "In a week: 24 * 6 = 144\nIn 3 weeks: 144 * 3 = 432\n#### 432",
        "round": "r1",
        "status": "refined",
        "history": [Version(round="r0", text=FIRST.text)],
    }
)
WRONG = {
    "honey": "14 * 8 = 102\n102 * 2 = 204\n#### 204",
    "bread": "35 + 9 = 44\n#### 44",
    "butter": "Butter is kept where it is cool.\n#### A",
}
HENS = EGGS.model_copy(update={"id": "hens"})
HALF_RIGHT = "24 * 6 = 144\n144 * 3 = 402\n#### 402"
THRICE = ("24 * 6 = 134\n134 * 3 = 402\n#### 402", "24 + 6 = 30\n#### 30", "24 * 6 = 144\n#### 144")


def lay_out(root: Path) -> None:
    """Lay out runs in *root*: `math`, of which every round failed once, `choice`, and `repair`."""
    tailored = {"for-two": {"from": "two", "of": "r0", "like": "r0", "start": "r0"}}
    _run(root / "math", "math", [EGGS], [HONEY, BREAD], tailored)
    thrice = _errors(EGGS, THRICE, FIRST, [HONEY, BREAD], "numeric")
    once = _errors(EGGS, THRICE[:1], SECOND, [HONEY, BREAD], "numeric")
    untaught = [e.model_copy(update={"held_out": e.split == "train"}) for e in once]
    own, other = (
        _errors(EGGS, THRICE[n : n + 1], FIRST, [HONEY, BREAD], "numeric") for n in (0, 1)
    )
    both, _ = pool.pool({"r0": own, "wide-r0": other})
    for name, lesson, errors in (
        ("r0", FIRST, thrice), ("r1", SECOND, untaught), ("two", FIRST, both),
    ):  # fmt: skip
        _failed(root / "math", name, lesson, errors, ["multiply"])
    _run(root / "choice", "choice", [COAT], [BUTTER], {})
    text = "Heat takes water away, and a stove is hot.\n#### B"
    lesson = FIRST.model_copy(update={"id": "coat", "problem": "coat", "text": text})
    errors = _errors(COAT, (), lesson, [BUTTER], "choice")
    _failed(root / "choice", "r0", lesson, errors, ["distractor"])
    _run(root / "repair", "math", [HENS], [HONEY], {}, manner="repair")
    lesson = FIRST.model_copy(update={"id": "hens", "problem": "hens"})
    errors = _errors(HENS, (HALF_RIGHT,), lesson, [HONEY], "numeric")
    _failed(root / "repair", "r0", lesson, errors, [])


def printed(root: Path, words: str) -> str:
    """Return what ``redistill`` prints, asked for *words* in the run that has their problem."""
    runs = {"coat": "choice", "hens": "repair"}
    run = root / next((name for id, name in runs.items() if id in words.split()), "math")
    with chdir(run):
        found = CliRunner().invoke(main, words.split(), catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output.strip()


def _run(
    root: Path,
    kind: str,
    train: list[Problem],
    dev: list[Problem],
    tailored: dict[str, object],
    manner: str = "rewrite",
) -> None:
    content = dict(settings.shipped().content)
    content["refine"] = content["refine"] | {"manner": manner}
    content["teach"] = content["teach"] | {"prompts": kind}
    content["rewrites"] = {**content["rewrites"], **tailored}
    if tailored:  # pools, and a cell that is taught what is rewritten for it
        plain = {"start": "base", "times": 1, "lessons": "latest", "probe": False}
        cell = {"target": "base", "version": "joint", "from": "r0", "rationales": "for-two"}
        content["branches"] = {**content["branches"], "base-joint": cell | plain}
    root.mkdir(parents=True)
    YAML(typ="safe").dump(content, root / "params.yaml")
    jsonl.write(root / "data/problems/train.jsonl", train)
    jsonl.write(root / "data/problems/dev.jsonl", dev)
    held_out.write(root / "data/problems/held-out.jsonl", HeldOut())


def _errors(
    asked: Problem, texts: tuple[str, ...], lesson: Rationale, dev: list[Problem], grader: str
) -> list[Error]:
    """What `mine` finds where a student wrote *texts* on train, greedy first, and WRONG on dev."""
    judge = load_grader(grader)

    def answered(problem: Problem, text: str, split: str):
        return predict(problem, split, text, eos=True, tokens=9, grader=judge)

    found = [answered(problem, WRONG[problem.id], "dev") for problem in dev]
    if texts:
        slips = [Slip(completion=text, verdict="wrong") for text in texts[1:]]
        drawn = {"samples": 4, "passes": 1, "slips": slips} if slips else {}
        found.append(answered(asked, texts[0], "train").model_copy(update=drawn))
    known = {problem.id: problem for problem in (asked, *dev)}
    return mine.mine(known, mine.choose(found, MINE).predictions, {asked.id: lesson}, MINE)


def _failed(
    root: Path, name: str, lesson: Rationale, errors: list[Error], common: list[str]
) -> None:
    """Lay out what branch *name* was taught and got wrong."""
    jsonl.write(root / f"data/rationales/{name}.jsonl", [lesson])
    jsonl.write(root / f"data/errors/{name}.jsonl", errors)
    told = {"profile": {"common": common}, "decision": {"stop": False}}
    json_file.write_json(root / f"metrics/gaps/{name}.json", told)


def renewed(text: str) -> str:
    """Return *text* with every block of a command holding what the command prints."""
    with TemporaryDirectory() as folder:
        lay_out(Path(folder))
        return BLOCK.sub(
            lambda found: (
                f"```text\n$ redistill {found[1]}\n{printed(Path(folder), found[1])}\n```"
            ),
            text,
        )


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
