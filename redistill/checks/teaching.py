"""Whether what a teacher will be asked fits the problems: prompts, choices, and the dev set."""

from collections.abc import Sequence

from redistill.console.preflight import Finding, held
from redistill.diagnosis import smallest_gain
from redistill.diagnosis.settings import MineSettings
from redistill.grading import golds
from redistill.grading.grader import Bench
from redistill.rationales import prompt
from redistill.rationales.teacher import engage
from redistill.records.types import Problem
from redistill.settings.sections import Params

BLANK = "[[choices]]"


def fits(params: Params, problems: Sequence[Problem], dev: int) -> list[Finding]:
    """Check *problems* against prompts and grader of *params*, and the size of *dev*."""
    return [prompts(params, problems), _choices(params, problems), _dev(params, dev)]


def prompts(params: Params, problems: Sequence[Problem]) -> Finding:
    """Check that a teacher is shown the choices of questions that have some, and no others."""
    asked = [engaged for verb in ("explain", "refine") if (engaged := engage(params, verb)).asks]
    if not asked:
        return Finding("prompts", "holds", "no language model is asked")
    kind = asked[0].rules.prompts
    offered = [problem for problem in problems if problem.choices]
    bare = [problem for problem in problems if not problem.choices]
    shows = BLANK in prompt.template("explain", kind)
    file, fault = f"redistill/prompts/explain-{kind}.txt", None
    if offered and not shows:
        fault = (
            f"{len(offered)} of {len(problems)} questions have choices ({offered[0].id!r} first), "
            f"and {file} shows none: set teach.prompts to one with {BLANK}, such as choice"
        )
    if bare and shows:
        fault = (
            f"{file} shows choices, and {len(bare)} of {len(problems)} questions have none "
            f"({bare[0].id!r} first): set teach.prompts to math or yes_no, or add field 'choices'"
        )
    return held("prompts", fault, f"{kind}, as the questions are")


def _choices(params: Params, problems: Sequence[Problem]) -> Finding:
    """Check that a question whose answer is a letter says which choices there are."""
    if not golds.lettered(Bench.reading(params).own):
        return Finding("choices", "holds", "no answer is the letter of a choice")
    found = [(p.id, fault) for p in problems if (fault := golds.unoffered(p)) is not None]
    if not found:
        told = f"every answer is one of those of {len(problems)} questions"
        return Finding("choices", "holds", told)
    (first, fault), way = found[0], "mend those rows, or set grade.grader to another"
    told = f"{len(found)} of {len(problems)} questions, {first!r} first: {fault}; {way}"
    return Finding("choices", "fails", told)


def _dev(params: Params, dev: int) -> Finding:
    settings = params.section("mine", MineSettings)
    if dev == 0:
        return Finding("dev", "fails", "no problem is left for dev, by which rounds are chosen")
    state = "holds" if smallest_gain.enough(dev, settings) else "note"
    return Finding("dev", state, smallest_gain.told(dev, settings))  # type: ignore[arg-type]
