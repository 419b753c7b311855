"""All sections of params.yaml at once, for a check before anything runs."""

from redistill.analysis.summary import ReportSettings
from redistill.console.exceptions import CONFIG, RefusedError
from redistill.datasets.rows import PublishSettings
from redistill.diagnosis.settings import MineSettings
from redistill.grading.grader import Bench, GradeSettings, grader_module, paid
from redistill.llm.budget import SpendingSettings
from redistill.problems.task import PrepareSettings, further_tasks, load_task
from redistill.rationales import prompt
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
BLANK = "[[question]]"  # of student.prompt
OPTIONAL: dict[str, type[Section]] = {EMBEDDED: Shape, "lora": LoraSettings}
NEEDED = ("branches", "rewrites")  # lists of names that a run cannot do without
ABSENT = ("targets", "sources", "pools", "tables")
PLAIN = ("seed", *NEEDED, *ABSENT)


def check(params: Params) -> int:
    """
    Hold every section of *params* to its model and return how many there are.

    A list that this run does not use may be absent; one of OPTIONAL that it does not read is null.
    Raises RefusedError for a section that no run like this reads, with the nearest that something
    does.
    """
    branches.refuse_former(params.file, params.content)
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
            hint = nearest(str(name), {*models, *OPTIONAL, *PLAIN})
            raise RefusedError(
                f"{params.file}: {name}: nothing reads this section, so take it out{hint}",
                code=CONFIG,
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
    _check_teachers(params)
    _check_takes(params)
    _check_student(params)
    _check_drawn(params)
    known = branches.branches(params)
    control = params.section("report", ReportSettings).control
    if control not in branches.loop(known) and branches.rounds_of(known):
        raise _refused(params, f"report.control: there is no branch {control!r} beside the rounds")
    return len(params.content)


def read_by(params: Params) -> dict[str, type[Section]]:
    """Return the sections that this run reads, with their models: those of what it chooses too."""
    task = params.section("prepare", PrepareSettings).task
    models = {**SECTIONS, task: load_task(task).Settings}
    teach = params.section("teach", teaching.TeachSettings)
    for key, name in (("teacher", teach.teacher), ("refiner", teach.refiner)):
        module = teaching.load_teacher(name, f"teach.{key}")
        models[name] = module.Settings
        if teaching.paid(module):
            models["spending"] = SpendingSettings
    if paid(grader_module(params.section("grade", GradeSettings).grader)):
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
    bench = Bench.reading(params)
    bench(chosen)
    if fits is not None and chosen != fits:
        raise RefusedError(
            f"{params.file}: grade.grader: the answers of the task {prepare.task} are for the "
            f"grader {fits!r}, not {chosen!r}",
            code=CONFIG,
        )
    for further, _ in further_tasks(params, prepare).values():
        bench(further.GRADER or chosen)


def _check_teachers(params: Params) -> None:
    """Refuse teachers and prompts that are not there, and settings that ask nothing."""
    for verb in ("explain", "refine"):
        teacher = teaching.engage(params, verb)
        prompt.templates(verb, teacher.rules.prompts)
        if check := getattr(teacher.module, "check", None):
            check(teacher.settings, teacher.spending)


def _check_takes(params: Params) -> None:
    """Refuse to take no rows of a split of the task: a run needs each of them."""
    task = params.section("prepare", PrepareSettings).task
    settings = params.section(task, load_task(task).Settings)
    for key in ("take_train", "take_dev", "take_test"):
        if getattr(settings, key, None) == 0:
            raise _refused(params, f"{task}.{key}: takes no rows; null takes all")


def _check_student(params: Params) -> None:
    """Refuse a prompt without its question, and a revision of what has none."""
    student = params.section("student", StudentSettings)
    if BLANK not in student.prompt:
        raise _refused(params, f"student.prompt: needs {BLANK} where the question goes")
    if student.model == EMBEDDED and student.revision is not None:
        raise _refused(params, "student.revision: only a hub id has revisions, so set it to null")


def _check_drawn(params: Params) -> None:
    """Refuse to use completions that are not drawn, and draws that are all alike."""
    own = params.section("refine", RefineSettings).own
    exam = params.section("evaluate", EvaluateSettings)
    if own and not exam.samples:
        raise _refused(
            params,
            f"refine.own: {own} of the completions that a student draws itself, and "
            "evaluate.samples is 0; draw some, or set refine.own to 0",
        )
    if exam.samples and not exam.temperature:
        raise _refused(
            params,
            f"evaluate.temperature: {exam.samples} samples would all be the greedy answer; set it "
            "above 0, or evaluate.samples to 0",
        )
    if params.section("mine", MineSettings).folds is not None:
        targets.check_probes(params, own=own > 0)


def _refused(params: Params, fault: str) -> RefusedError:
    return RefusedError(f"{params.file}: {fault}", code=CONFIG)
