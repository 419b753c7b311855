"""Grading code by the tests of its problem, which are run in processes that are shut in."""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from redistill.console.exceptions import CONFIG, RefusedError
from redistill.grading.answers import MARKER
from redistill.grading.grader import UNRUN, Bench, Decision, GradeSettings, Texts
from redistill.records.types import Problem
from redistill.sandbox import exam, walls
from redistill.sandbox.exam import Limits, Result
from redistill.sandbox.inside.worker import free_names
from redistill.settings.sections import Params

PLACE = "grade.tests"
FAILS = "fails its tests"
EDGE = r"^[ \t]{0,3}"  # of a line, before a fence or the marker
FENCE = rf"(?:```|~~~)[^\n]{{0,40}}\n(.*?)(?:{EDGE}(?:```|~~~)[ \t]*$|\Z)"
FENCED = re.compile(EDGE + FENCE, re.MULTILINE | re.DOTALL)
# A marker, with the fence that may open on its line; a fence alone, whose #### are comments.
PARTS = re.compile(rf"{EDGE}(?:({MARKER})(?:[ \t]*{FENCE})?|{FENCE})", re.MULTILINE | re.DOTALL)
ASKING = "no name in the tests is one that the code could define"
UNCALLED = (
    "its tests end before they call a function of the code; have them call it where they stand, "
    "not in a function that nobody calls, and import the standard library alone"
)


def settings_of(params: Params) -> Limits:
    """Return the settings in *params*; raises RefusedError (78) where there are none."""
    content = params.section("grade", GradeSettings).tests
    if content is None:
        raise RefusedError(
            f"{params.file}: {PLACE}: the tests have no limits; params/own-code.yaml has some to "
            "begin with",
            code=CONFIG,
        )
    return params.hold(PLACE, content, Limits)


def configured(bench: Bench) -> "Examiner":
    """Make the grader of the run of *bench*; raises RefusedError (78) where nothing can be run."""
    return Examiner(settings_of(bench.params), works=bench.works, trusts=bench.trusts)


class Examiner:
    """
    A grader that runs code: the gold answer of a problem is the source of its tests.

    What was run once is not run again. Where it does not work, for a look at what is there, it
    knows of no code whether it is right: it notes tests and code as *unasked*, and takes the code
    for right where it *trusts*.
    """

    def __init__(self, limits: Limits, *, works: bool, trusts: bool = False) -> None:
        self.limits, self.works, self.trusts = limits, works, trusts
        self.unasked: set[tuple[str, str]] = set()
        self._results: dict[tuple[str, str], Result] = {}

    def strict(self, completion: str) -> str | None:
        """
        Read the code behind the last ``####`` of *completion*, in a fence or without one.

        It begins a line outside a fence: code has such lines of its own, which are comments.
        """
        _, after = _parted(completion)
        return _code(after) if after is not None else None

    def lenient(self, completion: str) -> str | None:
        """Read that code, or else the last code in a fence."""
        fenced = FENCED.findall(completion)
        return self.strict(completion) or (fenced[-1].strip() or None if fenced else None)

    def equal(self, answer: str | None, gold: str) -> bool:
        """Say whether two texts are the same; of code the tests alone say what it is worth."""
        return answer == gold

    def prose(self, text: str) -> str:
        """Return *text* without its code."""
        return FENCED.sub("", _parted(text)[0])

    def foresee(self, texts: Texts) -> None:
        """Run the code of each of *texts* against the tests of its problem."""
        found = ((p.answer, code) for p, t in texts for code in (self.strict(t), self.lenient(t)))
        self._run((tests, code) for tests, code in found if code is not None)

    def decide(self, problem: Problem, text: str) -> Decision:
        """Say what the tests of *problem* make of the code in *text*."""
        strict, lenient = self.strict(text), self.lenient(text)
        if lenient is None:
            return Decision(None, False, False)
        readings = [(problem.answer, code) for code in (strict, lenient) if code is not None]
        self._run(readings)
        if not all(pair in self._results for pair in readings):
            return Decision(strict, self.trusts, self.trusts, UNRUN)
        loose = self._results[problem.answer, lenient].passed
        if strict is None:
            return Decision(None, False, loose)
        result = self._results[problem.answer, strict]
        return Decision(str(result), result.passed, result.passed or loose, FAILS)

    def unread(
        self, problems: Iterable[Problem], *, thorough: bool
    ) -> Iterator[tuple[Problem, str]]:
        """
        Find each of *problems* whose tests are none.

        They have to be Python, and to call something that the code defines; where *thorough*, they
        are run without code, which has to end where it lacks the first function, and with the
        code of the problem's solution, if it has some, which has to pass.
        """
        sound = []
        for problem in problems:
            if (fault := _fault(problem.answer)) is not None:
                yield problem, fault
            else:
                sound.append(problem)
        if not (thorough and self.works):
            return
        worked = {p.id: code for p in sound if (code := self.lenient(p.solution or "")) is not None}
        self._run((p.answer, "") for p in sound)
        self._run((p.answer, worked[p.id]) for p in sound if p.id in worked)
        for problem in sound:
            if not (bare := self._results[problem.answer, ""]).lacks:
                yield problem, f"{UNCALLED} ({bare})"
            code = worked.get(problem.id)
            if code is not None and not (result := self._results[problem.answer, code]).passed:
                yield problem, f"its own solution fails the tests ({result})"

    def figures(self) -> dict[str, Any]:
        """Return how many runs came to what."""
        counts = Counter(result.kind for (_, code), result in self._results.items() if code)
        return {"runs": {kind: counts[kind] for kind in exam.KINDS}}

    @cached_property
    def _wall(self) -> walls.Wall:
        return walls.choose(insist=self.limits.insist)

    def _run(self, pairs: Iterable[tuple[str, str]]) -> None:
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self._results]
        if not self.works:
            self.unasked.update(new)
        elif new:
            results = exam.sit_all(new, self.limits, self._wall)
            self._results |= dict(zip(new, results, strict=True))


def _parted(text: str) -> tuple[str, str | None]:
    """What is before the marker in *text* and what is after it, None where it has none."""
    last = None
    for part in PARTS.finditer(text):
        last = part if part[1] else last
    return (text[: last.start(1)], text[last.end(1) :]) if last else (text, None)


def _code(text: str) -> str | None:
    """The code that *text* is, out of its fence where it has one; None where there is none."""
    found = FENCED.search(text)
    return (found[1] if found else text).strip() or None


def _fault(tests: str) -> str | None:
    """Say what is wrong with *tests* as they stand; None where nothing is."""
    try:
        tree = ast.parse(tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as fault:
        return f"its tests are no Python: {fault}"
    return None if free_names(tree) else ASKING
