"""Samples that lm-evaluation-harness logged, as predictions: judged by our graders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redistill.analysis import comparison
from redistill.analysis.comparison import Comparison
from redistill.console.exceptions import RefusedError
from redistill.grading.grader import Grader, predict
from redistill.records import jsonl
from redistill.records.types import Prediction, Problem

METRICS = ("exact_match", "acc", "em")  # of which the first that a row has is its own verdict
GOLDS = ("answer", "target", "gold")


@dataclass(frozen=True)
class Samples:
    """The samples of a file as *predictions*, what the harness made of each, and their texts."""

    path: Path
    predictions: list[Prediction]
    theirs: dict[str, bool]
    docs: dict[str, str] = field(repr=False)

    @property
    def right(self) -> int:
        """How many are correct by our grader."""
        return sum(p.verdict == "correct" for p in self.predictions)

    def apart(self) -> list[Prediction]:
        """Return those that the harness judged otherwise."""
        known = self.theirs
        return [
            p
            for p in self.predictions
            if p.problem in known and known[p.problem] != (p.verdict == "correct")
        ]


def read(path: Path, grader: Grader) -> Samples:
    """
    Read the samples in *path*, as ``lm_eval --log_samples`` writes them, and judge each.

    The first response counts. Of a task with several filters every sample stands there more than
    once; the first one counts. The gold answer is that of the row, read as our graders read one
    where it is a worked solution. Whether a response was cut off the harness does not log, so none
    counts as that. Raises RefusedError for rows of another shape, naming line and field.
    """
    predictions: dict[str, Prediction] = {}
    theirs: dict[str, bool] = {}
    docs: dict[str, str] = {}
    for number, row in jsonl.objects(path):
        if isinstance(row, RefusedError):
            raise row
        name = _name(path, number, row)
        if name in predictions:
            continue
        text, gold = _text(path, number, row), _gold(path, number, row, grader)
        problem = Problem(id=name, question="?", answer=gold)
        predictions[name] = predict(problem, "test", text, eos=True, tokens=0, grader=grader)
        docs[name] = str(row.get("doc_hash") or name)
        verdict = next((row[metric] for metric in METRICS if metric in row), None)
        if verdict is not None:
            theirs[name] = bool(verdict)
    if not predictions:
        raise RefusedError(f"{path}: holds no samples; log them with lm_eval --log_samples")
    return Samples(path, [*predictions.values()], theirs, docs)


def compare(before: Samples, after: Samples) -> Comparison:
    """
    Compare *after* with *before*, sample by sample.

    Raises RefusedError where the two are not samples of the same problems.
    """
    if before.docs != after.docs:
        both = before.docs.keys() | after.docs.keys()
        other = sorted(n for n in both if before.docs.get(n) != after.docs.get(n))
        raise RefusedError(
            f"{after.path}: {len(other)} problems are not those of {before.path}, {other[0]!r} "
            "first: log both with the same task, and the same --limit"
        )
    return comparison.compare(before.predictions, after.predictions)


def _name(path: Path, number: int, row: Mapping[str, Any]) -> str:
    doc = row.get("doc")
    named = doc.get("id") if isinstance(doc, dict) else None
    if not named and "doc_id" not in row:
        raise RefusedError(
            f"{path} line {number} field 'doc_id': missing, so this is no sample of the harness; "
            "name a file samples_TASK_TIME.jsonl of lm_eval --log_samples"
        )
    return str(named) if named else f"doc {row['doc_id']}"


def _text(path: Path, number: int, row: Mapping[str, Any]) -> str:
    found = row.get("resps")
    while isinstance(found, list) and found:
        found = found[0]
        if isinstance(found, str):
            return found
    raise RefusedError(
        f"{path} line {number} field 'resps': expected [[text]], as of a task of the type "
        "generate_until; likelihoods of choices have no text to grade"
    )


def _gold(path: Path, number: int, row: Mapping[str, Any], grader: Grader) -> str:
    """The gold answer: of the target or the row, after its marker where there is one."""
    doc = row.get("doc")
    kept: Sequence[Any] = [doc[key] for key in GOLDS if key in doc] if isinstance(doc, dict) else []
    for found in (row.get("target"), *kept):
        if isinstance(found, str | int | float) and str(found).strip():
            text = str(found).strip()
            return grader.strict(text) or text
    raise RefusedError(
        f"{path} line {number} field 'target': expected the gold answer as a text or a number"
    )
