"""Checks on a run before it costs anything: problems, labels, lengths, locks, disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redistill.analysis import summary
from redistill.analysis.scores import by_heart
from redistill.checks import check_params, ready, stopped, teaching
from redistill.console import preflight
from redistill.console.exceptions import RefusedError
from redistill.console.preflight import Finding, held
from redistill.diagnosis.settings import MineSettings
from redistill.grading import golds
from redistill.grading.grader import Bench, Grader
from redistill.problems import near_duplicates
from redistill.problems import splits as splitting
from redistill.problems.sets import SPLITS
from redistill.problems.sought import GRAM, overlapping
from redistill.problems.task import PrepareSettings, load_task
from redistill.records import lessons
from redistill.records.balance import Balance
from redistill.records.fingerprint import normalised
from redistill.records.json_file import read_json
from redistill.records.jsonl import by_problem, read
from redistill.records.types import Problem, Rationale, Split
from redistill.rounds import branches as branching
from redistill.rounds.branches import Branch
from redistill.settings import sections
from redistill.settings.sections import Params
from redistill.students.base.settings import load_target, target_size
from redistill.students.model.settings import StudentSettings
from redistill.students.train.settings import LoraSettings, TrainSettings, lora

if TYPE_CHECKING:
    from redistill.students.model.load import Sketch

EXAMPLES = 3
COPIES = 2  # of every student on disk: in the workspace and in DVC's cache
OF_MACHINE = ("disk", "precision")  # checks whose outcome differs from machine to machine
OPTIMISER = 3  # times the weights that a checkpoint of a training holds: weights and two moments


@dataclass(frozen=True)
class Diagnosis:
    """What was found, and training rows as runs of (what it is, text)."""

    findings: list[Finding]
    examples: list[list[tuple[str, str]]] = field(default_factory=list)


def diagnose(root: Path, locks: Sequence[Finding] = ()) -> Diagnosis:
    """
    Make every check on the run in the folder *root*, whether it has begun or not.

    Without problems on disk the task is asked for them; without rationales, reference solutions
    stand in. Nothing is written, and no teacher is asked. *locks* is what was found of DVC's files.
    """
    found = [*locks]
    try:
        params = sections.read(root / "params.yaml")
        count = check_params.check(params)
        found.append(Finding("params.yaml", "holds", f"{count} sections are well-formed"))
        splits, told = _problems(root, params)
    except RefusedError as refusal:
        return Diagnosis([*found, Finding("problems", "fails", str(refusal))])
    grader = Bench.reading(params).own
    found += [*told, gold(splits, grader), overlap(splits), *_shared(splits)]
    found += teaching.fits(params, [*splits["train"], *splits["dev"]], len(splits["dev"]))
    found += [Finding("rounds", "note", told) for told in stopped.idle(root, params)]
    if lacks := ready.missing(root, params):
        found.append(Finding("teacher", "note", str(lacks)))
    try:
        labels, examples = _student(root, params, splits)
    except RefusedError as refusal:
        labels, examples = [Finding("student", "fails", str(refusal))], []
    return Diagnosis([*found, *diagnoses(root, params), *labels], examples)


def before_calls(
    root: Path, params: Params, train: Sequence[Problem], dev: Sequence[Problem]
) -> list[Finding]:
    """
    Make the checks whose faults a paid run would end with: on problems, prompts and the student.

    They depend on the problems, the base student in *root* and the settings alone: not on the disk
    or the speed of this machine, and not on how far the run has come.
    """
    grader = Bench.reading(params).own
    found = [gold({"train": train, "dev": dev}, grader)]
    found += teaching.fits(params, [*train, *dev], len(dev))
    try:
        splits: dict[Split, Sequence[Problem]] = {"train": train, "dev": dev}
        labels, _ = _student(root, params, splits, taught=False)
    except RefusedError as refusal:
        labels = [Finding("student", "fails", str(refusal))]
    return [*found, *(finding for finding in labels if finding.check not in OF_MACHINE)]


def diagnoses(root: Path, params: Params) -> list[Finding]:
    """
    Say where errors on train come from, and of which student they are none worth refining by.

    That is looked up in what was graded already; a run that has not begun has nothing to show.
    """
    folds = params.section("mine", MineSettings).folds
    if folds is not None:
        told = f"held out: {folds} students, each taught all lessons but those of one fold"
        return [Finding("train errors", "holds", told)]
    for name, branch in branching.branches(params).items():
        if not branch.probe:  # nothing is refined by its errors
            continue
        file = root / f"metrics/rounds/{name}.json"
        found = summary.scores(file.parent, name) if file.is_file() else {}
        counts = [(found[split].k, found[split].n) for split in ("train", "dev") if found]
        if counts and (hidden := by_heart(*counts)):
            return [Finding("train errors", "note", f"{name}: {hidden}")]
    return [Finding("train errors", "holds", "those of the student that was taught the problems")]


def gold(splits: Mapping[Split, Sequence[Problem]], grader: Grader) -> Finding:
    """
    Check that every gold answer is read back in the task's format as itself.

    Of those that stand next to each other in order, none may count as the other.
    """
    problems = [problem for split in splits.values() for problem in split]
    answers = sorted({problem.answer for problem in problems})
    for problem, fault in golds.unread(problems, grader):
        told = f"of {problem.id!r}: {fault}; grade.grader does not fit the task, or the row"
        return Finding("gold answers", "fails", told)
    for one, other in pairwise(answers):
        if normalised(one) != normalised(other) and grader.equal(one, other):
            return Finding("gold answers", "note", f"{one!r} and {other!r} count as the same")
    told = (
        f"{len(problems)} are read back as themselves, {len(answers)} different ones as different"
    )
    return Finding("gold answers", "holds", told)


def overlap(splits: Mapping[Split, Sequence[Problem]]) -> Finding:
    """Check whether a question stands in two splits; a run refuses that in `prepare` as well."""
    try:
        splitting.split([(name, problem) for name in SPLITS for problem in splits[name]])
    except RefusedError as refusal:
        return Finding("split overlap", "fails", str(refusal))
    sizes = ", ".join(f"{name} {len(splits[name])}" for name in SPLITS)
    return Finding("split overlap", "holds", f"no question stands in two splits ({sizes})")


def _shared(splits: Mapping[Split, Sequence[Problem]]) -> list[Finding]:
    """How many test questions share a long run of words with train or dev: to know, not to stop."""
    texts = [f"{p.question}\n{p.solution or ''}" for p in [*splits["train"], *splits["dev"]]]
    shared = overlapping(texts, splits["test"])
    told = f"{len(shared)} of {len(splits['test'])} test questions share {GRAM} words"
    example = f", for instance {shared[0][0]!r}: {shared[0][1]!r}" if shared else ""
    return [Finding("shared words", "note", f"{told} in a row with train or dev{example}")]


def _problems(
    root: Path, params: Params
) -> tuple[Mapping[Split, Sequence[Problem]], list[Finding]]:
    folder = root / "data/problems"
    if all((folder / f"{name}.jsonl").is_file() for name in SPLITS):
        found = {name: read(folder / f"{name}.jsonl", Problem) for name in SPLITS}
        file = root / "metrics/problems/all.json"
        report = read_json(file).get("near_duplicates", {}) if file.is_file() else {}
        return found, [Finding("problems", "holds", "as data/problems has them"), *_near(report)]
    settings = params.section("prepare", PrepareSettings)
    task = load_task(settings.task)
    rows = task.problems(params.section(settings.task, task.Settings), params.seed)
    splits, balance = splitting.split(rows, published=task.PUBLISHED)
    told = f"as the task {settings.task} gives them ({balance}); not on disk yet"
    near = near_duplicates.look(splits, {}, settings)
    return near.splits, [_balanced(balance, settings.max_loss, told), *_near(near.report)]


def _near(report: Mapping[str, Any]) -> list[Finding]:
    """What near-duplicates there are, where they were looked for: to know, not to stop."""
    told = near_duplicates.said(report)
    return [Finding("near-duplicates", "note", told)] if told else []


def _balanced(balance: Balance, max_loss: float, told: str) -> Finding:
    fault = None
    try:
        balance.check(max_loss)
    except RefusedError as refusal:
        fault = str(refusal)
    return held("problems", fault, told)


def _student(
    root: Path, params: Params, splits: Mapping[Split, Sequence[Problem]], *, taught: bool = True
) -> tuple[list[Finding], list[list[tuple[str, str]]]]:
    from redistill.students.answer.settings import EvaluateSettings
    from redistill.students.base import make
    from redistill.students.model import precision, tokens
    from redistill.students.train import checks

    student = params.section("student", StudentSettings)
    limits = params.section("train", TrainSettings)
    exam = params.section("evaluate", EvaluateSettings)
    base = make.facts(root, params)
    encoder = tokens.Encoder.of(base.tokenizer, student)
    known, train = branching.branches(params), splits["train"]
    pairs, source = _lessons(root, train, known) if taught else _shortest(train)
    lengths = checks.Limits(
        max_tokens=limits.max_tokens,
        max_loss=limits.max_loss,
        max_new_tokens=exam.max_new_tokens,
        context=base.context,
        vocabulary=base.vocabulary,
    )
    made = checks.rows(encoder, pairs)
    found = [
        Finding("student", "note", f"{student.model}: {base.told}; {encoder.format}"),
        *make.findings(base),
        *make.target_findings(root, params),
        *_adapted(base.sketch, lora(params, limits)),
        *(Finding("template", "note", hint) for hint in encoder.hints()),
        Finding("rationales", "note", source),
        *checks.examine(encoder, pairs, made, lengths),
        *checks.prompts(encoder, splits.items(), lengths),
        precision.finding(
            {"train.precision": limits.precision}
            | ({"evaluate.precision": exam.precision} if exam.engine != "server" else {})
        ),
        _disk(root, params, base.bytes),
    ]
    rows = made.examples[:: max(1, len(made.examples) // EXAMPLES)][:EXAMPLES]
    return found, [[*checks.segments(encoder, row)] for row in rows]


def _adapted(sketch: "Sketch | None", settings: LoraSettings | None) -> list[Finding]:
    """Whether LoRA has targets that it can be merged into."""
    from redistill.students.train import lora as adapters

    if sketch is None or settings is None:
        return []
    fault = None
    try:
        adapters.refuse_tied(sketch.model, settings)
    except RefusedError as refusal:
        fault = str(refusal)
    return [held("LoRA", fault, "no target shares its weights with another layer")]


def _lessons(
    root: Path, train: Sequence[Problem], branches: Mapping[str, Branch]
) -> tuple[list[tuple[Problem, str]], str]:
    """What the latest round on disk is taught; reference solutions where there is none."""
    files = sorted((root / "data/rationales").glob("r*.jsonl"), key=lambda f: (len(f.stem), f.stem))
    known = {problem.id: problem for problem in train}
    for file in reversed(files):
        found = by_problem(read(file, Rationale), str(file))
        if found and found.keys() <= known.keys():
            kind = branches[file.stem].lessons if file.stem in branches else "latest"
            rows = lessons.taught([*found.values()], kind)
            told = f"those of {file.stem}, lessons: {kind}"
            return [(known[row.rationale.problem], row.text) for row in rows], told
    texts = [f"{problem.solution or 'So it is.'}\n#### {problem.answer}" for problem in train]
    return list(zip(train, texts, strict=True)), "none yet; reference solutions stand in"


def _shortest(train: Sequence[Problem]) -> tuple[list[tuple[Problem, str]], str]:
    """The shortest texts that could be taught: what fails with them fails with any teacher's."""
    return [(problem, f"#### {problem.answer}") for problem in train], "the answers alone stand in"


def _disk(root: Path, params: Params, weights: int | None) -> Finding:
    """Room for all students, in the workspace and in DVC's cache, and for a checkpoint."""
    if weights is None:
        return Finding("disk", "note", "the student's size is not known before it is opened")
    sizes = {branching.BASE: weights} | {
        name: target_size(load_target(params, name), weights) for name in params.named("targets")
    }
    branches = branching.branches(params)
    students = [sizes[branching.target_of(name, branches)] for name in branches] + [*sizes.values()]
    needed = sum(students) * COPIES + max(students) * OPTIMISER
    return preflight.room(root, needed, f"{len(students)} students and a checkpoint")


def as_rows(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    """Return the findings as plain rows, for JSON."""
    return [vars(finding) for finding in diagnosis.findings]
