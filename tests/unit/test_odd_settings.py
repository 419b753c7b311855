"""Odd values of every setting: refused by its name, or right to be accepted, and listed here."""

import math
from collections.abc import Iterator
from copy import copy
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from redistill.checks import check_params
from redistill.console.exceptions import RefusedError
from redistill.settings import sections
from tests.imports import ROOT
from tests.settings import changed, of, shipped

OVERLAYS = [None, *sorted(file.stem for file in (ROOT / "params").glob("*.yaml"))]
NAMED = {*check_params.NEEDED, *check_params.ABSENT}  # sections that list entries by name
TINY = 1e-320
ODD = [
    math.nan, math.inf, -math.inf, -1, 0, 10**12, 10**30, 2**32, TINY, "", "None", "1",
    True, [], {}, None,
]  # fmt: skip
SHARE = (0, TINY)  # a share of nothing: none may be lost, or none is warmed up, is a wish
LINES = (ROOT / "params.yaml").read_text(encoding="utf-8").split("\n")
PIECES = ["{", "[", "]", "}", ":", ": ", "- ", "#", "&a ", "*a", "<<: *a", "!!int ",
          "!!python/name:x ", "\n", "\t", "\x00", "\ud800", "\ufeff",
          '"', "'", "|", ">", "?", "%", "@", "`", "---\n", "...\n",
          "seed: 1\n", "9" * 5000, "1e999", ".nan", "0o17", "2020-01-01", "~", "yes"]  # fmt: skip
TEXT = ("1",)  # a text like others: what it names is looked for where it is read
# What is accepted, and why: by the end of its place, since many sections have the same keys.
ACCEPTED: dict[str, tuple[Any, ...]] = {
    "max_loss": SHARE,
    "seed": (0, None),  # null: none is sent to the endpoint
    "warmup": SHARE,
    "weight_decay": SHARE,
    "dropout": SHARE,
    "common": SHARE,  # every gap is treated
    "below": SHARE,  # what is solved once is no error
    "dev_share": SHARE,  # of a task whose dev is a split of its own
    "train_share": SHARE,
    "test_share": SHARE,  # where test has a file
    "template": TEXT,
    "source": TEXT,
    "share": SHARE,  # of one size, where others have shares
    "nll_rows": (0,),  # none is measured
    "exemplars": (0,),  # none is shown
    "temperature": (0, TINY, None),  # greedy; of a body as the server has it
    "top_p": (0, TINY, None),
    "take_train": (0, None),  # zero of an out-of-domain test alone; null is all
    "take_dev": (0, None),
    "take_test": (0, None),
    "input": (*SHARE, None),  # prices and limits of a budget, null where there is none
    "output": (*SHARE, None),
    "batch": (*SHARE, None),
    "cost": (*SHARE, None),
    "calls": (0, None),
    "tokens": (0, 10**12, 2**32, None),
    "max_tokens": (None,),  # of a body, where the budget is in calls
    "probe": (True, None),  # of a branch and of teach
    "chat": (True,),
    "near_duplicates": (None,),  # look for none
    "packing": (True,),
    "liger": (True,),
    "compile": (True,),
    "checkpointing": (True,),
    "together": (True,),
    "strict_model": (True,),
    "model": TEXT,
    "revision": TEXT,
    "system": TEXT,
    "title": TEXT,
    "name": TEXT,
    "license": TEXT,
    "targets": TEXT,
    "user": TEXT,
    "assistant": TEXT,
    "folder": (*TEXT, None),
    "train": TEXT,
    "dev": (*TEXT, None),
    "test": (*TEXT, None),  # null: a share of train
    "texts": TEXT,
    "examples": ([],),
    "body": ({},),
    "tables": ({},),
    "lora": (None,),  # a run that is not lora
    "key": (None,),  # a service that needs none
    "max_completion_tokens": (None,),
    "least_kappa": SHARE,  # any agreement will do
    "max_unusable": SHARE,  # of replies: every one has to be a verdict
    "insist": (True,),
}


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of the settings *value*; of a list of sections its first one."""
    if at:
        yield at
    listed = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list) and value and isinstance(value[0], dict):
        listed = enumerate(value[:1])
    for key, inner in listed:
        yield from places(inner, (*at, key))


def new_places() -> Iterator[tuple[str | None, tuple[Any, ...]]]:
    """Every place of the shipped settings and of each overlay; of a list its first entry."""
    seen = set()
    for overlay in OVERLAYS:
        content = shipped(*([overlay] if overlay else [])).content
        for place in places(content):
            listed = place[0] in NAMED or place[:2] == ("prepare", "outside")
            alike = (*place[:1], len(place), *place[2 + (place[0] == "prepare") :])
            kind = alike if listed and len(place) > 1 else place
            if kind not in seen:
                seen.add(kind)
                yield overlay, place


def with_value(content: Any, place: tuple[Any, ...], value: object) -> Any:
    found = inner = copy(content)
    for key in place[:-1]:  # what lies beside the place is not copied: a check changes nothing
        inner[key] = copy(inner[key])
        inner = inner[key]
    inner[place[-1]] = value
    return of(**found)


standing = cache(lambda overlay: shipped(*([overlay] if overlay else [])).content)


OUTCOMES: dict[tuple[object, ...], str | None] = {}


def outcome(overlay: str | None, place: tuple[Any, ...], value: object) -> str | None:
    """The refusal of the settings with *value* at *place*; None where they are accepted."""
    key = overlay, place, repr(value)
    if key not in OUTCOMES:
        OUTCOMES[key] = None
        try:
            check_params.check(with_value(standing(overlay), place, value))
        except RefusedError as refusal:
            OUTCOMES[key] = str(refusal) if refusal.code == 78 else f"code {refusal.code}"
    return OUTCOMES[key]


def same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def test_every_key_refuses_odd_values_but_those_that_are_right_to_accept():
    strange = []
    for overlay, place in new_places():
        name, allowed = ".".join(map(str, place)), ACCEPTED.get(str(place[-1]), ())
        for value in ODD:
            if outcome(overlay, place, value) is None and not any(same(value, a) for a in allowed):
                ours = standing(overlay)
                for key in place:
                    ours = ours[key]
                if not same(ours, value):
                    strange.append((name, value))

    assert strange == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -1, 10**30, "", "None", "1"])
def test_a_refusal_names_the_key(value: object):
    for overlay, place in new_places():
        told = outcome(overlay, place, value)
        lists = len(place) == 1 or place[0] in ("branches", "rewrites", "targets")
        if told is not None and not lists:
            assert str(place[-1]) in told, (place, value, told)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("system: null", "system: None", "student.system: that is the text \"None\"; where there"),
        ("max_loss: 0.05", "max_loss: .nan", "prepare.max_loss: a number has to be finite"),
        ("seed: 1", "seed: 4294967296", "below 2\\*\\*32"),
        ("steps: 1500", "steps: -5", "train.steps: .* greater than or equal to 1, got -5"),
        ("steps: 1500", "steps: 1500.0", "train.steps: .*valid integer"),
        ("heads: 4", "heads: 5", "hidden has to be a multiple of twice their number"),
        ("steps: [0.6, 0.3, 0.1]", "steps: [0, 0]", "wordproblems: steps: a share above 0"),
        ("prompts: math", "prompts: maths", "no redistill/prompts/explain-maths.txt; known are"),
        ("refiner: tutor", "refiner: me", "teach.refiner: there is no redistill/teachers/me.py"),
        ("revision: null", "revision: main", "student.revision: only a hub id has revisions"),
        ("from: r2, of: r2, like: r2", "from: r3, of: r3, like: r3", "rewrites.r3: from: names i"),
        ("r3: {from: r2, rationales: r3, start: base, times: 1, lessons: latest, "
         "probe: true}", "r3: {from: r3, rationales: r3, start: base, times: 1}",
         "r3: from: names itself; it is the branch before it, such as r0"),  # case p02
        ("{from: r0, rationales: r0, start: base, times: 4", "{from: r0, rationales: "
         "one-shot-matched, start: base, times: 4", "one-shot-matched: rationales: names itself"),
        ("of: r2, like: r2", "of: r3, like: r2", "r3: of: names itself"),
        ("{from: r0, rationales: r0, start: base, times: 4", "{from: one-shot-matched, "
         "rationales: r0, start: base, times: 4", "one-shot-matched: from: names itself"),
        ("rationales: r2, start: base", "rationales: r2, start: r2", "r2: start: names itself"),
        ("samples: 0 ", "samples: 2\n  # ", None),
    ],
)  # fmt: skip
def test_what_is_meant_is_said(old: str, new: str, fault: str | None):
    params = changed(old, new)
    if fault is None:
        assert check_params.check(params) > 10
        return
    with pytest.raises(RefusedError, match=fault) as refusal:
        check_params.check(params)
    assert refusal.value.code == 78


def test_rounds_that_wait_for_each_other_are_refused():
    params = shipped()
    for section in ("branches", "rewrites"):
        params.content[section]["r1"]["start"] = "r3"

    with pytest.raises(RefusedError, match=r"branches\.r[123]: waits for itself"):
        check_params.check(params)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("https://api", "api", "openai.base_url: is no http\\(s\\) address"),
        ("key: OPENAI_API_KEY", "key: sk-1", "openai.key: expected the name of an environment"),
        ("take_dev: 500", "take_dev: 0", "gsm8k.take_dev: takes no rows; null takes all"),
        ("{max_completion_tokens: 1500}", "{max_completion_tokens: 1500, temperature: .nan}",
         "openai.body: temperature: a number has to be finite"),
        ("{max_completion_tokens: 1500}", "{max_completion_tokens: 1500, temperature: warm}",
         "openai.body.temperature: expected a number from 0 to 10"),
        ("{max_completion_tokens: 1500}", "{}", "a budget in tokens or money needs an output"),
        ("budget: {calls: 20000, tokens: 30000000, cost: null}",
         "budget: {calls: null, tokens: null, cost: null}", "no budget is set"),
    ],
)  # fmt: skip
def test_what_would_fail_in_generate_fails_in_the_settings(old: str, new: str, fault: str):
    with pytest.raises(RefusedError, match=fault):
        check_params.check(changed(old, new, "openai"))


@pytest.mark.parametrize(
    "content", ["a: &a [*a]\n", "[a, b]: 1\n", f"seed: {'9' * 5000}\n", "[" * 5000]
)
def test_settings_that_have_no_end_or_no_names_are_refused(content: str, tmp_path: Path):
    file = tmp_path / "params.yaml"
    file.write_text(content, encoding="utf-8")

    with pytest.raises(RefusedError, match=r"not readable as YAML 1\.2"):
        sections.read(file)


def damaged(draw: Random) -> bytes:
    """Some lines of the settings, with a few of their characters, words or lines changed."""
    lines = LINES[(first := draw.randrange(len(LINES))) : first + draw.randint(1, 30)]
    text = "\n".join([*LINES[:3], *lines])
    for _ in range(draw.randint(0, 4)):
        at = draw.randrange(len(text) + 1)
        text = text[:at] + draw.choice(PIECES) + text[at + draw.choice([0, 0, 1, 5]) :]
    found = bytearray(text.encode("utf-8", "surrogatepass"))
    if draw.random() < 0.3:
        found[draw.randrange(len(found))] = draw.randrange(256)
    return bytes(found)


def test_any_file_of_settings_is_read_or_refused_in_one_line(tmp_path: Path):
    file, told = tmp_path / "params.yaml", []
    for seed in range(500):
        file.write_bytes(damaged(Random(seed)))
        try:
            check_params.check(sections.read(file))
        except RefusedError as refusal:
            told.append((refusal.code, str(refusal)))

    assert {code for code, _ in told} == {78}
    assert [text for _, text in told if "\n" in text] == []
    unread = sum("not readable as YAML" in text for _, text in told)
    assert 100 < unread < 400
