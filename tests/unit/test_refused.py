"""Refusals that no other test comes by: each is told with its file or field, and the way out."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from click.testing import CliRunner
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

from redistill.analysis import experiments, seeds
from redistill.checks import check_params
from redistill.cli import compose, lock_restoring, plan, verify
from redistill.cli.dvc_locks import Lock
from redistill.cli.main import main
from redistill.console import drafts, endings
from redistill.console.exceptions import (
    CONFIG,
    DATA,
    INTERNAL,
    IO,
    PERMISSION,
    TRY_AGAIN,
    RefusedError,
)
from redistill.datasets import hub
from redistill.diff import versions
from redistill.llm import line_file
from redistill.problems import choices, own
from redistill.records import json_file, jsonl, strict_json
from redistill.rounds import branches, targets
from redistill.settings import sections
from redistill.solutions import gaps
from redistill.tasks import published
from tests.imports import ROOT
from tests.publications import SUMMARY, answered, first, problem, refined, small, views
from tests.settings import changed, shipped


def refused(call: Callable[[], object], told: str, code: int = DATA) -> None:
    """Hold *call* to a refusal that tells *told* and ends in *code*."""
    with pytest.raises(RefusedError) as refusal:
        call()
    assert told in str(refusal.value)
    assert refusal.value.code == code


def written(file: Path, text: str = "") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


# Sweeps


def sweep(folder: Path, code: str) -> Path:
    """A project whose DVC is a module of *code*."""
    written(folder / "params.yaml", "seed: 1\n")
    written(folder / "at_work.py", code)
    return folder


def test_an_experiment_that_fails_is_told_with_its_command_and_what_is_kept(tmp_path: Path):
    root = sweep(tmp_path, "raise SystemExit(3)")
    told = "seed 2: at_work now ended with code 3; seed 1 is kept"

    refused(
        lambda: experiments.run(root, ["at_work", "now"], "seed 2", "seed 1 is kept", str),
        told,
        code=INTERNAL,
    )


def test_a_signal_to_a_sweep_is_told_once_its_experiment_has_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    root = sweep(tmp_path, "import time\nopen('up', 'w').close()\ntime.sleep(60)")

    def stop() -> None:
        while not (root / "up").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    with pytest.raises(SystemExit) as end:
        endings.run(
            "sweep", lambda: experiments.run(root, ["at_work"], "seed 2", "kept", str), stopped=""
        )

    assert end.value.code == 143
    assert capsys.readouterr().err == "sweep: seed 2: stopped by SIGTERM; kept\n"


def test_a_second_sweep_waits_for_the_first_and_touches_nothing(tmp_path: Path):
    root = sweep(tmp_path, "")
    with experiments.unchanged(root, str):
        refused(
            lambda: experiments.take_back(root, same=True),
            "another sweep is at work here; wait for it to end",
            code=TRY_AGAIN,
        )


def test_settings_that_were_edited_after_a_killed_sweep_are_left_to_their_owner(tmp_path: Path):
    root = sweep(tmp_path, "")
    written(root / experiments.KEPT, "seed: 0\n")

    refused(
        lambda: experiments.take_back(root, same=False),
        f"rm {experiments.KEPT} keeps it as it is",
        code=CONFIG,
    )
    assert (root / "params.yaml").read_text() == "seed: 1\n"


def test_results_of_a_seed_without_the_round_that_they_chose_are_refused(tmp_path: Path):
    file = written(tmp_path / "seed1.json", json.dumps({"chosen": "r2", "rounds": {"r1": []}}))

    refused(lambda: seeds.gather(tmp_path), f"{file}: not the results of a run: rounds: no r2")


# Settings


def test_samples_that_would_all_be_the_greedy_answer_are_refused():
    text = "samples: 0               # completions drawn"
    params = changed(text, text.replace("0", "4", 1))
    params.content["evaluate"]["temperature"] = 0

    refused(
        lambda: check_params.check(params),
        "evaluate.temperature: 4 samples would all be the greedy answer; set it above 0, or "
        "evaluate.samples to 0",
        code=CONFIG,
    )


def test_an_overlay_with_a_section_that_there_is_no_more_is_told_where_its_lines_stand(
    tmp_path: Path,
):
    overlay = compose.read_overlay(written(tmp_path / "o.yaml", "rounds: {r1: {times: 2}}\n"))

    refused(
        lambda: compose.compose(ROOT / "params.yaml", [overlay]),
        "overlay: rounds: each of its entries stands in 'branches' or 'rewrites' now",
        code=CONFIG,
    )


def test_settings_without_branches_are_refused_by_a_stage_too():
    params = shipped()
    del params.content["rewrites"]

    refused(lambda: branches.branches(params), "needs the sections 'branches' and", code=CONFIG)


def test_settings_without_a_first_round_are_refused():
    params = shipped()
    params.content.update(branches={}, rewrites={})

    refused(
        lambda: branches.branches(params), f"{params.file}: branches: there is no r0", code=CONFIG
    )


def test_cells_that_are_from_each_other_lead_back_to_no_first_student():
    params = shipped()
    cell = {
        "rationales": "r0", "start": "base", "times": 1, "lessons": "latest", "probe": False,
        "target": "base", "version": "refined",
    }  # fmt: skip
    cells = {"a": cell | {"from": "b"}, "b": cell | {"from": "a"}}
    params.content["branches"] |= cells

    refused(
        lambda: branches.branches(params),
        "branches.a: from: it does not lead back to a first student",
        code=CONFIG,
    )


def test_a_target_whose_name_cannot_be_a_stage_of_dvc_is_refused():
    params = shipped()
    params.content["targets"] = {"Very wide": {}}

    refused(lambda: targets.check(params), "'Very wide' is not a name such as wide", code=CONFIG)


def test_settings_that_are_a_folder_cannot_be_read(tmp_path: Path):
    refused(lambda: sections.read(tmp_path), f"{tmp_path}: cannot be read: Is a dir", code=CONFIG)


def test_settings_larger_than_any_settings_are_not_parsed(tmp_path: Path):
    file = written(tmp_path / "params.yaml", "#" * (sections.MAX_BYTES + 1))

    refused(lambda: sections.read(file), f"{file}: larger than {sections.MAX_BYTES}", code=CONFIG)


# Commands


def command(*words: str) -> tuple[int, str]:
    ran = CliRunner().invoke(main, [*words])
    return ran.exit_code, " ".join(ran.output.split())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_rounds_whose_rows_do_not_balance_are_told_by_their_file(here: Path):
    json_file.write_json(here / "metrics/summary.json", SUMMARY.model_dump(by_alias=True))
    written(here / "metrics/grade/r1.json", json.dumps({"balance": {"holds": False}}))

    code, said = command("rounds")

    assert (code, "rows do not balance in metrics/grade/r1.json" in said) == (70, True)


def test_a_problem_that_is_in_no_split_is_told_by_its_id(here: Path):
    for split in ("train", "dev", "test"):
        jsonl.write(here / f"data/problems/{split}.jsonl", [problem(f"{split}-1")])

    code, said = command("show", "train-2")

    assert (code, "there is no problem 'train-2' in data/problems" in said) == (65, True)


def test_a_plan_before_there_are_problems_says_what_makes_them(here: Path):
    refused(
        lambda: plan.plan(here),
        f"{here}/data/problems/train.jsonl: is not there yet; run dvc repro prepare",
    )


def test_a_project_in_a_folder_whose_git_is_broken_tells_what_git_said(here: Path):
    written(here / "new/.git", "no link\n")

    code, said = command("init", str(here / "new"))

    assert code != 0
    assert f"git init failed in {here / 'new'}: fatal: invalid gitfile" in said


def test_a_lock_file_is_not_mended_where_dvc_is_not_set_up(here: Path):
    written(here / "dvc.yaml", "stages: {}\n")
    written(here / "dvc.lock", "schema: '2.0'\nstages: {}\n")

    refused(
        lambda: lock_restoring.restore(here, Lock({"a": {"cmd": "a"}})),
        f"{here / 'dvc.lock'}: it is whole, but DVC fails: ",
    )


def test_a_folder_that_is_no_project_of_dvc_cannot_be_verified_by_its_cache(here: Path):
    refused(lambda: verify.kept_by_dvc(here), f"{here}: you are not inside of a DVC repository")


def test_a_lock_file_that_is_not_there_is_named(here: Path):
    refused(lambda: list(verify.outs(here / "dvc.lock")), "dvc.lock: cannot be read: No such file")


def test_an_out_that_was_recorded_without_its_hash_is_named(here: Path):
    lock = written(here / "dvc.lock", "stages: {grade: {outs: [{path: data/g, size: 3}]}}\n")

    refused(lambda: list(verify.outs(lock)), f"{lock}: grade: data/g has no MD5; run dvc commit")


# What is written and read


def test_a_folder_does_not_take_the_place_of_a_file(tmp_path: Path):
    file = written(tmp_path / "set", "mine")

    def publish() -> None:
        with drafts.folder(file):
            pass

    refused(publish, f"{file}: is no folder; name another", code=IO)
    assert file.read_text() == "mine"


def test_a_command_whose_output_is_closed_says_how_to_open_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "stdout", None)

    with pytest.raises(SystemExit) as end:
        endings.run("redistill", lambda: None, stopped="")

    assert end.value.code == IO
    told = "redistill: standard output is closed; open it, as in > /dev/null\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(("text", "fault"), [("{", "not JSON: "), ("[]", "not an object of JSON")])
def test_metrics_that_are_damaged_are_named_with_what_makes_them_again(
    text: str, fault: str, tmp_path: Path
):
    file = written(tmp_path / "r1.json", text)

    with pytest.raises(RefusedError, match=r"; run dvc repro$") as refusal:
        json_file.read_json(file)

    assert str(refusal.value).startswith(f"{file}: {fault}")


def test_a_diagnosis_that_is_none_is_refused_by_its_file(tmp_path: Path):
    file = written(tmp_path / "r1.json", '{"profile": {}}')

    refused(lambda: gaps.read(file), f"{file}: not the diagnosis of a round: 'common'")


def test_lines_of_another_program_that_cannot_be_read_are_named(tmp_path: Path):
    refused(lambda: list(line_file.read(tmp_path)), f"{tmp_path}: cannot be read: Is a directory")


def test_two_rationales_of_one_problem_are_counted_and_not_published():
    twice = [first("p1"), first("p1").model_copy(update={"id": "p1-again"})]

    refused(lambda: views([problem("p1")], twice), "rationales: 1 problems have more than one row")


def test_a_rationale_of_a_round_that_is_not_in_the_settings_is_not_published():
    refused(
        lambda: views([problem("p1")], [refined("p1", round="r9")], answered("p1")).rows,
        "rationale 'p1': there is no round 'r9'",
    )


# Problems of one's own


QUESTION = {"id": "p1", "question": "How many?", "answer": "7"}


def problems(folder: Path, *rows: object) -> Path:
    return written(folder / "own.json", json.dumps([*rows]))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[{"id": "p1", "id": "p2"}]', 'field "id": '),
        (f'[{{"answer": {"9" * 5000}}}]', "not JSON: Exceeds the limit"),
    ],
)
def test_an_array_of_problems_that_readers_disagree_on_is_refused_whole(
    text: str, fault: str, tmp_path: Path
):
    file = written(tmp_path / "own.json", text)

    refused(lambda: own.read(file), f"{file}: {fault}")


def test_a_document_that_is_not_there_is_named(tmp_path: Path):
    file = tmp_path / "none.json"

    refused(lambda: strict_json.document(file), f"{file}: cannot be read: No such file")


def test_an_answer_of_more_digits_than_any_grader_reads_is_refused(tmp_path: Path):
    file = problems(tmp_path, QUESTION | {"answer": 10**70})

    refused(lambda: own.read(file), f'{file}: row 1: field "answer": 10000000000000000000 is no')


def test_two_problems_of_one_id_are_refused_with_both_places(tmp_path: Path):
    file = problems(tmp_path, QUESTION, QUESTION | {"question": "How much?"})

    refused(lambda: own.read(file), f'{file}: row 2: field "id": the same id as row 1 (id="p1")')


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ([{"label": "A", "words": "four"}], "expected label and text in each object of the array"),
        ({"label": "AB", "text": ["4", "5"]}, "expected an array of labels and one of texts"),
    ],
)
def test_choices_without_labels_or_texts_are_refused_by_their_field(
    given: object, fault: str, tmp_path: Path
):
    file = problems(tmp_path, QUESTION | {"choices": given, "answer": "A"})

    refused(lambda: own.read(file), f'{file}: row 1: field "choices": {fault}')
    refused(lambda: choices.read(given), fault)


def test_a_test_of_zero_rows_for_a_published_data_set_is_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(published, "IMPORTED", Path("data/imported"))
    small(here / "data/imported/small", "cc-by-4.0")
    written(here / "data/external/test.jsonl")
    settings = published.Settings(
        folder="small", dev=None, test="data/external/test.jsonl", dev_share=0.5,
        take_train=None, take_dev=None, take_test=None,
    )  # fmt: skip

    refused(lambda: published.problems(settings, 1), "data/external/test.jsonl: 0 rows", CONFIG)


# What goes to the hub, and what comes from git


class Hub:
    """Fails at the first thing that is asked of it."""

    def __init__(self, fault: Exception) -> None:
        self.fault = fault

    def create_repo(self, *_: object, **__: object) -> None:
        raise self.fault


def answered_with(status: int) -> Exception:
    answer = httpx2.Response(status, request=httpx2.Request("POST", "https://hub.example.org"))
    return HfHubHTTPError("so it is", response=answer)


@pytest.mark.parametrize(
    ("fault", "told", "code"),
    [
        (LocalTokenNotFoundError(), "no token; run hf auth login, or set HF_TOKEN", PERMISSION),
        (answered_with(403), "the hub refused (403): so it is", PERMISSION),
        (answered_with(503), "the hub refused (503): so it is", TRY_AGAIN),
        (ConnectionError("no way there"), "the hub: no way there", TRY_AGAIN),
    ],
)
def test_a_hub_that_takes_nothing_is_told_by_the_name_of_the_data_set(
    fault: Exception, told: str, code: int, tmp_path: Path
):
    folder = small(tmp_path / "small", "cc-by-4.0")

    refused(
        lambda: hub.push(folder, "me/small", Hub(fault), public=False), f"me/small: {told}", code
    )


def test_a_file_outside_of_the_repository_is_in_no_revision_of_it(here: Path):
    written(here / ".dvc/config")
    who = ["-c", "user.name=n", "-c", "user.email=n@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "one"]):
        subprocess.run(["git", *words], check=True)

    refused(
        lambda: versions.fetch("HEAD:/etc/hostname", here),
        f"/etc/hostname: is not in the repository that {here} is a checkout of",
    )
