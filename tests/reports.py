"""Runs as records, of any size and with any text in them, to make reports of."""

import random
from pathlib import Path
from typing import Any

from redistill.analysis import costs, ladder, plots, summary
from redistill.analysis.scores import score
from redistill.analysis.summary import Gap, Measured, Training
from redistill.records import json_file, jsonl
from redistill.records.types import Error, Exemplar, Prediction, Problem, Rationale, Version
from redistill.report.explorer import SPLITS, Run
from redistill.report.text import Facts, Recorded
from redistill.rounds.branches import Arm, Branch, Round
from tests.settings import PLAIN

BRANCHES: dict[str, Branch] = {
    "r0": Branch(from_="r0", rationales="r0", start="base", times=1, **PLAIN),
    "r1": Round(from_="r0", of="r0", like="r0", rationales="r1", start="base", times=1, **PLAIN),
    "r2": Round(from_="r1", of="r1", like="r1", rationales="r2", start="base", times=1, **PLAIN),
    "r3": Round(from_="r2", of="r2", like="r2", rationales="r3", start="base", times=1, **PLAIN),
    "long": Branch(from_="r0", rationales="r0", start="base", times=3, **PLAIN),
    "told": Arm(
        from_="r0", of="r0", rationales="told", start="base", times=1, **PLAIN, feedback="verdict",
        like="r1", scope="like",
    ),
}  # fmt: skip
ROUNDS = ["r0", "r1", "r2", "r3"]
PASSED = "r3"
PARAMS = """
report: {control: long, title: "Toys <b>& more"}
branches:
  r0: {from: r0, rationales: r0, start: base, times: 1, lessons: latest, probe: true}
  r1: {from: r0, rationales: r1, start: base, times: 1, lessons: latest, probe: true}
  r2: {from: r1, rationales: r2, start: base, times: 1, lessons: latest, probe: true}
  r3: {from: r2, rationales: r3, start: base, times: 1, lessons: latest, probe: true}
  told: {from: r0, rationales: told, start: base, times: 1, lessons: latest, probe: false}
  long: {from: r0, rationales: r0, start: base, times: 3, lessons: latest, probe: false}
rewrites:
  r1: {from: r0, of: r0, like: r0, start: base}
  r2: {from: r1, of: r1, like: r1, start: base}
  r3: {from: r2, of: r2, like: r2, start: base}
  told: {from: r0, of: r0, like: r1, start: base, feedback: verdict, scope: like}
"""
SOLVED = {"r0": 0.35, "r1": 0.6, "r2": 0.65, "long": 0.4, "told": 0.5}
BALANCE = {"rows_in": 9, "rows_out": 7, "rejected": {"too long": 2}, "holds": True}


def run(count: int, seed: int = 1) -> Run:
    """A run of *count* problems, of which four in six are train, one is dev and one test."""
    chance = random.Random(seed)
    problems = [problem(number, chance) for number in range(count)]
    splits: list[Any] = ["train"] * (4 * count // 6) + ["dev"] * (count // 6)
    splits += ["test"] * (count - len(splits))
    found = Run(
        BRANCHES,
        ROUNDS,
        list(zip(splits, problems, strict=True)),
        {name: {} for name in ("r0", "r1", "r2", "r3", "told")},
        {name: {} for name in BRANCHES},
        {name: {} for name in BRANCHES},
    )
    for split, one in found.problems:
        if split == "train":
            lessons(found, one, chance)
        for name, share in SOLVED.items():
            given = answer(one, split, chance.random() < share)
            found.predictions[name][split, one.id] = given
            if given.verdict != "correct" and split != "test":
                found.errors[name][split, one.id] = error(one, given, problems[-1])
    return found


def problem(number: int, chance: random.Random) -> Problem:
    """A question of two steps, worked."""
    a, b, c = (chance.randint(2, 300) for _ in range(3))
    question = (
        f"In the morning Jonas counts {a} crayons and Samir counts {b} of them. A friend comes by "
        f"with {c} boxes, and in every box there are as many crayons as the two of them have "
        "counted together. How many crayons are in the boxes, once all of them have been opened?"
    )
    solution = f"<<{a}+{b}={a + b}>>\n<<{a + b}*{c}={(a + b) * c}>>\n#### {(a + b) * c}"
    return Problem(
        id=f"wp-{number:05}", question=question, answer=str((a + b) * c), solution=solution
    )


def lessons(found: Run, one: Problem, chance: random.Random) -> None:
    """The rationales of a train problem in every round, a few of them rewritten."""
    text, history, round = one.solution or "", [], "r0"
    fields = {"id": one.id, "problem": one.id, "teacher": "tutor"}
    found.rationales["r0"][one.id] = Rationale(text=text, round="r0", status="first", **fields)
    for name in ("r1", "r2"):
        if chance.random() < 0.5:
            history = [*history, Version(round=round, text=text)]
            text, round = f"Digit by digit, as in {name}: 7+5=12\n{text}", name
            more = {"status": "refined", "reason": "multiply", "gaps": ["multiply", "finer add"]}
        else:
            more = {"status": "kept", "reason": chance.choice(["not wrong", "too long"])}
        found.rationales[name][one.id] = Rationale(
            text=text, round=round, history=history, **more, **fields
        )
    last = found.rationales["r2"][one.id]
    update = {"status": "kept", "reason": "stopped"}
    found.rationales["r3"][one.id] = last.model_copy(update=update)
    found.rationales["told"][one.id] = found.rationales["r1"][one.id]


def answer(one: Problem, split: Any, right: bool) -> Prediction:
    """What a student wrote, wrong in its second step where it is not *right*."""
    head, tail = (one.solution or "").rsplit("\n", 1)
    wrong = f"{head.rsplit('=', 1)[0]}=12>>\n#### 12"
    return Prediction(
        id=one.id, problem=one.id, split=split, completion=f"{head}\n{tail}" if right else wrong,
        answer=one.answer if right else "12", verdict="correct" if right else "wrong",
        strict=right, lenient=right, eos=True, tokens=31,
    )  # fmt: skip


def error(one: Problem, given: Prediction, like: Problem) -> Error:
    """The error that *given* is, as `mine` has it."""
    second = given.completion.split("\n")[1].strip("<>")
    shown = Exemplar(problem=like.id, question=like.question, completion="#### 1")
    return Error(
        id=one.id, problem=one.id, split=given.split, completion=given.completion,
        verdict=given.verdict, answer=given.answer, gap="multiply",
        first_wrong_step=f"step 2: {second}", exemplars=[shown],
    )  # fmt: skip


def facts(found: Run, ledger: list[dict[str, Any]] | None = None, title: str = "Toys") -> Facts:
    """What the stages would have recorded of the run *found*."""
    metrics = {name: measured(found, name) for name in BRANCHES if name != PASSED}
    tests = found.of_split("test")
    verdict = summary.verdict("r2", "long", metrics, tests)
    steps = dict.fromkeys(BRANCHES, 100)
    calls = {name: ladder.Calls(asked=4, replies=4) for name in ("r1", "r2", "r3", "told")}
    climbed = ladder.ladder(
        "r2", ROUNDS, BRANCHES, "long", tests, steps, calls, dict.fromkeys(BRANCHES, 9)
    )
    attempts = {"replies": 4, "accepted": 3, "rejected": {"too long": 1}}
    teaching = {
        name: {"attempts": attempts, "asked": 4, "rewritten": 3, "kept": {"too long": 1}}
        for name in found.rationales
    }
    spent = costs.table(
        BRANCHES,
        ROUNDS,
        metrics,
        dict.fromkeys(teaching, 4),
        ledger or [],
        dict.fromkeys(BRANCHES, 0),
    )
    stops = {name: {"stop": False, "because": "better"} for name in ("r0", "r1")}
    stops["r2"] = {"stop": True, "because": "not better than the round before", "p": 0.5}
    recorded = Recorded(stops, teaching, [("training/r0", BALANCE), ("gaps/r0", BALANCE)])
    whole = summary.summary(
        [*BRANCHES], metrics, verdict, summary.advice(metrics, ROUNDS[1:], ROUNDS)
    )
    return Facts(title, verdict, whole, climbed, spent, ledger or [], recorded)


def measured(found: Run, name: str) -> Measured:
    """The figures of a branch as `summary.collect` reads them."""
    train, dev, test = (score(found.of_split(split)[name]) for split in SPLITS)
    training = Training(steps=100, tokens=1000, loss_last=0.1, rewritten=2)
    return Measured(
        train=train, dev=dev, test=test, outside={}, training=training, nll_before=5.5,
        steps_so_far=300,
    )  # fmt: skip


def pictures(known: Facts) -> list[str]:
    """The five pictures of a report."""
    metrics = known.summary.branches
    gaps = [Gap(label="", round=name, gap="add", count=1, share=0.1) for name in metrics]
    return [
        plots.curve(ROUNDS, "long", metrics, known.title),
        plots.forest(ladder.bars(known.ladder), known.title),
        plots.stacked(gaps, known.title),
        plots.likelihood([row.round for row in known.costs], metrics, known.title),
        plots.costs(known.costs, known.title),
    ]


def lay_out(root: Path, found: Run) -> None:
    """The run *found* as the files that `dvc repro` has when it comes to the stage report."""
    for split in ("train", "dev", "test"):
        rows = [one for kind, one in found.problems if kind == split]
        jsonl.write(root / f"data/problems/{split}.jsonl", rows)
        for name in BRANCHES:
            answers = found.of_split(split)[name]
            jsonl.write(root / f"data/predictions/{name}/{split}.jsonl", answers)
    for name, written in found.rationales.items():
        jsonl.write(root / f"data/rationales/{name}.jsonl", written.values())
    known = facts(found)
    for name in BRANCHES:
        jsonl.write(root / f"data/errors/{name}.jsonl", found.errors[name].values())
        scores, training = {}, {"steps": 0}
        if name != PASSED:
            content = measured(found, name)
            training = content.training.as_dict() | {"nll_before": content.nll_before}
            scores = {split: getattr(content, split).as_dict() for split in SPLITS}
        profile = {"n": 6, "gaps": {"multiply": 2}, "common": ["multiply"]}
        decision = known.recorded.stops.get(name, {"stop": True, "because": "passed through"})
        passed = {"passed_through": name == PASSED, "balance": BALANCE}
        for kind, figures in (
            ("training", {**training, **passed}),
            ("completions", {"tokens": 31 * len(found.problems), **passed}),
            ("completions-outside", {"tokens": 0, **passed}),
            ("probes", {"steps": 0, **passed}),
            ("rounds", {"scores": scores, **passed}),
            ("outside", {"scores": {}, **passed}),
            ("gaps", {"profile": profile, "decision": decision, "balance": BALANCE}),
        ):
            json_file.write_json(root / f"metrics/{kind}/{name}.json", figures)
    for name, teaching in known.recorded.teaching.items():
        json_file.write_json(root / f"metrics/rationales/{name}.json", dict(teaching))
    json_file.write_json(root / "metrics/problems/all.json", {"balance": BALANCE})
    (root / "params.yaml").write_text(PARAMS, encoding="utf-8")


def outs(folder: str) -> list[str]:
    """The options of the stage report, everything it writes in *folder*."""
    kinds = ("problems", "rationales", "errors", "predictions")
    written = {
        "best": "best.json", "summary": "summary.json", "ladder": "ladder.json",
        "tables": "tables", "pictures": "pictures", "page": "report", "timing": "timing",
    }  # fmt: skip
    pairs = [("metrics", "metrics"), *((kind, f"data/{kind}") for kind in kinds)]
    pairs += [("outside", "data/predictions-outside")]
    pairs += [(option, f"{folder}/{name}") for option, name in written.items()]
    return [word for option, path in pairs for word in (f"--{option}", path)]
