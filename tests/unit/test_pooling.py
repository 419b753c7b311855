"""The errors of several students put together."""

import json
from pathlib import Path

import pytest

from redistill.console.exceptions import RefusedError
from redistill.diagnosis import pool
from redistill.records import json_file, jsonl
from redistill.records.types import Error
from redistill.solutions import gaps


def error(problem: str, completion: str = "3+4=8", split: str = "train") -> Error:
    return Error.model_validate(
        {"id": problem, "problem": problem, "split": split, "completion": completion,
         "verdict": "wrong", "gap": "add"}
    )  # fmt: skip


def diagnosed(folder: Path, name: str, n: int = 10, *, stop: bool = False, **counts: int) -> Path:
    file = folder / f"{name}.json"
    told = {"stop": stop, "because": "made up"}
    profile = {"n": n, "gaps": {gap: counts.get(gap, 0) for gap in gaps.ALL}, "common": []}
    json_file.write_json(file, {"profile": profile, "decision": told})
    return file


def test_both_students_errors_on_a_problem_are_kept_and_told_apart():
    found, balance = pool.pool(
        {"r0": [error("p1"), error("p2")], "wide-r0": [error("p1", "3-4=1")]}
    )

    assert {row.id for row in found} == {"p1@r0", "p2@r0", "p1@wide-r0"}
    assert {row.completion for row in found if row.problem == "p1"} == {"3+4=8", "3-4=1"}
    assert {row.id: row.student for row in found} == {
        "p1@r0": "r0", "p2@r0": "r0", "p1@wide-r0": "wide-r0",
    }  # fmt: skip
    assert (balance.rows_in, balance.rows_out, balance.rejected) == (3, 3, {})


def test_what_two_students_wrote_alike_is_shown_once_and_counted():
    found, balance = pool.pool({"r0": [error("p1")], "wide-r0": [error("p1"), error("p2")]})

    assert [row.id for row in found] == ["p1@r0", "p2@wide-r0"]
    assert balance.rejected == {"the same completion": 1}
    assert balance.holds


def test_a_pool_of_a_pool_holds_the_errors_of_three_students(tmp_path: Path):
    two, _ = pool.pool({"r0": [error("p1", "a")], "wide-r0": [error("p1", "b")]})
    three, _ = pool.pool({"two": two, "deep-r0": [error("p1", "c")]})
    jsonl.write(tmp_path / "errors.jsonl", three)

    found = [(row.id, row.student) for row in jsonl.read(tmp_path / "errors.jsonl", Error)]
    assert found == [("p1@deep-r0", "deep-r0"), ("p1@r0@two", "r0"), ("p1@wide-r0@two", "wide-r0")]


def test_several_errors_of_a_student_on_a_problem_stay_together_and_in_order(tmp_path: Path):
    def wrong(name: str) -> list[Error]:
        ids = ("p1", "p1#2", "p1#3")
        return [error("p1", f"{name} {i}").model_copy(update={"id": i}) for i in ids]

    found, _ = pool.pool({"r0": wrong("a"), "wide-r0": wrong("b")})
    jsonl.write(tmp_path / "errors.jsonl", found)

    read = jsonl.read(tmp_path / "errors.jsonl", Error)
    assert [row.completion for row in read] == [
        "a p1", "a p1#2", "a p1#3", "b p1", "b p1#2", "b p1#3",
    ]  # fmt: skip
    assert read[1].id == "p1@r0#2"


def test_a_gap_is_common_by_its_share_of_all_answers(tmp_path: Path):
    files = [
        diagnosed(tmp_path, "r0", add=4, copying=1),
        diagnosed(tmp_path, "wide-r0", n=30, add=0, copying=7),
    ]

    found = pool.diagnosis(files, 0.15)
    read = json_file.write_json(tmp_path / "all.json", found) or gaps.read(tmp_path / "all.json")

    assert found["profile"]["n"] == 40
    assert found["profile"]["gaps"]["add"] == 4
    assert found["profile"]["common"] == ["copying"]  # 8 of 40, while add is 4 of 40
    assert read.common == ["copying"]


@pytest.mark.parametrize(("one", "other", "all_stop"), [(True, True, True), (True, False, False)])
def test_the_loop_stops_only_where_it_stops_for_every_student(
    one: bool, other: bool, all_stop: bool, tmp_path: Path
):
    files = [diagnosed(tmp_path, "a", stop=one), diagnosed(tmp_path, "b", stop=other)]

    assert pool.diagnosis(files, 0.1)["decision"]["stop"] is all_stop


@pytest.mark.parametrize("content", [{}, {"profile": {"n": 1, "gaps": {}}}, {"profile": []}])
def test_a_file_that_is_no_diagnosis_is_refused(content: dict, tmp_path: Path):
    file = tmp_path / "r0.json"
    file.write_text(json.dumps(content), encoding="utf-8")

    with pytest.raises(RefusedError, match=r"r0.json: not the diagnosis of a round"):
        pool.diagnosis([file], 0.1)


def test_a_teacher_is_asked_about_the_errors_of_all():
    from redistill.rationales import refine
    from redistill.records.types import Problem, Rationale
    from redistill.solutions.gaps import Diagnosis

    found, _ = pool.pool({"r0": [error("p1", "a")], "wide-r0": [error("p1", "b"), error("p2")]})
    problems = {n: Problem(id=n, question=n, answer="7") for n in ("p1", "p2", "p3")}
    before = [
        Rationale(id=n, problem=n, text="t", round="r0", teacher="t", status="first")
        for n in problems
    ]
    rules = refine.RefineSettings(
        manner="rewrite", own=0, scope="wrong", extend=False, max_loss=0.0
    )

    chosen = refine.to_rewrite(problems, before, found, Diagnosis([], stop=False), rules)

    counts = [(place, len(request.errors)) for place, request in chosen.placed]
    assert counts == [(0, 2), (1, 1)]
