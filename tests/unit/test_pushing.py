"""What goes to the Hugging Face hub, and what keeps a data set from going there."""

import inspect
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from huggingface_hub import DatasetCard, HfApi
from ruamel.yaml import YAML

from redistill.cli.main import main
from redistill.console.exceptions import RefusedError
from redistill.datasets import hub as hubs
from redistill.datasets.card import END, START, merged
from redistill.records import manifest
from tests.imports import ROOT
from tests.publications import answered, first, problem, publish, refined, small, views

LICENCE = "cc-by-4.0"


class Hub:
    """Keeps what is asked of it, and takes only what the hub's own client takes."""

    def __init__(self, keep: Path, card: str | None = None, private: bool = True) -> None:
        self.calls: list[str] = []
        self.sent: dict = {}
        self.keep, self.card, self.private = keep, card, private

    def __getattr__(self, name: str):
        def call(*words, **options):
            inspect.signature(getattr(HfApi, name)).bind(self, *words, **options)
            self.calls.append(name)
            if name == "create_repo":
                self.sent["private"] = options["private"]
            if name == "hf_hub_download":
                (self.keep / "theirs.md").write_text(self.card or "", encoding="utf-8")
            if name == "upload_folder":
                shutil.copytree(options["folder_path"], self.keep / "sent")
                self.sent |= options
            return {
                "dataset_info": SimpleNamespace(private=self.private, sha="a" * 40),
                "file_exists": self.card is not None,
                "hf_hub_download": str(self.keep / "theirs.md"),
            }.get(name)

        return call


def push(folder: Path, hub: Hub, repo: str = "me/small", public: bool = False) -> str:
    return hubs.push(folder, repo, hub, public=public)


def test_a_push_is_private_and_one_commit_on_what_was_read(tmp_path: Path):
    folder, hub = small(tmp_path / "small", LICENCE), Hub(tmp_path)

    said = push(folder, hub)

    assert hub.calls == ["create_repo", "dataset_info", "file_exists", "upload_folder"]
    assert hub.sent["private"]
    assert (hub.sent["repo_id"], hub.sent["repo_type"]) == ("me/small", "dataset")
    assert hub.sent["parent_commit"] == "a" * 40
    assert manifest.verify(tmp_path / "sent") == []
    assert (tmp_path / "sent/README.md").read_bytes() == (folder / "README.md").read_bytes()
    assert said == "me/small: private, 15 files"


def test_a_view_that_is_gone_is_removed_from_the_hub_and_no_file_of_others(tmp_path: Path):
    hub = Hub(tmp_path)
    push(publish(tmp_path / "set", views([problem("p1")], [first("p1")]), LICENCE), hub)

    assert "preference.parquet" in hub.sent["delete_patterns"]
    assert not [p for p in hub.sent["delete_patterns"] if "*" in p or p == "README.md"]


THEIRS = """---
license: cc-by-4.0
language: en
tags:
- arithmetic
pretty_name: My own name
configs:
- config_name: extra
  default: true
  data_files: extra.csv
- config_name: sft
  data_files: old.csv
---
# Mine

Written by hand.

{section}

After it, by hand too.
"""


@pytest.mark.parametrize("section", ["", f"{START}\nan older text\n{END}"])
def test_what_others_wrote_in_the_card_stays(section: str, tmp_path: Path):
    folder, hub = small(tmp_path / "small", LICENCE), Hub(tmp_path, THEIRS.format(section=section))
    push(folder, hub)

    card = DatasetCard.load(tmp_path / "sent/README.md")
    fields = card.data.to_dict()
    assert (fields["language"], fields["pretty_name"]) == ("en", "My own name")
    assert {"arithmetic", "redistill"} <= set(fields["tags"])
    configs = {config["config_name"]: config for config in fields["configs"]}
    assert configs["extra"] == {"config_name": "extra", "default": True, "data_files": "extra.csv"}
    assert configs["sft"]["data_files"] == [{"split": "train", "path": "sft.parquet"}]
    assert [c for c in configs.values() if c.get("default")] == [configs["extra"]]
    assert "Written by hand." in card.text
    assert "After it, by hand too." in card.text
    assert "an older text" not in card.text
    assert card.text.count("# small\n") == 1
    assert manifest.verify(tmp_path / "sent") == []
    rows = json.loads((tmp_path / "sent/manifest.json").read_text())["files"]["sft.jsonl"]["rows"]
    assert rows == 2


def test_a_second_push_changes_nothing_in_the_card(tmp_path: Path):
    ours = merged(
        THEIRS.format(section=""), (small(tmp_path / "s", LICENCE) / "README.md").read_text()
    )

    assert merged(ours, (tmp_path / "s/README.md").read_text()) == ours


@pytest.mark.parametrize(
    ("card", "told"),
    [
        ("---\nlicense: mit\n---\n", "states the licence 'mit'"),
        ("---\n- a\n---\n", "cannot be read"),
        ("---\na: [\n---\n", "cannot be read"),
        (f"{END}\n{START}", "not one pair"),
        (START, "not one pair"),
        (START * 2 + END, "not one pair"),
    ],
)
def test_a_card_that_cannot_be_kept_stops_the_push(card: str, told: str, tmp_path: Path):
    hub = Hub(tmp_path, card)

    with pytest.raises(RefusedError, match=told):
        push(small(tmp_path / "small", LICENCE), hub)
    assert "upload_folder" not in hub.calls


def test_what_is_missing_is_listed_and_nothing_asked_of_the_hub(tmp_path: Path):
    """Row V4: no licence, no teacher, no source."""
    made = views(
        [problem("p1", source=""), problem("p2")],
        [refined("p1").model_copy(update={"teacher": " "}), first("p2")],
        answered("p1"),
    )
    folder, hub = publish(tmp_path / "set", made), Hub(tmp_path)

    with pytest.raises(RefusedError) as told:
        push(folder, hub)
    for fault in ("no licence: set publish.license", "no teacher in 1 rows", "no source in 1 rows"):
        assert fault in str(told.value)
    assert hub.calls == []


def test_a_folder_that_is_not_what_was_written_is_not_pushed(tmp_path: Path):
    folder, hub = small(tmp_path / "small", LICENCE), Hub(tmp_path)
    (folder / "sft.jsonl").write_text("{}\n")

    with pytest.raises(RefusedError, match=r"sft\.jsonl: 3 bytes"):
        push(folder, hub)
    assert hub.calls == []


def test_nothing_becomes_public_unasked(tmp_path: Path):
    folder = small(tmp_path / "small", LICENCE)
    seen, asked = Hub(tmp_path / "a", private=False), Hub(tmp_path / "b", private=False)

    with pytest.raises(RefusedError, match="--public"):
        push(folder, seen)
    assert push(folder, asked, public=True) == "me/small: public, 15 files"
    assert "upload_folder" not in seen.calls
    assert asked.sent["private"] is False


@pytest.mark.parametrize("repo", ["small", "a/b/c", "../x", "a/", "/b", "a b/c", ""])
def test_a_name_that_is_none_of_the_hub_is_refused(repo: str, tmp_path: Path):
    hub = Hub(tmp_path)

    with pytest.raises(RefusedError, match="no name of a data set"):
        push(small(tmp_path / "small", LICENCE), hub, repo)
    assert hub.calls == []


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings and a data set without a licence."""
    settings = YAML().load(ROOT / "params.yaml")
    settings["publish"]["name"] = "small"
    YAML().dump(settings, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return small(tmp_path / "data/published/small")


def test_the_command_sends_nothing_unless_told_and_says_what_it_would(run: Path):
    shown = CliRunner().invoke(main, ["publish"])

    assert shown.exit_code == 0, shown.output
    for file in run.iterdir():
        assert file.name in shown.output
        assert str(file.stat().st_size) in shown.output
    for line in ("- config_name: sft", "Before a push: no licence", "Nothing was sent"):
        assert line in shown.output


def test_the_command_refuses_a_push_without_a_licence(run: Path):
    told = CliRunner().invoke(main, ["publish", "--push", "me/small"])
    public = CliRunner().invoke(main, ["publish", "--public"])

    assert told.exit_code == 78
    assert "no licence" in told.stderr
    assert public.exit_code == 2


def test_the_command_names_a_damaged_folder_and_verify_takes_folders(run: Path):
    good = CliRunner().invoke(main, ["verify", "data/published/small"])
    (run / "provenance.json").write_text("{}")
    shown = CliRunner().invoke(main, ["publish"])
    bad = CliRunner().invoke(main, ["verify", "data/published/small"])

    assert good.output == "folders that are what their manifests say: 1\n"
    assert (shown.exit_code, bad.exit_code) == (65, 65)
    assert "provenance.json: 2 bytes" in shown.stderr
    assert "provenance.json: 2 bytes" in bad.stdout
