"""A published data set through an S3 remote: pushed from one repository, imported by another."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from redistill.records import manifest
from tests.loop.projects import Finished, Project
from tests.loop.test_published import content, run
from tests.publications import small

boto3 = pytest.importorskip("boto3", reason="needs the extra s3 and moto[server]: make slow")
server = pytest.importorskip("moto.server", reason="needs moto[server]: make slow")
pytest.importorskip("dvc_s3", reason="needs the extra s3: make slow")
pytestmark = pytest.mark.slow

SETTINGS = "publish: {name: small, license: null}\n"
STAGE = "stages:\n  publish:\n    cmd: 'true'\n    outs:\n      - data/published/small\n"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, object]]:
    """The address of an S3 endpoint on this machine with an empty bucket, and a client of it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "t")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "t")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    started = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    started.start()
    host, port = started.get_host_and_port()
    address = f"http://{host}:{port}"
    client = boto3.client("s3", endpoint_url=address)
    client.create_bucket(Bucket="kept")
    yield address, client
    started.stop()


def remote(root: Path, address: str) -> None:
    run("dvc", "remote", "add", "-q", "-d", "kept", "s3://kept/project", cwd=root)
    run("dvc", "remote", "modify", "-q", "kept", "endpointurl", address, cwd=root)


def repository(root: Path) -> Path:
    root.mkdir()
    run("git", "init", "-q", cwd=root)
    run("dvc", "init", "-q", cwd=root)
    return root


def test_a_data_set_pushed_to_s3_is_imported_whole_by_another_repository(bucket, tmp_path: Path):
    address, client = bucket
    source = repository(tmp_path / "source")
    remote(source, address)
    (source / "params.yaml").write_text(SETTINGS, encoding="utf-8")
    (source / "dvc.yaml").write_text(STAGE, encoding="utf-8")
    published = source / "data/published/small"
    small(published)
    written = content(published)
    run("dvc", "commit", "-q", "-f", cwd=source)
    run("dvc", "push", "-q", cwd=source)
    run("git", "add", "-A", cwd=source)
    run("git", "commit", "-qm", "publish", cwd=source)
    run("rm", "-rf", ".dvc/cache", "data/published", cwd=source)
    assert client.list_objects_v2(Bucket="kept")["KeyCount"] > len(written)

    other = repository(tmp_path / "other")
    run("dvc", "import", "-q", str(source), "data/published/small", "-o", "lessons", cwd=other)

    assert content(other / "lessons") == written
    assert manifest.verify(other / "lessons") == []


def test_a_second_machine_pulls_a_run_from_s3_and_computes_nothing(
    bucket, finished: Finished, tmp_path: Path
):
    first, _ = finished(tmp_path / "first")
    remote(first.root, bucket[0])
    first.commit("run")
    first.dvc("push", "--quiet")
    second = Project.at(tmp_path / "second")
    first.git("clone", "-q", ".", str(second.root))

    second.dvc("pull", "--quiet")

    assert second.repro() == []
    assert second.hashes() == first.hashes()
