"""All sections of params.yaml at once, for a check before anything runs."""

import difflib
from pathlib import Path

from redistill import (
    generating,
    grading,
    guarding,
    mining,
    params,
    preparing,
    publishing,
    refining,
    reporting,
    rounds,
    spending,
    targeting,
    teaching,
)
from redistill.params import Section
from redistill.refusals import CONFIG, RefusedError
from redistill.students import adapting, beginning, embedded, examining, fitting, loading

SECTIONS: dict[str, type[Section]] = {
    "prepare": preparing.Settings,
    "student": loading.Settings,
    "embedded": embedded.Shape,
    "teach": teaching.Settings,
    "generate": generating.Settings,
    "grade": grading.Settings,
    "train": fitting.Settings,
    "lora": adapting.Settings,
    "evaluate": examining.Settings,
    "mine": mining.Settings,
    "refine": refining.Settings,
    "guard": guarding.Settings,
    "report": reporting.Settings,
    "publish": publishing.Settings,
}
NAMED = ("rounds", "arms", "transfers", "branches", "targets", "sources", "pools", "tailored",
         "tables")  # fmt: skip
PLAIN = ("seed", *NAMED)


def check(path: Path) -> int:
    """
    Hold every section of *path* to its model and return how many there are.

    Raises RefusedError for a section that nothing reads, with the nearest that something does.
    """
    content = params.read(path)
    params.seed(path)
    for name in NAMED:
        if name not in content:
            raise RefusedError(f"{path}: no section {name!r}; it may be {{}}", code=CONFIG)
    targeting.check(path)
    for name in content["targets"] or {}:
        beginning.target(path, name)
    prepare = params.load(path, "prepare", preparing.Settings)
    task = preparing.task(prepare.task)
    teachers = [teaching.engage(path, "explain"), teaching.engage(path, "refine")]
    _check_graders(path, prepare, task.GRADER)
    sections = {
        **SECTIONS,
        prepare.task: task.Settings,
        **{engaged.name: engaged.module.Settings for engaged in teachers},
    }
    if any(engaged.spending is not None for engaged in teachers):
        sections["spending"] = spending.Settings
    for name in content:
        if name not in sections and name not in PLAIN:
            known = [*sections, *PLAIN]
            close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
            hint = f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"
            raise RefusedError(f"{path}: {name}: nothing reads this section{hint}", code=CONFIG)
    for name, model in sections.items():
        params.load(path, name, model)
    control = params.load(path, "report", reporting.Settings).control
    if control not in rounds.loop(path) and rounds.rounds(path):
        raise RefusedError(
            f"{path}: report.control: there is no branch {control!r} beside the rounds", code=CONFIG
        )
    return len(content)


def _check_graders(path: Path, prepare: preparing.Settings, fits: str | None) -> None:
    """Refuse a grader that is not that of the task, and out-of-domain tests that are not there."""
    chosen = params.load(path, "grade", grading.Settings).grader
    grading.grader(chosen)
    if fits is not None and chosen != fits:
        raise RefusedError(
            f"{path}: grade.grader: the answers of the task {prepare.task} are for the grader "
            f"{fits!r}, not {chosen!r}",
            code=CONFIG,
        )
    for further, _ in preparing.further_tasks(path, prepare).values():
        grading.grader(further.GRADER or chosen)
