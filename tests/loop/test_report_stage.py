"""The stage report as `dvc repro` runs it, on the files of a run that has come so far."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from redistill import accounting
from tests import reports
from tests.imports import ROOT

LIMIT = 3.0  # seconds of the CPU for a run of the default's size


def made(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stages.report", *reports.outs("out")]
    there = {**os.environ, "PYTHONPATH": str(ROOT), "REDISTILL_STORE": str(folder / "none")}
    return subprocess.run(command, cwd=folder, env=there, capture_output=True, text=True)


def test_the_stage_writes_the_report_and_its_figures(tmp_path: Path):
    reports.lay_out(tmp_path, reports.run(60))

    ran = made(tmp_path)

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.endswith("The report: out/report/index.html\n")
    page = (tmp_path / "out/report/index.html").read_text(encoding="utf-8")
    assert "<h1>Toys &lt;b&gt;&amp; more</h1>" in page
    assert page.count('class="plot"') == 5
    costs = (tmp_path / "out/costs.csv").read_text(encoding="utf-8").split("\n")
    assert costs[0] == ",".join(accounting.COLUMNS)
    assert [line.split(",")[0] for line in costs[1:-1]] == ["r0", "r1", "r2", "long", "told"]
    assert not (tmp_path / "none").exists()


def test_it_takes_seconds_for_a_run_of_the_default_size(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    reports.lay_out(tmp_path, reports.run(3000))
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()

    ran = made(tmp_path)

    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    with capsys.disabled():
        print(f"\nreport: 3000 problems in {busy:.1f} s of the CPU, {wall:.1f} s in all")
    assert ran.returncode == 0, ran.stderr
    assert busy < LIMIT
