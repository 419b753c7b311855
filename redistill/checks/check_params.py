"""All sections of params.yaml at once, for a check before anything runs."""

from redistill.analysis.summary import ReportSettings
from redistill.console.exceptions import CONFIG, RefusedError
from redistill.datasets.rows import PublishSettings
from redistill.diagnosis.settings import MineSettings
from redistill.grading.grader import GradeSettings, load_grader
from redistill.llm.budget import SpendingSettings
from redistill.problems.task import PrepareSettings, further_tasks, load_task
from redistill.rationales import teacher as teaching
from redistill.rationales.generate import GenerateSettings
from redistill.rationales.guards import GuardSettings
from redistill.rationales.refine import RefineSettings
from redistill.rounds import branches, targets
from redistill.settings.sections import Params, Section, nearest
from redistill.students.answer.settings import EvaluateSettings
from redistill.students.base.settings import EMBEDDED, Shape, load_target
from redistill.students.model.settings import StudentSettings
from redistill.students.train.settings import LoraSettings, TrainSettings

SECTIONS: dict[str, type[Section]] = {
    "prepare": PrepareSettings,
    "student": StudentSettings,
    "teach": teaching.TeachSettings,
    "generate": GenerateSettings,
    "grade": GradeSettings,
    "train": TrainSettings,
    "evaluate": EvaluateSettings,
    "mine": MineSettings,
    "refine": RefineSettings,
    "guard": GuardSettings,
    "report": ReportSettings,
    "publish": PublishSettings,
}
OPTIONAL: dict[str, type[Section]] = {EMBEDDED: Shape, "lora": LoraSettings}
NEEDED = ("rounds", "branches", "rewrites")  # lists of names that a run cannot do without
ABSENT = ("arms", "transfers", "targets", "sources", "pools", "tailored", "tables")
PLAIN = ("seed", *NEEDED, *ABSENT)


def check(params: Params) -> int:
    """
    Hold every section of *params* to its model and return how many there are.

    A list that this run does not use may be absent; one of OPTIONAL that it does not read is null.
    Raises RefusedError for a section that no run like this reads, with the nearest that something
    does.
    """
    assert params.seed >= 0  # noqa: S101 - asking for it is what checks it
    for name in NEEDED:
        if name not in params.content:
            raise RefusedError(f"{params.file}: no section {name!r}", code=CONFIG)
    targets.check(params)
    for name in params.named("targets"):
        load_target(params, name)
    models = read_by(params)
    for name, content in params.content.items():
        if content is not None and name not in {*models, *OPTIONAL, *PLAIN}:
            hint = nearest(str(name), [*models, *OPTIONAL, *PLAIN])
            raise RefusedError(
                f"{params.file}: {name}: nothing reads this section{hint}", code=CONFIG
            )
    for name, model in models.items():
        params.section(name, model)
    for name, model in OPTIONAL.items():
        if name not in params.content:
            raise RefusedError(
                f"{params.file}: {name} is absent, and DVC tracks it: write {name}: null",
                code=CONFIG,
            )
        if params.content[name] is not None:
            params.section(name, model)
    _check_graders(params)
    known = branches.branches(params)
    own, drawn = (
        params.section("refine", RefineSettings).own,
        params.section("evaluate", EvaluateSettings).samples,
    )
    if own and not drawn:
        raise RefusedError(
            f"{params.file}: refine.own: {own} of the completions that a student draws itself, and "
            "evaluate.samples is 0; draw some, or set refine.own to 0",
            code=CONFIG,
        )
    if params.section("mine", MineSettings).folds is not None:
        targets.check_probes(params, own=own > 0)
    control = params.section("report", ReportSettings).control
    if control not in branches.loop(known) and branches.rounds_of(known):
        raise RefusedError(
            f"{params.file}: report.control: there is no branch {control!r} beside the rounds",
            code=CONFIG,
        )
    return len(params.content)


def read_by(params: Params) -> dict[str, type[Section]]:
    """Return the sections that this run reads, with their models: those of what it chooses too."""
    task = params.section("prepare", PrepareSettings).task
    models = {**SECTIONS, task: load_task(task).Settings}
    teach = params.section("teach", teaching.TeachSettings)
    for name in (teach.teacher, teach.refiner):
        module = teaching.load_teacher(name)
        models[name] = module.Settings
        if teaching.paid(module):
            models["spending"] = SpendingSettings
    if params.section("student", StudentSettings).model == EMBEDDED:
        models[EMBEDDED] = Shape
    if params.section("train", TrainSettings).method == "lora":
        models["lora"] = LoraSettings
    return models


def _check_graders(params: Params) -> None:
    """Refuse a grader that is not that of the task, and out-of-domain tests that are not there."""
    chosen = params.section("grade", GradeSettings).grader
    prepare = params.section("prepare", PrepareSettings)
    fits = load_task(prepare.task).GRADER
    load_grader(chosen)
    if fits is not None and chosen != fits:
        raise RefusedError(
            f"{params.file}: grade.grader: the answers of the task {prepare.task} are for the "
            f"grader {fits!r}, not {chosen!r}",
            code=CONFIG,
        )
    for further, _ in further_tasks(params, prepare).values():
        load_grader(further.GRADER or chosen)
    teaching.engage(params, "explain")
    teaching.engage(params, "refine")
