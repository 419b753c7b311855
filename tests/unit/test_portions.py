"""Stages without a model go through their records in portions, and come to the same as at once."""

import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from redistill.grading.grader import Decision, Grader, Texts, load_grader
from redistill.problems import splits
from redistill.problems.held_out import HeldOut
from redistill.rationales import generate, guards, refine, teacher
from redistill.rationales.teacher import Engaged, Reply, Request, Sitting, TeachSettings
from redistill.records import jsonl, spool
from redistill.records.types import Error, Problem, Rationale
from redistill.solutions.gaps import Diagnosis
from redistill.tasks import wordproblems
from redistill.teachers import replay, tutor

NUMERIC = load_grader("numeric")
TERSE = tutor.Settings(style="equations")
GUARD = guards.GuardSettings(max_growth=10.0, max_repair=10.0, min_copied=10)
RULES = refine.RefineSettings(manner="rewrite", own=0, scope="wrong", extend=False, max_loss=0.0)
SOURCE = replay.Settings(rationales="r0.jsonl", texts=None, store=None)
PROBLEMS = [  # 3+7 has no smaller steps, 48+27 has
    Problem(id=f"p{n}", question=f"{left} and {right}?", answer=str(left + right),
            solution=f"<<{left}+{right}={left + right}>>\n#### {left + right}")
    for n, (left, right) in enumerate(((1, 7), (48, 27), (3, 7), (58, 37), (4, 7), (5, 7), (6, 7)))
]  # fmt: skip


class Watched:
    """The tutor, with how many problems or requests it was given at a time."""

    def __init__(self, *, asks: bool = False) -> None:
        self.ASKS = asks
        self.given: list[int] = []

    def explain(
        self, problems: Sequence[Problem], settings: tutor.Settings, sitting: Sitting
    ) -> list[list[Reply]]:
        self.given.append(len(problems))
        return tutor.explain(problems, settings, sitting)

    def refine(
        self, requests: Sequence[Request], settings: tutor.Settings, sitting: Sitting
    ) -> list[list[Reply]]:
        self.given.append(len(requests))
        return tutor.refine(requests, settings, sitting)


def engaged(module: object, choose: str = "first", settings: object = TERSE) -> Engaged:
    rules = TeachSettings.model_validate(
        {
            "teacher": "t", "refiner": "t", "prompts": "math", "attempts": 2, "draws": 1,
            "choose": choose, "probe": None, "unmarked": "reject",
        }
    )  # fmt: skip
    return Engaged("t", module, settings, rules)  # type: ignore[arg-type]


def first(
    module: Engaged, problems: Sequence[Problem] = PROBLEMS, grader: Grader = NUMERIC
) -> generate.Generated:
    return generate.generate(
        problems, module, grader, HeldOut(), lambda texts: [0 for _ in texts],
        round="r0", max_loss=1.0,
    )  # fmt: skip


def again(module: Engaged, grader: Grader = NUMERIC) -> refine.Refined:
    before = [*first(engaged(Watched())).rationales]
    errors = [
        Error(id=p.id, problem=p.id, split="train", completion="?", verdict="wrong", gap="add")
        for p in PROBLEMS[1:6]
    ]
    known = {p.id: p for p in PROBLEMS}
    asked = refine.to_rewrite(known, before, errors, Diagnosis([], stop=False), RULES)
    return refine.refine(
        asked, before, module, grader, HeldOut(), lambda texts: [0 for _ in texts], GUARD,
        round="r1",
    )  # fmt: skip


def test_first_texts_are_those_of_asking_about_all_at_once(monkeypatch: pytest.MonkeyPatch):
    unsolvable = PROBLEMS[3].model_copy(update={"id": "x", "solution": None})
    problems = [*PROBLEMS[:4], unsolvable, *PROBLEMS[4:]]
    watched = Watched()
    whole = first(engaged(Watched()), problems)

    monkeypatch.setattr(teacher, "PORTION", 3)
    parts = first(engaged(watched), problems)

    assert watched.given == [3, 3, 1, 2]  # of the second three, one is asked about again
    assert [*parts.rationales] == [*whole.rationales]
    assert parts.as_dict() == whole.as_dict()
    assert (parts.unsolved, parts.balance.rows_out) == (["x"], 7)


def test_rewrites_are_those_of_asking_about_all_at_once(monkeypatch: pytest.MonkeyPatch):
    watched = Watched()
    whole = again(engaged(Watched()))

    monkeypatch.setattr(teacher, "PORTION", 2)
    parts = again(engaged(watched))

    assert watched.given == [2, 1, 2, 1, 1, 1]  # what comes back unchanged is asked about again
    assert [*parts.rationales] == [*whole.rationales]
    assert parts.as_dict() == whole.as_dict()
    assert (parts.asked, parts.rewritten, parts.kept) == (
        5,
        2,
        {refine.NOT_WRONG: 2, guards.UNCHANGED: 3},
    )


@pytest.mark.parametrize(("asks", "choose"), [(True, "first"), (False, "likely"), (False, "rsr")])
def test_a_model_and_a_choice_by_the_student_are_asked_about_all_at_once(
    asks: bool, choose: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(teacher, "PORTION", 2)
    watched = Watched(asks=asks)

    first(engaged(watched, choose))

    assert watched.given == [7]


class Paid:
    """The numeric grader as if its verdicts cost money, with how many were ordered at a time."""

    PAID = True

    def __init__(self) -> None:
        self.ordered: list[int] = []

    def strict(self, completion: str) -> str | None:
        return NUMERIC.strict(completion)

    lenient = strict

    def equal(self, answer: str | None, gold: str) -> bool:
        return NUMERIC.equal(answer, gold)

    def prose(self, text: str) -> str:
        return text

    def foresee(self, texts: Texts) -> None:
        self.ordered.append(len(texts))

    def decide(self, problem: Problem, text: str) -> Decision:
        answer = self.strict(text)
        return Decision(answer, *[self.equal(answer, problem.answer)] * 2)

    def unread(self, problems: object, *, thorough: bool) -> Iterator[tuple[Problem, str]]:
        return iter(())

    def figures(self) -> dict[str, object]:
        return {}


def test_verdicts_that_cost_money_are_ordered_all_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(teacher, "PORTION", 2)
    judge = Paid()

    first(engaged(Watched()), grader=judge)
    assert judge.ordered == [7]

    judge.ordered.clear()
    again(engaged(Watched()), grader=judge)
    assert judge.ordered == [5, 0]  # the tutor has no second text


def test_a_source_to_replay_is_read_once_for_all_portions_and_anew_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(teacher, "PORTION", 2)
    given = [*first(engaged(Watched())).rationales]
    jsonl.write(Path("r0.jsonl"), given)
    read: list[Path] = []

    def reading(path: Path, kind: type[Rationale]) -> Sequence[Rationale]:
        read.append(path)
        return jsonl.read(path, kind)

    monkeypatch.setattr(replay.spool, "read", reading)
    replayed = first(engaged(replay, settings=SOURCE))
    jsonl.write(Path("r0.jsonl"), given[:2])
    fewer = first(engaged(replay, settings=SOURCE))

    assert [row.text for row in replayed.rationales] == [row.text for row in given]
    assert ([row.problem for row in fewer.rationales], len(read)) == (["p0", "p1"], 2)


def test_problems_that_are_laid_out_take_a_few_bytes_each(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spool, "IN_MEMORY", 1)

    def taken(count: int) -> int:
        asked = wordproblems.Settings.model_validate(
            {
                "train": count,
                "dev": 2,
                "test": 2,
                "steps": [1],
                "sizes": [{"up_to": 900, "share": 1}],
            }
        )
        tracemalloc.start()
        found, _ = splits.split(wordproblems.problems(asked, 1))
        assert len(found["train"]) > 0.99 * count
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    taken(10)  # what is made once
    few, many = taken(100), taken(1100)

    assert (many - few) / 1000 < 300  # bytes; a problem itself takes 2,500
