"""Runs as metrics alone, in which nothing stands in the way, or what a test plants in them."""

import copy
from functools import cache
from pathlib import Path
from typing import Any

from redistill.analysis import statistics
from redistill.analysis.scores import mcnemar, wilson
from redistill.records import json_file, jsonl
from redistill.records.types import Error, Rationale

CONTROL = "one-shot-matched"
SIZES = {"train": 2000, "dev": 400, "test": 4000}
GAPS = {"add": 40, "multiply": 20}
Tree = dict[str, dict[str, Any]]


def score(k: int, n: int, *, eos: float = 1.0, lenient: int | None = None) -> dict[str, Any]:
    """What `grade` records of *k* right answers of *n*."""
    low, high = wilson(k, n)
    right = (k if lenient is None else lenient) / n
    return {
        "k": k, "n": n, "accuracy": k / n, "low": low, "high": high, "strict": k / n,
        "lenient": right, "answered": 1.0, "eos": eos, "mean_tokens": 60.0,
    }  # fmt: skip


def scores(train: int, dev: int, test: int, **more: Any) -> dict[str, Any]:
    """What `grade` records of a branch that is right on so many problems of each split."""
    counts = {"train": train, "dev": dev, "test": test}
    found = {split: score(k, SIZES[split], **more) for split, k in counts.items()}
    return {"passed_through": False, "scores": found}


def training(steps: int = 100, nll: float = 2.0, tokens: int = 60, left: float = 0.05) -> Any:
    """What `train` records: *nll* before, *tokens* a text, the share of the NLL that is *left*."""
    labels = {"rows": 2000, "completion_tokens": 2000 * tokens}
    return {"steps": steps, "nll_before": nll, "loss_last": nll * left, "labels": labels}


interval = cache(statistics.bootstrap)


def row(fixed: int, broken: int, n: int, against: str = CONTROL) -> dict[str, Any]:
    """What the ladder has of r1 against the control."""
    low, high = interval(fixed, broken, n)
    smallest = statistics.smallest_effect(n, (fixed + broken) / n)
    calls, texts = {"asked": 0, "replies": 0}, {"round": 2000, "against": 2000}
    return {
        "n": n, "fixed": fixed, "broken": broken, "gain_points": 100 * (fixed - broken) / n,
        "p": mcnemar(fixed, broken), "k": 1, "k_against": 1, "unchanged": n - fixed - broken,
        "low_points": 100 * low, "high_points": 100 * high, "relative_percent": None,
        "item_variance": 0.0, "smallest_points": None if smallest is None else 100 * smallest,
        "against": against, "rung": "one-shot, step-matched",
        "calls": {"round": calls, "against": calls}, "steps": {"round": 200, "against": 400},
        "texts": texts,
    }  # fmt: skip


def ladder(*rows: dict[str, Any], chosen: str = "r1", outside: Any = ()) -> dict[str, Any]:
    """A ladder with these *rows* of r1, and *outside* of the domain."""
    return {
        "chosen": chosen, "control": CONTROL, "passed_through": [],
        "rounds": {"r1": list(rows)} if rows else {},
        "outside": {"r1": list(outside)} if outside else {},
    }  # fmt: skip


def alike(**more: Any) -> dict[str, Any]:
    """What `prepare` records where near half of test and some of train are near-duplicates."""
    counts = {"train": {"train": 300, "test": 1500}, "test": {"train": 1800}, "dev": {"train": 90}}
    return {"sizes": dict(SIZES), "near_duplicates": {"alike": 0.4, "questions": counts, **more}}


def rewritten(asked: int, new: int, **kept: int) -> dict[str, Any]:
    """What `refine` records: asked about so many texts, *new* ones, and why others are kept."""
    reasons = {why.replace("_", " "): n for why, n in kept.items()}
    return {"asked": asked, "rewritten": new, "kept": reasons}


def healthy() -> Tree:
    """A run in which nothing stands in the way, and r1 gains nothing all the same."""
    decision = {"stop": False, "because": "first round"}
    whole = {"holds": True, "rejected": {}, "rows_in": 2000, "rows_out": 2000}
    duplicates = {"alike": 0.4, "pairs": 0, "questions": {}, "first": []}
    return {
        "problems/all": {"sizes": dict(SIZES), "near_duplicates": duplicates},
        "rounds/r0": scores(1760, 340, 3440),
        "rounds/r1": scores(1880, 345, 3440),
        f"rounds/{CONTROL}": scores(1780, 340, 3440),
        "training/r0": training(),
        "training/r1": training(),
        f"training/{CONTROL}": training(400),
        "rationales/r0": {"balance": whole, "rewritten": 2000},
        "rationales/r1": rewritten(240, 240, not_wrong=1760),
        "gaps/r0": {"profile": {"n": 400, "gaps": dict(GAPS)}, "decision": decision},
        "gaps/r1": {"profile": {"n": 400, "gaps": {"add": 55}}, "decision": decision},
        "ladder": ladder(row(100, 100, 4000)),
        "shown": {"add": 150, "multiply": 90},
        "new": {"add": 150, "multiply": 90},
    }


def planted(**files: Any) -> Tree:
    """The healthy run with other *files*, named as in rounds_r1 for rounds/r1."""
    tree = copy.deepcopy(healthy())
    for name, content in files.items():
        key = name.replace("_", "/", 1).replace("/control", f"/{CONTROL}")
        assert key in tree, key
        tree[key] = content
    return tree


def lay_out(root: Path, tree: Tree, *, without: str = "") -> None:
    """Write *tree* as the metrics and data in *root*, but for the file *without*."""
    files = {key: content for key, content in tree.items() if key not in ("shown", "new", without)}
    for key, content in files.items():
        json_file.write_json(root / f"metrics/{key}.json", content)
    if without == "data":
        return
    errors, lessons = [], []
    for gap, shown in tree["shown"].items():
        for number in range(shown):
            name, new = f"{gap}-{number:04}", number < tree["new"][gap]
            fields = {"id": name, "problem": name}
            errors.append(Error(split="train", completion="2", verdict="wrong", gap=gap, **fields))
            more = {"round": "r1", "status": "refined"} if new else {"round": "r0"}
            lesson = {"text": "#### 1", "teacher": "t", "status": "kept", **fields, **more}
            lessons.append(Rationale(**lesson))
    jsonl.write(root / "data/errors/r0.jsonl", errors)
    jsonl.write(root / "data/rationales/r1.jsonl", lessons)
