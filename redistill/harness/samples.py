"""Samples that lm-evaluation-harness logged, as predictions: judged by our graders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redistill.analysis import comparison
from redistill.analysis.comparison import Comparison
from redistill.console.exceptions import RefusedError
from redistill.grading.answers import MARKER
from redistill.grading.grader import Grader, predict
from redistill.harness.reading import GRADER
from redistill.records import jsonl
from redistill.records.types import Prediction, Problem

METRICS = ("exact_match", "acc", "em")  # of which the first that a row has is its own verdict
GOLDS = ("answer", "target", "gold")
STRICT, LENIENT, THEIRS = "strict", "lenient", "the harness"  # ways of judging a sample


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

    def judged(self) -> dict[str, list[Prediction]]:
        """Return the predictions with the verdicts of each way of judging that knows them all."""
        rights = {LENIENT: {p.problem: p.lenient for p in self.predictions}, THEIRS: self.theirs}
        return {STRICT: self.predictions} | {
            way: [_with_verdict(p, right[p.problem]) for p in self.predictions]
            for way, right in rights.items()
            if len(right) == len(self.predictions)
        }


def grader_named(path: Path) -> str | None:
    """
    Return the grader that the first sample in *path* names, as those of an exported task do.

    None where it names none, or is no sample: `read` says what is wrong with it.
    """
    row = next((row for _number, row in jsonl.objects(path)), None)
    doc = row.get("doc") if isinstance(row, dict) else None
    named = doc.get(GRADER) if isinstance(doc, dict) else None
    return named if isinstance(named, str) else None


def read(path: Path, grader: Grader) -> Samples:
    """
    Read the samples in *path*, as ``lm_eval --log_samples`` writes them, and judge each.

    The first response counts. Of a task with several filters every sample stands there more than
    once; the first one counts. The gold answer is that of the row, read as our graders read one
    where it is a worked solution, or dressed as ``(B)``. Whether a response was cut off the harness
    does not log, so none counts as that. Raises RefusedError for rows of another shape and for gold
    answers that *grader* does not read, naming line and field.
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


def compare(before: Samples, after: Samples) -> dict[str, Comparison]:
    """
    Compare *after* with *before*, sample by sample, in each way of judging that both have.

    Raises RefusedError where the two are not samples of the same problems.
    """
    if before.docs != after.docs:
        both = before.docs.keys() | after.docs.keys()
        other = sorted(n for n in both if before.docs.get(n) != after.docs.get(n))
        raise RefusedError(
            f"{after.path}: {len(other)} problems are not those of {before.path}, {other[0]!r} "
            "first: log both with the same task, and the same --limit"
        )
    then, now = before.judged(), after.judged()
    return {way: comparison.compare(then[way], now[way]) for way in then if way in now}


def _with_verdict(found: Prediction, right: bool) -> Prediction:
    return found.model_copy(update={"verdict": "correct" if right else "wrong"})


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
    said = [str(f).strip() for f in (row.get("target"), *kept) if isinstance(f, str | int | float)]
    for text in said:
        gold = grader.strict(text) or grader.strict(f"{MARKER} {text}")
        if gold is not None:
            return gold
    unread = next((text for text in said if text), None)
    if unread is not None:
        raise RefusedError(
            f"{path} line {number} field 'target': {unread!r} is no answer that the grader reads; "
            "name the one that does with --grader"
        )
    raise RefusedError(
        f"{path} line {number} field 'target': expected the gold answer as a text or a number"
    )
