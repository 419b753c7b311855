"""Grading by a language model, which judges an answer by a rubric; every verdict is paid once."""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field

from redistill.analysis.agreement import Agreement, cohen
from redistill.console.exceptions import CONFIG, RefusedError
from redistill.console.safe_text import safe_text
from redistill.grading import judging, labelled
from redistill.grading.answers import MARKER
from redistill.grading.grader import UNASKED, WRONG, Bench, Decision, GradeSettings, Texts
from redistill.grading.judging import Verdict
from redistill.grading.labelled import Labelled
from redistill.llm import answers, chat_service, client, other_models, purchase, store
from redistill.llm.budget import Prices, SpendingSettings
from redistill.llm.chat_service import Service
from redistill.llm.headers import Variable
from redistill.llm.request import Request
from redistill.llm.response import Reading
from redistill.records.fingerprint import normalised
from redistill.records.types import Problem
from redistill.settings.bounds import Length, Share, Text
from redistill.settings.sections import Params, Section

PAID = True
PLACE = "grade.judge"
HERE = "REDISTILL_JUDGE_URL"  # where the same service is reached from this machine
STAGE = "judge"  # of its calls, in the ledger
UNUSABLE = "no usable verdict"
BLOCK = 500  # requests that are looked up at a time, and verdicts that are looked at first
SHOWN = 200  # characters of a reply in a message


class Settings(Section):
    """
    Section ``grade.judge``: the service and the model, as for a teacher, and how it judges.

    *rubric* is a file that says when an answer is correct. What the model is *shown* is the answer
    behind ``####`` or the whole completion, of either at most the last *max_completion* characters.
    The model is held against people's labels in the file *labelled* before it judges anything else,
    and refused where Cohen's kappa is below *least_kappa*; null, both of them, take it on trust.
    *max_unusable* is the share of replies that may be no verdict. *prices* are those of the model,
    null where they are those of ``spending``.
    """

    base_url: Text
    key: Text | None
    model: Text
    body: dict[str, Any]
    rubric: Text
    shown: Literal["answer", "completion"]
    max_completion: Length
    labelled: Text | None
    least_kappa: Annotated[float, Field(ge=0, le=1)] | None
    max_unusable: Share
    prices: Prices | None
    headers: dict[str, str | Variable] = Field(default_factory=dict)
    query: dict[str, str | Variable] = Field(default_factory=dict)


def settings_of(params: Params) -> Settings:
    """Return the settings in *params*; raises RefusedError (78) for what cannot work."""
    content = params.section("grade", GradeSettings).judge
    if content is None:
        raise RefusedError(
            f"{params.file}: {PLACE}: the judge has no settings; params/own-answers.yaml has some "
            "to begin with",
            code=CONFIG,
        )
    found = params.hold(PLACE, content, Settings)
    if found.body.get("temperature", 0) != 0:
        raise RefusedError(
            f"{PLACE}.body.temperature: a judge is asked at 0, where it says the same again; got "
            f"{found.body['temperature']!r}",
            code=CONFIG,
        )
    if (found.labelled is None) != (found.least_kappa is None):
        raise RefusedError(
            f"{PLACE}: labelled and least_kappa belong together: a file of labelled answers and "
            "the least kappa, or null for both to take the judge on trust",
            code=CONFIG,
        )
    return found


def service(settings: Settings) -> Service:
    """Return the service that *settings* name."""
    s = settings
    return Service(PLACE, s.base_url, s.key, s.model, s.body, s.headers, s.query, here=HERE)


def ready(params: Params) -> None:
    """Refuse where what a call needs of this machine is missing: a key, or a way to the service."""
    service(settings_of(params)).ready()


def configured(bench: Bench) -> "Judge":
    """Make the judge of the run of *bench*; raises RefusedError (78) for settings that are none."""
    settings = settings_of(bench.params)
    limits = bench.params.section("spending", SpendingSettings)
    if settings.prices is not None:
        limits = limits.model_copy(update={"prices": settings.prices})
    service(settings).check(limits)
    for name in ("rubric", "labelled"):
        if (path := getattr(settings, name)) is not None:
            labelled.tracked(f"{PLACE}.{name}", path)
    return Judge(settings, limits, bench)


class Judge:
    """
    A grader that asks a language model, whose verdicts come from the record store or go there.

    *unasked* are the calls without an answer that a look at what is stored has come across.
    """

    PAID = True

    def __init__(self, settings: Settings, limits: SpendingSettings, bench: Bench) -> None:
        self.settings, self.limits, self.bench = settings, limits, bench
        self.unasked: dict[str, Request] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._odd = ""  # what came, of the first reply that is no verdict
        self._service = service(settings)
        self._told: set[tuple[str, str]] = set()

    def strict(self, completion: str) -> str | None:
        """
        Read what stands after the last ``####`` of *completion*, all its lines, else None.

        A reading of the rest would be another call, so there is no other one.
        """
        _, marker, after = completion.rpartition(MARKER)
        return (after.strip() or None) if marker else None

    lenient = strict

    def equal(self, answer: str | None, gold: str) -> bool:
        """Say whether *answer* is the reference *gold* but for case, spaces and final marks."""
        return answer is not None and normalised(answer) == normalised(gold)

    def prose(self, text: str) -> str:
        """Return *text*: all of it is language."""
        return text

    def foresee(self, texts: Texts) -> None:
        """Have a verdict on each of *texts* that has an answer, from the store or for money."""
        answered = ((p, t) for p, t in texts if self.strict(t) is not None)
        asked = (self._request(p, t) for p, t in answered if self._asks(p, t))
        self._settle({r.key: r for r in asked if r.key not in self._verdicts})

    def decide(self, problem: Problem, text: str) -> Decision:
        """Say whether *text* is right by the verdict on it; one that is unusable is no pass."""
        answer = self.strict(text)
        if answer is None:
            return Decision(None, False, False)
        if not self._asks(problem, text):
            return Decision(answer, True, True)
        key = self._request(problem, text).key
        if key not in self._verdicts:
            self.foresee([(problem, text)])
        if (verdict := self._verdicts.get(key)) is None:
            return Decision(answer, self.bench.trusts, self.bench.trusts, UNASKED)
        right = verdict == "right"
        return Decision(answer, right, right, UNUSABLE if verdict == "unusable" else WRONG)

    def unread(
        self, problems: Iterable[Problem], *, thorough: bool
    ) -> Iterator[tuple[Problem, str]]:
        """
        Find each of *problems* whose reference is not read back as itself; nothing is asked.

        Raises RefusedError where there is no rubric, or no sample that the settings name.
        """
        assert self._rubric  # noqa: S101 - refused before anything is paid
        if self.settings.labelled is not None:
            labelled.read(labelled.tracked(f"{PLACE}.labelled", self.settings.labelled))
        for problem in problems:
            if not self.equal(self.strict(f"So it is.\n{MARKER} {problem.answer}"), problem.answer):
                yield problem, f"answer {problem.answer!r} is not read whole behind {MARKER}"

    def figures(self) -> dict[str, Any]:
        """
        Return the verdicts by kind, and the agreement with people's labels.

        Raises RefusedError (65) where more than *max_unusable* of the replies are no verdict.
        """
        counts = Counter(self._verdicts.values())
        told = {kind: counts[kind] for kind in ("right", "wrong", "unusable")}
        self._refuse_unusable(counts["unusable"], counts.total(), self._odd)
        agreement = {"agreement": self.agreement.as_dict()} if self._measured else {}
        return {"model": self.settings.model, "verdicts": told, **agreement}

    @cached_property
    def sample(self) -> list[tuple[Labelled, Verdict, str]]:
        """
        The labelled answers, each with the verdict of this judge and the reply that says it.

        Verdicts that are not stored are asked for. Raises RefusedError where there is no sample.
        """
        if self.settings.labelled is None:
            raise RefusedError(
                f"{PLACE}.labelled: is null: there is nothing to measure the judge by"
            )
        rows = labelled.read(labelled.tracked(f"{PLACE}.labelled", self.settings.labelled))
        found = [(row, self._request(row.problem, row.completion, row.completion)) for row in rows]
        readings = self._answers({request.key: request for _, request in found})
        return [
            (row, _verdict(readings, r), _came(readings[r.key]) if r.key in readings else "")
            for row, r in found
        ]

    @property
    def agreement(self) -> Agreement:
        """The agreement with people's labels; an unusable verdict calls nothing right."""
        return cohen((row.right, verdict == "right") for row, verdict, _ in self.sample)

    @property
    def _measured(self) -> bool:
        """Whether a run has this judge measured: it is by a file, and it works."""
        return self.bench.works and self.settings.labelled is not None

    @cached_property
    def _rubric(self) -> str:
        path = labelled.tracked(f"{PLACE}.rubric", self.settings.rubric)
        try:
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as problem:
            raise RefusedError(f"{PLACE}.rubric: {path} cannot be read: {problem}") from problem
        if not text:
            raise RefusedError(f"{PLACE}.rubric: {path} is empty; say when an answer is correct")
        return text

    def _asks(self, problem: Problem, text: str) -> bool:
        """Whether a verdict on *text* takes a call: not where the answer alone is the reference."""
        known = self.settings.shown == "answer" and self.equal(self.strict(text), problem.answer)
        return not known

    def _request(self, problem: Problem, text: str, answer: str | None = None) -> Request:
        """The call about *text*, of which *answer* is shown where the answer alone is."""
        if self.settings.shown == "answer":
            text = self.strict(text) or answer or ""
        written = judging.messages(self._rubric, problem, text, self.settings.max_completion)
        return self._service.request(written, 0, problem.id, None)

    def _settle(self, requests: dict[str, Request]) -> None:
        """
        Have the verdicts that *requests* ask for, as far as this judge is to work for them.

        Those that are not bought in batches are not all bought where of the first ones too many are
        no verdicts.
        """
        if requests and self._measured:
            self.hold()
        keys = list(requests)
        first = BLOCK if len(keys) > BLOCK and self.bench.works and not purchase.manner() else 0
        if first:
            self._note({key: requests[key] for key in keys[:first]})
            unusable = sum(self._verdicts[key] == "unusable" for key in keys[:first])
            self._refuse_unusable(unusable, first, self._odd)
        self._note({key: requests[key] for key in keys[first:]})

    def _note(self, requests: dict[str, Request]) -> None:
        """Have the answers to *requests*, and keep the verdict in each."""
        readings = self._answers(requests)
        for key, request in requests.items():
            if key not in readings:
                continue
            self._verdicts[key] = _verdict(readings, request)
            if self._verdicts[key] == "unusable":
                self._odd = self._odd or f"{request.problem}: {_came(readings[key])}"

    def _answers(self, requests: dict[str, Request]) -> dict[str, Reading]:
        """The answers to *requests* in the store; what is missing is asked for, or noted."""
        file, keys = store.path(), list(requests)
        readings: dict[str, Reading] = {}
        with store.reading(file) as known:
            for at in range(0, len(keys), BLOCK):
                readings |= answers.known(known, keys[at : at + BLOCK])
        other_models.check(requests, readings, self.limits)
        missing = {key: request for key, request in requests.items() if key not in readings}
        if missing and self.bench.works:
            occasion = client.Occasion(STAGE, self.bench.at, self._told)
            readings |= chat_service.ask(missing, self._service, self.limits, occasion, file)
        elif missing:
            self.unasked |= missing
        return readings

    def hold(self) -> None:
        """Refuse a judge that agrees with the labelled answers less than the settings ask for."""
        least = self.settings.least_kappa
        odd = [f"{row.id}: {came}" for row, verdict, came in self.sample if verdict == "unusable"]
        self._refuse_unusable(len(odd), len(self.sample), "".join(odd[:1]))
        found = self.agreement
        if least is not None and (found.kappa is None or found.kappa < least):
            raise RefusedError(
                f"{PLACE}: the judge {self.settings.model} does not agree with the labels in "
                f"{self.settings.labelled} ({found}), and least_kappa is {least:g}: its verdicts "
                "would steer the run; mend the rubric (redistill judge shows where they differ), "
                "or take another model"
            )

    def _refuse_unusable(self, unusable: int, n: int, first: str) -> None:
        """Refuse more than *max_unusable* such of *n*; *first* says what came in place of one."""
        if unusable > self.settings.max_unusable * n:
            raise RefusedError(
                f"{PLACE}: {unusable} of {n} replies of {self.settings.model} are no verdict, and "
                f"max_unusable is {self.settings.max_unusable:g}; a verdict is the mark of the "
                f"call and CORRECT or INCORRECT, alone, and the first that is none is of "
                f"{safe_text(first)}. A new run finds the same replies in the store: raise "
                "max_completion_tokens or max_tokens in the body where they are cut off, mend the "
                "rubric, raise max_unusable, or have them asked for again by redistill retry "
                "--where stage=judge --where problem=ID"
            )


def _came(reading: Reading) -> str:
    """What came as *reading*, as far as a message shows it: why it is none, and its text."""
    ended = "" if reading.outcome == "answered" else f"{reading.outcome.replace('_', ' ')}: "
    return f"{ended}{reading.text[:SHOWN]!r}"


def _verdict(readings: dict[str, Reading], request: Request) -> Verdict:
    """The verdict in the answer to *request*; one that is cut off or refused is unusable."""
    reading = readings.get(request.key)
    if reading is None or reading.outcome != "answered":
        return "unusable"
    return judging.read(reading.text, request.messages[-1]["content"])
