"""What all teachers promise, and what replay and local do."""

import importlib
import shutil
from pathlib import Path

import pytest
import safetensors.torch

from redistill.console.exceptions import RefusedError
from redistill.llm import store
from redistill.rationales import attempts, select, teacher
from redistill.rationales.teacher import Reply, Sitting
from redistill.records import jsonl, manifest
from redistill.records.types import Problem, Rationale
from redistill.settings.sections import Section
from redistill.students.base.settings import Shape
from redistill.students.model.settings import StudentSettings
from redistill.teachers import local, replay
from tests.imports import ROOT
from tests.settings import shipped

NAMES = sorted(f.stem for f in (ROOT / "redistill/teachers").glob("[a-z]*.py"))
FIRST = Sitting("generate", "r0", "math", range(1))
PROBLEMS = [
    Problem(
        id=f"p{n}", question=f"Add {n} and 7?", answer=str(n + 7), solution=f"<<{n}+7={n + 7}>>"
    )
    for n in range(3)
]


def lesson(p: Problem, round: str = "r0") -> Rationale:
    return Rationale(
        id=p.id, problem=p.id, text=f"{round} {p.id}", round=round, teacher="wise", status="first"
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_teacher_keeps_the_contract(name: str):
    module = teacher.load_teacher(name)

    assert issubclass(module.Settings, Section)
    assert module.__doc__
    assert callable(module.explain)
    assert callable(module.refine)
    if teacher.paid(module):
        assert module.ASKS  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", NAMES)
def test_a_teacher_asked_nothing_says_nothing(name: str, tmp_path: Path):
    module = importlib.import_module(f"redistill.teachers.{name}")
    empty = tmp_path / "none.jsonl"
    empty.touch()
    settings = {
        "tutor": {"style": "equations"},
        "openai": {
            "base_url": "https://example.org/v1", "key": None, "model": "m", "system": None,
            "examples": [], "seed": None, "together": False, "body": {},
        },
        "local": {
            "model": "none", "system": None, "max_new_tokens": 5, "temperature": 0.0, "top_p": 1.0,
            "seed": 1, "batch_size": 2,
        },
        "replay": {"rationales": str(empty), "texts": None, "store": None},
    }[name]  # fmt: skip

    assert module.explain([], module.Settings(**settings), FIRST) == []
    assert module.refine([], module.Settings(**settings), FIRST) == []


def test_replay_gives_the_rationales_of_a_round_with_their_teacher(tmp_path: Path):
    file = tmp_path / "r.jsonl"
    jsonl.write(file, [lesson(PROBLEMS[0]), lesson(PROBLEMS[1], "r1")])
    settings = replay.Settings(rationales=str(file), texts=None, store=None)

    found = replay.explain(PROBLEMS, settings, FIRST)

    assert found == [[Reply("r0 p0", teacher="wise")], [], []]


def test_replay_finds_texts_of_your_own_by_id_or_question_and_in_draws(tmp_path: Path):
    file = tmp_path / "t.jsonl"
    rows = [
        replay.Replayed(id="1", question="add 0  and 7", text="a", teacher="gpt"),
        replay.Replayed(id="2", question="Add 0 and 7?", text="b", teacher="gpt"),
        replay.Replayed(id="3", problem="p2", text="c", teacher="llama"),
    ]
    jsonl.write(file, rows)
    settings = replay.Settings(rationales=None, texts=str(file), store=None)

    two = replay.explain(PROBLEMS, settings, Sitting("generate", "r0", "math", range(2)))
    second = replay.explain(PROBLEMS, settings, Sitting("generate", "r0", "math", range(1, 2)))

    assert [[r.text for r in found] for found in two] == [["a", "b"], [], ["c"]]
    assert [[r.text for r in found] for found in second] == [["b"], [], []]
    assert two[2][0].teacher == "llama"


def test_replay_gives_what_another_run_has_paid_for(tmp_path: Path):
    file = tmp_path / "other.sqlite"
    body = b'{"choices": [{"message": {"content": "<rationale>x\\n#### 7</rationale>"}}]}'
    with store.writing(file) as writer, writer.transaction() as connection:
        intent = store.Intent("k", "{}", "generate", "r0", "p0", "gpt", 1, 1, None)
        number = writer.intend(connection, intent)
        writer.receive(connection, number, 200, body)
        writer.settle(
            connection,
            store.Result(
                number, "k", "answered", 200, body, "", "stop", "gpt", 1, 1, None, True, 0.1
            ),
        )
    settings = replay.Settings(rationales=None, texts=None, store=str(file))

    found = replay.explain(PROBLEMS, settings, FIRST)

    assert found == [[Reply("x\n#### 7", teacher="gpt")], [], []]


def test_replay_has_one_source(tmp_path: Path):
    for given in ({}, {"rationales": "a", "store": "b"}):
        unset = {"rationales": None, "texts": None, "store": None}
        with pytest.raises(RefusedError, match="exactly one"):
            replay.explain(PROBLEMS, replay.Settings(**unset | given), FIRST)
    gone = replay.Settings(rationales=None, texts=None, store=str(tmp_path / "gone"))
    with pytest.raises(RefusedError, match="there is no file"):
        replay.explain(PROBLEMS, gone, FIRST)


RULES = teacher.TeachSettings(
    teacher="t", refiner="t", prompts="math", attempts=3, draws=2, choose="first",
    probe=None, unmarked="reject",
)  # fmt: skip


def test_attempts_end_with_the_first_accepted_reply_and_never_repeat_a_draw():
    seen: list[tuple[int, range]] = []

    def ask(places: list[int], draws: range) -> list[list[Reply]]:
        seen.extend((place, draws) for place in places)
        return [[Reply(f"{place} {draw}") for draw in draws] for place in places]

    def judge(place: int, reply: Reply) -> str | None:
        right = {0: "0 0", 1: "1 3"}
        return None if reply.text == right.get(place) else "wrong answer"

    found = attempts.attempt(3, ask, judge, lambda texts: [0 for _ in texts], RULES)

    assert [r.text if r else None for r in found.kept] == ["0 0", "1 3", None]
    assert found.reasons == [None, None, "wrong answer"]
    assert [(p, d.start) for p, d in seen] == [(0, 0), (1, 0), (2, 0), (1, 2), (2, 2), (2, 4)]
    assert (found.replies, found.rejected) == (12, {"wrong answer": 10})
    assert found.unsolved(["a", "b", "c"]) == ["c"]


def test_a_reason_that_is_final_ends_the_asking_only_where_every_draw_has_it():
    def ask(places: list[int], draws: range) -> list[list[Reply]]:
        return [[Reply(f"{place} {draw}") for draw in draws] for place in places]

    def judge(place: int, reply: Reply) -> str | None:
        return "unchanged" if place == 0 or reply.text in ("1 1", "1 2", "1 3") else "wrong answer"

    found = attempts.attempt(2, ask, judge, lambda texts: [], RULES, final=("unchanged",))

    assert found.rejected == {"unchanged": 2 + 3, "wrong answer": 1}  # 1 of attempts 1 and 2
    assert found.reasons == ["unchanged", "unchanged"]


def test_a_teacher_with_nothing_to_say_is_a_reason():
    found = attempts.attempt(1, lambda p, d: [[]], lambda p, r: None, lambda t: [], RULES)

    assert found.reasons == [attempts.SILENT]
    assert found.replies == 0


def test_the_likely_text_is_the_one_that_the_student_would_have_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from redistill.students.base import make
    from redistill.students.model import load, tokens
    from redistill.students.train import loop

    shape = Shape(
        architecture="llama",
        hidden=32, layers=1, heads=2, feed_forward=32, vocabulary=300, context=128, texts=50,
        batch_size=8, steps=1, learning_rate=0.001,
    )  # fmt: skip
    model, tokenizer, _, _ = make.begin("embedded", shape, seed=1)
    rows = tokens.Encoder(tokenizer, "[[question]]\n")
    taught = [rows.example(p, "It is so and so.\n#### 7") for p in PROBLEMS]
    plan = loop.Plan(60, 4, 1, 0.01, 0.0, 0.0, "fp32", 1)
    loop.train(model, taught, plan, pad=tokenizer.pad_token_id, say="test")
    load.save(model, tokenizer, tmp_path / "s", {})
    texts = [(2, ["Qx zz 9 9 9\n#### 7", "It is so and so.\n#### 7"]), (0, ["alone"])]
    rules = RULES.model_copy(update={"choose": "likely"})

    asked = shipped().section("student", StudentSettings)
    choose = select.chooser(rules, PROBLEMS, tmp_path / "s", asked)

    assert choose(texts) == [1, 0]
    assert select.chooser(rules, PROBLEMS, tmp_path / "gone", asked)([(0, ["only"])]) == [0]


def test_rsr_takes_the_text_of_the_lowest_ratio_among_those_of_its_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from redistill.students.train import likelihood

    ratios = {"a": 3.0, "b": 2.0, "c": 2.0, "d": 1.0}
    monkeypatch.setattr(
        likelihood, "rank_surprisal_each", lambda _, rows, __: [ratios[text] for _, text in rows]
    )
    asked = shipped().section("student", StudentSettings)
    rules = RULES.model_copy(update={"choose": "rsr"})

    choose = select.chooser(rules, PROBLEMS, tmp_path / "s", asked)

    assert choose([(0, ["a", "b", "c"]), (2, ["a", "d"]), (1, ["a"])]) == [1, 1, 0]


@pytest.fixture(scope="module")
def chatty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a few thousand weights with a chat template."""
    from redistill.students.base import make
    from redistill.students.model import load

    shape = Shape(
        architecture="llama",
        hidden=32, layers=1, heads=2, feed_forward=32, vocabulary=300, context=4096, texts=50,
        batch_size=8, steps=1, learning_rate=0.001,
    )  # fmt: skip
    model, tokenizer, _, _ = make.begin("embedded", shape, seed=1)
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
    folder = tmp_path_factory.mktemp("chatty")
    load.save(model, tokenizer, folder, {})
    return folder


def own(folder: Path, **changes: object) -> local.Settings:
    options = {
        "model": str(folder), "system": None, "max_new_tokens": 12, "temperature": 1.0,
        "top_p": 0.9, "seed": 1, "batch_size": 2,
    }  # fmt: skip
    return local.Settings(**options | changes)


def bodies(round: str = "r0") -> list[bytes]:
    with store.reading(store.path()) as known:
        return [answer.body for _, _, answer in known.of_problems(round)]


def test_a_local_teacher_stores_its_answers_and_is_not_run_again(
    chatty: Path, monkeypatch: pytest.MonkeyPatch
):
    three = Sitting("generate", "r0", "math", range(3))
    first = local.explain(PROBLEMS, own(chatty), three)
    stored = bodies()

    from redistill.students.model import load

    def loaded(name: str) -> object:
        raise AssertionError("the model was loaded again")

    monkeypatch.setattr(load, "pretrained", loaded)
    again = local.explain(PROBLEMS, own(chatty), three)

    assert first == again
    assert [len(found) for found in first] == [3, 3, 3]
    assert {r.reason for found in first for r in found} <= {
        "truncated", "refused", "no rationale between the markers"
    }  # fmt: skip
    assert len(stored) == 9
    assert len(set(stored)) > 3


def test_local_draws_do_not_depend_on_the_batch(
    chatty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    three = Sitting("generate", "r0", "math", range(3))
    local.explain(PROBLEMS, own(chatty, batch_size=9), three)
    together = bodies()
    monkeypatch.setenv("REDISTILL_STORE", str(tmp_path / "another"))
    local.explain(PROBLEMS, own(chatty, batch_size=1), three)

    assert bodies() == together


def test_another_temperature_or_other_weights_are_asked_anew(chatty: Path, tmp_path: Path):
    local.explain(PROBLEMS, own(chatty), FIRST)
    local.explain(PROBLEMS, own(chatty, temperature=0.0), FIRST)
    changed = tmp_path / "changed"
    shutil.copytree(chatty, changed)
    weights = safetensors.torch.load_file(changed / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"] * 2
    safetensors.torch.save_file(weights, changed / "model.safetensors", {"format": "pt"})
    manifest.write(changed)
    local.explain(PROBLEMS, own(changed), FIRST)

    assert len(bodies()) == 9
