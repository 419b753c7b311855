"""Rows X4 and X5: no text breaks a scanner, holds it up, or makes it more than linear."""

import importlib.util
import random
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redistill.graders import choice, math, numeric, yes_no
from redistill.grading import answers, numbers
from redistill.llm import thought_tags
from redistill.rationales import reply, talk, wrapping
from redistill.records.types import Problem
from redistill.solutions import equations, wordings
from tests import fuzz
from tests.imports import ROOT
from tests.timing import growth, once, spent


@pytest.mark.parametrize("name", fuzz.SCANNERS)
@given(data=st.binary(max_size=200))
def test_what_a_scanner_reads_holds(name: str, data: bytes):
    fuzz.checked(name, fuzz.text_of(data))


@pytest.mark.timed
@pytest.mark.parametrize("name", ["numeric", "choice", "yes_no", "math"])
def test_of_ten_thousand_hostile_texts_none_takes_five_milliseconds(name: str):
    rng = random.Random(1)
    grader = {"numeric": numeric, "choice": choice, "yes_no": yes_no, "math": math}[name]

    def read(text: str) -> None:
        grader.strict(text)
        grader.lenient(text)

    whole = [start + (piece * 4096)[:4000] for piece in ATTACKS.values() for start in STARTS]
    random_ones = (
        fuzz.text_of(rng.randbytes(rng.choice([4, 20, 100, 400]))) for _ in range(10_000)
    )
    for text in (*whole, *random_ones):
        if once(lambda text=text: read(text)) > 5:
            assert spent(lambda text=text: read(text), below=5) <= 5, text


ATTACKS = {
    "digits": "9", "digits and commas": "9,", "numbers": "1 ", "sum": "1+", "fractions": "1/2 ",
    "signs": "-", "spaces": " ", "boxes": "\\boxed{", "braces": "{", "closed": "\\boxed{}",
    "stars": "**", "stars and letters": "**a ", "dollars": "$", "formulas": "$a$", "opened": "\\(",
    "cues": "answer ", "answers": "the answer is ", "marks": "<<", "equations": "1+1=",
    "marked": "<<1+1=", "rationale": "<rationale>", "closing": "</rationale>", "articles": "A ",
    "no": "no ", "words": "three plus ", "thousands": "1 000 ", "points": ".", "letters": "a",
    "talk": "the student ", "lines": "\n", "brackets": "((1+", "frac": "\\frac{1}{",
    "exponents": "1e1e", "dashes": "- 1 ",
}  # fmt: skip
ASKED = Problem(id="p", question="How many?", answer="1")
STARTS = ("", "#### ", "The answer is ", "**", "\\boxed{")
# Those that cap their text are given as much as they look at, the others four times that.
SCANS: dict[str, tuple[Callable[[str], object], int]] = {
    "numeric": (numeric.lenient, 1000),
    "choice": (choice.lenient, 1000),
    "yes_no": (yes_no.lenient, 1000),
    "math": (math.lenient, 1000),
    "numbers.scan": (numbers.scan, 4000),
    "numbers.tidy": (numbers.tidy, 4000),
    "answers.boxed": (answers.boxed, 4000),
    "answers.cued": (answers.cued, 4000),
    "answers.bold": (answers.bold, 4000),
    "equations.annotated": (equations.annotated, 4000),
    "equations.work": (equations.work, 4000),
    "wordings.bare": (wordings.bare, 1000),
    "wordings.spoken": (wordings.spoken, 1000),
    "reply.read": (reply.read, 4000),
    "thought_tags.outside": (thought_tags.outside, 4000),
    "talk.talks": (lambda text: talk.talks(ASKED, text), 1000),
    "wrapping.left_in": (lambda text: wrapping.left_in(text, ""), 4000),
}


@pytest.mark.timed
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("name", SCANS)
def test_twice_the_text_takes_less_than_three_times_as_long(name: str, attack: str):
    scan, size = SCANS[name]
    piece = ATTACKS[attack]
    texts = [(piece * (n // len(piece) + 1))[:n] + "=1>>" for n in (size, 2 * size, 4 * size)]

    assert growth([lambda text=text: scan(text) for text in texts], least=0.1) < 3


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris not installed")
def test_the_fuzzer_runs_and_says_what_it_found():
    command = [sys.executable, "-m", "tests.fuzz", "rationale", "--seconds", "6"]

    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert ran.returncode == 0, ran.stderr[-2000:]
    assert '"crashes": 0' in ran.stdout
