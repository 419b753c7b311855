"""Two machines with one remote: the second takes what the first has computed."""

from pathlib import Path

from tests.loop.projects import Finished, Project


def test_a_second_machine_pulls_what_the_first_computed_and_runs_nothing(
    finished: Finished, tmp_path: Path
):
    first, ran = finished(tmp_path / "first")
    first.dvc("remote", "add", "--default", "kept", str(tmp_path / "remote"))
    first.commit("run")
    first.dvc("push", "--quiet")
    second = Project.at(tmp_path / "second")
    first.git("clone", "-q", ".", str(second.root))

    second.dvc("pull", "--quiet")

    assert len(ran) > 10
    assert second.repro() == []
    assert second.hashes() == first.hashes()
    assert second.git("status", "--short") == ""
