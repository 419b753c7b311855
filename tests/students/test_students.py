"""Labels, training and answering, on a student of a few thousand weights."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from redistill.console.exceptions import RefusedError
from redistill.grading import grader, predictions
from redistill.grading.predictions import Graded
from redistill.problems.sets import ProblemSet
from redistill.records.lessons import taught
from redistill.records.types import Completion, Output, Problem, Rationale, Split
from redistill.rounds.branches import Branch
from redistill.students.answer import engine
from redistill.students.answer.exam import Answered, answer
from redistill.students.answer.settings import EvaluateSettings
from redistill.students.base import make
from redistill.students.base.settings import Shape
from redistill.students.model import load
from redistill.students.model import tokens as model_tokens
from redistill.students.model.settings import StudentSettings
from redistill.students.train import checks, likelihood, loop
from redistill.students.train import fit as fitting
from redistill.students.train.batch import collate
from redistill.students.train.settings import TrainSettings
from tests.settings import PLAIN

SHAPE = Shape(
    architecture="llama",
    hidden=32,
    layers=2,
    heads=2,
    feed_forward=64,
    vocabulary=400,
    context=256,
    texts=200,
    batch_size=8,
    steps=3,
    learning_rate=0.002,
)
ASKED = StudentSettings(
    model="embedded",
    revision=None,
    prompt="[[question]]\n",
    chat=None,
    template=None,
    template_arguments={},
    system=None,
    attention=None,
)
RULES = TrainSettings(
    method="full",
    steps=2,
    batch_size=4,
    accumulate=1,
    learning_rate=0.002,
    warmup=0.0,
    weight_decay=0.0,
    precision="fp32",
    batch_tokens=None,
    packing=False,
    attention=None,
    liger=False,
    compile=False,
    checkpointing=False,
    save_every=0,
    max_tokens=200,
    nll_rows=10,
    max_loss=0.5,
)
FIRST = Branch(from_="r0", rationales="r0", start="base", times=1, **PLAIN)
NUMERIC = grader.load_grader("numeric")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    model, tokenizer, _, _ = make.begin("embedded", SHAPE, seed=1)
    load.save(model, tokenizer, folder, {"model": "embedded"})
    return folder


@pytest.fixture(scope="module")
def tokenizer(base: Path):
    return load.tokenizer(base)


def problem(number: int) -> Problem:
    words = "Ines has 4 eggs. " * (1 + number % 3)
    return Problem(id=f"p{number}", question=f"{words}Add {number}.", answer=str(4 + number))


def lesson(p: Problem, text: str | None = None, round: str = "r0") -> Rationale:
    return Rationale(
        id=p.id,
        problem=p.id,
        text=text or f"<<4+{p.id[1:]}={p.answer}>>\n#### {p.answer}",
        round=round,
        teacher="tutor",
        status="first",
    )


PROBLEMS = [problem(number) for number in range(12)]


def exam(**changes: object) -> EvaluateSettings:
    options = {
        "engine": "local",
        "max_new_tokens": 40,
        "batch_size": 8,
        "precision": "fp32",
        "samples": 0,
        "temperature": 0.7,
        "top_p": 0.95,
    }
    return EvaluateSettings(**options | changes)


def examined(
    student: Path, splits: Mapping[Split, Sequence[Problem]], rules: EvaluateSettings
) -> tuple[Answered, Graded]:
    """What *student* answers to the problems of *splits*, and what the grader makes of it."""
    sets = {name: ProblemSet([*problems], name) for name, problems in splits.items()}
    answered = answer(student, sets, ASKED, rules, seed=1)
    return answered, predictions.grade(sets, answered.completions, "numeric")


def test_the_base_student_is_an_ordinary_hugging_face_directory(base: Path):
    model = AutoModelForCausalLM.from_pretrained(base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    text = "Zoë's <<48+27=75>>\n#### 75 é any text at all 🙂"

    assert model.config.model_type == "llama"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert [tokenizer.decode([i]) for i in tokenizer("1234")["input_ids"]] == list("1234")


def test_loss_is_on_the_completion_only_and_eos_is_the_last_label(tokenizer):
    encoder = model_tokens.Encoder(tokenizer, ASKED.prompt)

    for p in PROBLEMS:
        example = encoder.example(p, lesson(p).text)
        prompt = encoder.prompt(p)
        assert example.ids[: len(prompt)] == prompt
        assert example.labels[: len(prompt)] == [model_tokens.IGNORED] * len(prompt)
        assert example.labels[len(prompt) :] == example.ids[len(prompt) :]
        assert example.labels[-1] == tokenizer.eos_token_id
        assert encoder.decode(example.ids[len(prompt) :]) == lesson(p).text


def test_text_from_outside_never_becomes_a_special_token(tokenizer):
    encoder = model_tokens.Encoder(tokenizer, ASKED.prompt)

    ids = encoder.content("stop <|end|> here <|pad|>")

    assert not set(ids) & set(tokenizer.all_special_ids)
    assert encoder.decode(ids) == "stop <|end|> here <|pad|>"


@pytest.mark.parametrize(
    ("ids", "labels", "fault"),
    [
        ([5, 6, 7], [-100, 6, 7], "last label is not EOS"),
        ([5, 6, 0], [-100, -100, 0], "completion is empty"),
        ([5, 6, 0], [5, -100, 0], "row 0: 1 prompt tokens carry loss"),
        ([5, 6, 0], [-100, 9, 0], "differ"),
    ],
)
def test_wrong_labels_are_refused(ids: list[int], labels: list[int], fault: str):
    with pytest.raises(RefusedError, match=fault):
        model_tokens.check([model_tokens.Example(ids, labels)], eos=0)


def test_a_chat_template_is_used_where_the_tokenizer_has_one(base: Path):
    tokenizer = load.tokenizer(base)
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m['role'] }}]\n{{ m['content'] }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}[assistant]\n{% endif %}"
    )

    chat = model_tokens.Encoder(tokenizer, ASKED.prompt).prompt(PROBLEMS[1])
    plain = model_tokens.Encoder(tokenizer, ASKED.prompt, chat=False).prompt(PROBLEMS[1])

    shown = tokenizer.decode(chat)
    assert shown == f"[user]\n{PROBLEMS[1].question}<|end|>\n[assistant]\n"
    assert chat.count(tokenizer.eos_token_id) == 1
    assert tokenizer.decode(plain) == f"{PROBLEMS[1].question}\n"


def test_a_tokenizer_without_eos_is_refused(base: Path):
    tokenizer = load.tokenizer(base)
    tokenizer.eos_token = None

    with pytest.raises(RefusedError, match="no EOS token"):
        model_tokens.Encoder(tokenizer, ASKED.prompt)


def test_padding_is_masked_by_length_even_where_it_is_the_eos_id():
    rows = [
        {"input_ids": [5, 6, 0], "labels": [-100, 6, 0]},
        {"input_ids": [5, 0], "labels": [-100, 0]},
    ]

    batch = collate(rows, pad=0)

    assert batch["labels"].tolist() == [[-100, 6, 0], [-100, 0, -100]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]


def test_nothing_is_cut_off_and_what_is_too_long_is_counted(tokenizer):
    encoder = model_tokens.Encoder(tokenizer, ASKED.prompt)
    long = lesson(PROBLEMS[0], "4+" * 300 + "\n#### 4")
    known = {p.id: p for p in PROBLEMS}

    lessons = fitting.paired(known, taught([long, lesson(PROBLEMS[1])], "latest"))
    examples, balance = fitting.kept(
        checks.rows(encoder, lessons), checks.Limits(200, 0.5, 9, None, None)
    )

    assert balance.rejected == {"over 200 tokens": 1}
    assert balance.holds
    assert examples == [encoder.example(PROBLEMS[1], lesson(PROBLEMS[1]).text)]


def plan(**changes: object) -> loop.Plan:
    options = {
        "steps": 4,
        "batch_size": 8,
        "accumulate": 1,
        "learning_rate": 0.01,
        "warmup": 0.0,
        "weight_decay": 0.0,
        "precision": "fp32",
        "seed": 3,
    }
    return loop.Plan(**options | changes)


def trained(base: Path, **changes: object) -> dict[str, torch.Tensor]:
    model, tokenizer = load.model(base), load.tokenizer(base)
    encoder = model_tokens.Encoder(tokenizer, ASKED.prompt)
    rows = [encoder.example(p, lesson(p).text) for p in PROBLEMS[:8]]
    loop.train(model, rows, plan(**changes), pad=tokenizer.pad_token_id, say="test")
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def test_training_twice_gives_the_same_weights(base: Path):
    first, second = trained(base), trained(base)

    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_batch_in_parts_trains_like_a_whole_one(base: Path):
    whole, parts = trained(base, steps=1), trained(base, steps=1, accumulate=4)

    for name in whole:
        torch.testing.assert_close(whole[name], parts[name], atol=2e-4, rtol=1e-3)


def test_training_stops_at_the_first_loss_that_is_not_finite(base: Path):
    with pytest.raises(RefusedError, match="broke down at step") as refusal:
        trained(base, learning_rate=1e30, steps=20)
    assert refusal.value.code == 70


def test_training_on_a_text_lowers_its_nll(base: Path):
    model, tokenizer = load.model(base), load.tokenizer(base)
    encoder = model_tokens.Encoder(tokenizer, ASKED.prompt)
    rows = [encoder.example(p, lesson(p).text) for p in PROBLEMS]
    pad = tokenizer.pad_token_id

    before = likelihood.mean_nll(model, rows, pad=pad, batch_size=4)
    loop.train(model, rows, plan(steps=30), pad=pad, say="test")

    assert math.isclose(
        before, likelihood.mean_nll(load.model(base), rows, pad=pad, batch_size=12), rel_tol=1e-4
    )
    assert likelihood.mean_nll(model, rows, pad=pad, batch_size=4) < before - 1


def test_batched_answers_are_those_given_one_by_one(base: Path):
    model, tokenizer = load.model(base), load.tokenizer(base)
    encoder = model_tokens.Encoder(tokenizer, ASKED.prompt)
    rows = [encoder.example(p, lesson(p).text) for p in PROBLEMS]
    loop.train(model, rows, plan(steps=60), pad=tokenizer.pad_token_id, say="test")
    prompts = [encoder.prompt(p) for p in PROBLEMS]
    ask = {"eos": encoder.eos, "pad": int(tokenizer.pad_token_id), "max_new_tokens": 40}

    batched = engine.answer(model, prompts, batch_size=5, **ask)
    single = [engine.answer(model, [prompt], batch_size=1, **ask)[0] for prompt in prompts]
    theirs = [
        model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=40,
            do_sample=False,
        )[0, len(prompt) :].tolist()
        for prompt in prompts
    ]

    assert batched == single
    assert [a.ids + [encoder.eos] * a.eos for a in batched] == theirs
    assert any(a.eos for a in batched)
    assert len({tuple(a.ids) for a in batched}) > 1


def fit(
    base: Path,
    out: Path,
    lessons: list[Rationale],
    branch: Branch = FIRST,
    max_new_tokens: int = 200,
) -> dict:
    known = {p.id: p for p in PROBLEMS}
    return fitting.fit(
        known, lessons, base, out, branch, ASKED, RULES, 1, max_new_tokens=max_new_tokens
    ).figures


def test_a_round_is_trained_and_answers_every_problem(base: Path, tmp_path: Path):
    figures = fit(base, tmp_path / "r0", [lesson(p) for p in PROBLEMS])

    answered, graded = examined(tmp_path / "r0", {"dev": PROBLEMS[:5], "test": []}, exam())

    assert figures["labels"]["prompt_tokens_in_loss"] == 0
    assert figures["labels"]["rows_ended_by_eos"] == len(PROBLEMS)
    assert figures["steps"] == 2
    asked = [p.id for p in PROBLEMS[:5]]
    assert [c.problem for c in answered.completions["dev"]] == asked
    assert [p.problem for p in graded.predictions["dev"]] == asked
    balance = {"rows_in": 5, "rows_out": 5, "rejected": {}, "holds": True}
    assert answered.figures["balance"] == graded.figures()["balance"] == balance
    assert graded.figures()["scores"]["test"]["n"] == 0
    written = sum(c.output.tokens + c.output.eos for c in answered.completions["dev"])
    assert answered.timing is not None
    assert answered.figures["tokens"] == answered.timing.tokens == written


def test_how_long_it_took_is_in_no_metrics_and_in_no_record(base: Path, tmp_path: Path):
    runs = [tmp_path / "one" / "r0", tmp_path / "two" / "r0"]

    fitted = [fit(base, out, [lesson(p) for p in PROBLEMS]) for out in runs]
    answered = [examined(out, {"dev": PROBLEMS}, exam())[0] for out in runs]

    assert fitted[0] == fitted[1]
    assert answered[0].figures == answered[1].figures
    assert answered[0].completions == answered[1].completions


def test_no_problems_are_answered_without_opening_the_student(base: Path, tmp_path: Path):
    fit(base, tmp_path / "r0", [lesson(p) for p in PROBLEMS])
    (tmp_path / "r0" / "model.safetensors").unlink()

    answered, graded = examined(tmp_path / "r0", {}, exam())

    assert (answered.completions, graded.predictions) == ({}, {})
    assert answered.timing is None
    assert graded.figures()["scores"] == {}
    assert graded.figures()["balance"]["holds"]


def test_a_control_takes_as_many_steps_as_its_branch_says(base: Path, tmp_path: Path):
    control = Branch(from_="r0", rationales="r0", start="base", times=3, **PLAIN)

    assert fit(base, tmp_path / "c", [lesson(p) for p in PROBLEMS], control)["steps"] == 6


def test_a_round_with_nothing_new_is_passed_through_all_the_way(base: Path, tmp_path: Path):
    second = Branch(from_="r0", rationales="r1", start="base", times=1, **PLAIN)

    figures = fit(base, tmp_path / "r1", [lesson(p) for p in PROBLEMS], second)
    answered, graded = examined(tmp_path / "r1", {"dev": PROBLEMS}, exam())

    assert figures["passed_through"]
    assert not list((tmp_path / "r1").glob("*.safetensors"))
    assert (answered.completions, graded.predictions) == ({"dev": []}, {"dev": []})
    assert answered.timing is None
    balance = {"rows_in": 12, "rows_out": 0, "rejected": {"passed through": 12}, "holds": True}
    for found in (answered.figures, graded.figures()):
        assert (found["passed_through"], found["balance"]) == (True, balance)
    assert graded.figures()["scores"] == {}


def test_out_of_domain_tests_are_answered_in_one_go_each_with_its_own_grader(
    base: Path, tmp_path: Path
):
    fit(base, tmp_path / "r0", [lesson(p) for p in PROBLEMS])
    letters = [p.model_copy(update={"answer": "B"}) for p in PROBLEMS[:3]]
    tests = {
        "balance": ProblemSet(letters, grader="choice"),  # a name that figures have too
        "svamp": ProblemSet(PROBLEMS[:5]),
    }

    answered = answer(tmp_path / "r0", tests, ASKED, exam(samples=2), seed=1)
    right = {
        "balance": [_said(c, "#### B") for c in answered.completions["balance"]],
        "svamp": [_said(c, "#### 4") for c in answered.completions["svamp"]],
    }
    graded = predictions.grade(tests, right, "numeric")

    for found in (answered.completions, graded.predictions):
        assert {name: len(rows) for name, rows in found.items()} == {"balance": 3, "svamp": 5}
        assert all(row.split == "test" for rows in found.values() for row in rows)
    assert not any(c.drawn for found in answered.completions.values() for c in found)
    assert [graded.figures()["scores"][name]["k"] for name in tests] == [3, 1]
    balance = {"rows_in": 8, "rows_out": 8, "rejected": {}, "holds": True}
    assert answered.figures["balance"] == graded.figures()["balance"] == balance


def _said(completion: Completion, text: str) -> Completion:
    """*completion* with *text* in its place."""
    output = Output(text=text, eos=True, tokens=1)
    return completion.model_copy(update={"output": output})


def test_a_passed_through_round_answers_no_out_of_domain_test(base: Path, tmp_path: Path):
    second = Branch(from_="r0", rationales="r1", start="base", times=1, **PLAIN)
    fit(base, tmp_path / "r1", [lesson(p) for p in PROBLEMS], second)
    tests = {"svamp": ProblemSet(PROBLEMS, grader="numeric")}

    answered = answer(tmp_path / "r1", tests, ASKED, exam(), seed=1)
    graded = predictions.grade(tests, answered.completions, "choice")

    assert (answered.completions, graded.predictions) == ({"svamp": []}, {"svamp": []})
    assert answered.figures["passed_through"]
    assert graded.figures()["passed_through"]
    assert graded.figures()["scores"] == {}


def test_nothing_to_train_on_is_refused(base: Path, tmp_path: Path):
    with pytest.raises(RefusedError, match="0 rationales"):
        fit(base, tmp_path / "r0", [])
    with pytest.raises(RefusedError, match="no rationale can be taught: 1 over 200 tokens"):
        fit(base, tmp_path / "r0", [lesson(PROBLEMS[0], "7 " * 400)])


def test_training_is_refused_before_a_step_where_answers_would_be_cut_off(
    base: Path, tmp_path: Path
):
    with pytest.raises(RefusedError, match=r"longest completion taught has \d+ tokens, evaluate"):
        fit(base, tmp_path / "r0", [lesson(p) for p in PROBLEMS], max_new_tokens=5)
    assert not (tmp_path / "r0").exists()


def test_answers_may_not_be_shorter_than_what_was_taught(base: Path, tmp_path: Path):
    fit(base, tmp_path / "r0", [lesson(p) for p in PROBLEMS])

    with pytest.raises(RefusedError, match="less than the longest completion"):
        examined(tmp_path / "r0", {"dev": PROBLEMS}, exam(max_new_tokens=5))


@pytest.mark.parametrize(
    ("token", "verdict", "tokens"), [("<|end|>", "no_answer", 0), ("a", "cut_off", 12)]
)
def test_a_student_that_emits_nothing_or_never_stops_ends_in_a_verdict(
    token: str, verdict: str, tokens: int, base: Path, tmp_path: Path
):
    model, words = load.model(base), load.tokenizer(base)
    only = words.convert_tokens_to_ids(token)
    with torch.no_grad():
        model.lm_head = torch.nn.Linear(SHAPE.hidden, len(words))
        model.config.tie_word_embeddings = False
        model.lm_head.weight.zero_()
        model.lm_head.bias.zero_()
        model.lm_head.bias[only] = 1.0
    ids = words("Ines has 4 eggs.")["input_ids"]

    written = engine.answer(
        model,
        [ids],
        eos=words.eos_token_id,
        pad=words.pad_token_id,
        max_new_tokens=12,
        batch_size=1,
    )[0]
    prediction = grader.predict(
        PROBLEMS[0],
        "dev",
        model_tokens.Encoder(words, ASKED.prompt).decode(written.ids),
        eos=written.eos,
        tokens=len(written.ids),
        grader=NUMERIC,
    )

    assert (prediction.verdict, prediction.tokens) == (verdict, tokens)


def test_weights_that_are_not_safetensors_and_code_from_elsewhere_are_refused(tmp_path: Path):
    marker = tmp_path / "ran"
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "llama", "auto_map": {"AutoModelForCausalLM": "evil.Model"}})
    )
    (tmp_path / "evil.py").write_text(f"open({str(marker)!r}, 'w')")
    torch.save({"x": torch.zeros(1)}, tmp_path / "pytorch_model.bin")

    with pytest.raises(RefusedError, match="not a causal LM directory"):
        load.model(tmp_path)
    assert not marker.exists()
