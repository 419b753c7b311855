"""What the manifest of a folder finds, and that it is the folder's commit point."""

from pathlib import Path

import pytest

from redistill.records import manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "student"
    (found / "inner").mkdir(parents=True)
    (found / "model.safetensors").write_bytes(bytes(range(256)) * 4)
    (found / "inner" / "config.json").write_text("{}")
    manifest.write(found)
    return found


def test_an_untouched_folder_has_no_faults(folder: Path):
    assert manifest.verify(folder) == []


@pytest.mark.parametrize("place", [0, 500, 1023])
def test_one_flipped_bit_is_named_with_both_hashes(folder: Path, place: int):
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)

    (fault,) = manifest.verify(folder)

    assert fault.startswith(f"{file}: 1024 bytes with sha256 ")
    assert "expected 1024 bytes with sha256 " in fault
    hashes = [word.rstrip(",") for word in fault.split() if len(word.rstrip(",")) == 64]
    assert len(set(hashes)) == 2


@pytest.mark.parametrize("size", [0, 1, 1023])
def test_a_truncated_file_is_named_with_its_sizes(folder: Path, size: int):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])

    (fault,) = manifest.verify(folder)

    assert fault.startswith(f"{file}: {size} bytes")
    assert "expected 1024 bytes" in fault


def test_a_missing_and_an_added_file_are_named(folder: Path):
    (folder / "inner" / "config.json").unlink()
    (folder / "adapter_config.json").write_text("{}")

    assert manifest.verify(folder) == [
        f"{folder / 'inner/config.json'}: missing",
        f"{folder / 'adapter_config.json'}: not in the manifest",
    ]


def test_a_folder_without_a_manifest_is_incomplete(folder: Path):
    (folder / "manifest.json").unlink()

    (fault,) = manifest.verify(folder)

    assert "missing" in fault
    assert "incomplete" in fault


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"files": 3}', '{"files": {"a": {}}}', '{"files": {"a": 1}}',
     '{"files": {"../a": {"bytes": 1, "sha256": "0"}}}',
     '{"files": {"/etc/passwd": {"bytes": 1, "sha256": "0"}}}', "[" * 100_000],
)  # fmt: skip
def test_a_damaged_manifest_is_a_fault_and_no_crash(folder: Path, content: str):
    (folder / "manifest.json").write_text(content)

    assert manifest.verify(folder) == [f"{folder / 'manifest.json'}: damaged, it is no manifest"]


def test_writing_it_again_gives_the_same_bytes(folder: Path):
    before = (folder / "manifest.json").read_bytes()
    manifest.write(folder)

    assert (folder / "manifest.json").read_bytes() == before
