"""A published data set in DVC: damage is named, and other repositories can take it over."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from redistill.cli import verify
from redistill.cli.main import main
from redistill.records import manifest
from tests import forks
from tests.imports import ROOT
from tests.loop.projects import COMMITTER
from tests.publications import answered, problem, publish, refined, small, views

CACHE = Path(verify.CACHE)
CORRUPTIONS = 200
PARAMS = "publish: {name: small, license: null}\n"
STAGE = """
stages:
  publish:
    cmd: "true"
    outs:
      - data/published/${publish.name}
"""
ANSWERS = [
    "2020-01-01", "00123", "12345678901234567890", "no", "1e5", "a\u2028b\u2029c\u0085d", "🦉",
    "  two spaces ", "NaN", "null", "true", "1.0", "-0", "\\u0041", '"quoted"', "a\tb", "\ufeff",
]  # fmt: skip
LOAD = """
import json, sys
from datasets import load_dataset
folder, found = sys.argv[1], {}
for view in sys.argv[2:]:
    rows = load_dataset(folder, view, split="train")
    files = f"{folder}/{view}.jsonl"
    again = load_dataset("json", data_files=files, split="train", features=rows.features)
    plain = load_dataset("json", data_files=files, split="train")
    found[view] = [rows.to_list(), again.to_list(), plain.to_list()]
found["unnamed"] = load_dataset(folder, split="train").to_list()
print(json.dumps(found))
"""


def artifacts() -> str:
    """The section of our own dvc.yaml, as it is written there."""
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    return "artifacts:\n" + text.split("\nartifacts:\n")[1].split("\n\n")[0] + "\n"


def run(*words: str, cwd: Path) -> str:
    if words[0] == "dvc":
        ran = forks.run("dvc", words[1:], cwd, **COMMITTER)
    else:
        env = {**os.environ, **COMMITTER}
        ran = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a published data set in DVC, pushed to a remote and then only there."""
    place = tmp_path_factory.mktemp("source")
    root = place / "repository"
    root.mkdir()
    run("git", "init", "-q", cwd=root)
    run("dvc", "init", "-q", cwd=root)
    run("dvc", "remote", "add", "-q", "-d", "kept", str(place / "remote"), cwd=root)
    (root / "params.yaml").write_text(PARAMS, encoding="utf-8")
    (root / "dvc.yaml").write_text(STAGE + artifacts(), encoding="utf-8")
    small(root / "data/published/small")
    run("dvc", "commit", "-q", "-f", cwd=root)
    run("dvc", "push", "-q", cwd=root)
    run("git", "add", "-A", cwd=root)
    run("git", "commit", "-qm", "publish", cwd=root)
    run("git", "tag", "v1", cwd=root)
    return root


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A repository of somebody else."""
    run("git", "init", "-q", cwd=tmp_path)
    run("dvc", "init", "-q", cwd=tmp_path)
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_every_one_of_two_hundred_wrong_bytes_of_a_data_set_is_named(
    source: Path, monkeypatch: pytest.MonkeyPatch
):
    """Row V1, for what is published: in the working tree, by the manifest or by DVC's hash."""
    monkeypatch.chdir(source)
    chance = random.Random(3)
    folder = Path("data/published/small")
    files = sorted(folder.iterdir())
    folders = dict.fromkeys(verify.manifests(Path()), manifest.verify)
    assert list(folders) == [folder]
    named = by_manifest = changed_listed = 0

    for _ in range(CORRUPTIONS):
        file = chance.choice(files)
        before = file.read_bytes()
        wrong = bytearray(before)
        wrong[chance.randrange(len(wrong))] ^= chance.randint(1, 255)
        file.chmod(0o644)
        file.write_bytes(bytes(wrong))
        report = verify.verify(Path(), cache=CACHE, database=Path("none"), folders=folders)
        alone = manifest.verify(folder)
        file.write_bytes(before)
        named += any(str(file) in fault for fault in report.faults)
        changed_listed += file.name != manifest.NAME
        by_manifest += file.name != manifest.NAME and any(str(file) in fault for fault in alone)

    print(f"V1 published: {named} of {CORRUPTIONS} single-byte corruptions named")
    assert named == CORRUPTIONS
    assert by_manifest == changed_listed > 100
    assert not verify.verify(Path(), cache=CACHE, database=Path("none"), folders=folders).faults


def test_the_command_checks_the_folders_that_have_a_manifest(
    source: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(source)
    card = Path("data/published/small/README.md")
    good = CliRunner().invoke(main, ["verify"])
    before = card.read_bytes()
    card.chmod(0o644)
    card.write_bytes(before[:-1])
    bad = CliRunner().invoke(main, ["verify"])
    card.write_bytes(before)

    assert good.exit_code == 0, good.output
    assert "1 folders what their manifests say" in good.output
    assert bad.exit_code == 65
    assert f"data/published/small: {card}: {len(before) - 1} bytes with sha256" in bad.stdout


def test_another_repository_imports_it_and_updates_it(source: Path, other: Path):
    run("dvc", "import", str(source), "data/published/small", "-o", "lessons", cwd=other)
    pinned = (other / "lessons.dvc").read_text(encoding="utf-8")

    assert content(other / "lessons") == content(source / "data/published/small")
    assert manifest.verify(other / "lessons") == []
    assert str(source) in pinned
    assert "rev_lock" in pinned
    run("dvc", "update", "lessons.dvc", cwd=other)


def test_it_can_be_fetched_at_a_tag_without_a_repository(source: Path, tmp_path: Path):
    words = ["dvc", "get", str(source), "data/published/small", "--rev", "v1", "-o", "lessons"]
    run(*words, cwd=tmp_path)

    assert manifest.verify(tmp_path / "lessons") == []


def test_one_file_of_it_can_be_opened_from_python(source: Path):
    import dvc.api

    with dvc.api.open("data/published/small/sft.jsonl", repo=str(source), rev="v1") as file:
        rows = [json.loads(line) for line in file]

    assert [row["id"] for row in rows] == ["p1", "p2"]


def test_it_is_found_by_the_name_of_its_artifact(source: Path):
    from dvc.repo import Repo

    with Repo(str(source)) as repo:
        found = repo.artifacts.read()["dvc.yaml"]["refined-rationales"]

    assert found.path == "data/published/small"
    assert found.type == "dataset"
    assert found.desc
    assert found.labels


def test_every_view_loads_in_a_fresh_process_without_a_network(tmp_path: Path):
    """Row D5: the answers are the same, byte for byte, however a view is loaded."""
    problems = [problem(f"p{n:02}", answer) for n, answer in enumerate(ANSWERS)]
    lessons = [refined(p.id, text=p.answer) for p in problems]
    made = views(problems, lessons, *(answered(p.id, f"no: {p.answer}") for p in problems))
    folder = publish(tmp_path / "set", made)
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}

    ran = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder), *made.rows],
        env={**os.environ, **offline}, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert len(ANSWERS) >= 17
    for view, rows in made.rows.items():
        for loaded in found[view]:
            assert loaded == rows, view
    assert [row["answer"] for row in found["records"][0]] == ANSWERS
    assert found["unnamed"] == made.rows["sft"]
