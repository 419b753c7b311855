"""Tasks written for lm-evaluation-harness, and the samples that it logs, read back."""

import importlib.util
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from benchmarks.harness import compared
from redistill.cli.main import main
from redistill.console.exceptions import RefusedError
from redistill.grading.grader import load_grader, predict
from redistill.harness import reading, samples, tasks
from redistill.problems.sets import ProblemSet
from redistill.records.types import Problem
from redistill.students.model.settings import StudentSettings
from tests.settings import shipped

FIGS = Problem(id="p1", question="How many figs?", answer="18")
PETS = Problem(id="p2", question="Which purrs?", answer="B", choices={"A": "dog", "B": "cat"})


def asking(chat: bool = False, **student: object) -> tasks.Asking:
    asked = shipped().section("student", StudentSettings).model_copy(update=student)
    return tasks.Asking(asked, chat, 400)


def sample(place: int, text: str, target: str = "18", **more: object) -> dict:
    return {"doc_id": place, "doc": {}, "target": target, "resps": [[text]], **more}


def logged(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path, grader: str = "numeric") -> samples.Samples:
    return samples.read(path, load_grader(grader))


def test_a_task_has_the_rows_of_its_set_as_the_student_is_asked(tmp_path: Path):
    sets = {"test": ProblemSet([FIGS]), "pets": ProblemSet([PETS], grader="choice")}
    names = tasks.write(tmp_path / "out", sets, asking(system="Be brief."), "numeric")

    assert names == ["redistill_pets", "redistill_test"]
    rows = pq.read_table(tmp_path / "out/test.parquet").to_pylist()
    asked = "Be brief.\nHow many figs?\n"
    assert rows == [{"id": "p1", "prompt": asked, "answer": "18", "grader": "numeric"}]
    text = (tmp_path / "out/redistill_pets.yaml").read_text(encoding="utf-8")
    assert "filter_fn: !function reading.choice" in text
    assert '"max_gen_toks": 400' in text
    assert str(tmp_path / "out/pets.parquet") in text


def test_through_a_chat_template_the_user_s_turn_is_passed_on_and_the_system_turn_named(
    tmp_path: Path,
):
    chat = asking(chat=True, system="Be brief.", template_arguments={"enable_thinking": False})
    tasks.write(tmp_path / "out", {"test": ProblemSet([PETS])}, chat, "choice")

    rows = pq.read_table(tmp_path / "out/test.parquet").to_pylist()
    assert rows[0]["prompt"] == "Which purrs?\n(A) dog\n(B) cat"
    assert chat.arguments() == ["--apply_chat_template", "--system_instruction", "Be brief."]
    assert "enable_thinking" in str(chat.loss())
    assert asking().arguments() == []
    assert asking().loss() is None


def test_the_filters_beside_the_tasks_read_as_our_graders_do(tmp_path: Path):
    tasks.write(tmp_path / "out", {"test": ProblemSet([FIGS])}, asking(), "numeric")
    spec = importlib.util.spec_from_file_location("written", tmp_path / "out/reading.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    texts = ["#### 18.00", "#### 81", "It is 18.", "#### 18 apples"]

    found = module.numeric([texts], [{"answer": "18"}])

    assert found == [["18", "81", reading.NONE, "18"]]


@pytest.mark.parametrize(
    ("grader", "gold", "texts"),
    [
        ("numeric", "18", ["#### 18.00", "#### 1,8", "18", "#### $18"]),
        ("choice", "B", ["#### (b)", "#### C", "B", "#### B or C"]),
        ("yes_no", "yes", ["#### True.", "#### no", "yes", "#### yes and no"]),
    ],
)
def test_a_filter_gives_the_gold_exactly_where_the_grader_says_right(
    grader: str, gold: str, texts: list[str]
):
    judge = load_grader(grader)
    (found,) = reading.of(grader)([texts], [{"answer": gold}])

    assert [text == gold for text in found] == [
        judge.equal(judge.strict(text), gold) for text in texts
    ]
    assert found[0] == gold


def test_prompts_that_are_other_tokens_as_a_whole_are_told(tmp_path: Path):
    sets, plain = {"test": ProblemSet([FIGS])}, asking(prompt="Question: [[question]]")
    whole, parts = (lambda text: [len(text)]), (lambda problem: [10, 14])

    told = tasks.respelt(sets, plain, whole, parts)

    assert "1 of 1 prompts are other tokens for the harness" in str(told)
    assert tasks.respelt(sets, plain, whole, lambda problem: [24]) is None
    assert tasks.respelt(sets, asking(chat=True), whole, parts) is None


def test_a_folder_with_other_files_is_not_written_to(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(RefusedError, match=r"notes.txt: no file of an export; name another folder"):
        tasks.write(tmp_path, {"test": ProblemSet([FIGS])}, asking(), "numeric")


def test_samples_are_judged_by_our_grader_and_what_is_judged_otherwise_is_told(tmp_path: Path):
    path = logged(
        tmp_path / "samples.jsonl",
        sample(0, "#### 18.0", exact_match=0.0),
        sample(1, "#### 17", exact_match=0.0),
        sample(2, "It is 18.", exact_match=1.0),
    )
    found = read(path)

    assert [p.verdict for p in found.predictions] == ["correct", "wrong", "no_answer"]
    assert [p.problem for p in found.apart()] == ["doc 0", "doc 2"]


def test_a_gold_answer_is_read_out_of_a_worked_solution(tmp_path: Path):
    worked = "9+9=<<9+9=18>>18\n#### 18"

    assert read(logged(tmp_path / "s.jsonl", sample(0, "#### 18", target=worked))).right == 1


@pytest.mark.parametrize(
    ("grader", "target", "text"),
    [
        ("choice", "(B)", "#### B"),
        ("yes_no", "True", "#### yes"),
        ("numeric", "$1,200", "#### 1200"),
        ("numeric", 18, "#### 18"),
    ],
)
def test_a_gold_answer_in_the_dress_of_its_task_is_the_answer(
    tmp_path: Path, grader: str, target: object, text: str
):
    path = logged(tmp_path / "s.jsonl", sample(0, text, target=target))

    assert read(path, grader).right == 1


def test_where_the_target_is_the_place_of_a_choice_the_row_s_letter_is_the_gold(tmp_path: Path):
    row = {**sample(0, "#### C", target=2), "doc": {"answer": "C"}}

    assert read(logged(tmp_path / "s.jsonl", row), "choice").right == 1


@pytest.mark.parametrize(("grader", "target"), [("choice", "18"), ("yes_no", "B")])
def test_gold_answers_that_the_grader_does_not_read_are_refused(
    tmp_path: Path, grader: str, target: str
):
    path = logged(tmp_path / "s.jsonl", sample(0, "#### 18", target=target))

    with pytest.raises(RefusedError, match=rf"line 1 field 'target': '{target}' is no answer that"):
        read(path, grader)


def test_samples_of_an_exported_task_name_their_grader(tmp_path: Path):
    row = {**sample(0, "#### no", target="no"), "doc": {"id": "y", "grader": "yes_no"}}

    assert samples.grader_named(logged(tmp_path / "ours.jsonl", row)) == "yes_no"
    assert samples.grader_named(logged(tmp_path / "theirs.jsonl", sample(0, "no"))) is None


def test_of_a_task_with_several_filters_a_sample_counts_once(tmp_path: Path):
    rows = [sample(0, "#### 18", filter=name) for name in ("strict", "flexible")]

    assert len(read(logged(tmp_path / "s.jsonl", *rows)).predictions) == 1


def test_two_files_are_compared_problem_by_problem(tmp_path: Path):
    before = read(logged(tmp_path / "a.jsonl", *(sample(n, "#### 1") for n in range(8))))
    after = read(logged(tmp_path / "b.jsonl", *(sample(n, "#### 18") for n in range(8))))

    found = samples.compare(before, after)["strict"]

    assert (found.n, found.fixed, found.broken) == (8, 8, 0)
    assert found.p == pytest.approx(0.0078125)


def test_files_are_compared_in_each_way_of_judging_that_both_have(tmp_path: Path):
    """Tasks of others ask for no marker: strictly nothing is right there, on either side."""
    before = [sample(n, "It is 17.", exact_match=0.0) for n in range(4)]
    after = [sample(n, "It is 18.", exact_match=float(n > 0)) for n in range(4)]
    a, b = (logged(tmp_path / f"{n}.jsonl", *r) for n, r in (("a", before), ("b", after)))

    found = samples.compare(read(a), read(b))

    assert {way: row.fixed for way, row in found.items()} == {
        "strict": 0,
        "lenient": 4,
        "the harness": 3,
    }
    silent = read(logged(tmp_path / "c.jsonl", *(sample(n, "It is 18.") for n in range(4))))
    assert [*samples.compare(read(a), silent)] == ["strict", "lenient"]


def test_samples_of_other_problems_are_not_compared(tmp_path: Path):
    before = read(logged(tmp_path / "a.jsonl", sample(0, "#### 1", doc_hash="x")))
    after = read(logged(tmp_path / "b.jsonl", sample(0, "#### 1", doc_hash="y")))

    with pytest.raises(RefusedError, match=r"1 problems are not those of .*a.jsonl, 'doc 0' first"):
        samples.compare(before, after)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"question": "?"}, r"line 1 field 'doc_id': missing, so this is no sample"),
        ({**sample(0, ""), "resps": [[[-1.5, False]]]}, r"line 1 field 'resps': expected \[\[text"),
        ({**sample(0, "#### 1"), "target": None}, r"line 1 field 'target': expected the gold"),
    ],
)
def test_what_is_no_sample_of_a_text_is_refused_by_line_and_field(
    tmp_path: Path, row: dict, told: str
):
    with pytest.raises(RefusedError, match=told):
        read(logged(tmp_path / "s.jsonl", row))


def test_a_line_that_is_no_json_is_refused(tmp_path: Path):
    (tmp_path / "s.jsonl").write_text("{\n")

    with pytest.raises(RefusedError, match=r"s.jsonl"):
        read(tmp_path / "s.jsonl")


def test_a_file_without_samples_is_refused(tmp_path: Path):
    (tmp_path / "s.jsonl").write_text("")

    with pytest.raises(RefusedError, match=r"holds no samples; log them with lm_eval"):
        read(tmp_path / "s.jsonl")


def test_the_command_prints_both_files_and_their_comparison(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (("a", "#### 1"), ("b", "#### 18")):
        logged(tmp_path / f"{name}.jsonl", *(sample(n, text, exact_match=0.0) for n in range(8)))

    ran = CliRunner().invoke(main, ["import", "lm-eval", "a.jsonl", "b.jsonl", "--grader=numeric"])

    assert ran.exit_code == 0, ran.output
    assert "B: b.jsonl, judged by numeric" in ran.output
    assert "B: doc 0: correct here, wrong there; answer '18'" in ran.output
    said = " ".join(cell.strip() for cell in ran.output.replace("│", "|").split("|"))
    assert "8 (100.0 %) 67.6 to 100.0" in said
    assert "strict 0 8 +100.0, +100.0 to +100.0 8 0 0.008" in said


def test_each_file_is_judged_by_the_grader_that_it_names(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = {**sample(0, "#### no", target="no"), "doc": {"id": "y", "grader": "yes_no"}}
    logged(tmp_path / "a.jsonl", row)

    ran = CliRunner().invoke(main, ["import", "lm-eval", "a.jsonl"])
    other = CliRunner().invoke(main, ["import", "lm-eval", "a.jsonl", "--grader", "choice"])

    assert "A: a.jsonl, judged by yes_no" in ran.output
    assert "1 (100.0 %)" in ran.output
    assert (other.exit_code, "'no' is no answer that the grader reads" in other.output) == (
        65,
        True,
    )


def test_the_benchmark_counts_by_both_verdicts_and_lists_what_is_judged_otherwise(tmp_path: Path):
    texts = {"p1": "#### 18", "p2": "#### 18\n\nQ", "p3": "#### 1", "p4": "#### 18"}
    rows = [
        {**sample(n, text, exact_match=float(p not in ("p3", "p4"))), "doc": {"id": p}}
        for n, (p, text) in enumerate(texts.items())
    ]
    numeric = load_grader("numeric")
    ours = {
        p: predict(
            Problem(id=p, question="?", answer="18"),
            "test",
            "#### 18." if p == "p4" else text,
            eos=p != "p2",
            tokens=9,
            grader=numeric,
        )
        for p, text in texts.items()
    }

    found = compared(ours, read(logged(tmp_path / "s.jsonl", *rows)))

    counts = ("n", "same_text", "both_right", "only_here", "only_there", "both_wrong")
    assert [found[name] for name in counts] == [4, 3, 1, 1, 1, 1]
    assert [(row["problem"], row["here"], row["there"]) for row in found["apart"]] == [
        ("p2", "cut_off", "correct"),
        ("p4", "correct", "wrong"),
    ]
    assert found["text_judged_otherwise"] == 0


def test_without_settings_the_grader_has_to_be_named(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logged(tmp_path / "a.jsonl", sample(0, "#### 1"))

    ran = CliRunner().invoke(main, ["import", "lm-eval", "a.jsonl"])

    assert ran.exit_code == 78
    assert "add --grader" in ran.output


@pytest.mark.parametrize("name", ["judge", "tests"])
def test_a_grader_that_needs_the_problem_is_refused_with_those_that_do(name: str, tmp_path: Path):
    path = logged(tmp_path / "samples.jsonl", sample(0, "#### 18"))
    said = CliRunner().invoke(main, ["import", "lm-eval", str(path), "--grader", name])

    with pytest.raises(RefusedError, match="numeric, choice, yes_no and math do that") as refused:
        tasks.write(tmp_path / "out", {"test": ProblemSet([FIGS])}, asking(), name)

    assert said.exit_code == refused.value.code == 78
    assert f"{name} asks a model about the problem or runs its tests" in said.output
    assert not (tmp_path / "out").exists()
