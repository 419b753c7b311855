"""A sweep by the queue of DVC: what is queued, what is waited for, what is said of a failure."""

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from redistill.analysis import queued, sweep
from redistill.cli.main import main
from redistill.console.endings import Stopped
from redistill.console.exceptions import RefusedError
from redistill.records import json_file
from tests.imports import ROOT


class Queue:
    """The queue of DVC: every look at it ends what runs, seed 8 badly, and begins what waits."""

    def __init__(self, workers: int = 1) -> None:
        self.workers, self.tasks, self.started = workers, [], []
        self.stuck: set[str] = set()  # numbers of what runs without a process

    def add(self, name: str, state: str = "Queued") -> None:
        self.tasks.append([f"{len(self.tasks):07x}", name, state])

    def __call__(self, root: Path, *words: str) -> str:
        if words == ("root",):
            return ".\n"
        if words[1] == "kill":
            (task,) = [task for task in self.tasks if task[1:] == [words[3], "Running"]]
            task[2] = "Failed"
            return ""
        if words[1] == "start":
            self.started.append(words[2])
            return ""
        rows = [f"{number}  {name}  05:19 AM  {state}" for number, name, state in self.tasks]
        for task in self.tasks if self.workers else ():
            if task[2] == "Running" and task[0] not in self.stuck:
                task[2] = "Failed" if task[1].startswith("seed8") else "Success"
            elif task[2] == "Queued":
                task[2] = "Running"
        told = f"Worker status: {self.workers} active, 0 idle"
        return "\n".join(["Task  Name  Created  Status", *rows, "", told])


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sweep.Plan:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(queued, "POLL", 0.0)
    return sweep.plan(tmp_path, tmp_path / "seeds", [])


def note(root: Path, name: str, process: int) -> None:
    """Have DVC's note of a *process* that it started lie in *root*."""
    file = root / queued.PROCESSES / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_json(file, {"pid": process, "returncode": None})


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[None]:
    """A process that DVC started as a worker."""
    with subprocess.Popen(["dvc", "60"], executable="/bin/sleep") as process:
        note(tmp_path, "celery/dvc-exp-worker-1", process.pid)
        yield
        process.kill()


@pytest.fixture
def use(plan: sweep.Plan, monkeypatch: pytest.MonkeyPatch) -> Callable[[Queue], Queue]:
    """Has a queue stand for that of DVC, and the experiments that ended well leave results."""

    def used(queue: Queue) -> Queue:
        def take_in(plan: sweep.Plan, seed: int) -> None:
            if [
                1 for _, name, state in queue.tasks if (name, state) == (plan.name(seed), "Success")
            ]:
                json_file.write_json(plan.file(seed), {"settings": plan.settings()})

        monkeypatch.setattr(queued, "_dvc", queue)
        monkeypatch.setattr(queued, "queue", lambda plan, seed, _: queue.add(plan.name(seed)))
        monkeypatch.setattr(sweep, "_take_in", take_in)
        return queue

    return used


@pytest.mark.usefixtures("worker")
def test_seeds_are_queued_once_and_waited_for(plan: sweep.Plan, use: Callable[[Queue], Queue]):
    queue, said = use(Queue()), []
    queue.add(plan.name(3), "Running")  # by a sweep that was ended meanwhile
    queue.add("anothers")

    queued.run(plan, [2, 3], 4, said.append)

    assert [name for _, name, _ in queue.tasks] == [plan.name(3), "anothers", plan.name(2)]
    assert queue.started == ["--jobs=4"]
    assert sweep.missing(plan, [2, 3], force=False) == []
    assert said[1:] == [f"{plan.name(3)} has ended", f"{plan.name(2)} has ended"]


@pytest.mark.parametrize("noted", ["its process", "its worker"])
def test_a_seed_whose_worker_was_killed_is_queued_again(
    noted: str, plan: sweep.Plan, use: Callable[[Queue], Queue]
):
    queue, said = use(Queue()), []
    queue.add(plan.name(3), "Running")
    queue.stuck.add("0000000")
    gone = "run/0000000aa/0000000aa" if noted == "its process" else "celery/dvc-exp-worker-1"
    note(plan.root, gone, 2**22 + 1)  # above any process's number

    queued.run(plan, [3], 1, said.append)

    assert [state for _, _, state in queue.tasks] == ["Failed", "Success"]
    assert said[0] == f"{plan.name(3)}: its process is gone, killed with its worker"
    assert sweep.missing(plan, [3], force=False) == []


def test_the_number_of_a_killed_process_that_another_program_has_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    task = queued.Task("0000000", "seed3", "Running")
    monkeypatch.setattr(queued, "_dvc", lambda *_: ".")
    lost = []
    for name in ("dvc", "other"):
        with subprocess.Popen([name, "60"], executable="/bin/sleep") as process:
            note(tmp_path, "run/0000000aa/0000000aa", process.pid)
            lost.append(queued._lost(tmp_path, [task]))
            process.kill()

    assert lost == [[], [task]]


def test_a_seed_that_fails_is_named_with_its_log_and_the_others_are_kept(
    plan: sweep.Plan, use: Callable[[Queue], Queue]
):
    queue = use(Queue())
    queue.add(plan.name(8), "Failed")  # an earlier time, whose log nobody wants

    with pytest.raises(RefusedError, match="seed 8: dvc queue logs 0000002") as it:
        queued.run(plan, [2, 8], 1, print)

    assert it.value.code == 70
    assert sweep.missing(plan, [2, 8], force=False) == [8]


def test_what_is_edited_or_committed_while_seeds_run_changes_none_of_them(
    plan: sweep.Plan, use: Callable[[Queue], Queue]
):
    queue, before = use(Queue()), plan.settings()

    def edit(_: object) -> None:
        file = plan.root / "params.yaml"
        file.write_text(file.read_text().replace("steps: 1500", "steps: 1600"))

    queued.run(plan, [2], 1, edit)

    assert plan.settings() != before
    assert json_file.read_json(plan.file(2))["settings"] == before
    assert [state for _, _, state in queue.tasks] == ["Success"]


def test_an_edit_while_seeds_are_queued_ends_the_sweep(
    plan: sweep.Plan, use: Callable[[Queue], Queue], monkeypatch: pytest.MonkeyPatch
):
    queue = use(Queue())

    def edited(plan: sweep.Plan, seed: int, _: object) -> None:
        file = plan.root / "params.yaml"
        file.write_text(file.read_text().replace("steps: 1500", "steps: 1600"))

    monkeypatch.setattr(queued, "queue", edited)
    with pytest.raises(RefusedError, match="edited while the seeds were queued") as it:
        queued.run(plan, [2, 3], 1, print)

    assert it.value.code == 75
    assert queue.started == []


def test_a_queue_that_nobody_works_on_is_told(
    plan: sweep.Plan, use: Callable[[Queue], Queue], monkeypatch: pytest.MonkeyPatch
):
    use(Queue(workers=0))
    monkeypatch.setattr(queued, "IDLE", 0.0)

    with pytest.raises(RefusedError, match="DVC has no worker") as it:
        queued.run(plan, [2], 1, print)

    assert it.value.code == 75


def test_dvc_that_fails_ends_a_sweep_in_its_words(plan: sweep.Plan):
    with pytest.raises(RefusedError, match=r"dvc queue status: ERROR: .*not inside of a DVC") as it:
        queued.look(plan.root)
    assert it.value.code == 70


@pytest.mark.parametrize("also", [["--force"], ["--queue"], ["--gather", "."]])
def test_jobs_are_for_what_has_no_results_yet(also: list[str], plan: sweep.Plan):
    ran = CliRunner().invoke(main, ["sweep", "--seeds", "1", "--jobs", "2", *also])

    assert (ran.exit_code, "--jobs" in ran.output) == (2, True)
    assert not plan.folder.exists()


def test_a_signal_ends_the_waiting_and_says_that_the_workers_go_on(
    plan: sweep.Plan, use: Callable[[Queue], Queue]
):
    use(Queue())

    def say(told: str) -> None:
        if told.endswith("has ended"):
            raise Stopped(signal.SIGINT)

    with pytest.raises(RefusedError, match="stopped by SIGINT; the workers of DVC go on") as it:
        queued.run(plan, [2, 3], 1, say)

    assert it.value.code == 130
