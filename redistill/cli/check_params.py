"""All sections of params.yaml at once, for a check before anything runs."""

import difflib
from pathlib import Path

from redistill.analysis import summary
from redistill.console.exceptions import CONFIG, RefusedError
from redistill.datasets import rows
from redistill.diagnosis import mine
from redistill.grading import grader
from redistill.llm import budget
from redistill.problems.task import PrepareSettings, further_tasks, load_task
from redistill.rationales import generate, guards, refine, teacher
from redistill.settings import branches, targets
from redistill.settings import sections as settings_sections
from redistill.settings.sections import Section
from redistill.students.answer import exam
from redistill.students.base import embedded, make
from redistill.students.model import load
from redistill.students.train import fit, lora

SECTIONS: dict[str, type[Section]] = {
    "prepare": PrepareSettings,
    "student": load.StudentSettings,
    "embedded": embedded.Shape,
    "teach": teacher.TeachSettings,
    "generate": generate.GenerateSettings,
    "grade": grader.GradeSettings,
    "train": fit.TrainSettings,
    "lora": lora.LoraSettings,
    "evaluate": exam.EvaluateSettings,
    "mine": mine.MineSettings,
    "refine": refine.RefineSettings,
    "guard": guards.GuardSettings,
    "report": summary.ReportSettings,
    "publish": rows.PublishSettings,
}
NAMED = ("rounds", "arms", "transfers", "branches", "targets", "sources", "pools", "tailored",
         "tables")  # fmt: skip
PLAIN = ("seed", *NAMED)


def check(path: Path) -> int:
    """
    Hold every section of *path* to its model and return how many there are.

    Raises RefusedError for a section that nothing reads, with the nearest that something does.
    """
    content = settings_sections.read(path)
    settings_sections.seed(path)
    for name in NAMED:
        if name not in content:
            raise RefusedError(f"{path}: no section {name!r}; it may be {{}}", code=CONFIG)
    targets.check(path)
    for name in content["targets"] or {}:
        make.target(path, name)
    prepare = settings_sections.load(path, "prepare", PrepareSettings)
    task = load_task(prepare.task)
    teachers = [teacher.engage(path, "explain"), teacher.engage(path, "refine")]
    _check_graders(path, prepare, task.GRADER)
    sections = {
        **SECTIONS,
        prepare.task: task.Settings,
        **{engaged.name: engaged.module.Settings for engaged in teachers},
    }
    if any(engaged.spending is not None for engaged in teachers):
        sections["spending"] = budget.SpendingSettings
    for name in content:
        if name not in sections and name not in PLAIN:
            known = [*sections, *PLAIN]
            close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
            hint = f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"
            raise RefusedError(f"{path}: {name}: nothing reads this section{hint}", code=CONFIG)
    for name, model in sections.items():
        settings_sections.load(path, name, model)
    control = settings_sections.load(path, "report", summary.ReportSettings).control
    if control not in branches.loop(path) and branches.rounds(path):
        raise RefusedError(
            f"{path}: report.control: there is no branch {control!r} beside the rounds", code=CONFIG
        )
    return len(content)


def _check_graders(path: Path, prepare: PrepareSettings, fits: str | None) -> None:
    """Refuse a grader that is not that of the task, and out-of-domain tests that are not there."""
    chosen = settings_sections.load(path, "grade", grader.GradeSettings).grader
    grader.load_grader(chosen)
    if fits is not None and chosen != fits:
        raise RefusedError(
            f"{path}: grade.grader: the answers of the task {prepare.task} are for the grader "
            f"{fits!r}, not {chosen!r}",
            code=CONFIG,
        )
    for further, _ in further_tasks(path, prepare).values():
        grader.load_grader(further.GRADER or chosen)
