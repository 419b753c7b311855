"""Questions asked twice in other words: which they are, and what becomes of them."""

import itertools
import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import near_duplicates as measuring
from redistill.console.exceptions import RefusedError
from redistill.datasets import card, contamination
from redistill.problems import hashed_sets, merge, near_duplicates
from redistill.problems.likeness import alike, told
from redistill.problems.sets import ProblemSet
from redistill.problems.task import PrepareSettings
from redistill.records.balance import Balance
from redistill.records.json_file import write_json
from redistill.records.types import Problem
from tests import publications
from tests.imports import ROOT

JARS = "Ann fills 12 jars with 30 plums each and sells five jars. How many plums are left?"
AGAIN = "Ann has filled 12 jars, 30 plums in each. She sells 5 jars. How many plums remain?"
MORE = JARS.replace("30", "40")
TAXI = "A taxi driver in Lima drives 7 trips of 9 miles. How many miles does the taxi drive?"


def asked(identity: str, question: str, **choices: str) -> Problem:
    return Problem(id=identity, question=question, answer="1", choices=choices or None)


def settings(what: str | None = "report", alike: float = 0.4) -> PrepareSettings:
    return PrepareSettings(
        task="jsonl", max_loss=0.0, outside={}, near_duplicates=what, alike=alike
    )


def splits(train: list[str], dev: list[str], test: list[str]) -> dict[str, list[Problem]]:
    found = {"train": train, "dev": dev, "test": test}
    return {
        name: [asked(f"{name}-{place}", question) for place, question in enumerate(questions)]
        for name, questions in found.items()
    }


def same(one: str, other: str) -> bool:
    return alike(told(asked("a", one)), told(asked("b", other)), 0.4)


def test_a_question_in_other_words_is_the_same_and_one_with_other_numbers_is_not():
    assert same(JARS, AGAIN)
    assert not same(JARS, MORE)
    assert not same(JARS, TAXI)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Dr. Ann pays $1,200 for thirty-two red hens.", "Ann pays 1200.00 dollars, red hens: 32."),
        ("Ann cuts a third of 90 long red ropes.", "1/3 of the 90 long red ropes are cut by Ann."),
        ("Two hens lay 30 white eggs in 4 nests.", "Both hens lay 30 white eggs in 4 nests."),
        ("Sara sells five hundred small figs to 3 men.", "500 small figs Sara sells to 3 men."),
    ],
)
def test_numbers_count_by_their_value_however_they_are_written(one: str, other: str):
    assert same(one, other)


def test_another_question_about_the_same_story_is_another():
    story = "Ann fills 12 jars with 30 plums each and sells five jars."
    assert not same(f"{story} How many plums are left?", f"{story} How much did a jar weigh empty?")


def test_with_few_numbers_to_vouch_for_it_more_words_have_to_be_the_same():
    assert not same("Do white mice eat cheese at night?", "Do white bears eat snow at night?")
    assert same("Do white mice eat cheese at night?", "At night do white mice eat the cheese?")


def test_questions_of_one_wording_with_other_answers_are_others():
    names = {"Peru": "Lima", "Cuba": "Havana", "Togo": "Lome", "Oman": "Muscat"}
    problems = [
        Problem(id=name, question=f"Name the capital city of the country {name}.", answer=answer)
        for name, answer in names.items()
    ]
    again = problems[0].model_copy(update={"id": "again", "answer": "lima."})

    assert not any(alike(told(a), told(b), 0.4) for a, b in itertools.combinations(problems, 2))
    assert alike(told(problems[0]), told(again), 0.4)
    found = near_duplicates.look(
        {"train": problems, "dev": [again], "test": problems[1:2]}, {}, settings()
    )
    assert found.report["questions"]["dev"] == {"train": 1}
    assert "1 in dev of train" in near_duplicates.said(found.report)


def test_choices_are_words_of_a_question():
    plants = {"A": "oak", "B": "birch", "C": "maple", "D": "willow"}
    metals = {"A": "iron", "B": "copper", "C": "nickel", "D": "silver"}
    question = "Which of these grows in northern forests?"
    one, other = asked("a", question, **plants), asked("b", question, **metals)

    assert not alike(told(one), told(other), 0.4)


def test_the_labelled_sample_is_told_apart_as_the_docs_say():
    found = measuring.judged(0.4)
    docs = (ROOT / "docs/data.md").read_text(encoding="utf-8")

    assert found["recall"] > 0.85
    assert found["precision"] > 0.9
    for kind in ("paraphrase", "renamed", "other_numbers", "other_question"):
        assert f"| `{kind}` | {found['found'][kind]} |" in docs


def test_what_is_alike_is_found_among_all_questions():
    rows = [json.loads(line) for line in measuring.LABELLED.read_text("utf-8").splitlines()]
    apart = splits([r["question"] for r in rows], [TAXI], [r["paraphrase"] for r in rows])
    wanted = sum(same(row["question"], row["paraphrase"]) for row in rows)

    found = near_duplicates.look(apart, {}, settings()).report["questions"]

    assert found["test"]["train"] >= 0.98 * wanted


def test_near_duplicates_are_counted_between_the_sets_and_stay():
    apart = splits([JARS, TAXI, AGAIN], [MORE], [JARS.replace("Ann", "Ana")])
    tests = {"svamp": ProblemSet([asked("s", JARS.replace("Ann", "Eve"))])}

    found = near_duplicates.look(apart, tests, settings())

    assert (found.splits, found.tests) == (apart, tests)
    assert found.report["questions"] == {
        "train": {"test": 2, "train": 1}, "test": {"train": 1}, "outside/svamp": {"train": 2 - 1},
    }  # fmt: skip
    assert found.report["at_least"] is False
    assert found.report["first"][0] == {
        "id": "train-0", "set": "train", "like": "test-0", "of": "test", "alike": 0.75,
    }  # fmt: skip


def test_what_is_dropped_gives_way_to_test_and_is_counted():
    apart = splits([TAXI, JARS, AGAIN, MORE, "Listen. " + MORE], [AGAIN], ["Look! " + TAXI])
    tests = {"svamp": ProblemSet([asked("s", MORE), asked("u", TAXI.replace("9", "8"))])}
    balance, outside = Balance("prepare", 7, 7), {"svamp": Balance("svamp", 2, 2)}

    found = near_duplicates.look(apart, tests, settings("drop"))
    found.count(balance, outside)

    assert [problem.id for problem in found.splits["train"]] == ["train-3"]
    assert [problem.id for problem in found.tests["svamp"].problems] == ["u"]
    assert found.report["dropped"] == {"train": 4, "svamp": 1}
    assert balance.rejected == {
        "near-duplicate of test": 1, "near-duplicate of dev": 2, "near-duplicate of train": 1,
    }  # fmt: skip
    assert balance.holds
    assert outside["svamp"].rejected == {"near-duplicate of train": 1}
    assert outside["svamp"].holds


def test_a_set_of_nothing_but_near_duplicates_is_refused():
    apart = splits([JARS], [TAXI], [AGAIN])

    with pytest.raises(RefusedError, match=r"every question of train is a near-duplicate; set it"):
        near_duplicates.look(apart, {}, settings("drop"))


def test_null_looks_for_nothing():
    found = near_duplicates.look(splits([JARS], [TAXI], [AGAIN]), {}, settings(None))

    assert found.report == {}


def test_of_many_with_one_wording_each_is_compared_with_the_one_in_test():
    many = [f"{word} said so. {JARS}" for word in ("Bo", "Jo") for _ in range(40)]
    found = near_duplicates.look(splits(many, [TAXI], [JARS]), {}, settings()).report

    assert found["questions"]["train"]["test"] == 80
    assert found["at_least"] is True  # the 40 before each are not all compared


@given(st.lists(st.sets(st.sampled_from("abcdefghij"), min_size=1), min_size=2, max_size=9))
def test_what_sets_share_is_the_same_by_their_hashes(sets):
    hashed = hashed_sets.HashedSets.of(sets)
    pairs = [*itertools.combinations(range(len(sets)), 2)]
    one, other = np.array(pairs, dtype=np.int64).T
    shared = [len(sets[i] & sets[j]) / len(sets[i] | sets[j]) for i, j in pairs]
    assert hashed.shared(hashed.ends(), one, other).tolist() == shared


def test_runs_that_do_not_fit_memory_are_merged_in_order_and_each_number_comes_once(monkeypatch):
    monkeypatch.setattr(merge, "PART", 7)
    monkeypatch.setattr(merge, "IN_MEMORY", 100)
    drawn = random.Random(5)
    kept, runs = set(), merge.Runs()
    for length in (0, 1, 40, 300, 14):
        run = sorted(drawn.sample(range(2**40, 2**40 + 400), length))
        kept.update(run)
        runs.add(np.array(run, dtype=np.int64))
    parts = [*runs.merged()]
    assert [number for part in parts for number in part.tolist()] == sorted(kept)
    assert max(map(len, parts)) <= 5 * 7


def test_a_disk_that_has_no_room_for_the_pairs_is_named(monkeypatch):
    monkeypatch.setattr(merge, "IN_MEMORY", 1)
    runs = merge.Runs()
    runs._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    with runs._file, pytest.raises(RefusedError, match="No space left on device; make room there"):
        runs.add(np.arange(3))


def renamed() -> str:
    rows = [json.loads(line) for line in measuring.LABELLED.read_text("utf-8").splitlines()]
    again = [row["renamed"] for row in rows if "renamed" in row]
    apart = splits([row["question"] for row in rows], [TAXI], again)
    return json.dumps(near_duplicates.look(apart, {}, settings()).report)


def test_no_hash_of_the_process_decides_what_is_found():
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    code = "from tests.unit import test_near_duplicates as t; print(t.renamed())"
    other = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert other.stdout.strip() == renamed()


def test_the_card_tells_how_much_of_test_stands_in_train(tmp_path):
    write_json(tmp_path / "all.json", {"near_duplicates": {
        "alike": 0.4, "pairs": 3, "questions": {"test": {"train": 2}}, "dropped": {"train": 5},
    }})  # fmt: skip
    near = contamination.read(tmp_path / "all.json")
    made = publications.views([publications.problem("p1")], [publications.first("p1")])
    origin = publications.ORIGIN | {"near_duplicates": near}

    text = card.card(publications.provenance(made, origin=origin))

    assert "at least 40 % of the words in common: 0 questions of dev and 2 of test stand" in text
    assert "the 5 rows of train that are near-duplicates" in text


def test_the_card_tells_that_nobody_looked(tmp_path):
    write_json(tmp_path / "all.json", {"sizes": {}})
    near = contamination.read(tmp_path / "all.json")
    made = publications.views([publications.problem("p1")], [publications.first("p1")])
    origin = publications.ORIGIN | {"near_duplicates": near}

    assert "were not looked for" in card.card(publications.provenance(made, origin=origin))
