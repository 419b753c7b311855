"""
How long the report takes to make and to open, with 1,000 and 20,000 problems and of this run.

The pages are opened as files in a headless Chromium; a page is open once its list can be used.
"""

import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from redistill.records import json_file
from redistill.report import page as pages
from tests import browsers, reports

ROOT = Path(__file__).resolve().parent.parent
SIZES = (1_000, 20_000)
TURNS = 5


def seconds(values: list[float]) -> float:
    """Their median, in hundredths."""
    return round(statistics.median(values), 2)


def made(root: Path, out: Path) -> dict[str, Any]:
    """The stage report on the run in *root*, from start to end, into *out*."""
    command = [sys.executable, "-m", "stages.report", *reports.outs(str(out))]
    wall, busy = [], []
    for _ in range(TURNS):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        ran = subprocess.run(  # noqa: S603
            command, cwd=root, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True
        )
        wall.append(time.monotonic() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        busy.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if ran.returncode:
            raise SystemExit(ran.stderr.decode())
    return {"seconds": seconds(wall), "cpu_seconds": seconds(busy)}


def written(folder: Path, problems: int) -> dict[str, Any]:
    """A report of *problems* made-up problems in *folder*, without reading and figures."""
    run = reports.run(problems)
    known = reports.facts(run)
    pictures = reports.pictures(known)
    started = time.monotonic()
    pages.write(folder, known, pictures, run)
    return {"written_in_seconds": seconds([time.monotonic() - started])}


def opened(browser: Any, folder: Path) -> dict[str, Any]:
    """How large the report in *folder* is, and the seconds that it takes to open."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    turns = [browsers.opening(browser, folder / pages.INDEX) for _ in range(TURNS)]
    return {
        "files": len(files),
        "megabytes": round(sum(file.stat().st_size for file in files) / 1e6, 2),
        "page_kilobytes": round((folder / pages.INDEX).stat().st_size / 1e3),
        "seconds_to_list": seconds([turn["list"] for turn in turns]),
        "seconds_until_searchable": seconds([turn["searchable"] for turn in turns]),
        "seconds_to_a_problem": seconds([turn["problem"] for turn in turns]),
    }


def checked(browser: Any, folder: Path) -> dict[str, list[str]]:
    """What axe-core finds in the report, by colour scheme and width, a problem being open."""
    found = {}
    for scheme in ("light", "dark"):
        for width in (400, 1400):
            size = {"width": width, "height": 900}
            context = browser.new_context(color_scheme=scheme, viewport=size, bypass_csp=True)
            page = context.new_page()
            page.goto((folder / pages.INDEX).as_uri())
            page.wait_for_selector(browsers.ALL, state="attached")
            page.click("#rows a >> nth=0")
            page.wait_for_selector("#life h3")
            findings = [f"{one['impact']}: {one['id']}" for one in browsers.axe(page)]
            found[f"{scheme}, {width} px"] = sorted(findings)
            context.close()
    return found


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The figures, as JSON.")
def main(out: Path) -> None:
    """Measure the report of the run in this folder, which `make repro` leaves, and larger ones."""
    if browsers.CHROMIUM is None:
        raise SystemExit(browsers.ABSENT)
    figures: dict[str, Any] = {"python": platform.python_version(), "cores": os.cpu_count()}
    figures["load"] = round(os.getloadavg()[0], 1)  # what else the machine was busy with
    with tempfile.TemporaryDirectory() as name, browsers.started() as browser:
        folder = Path(name)
        figures["browser"] = browser.version
        figures["turns"] = TURNS
        figures["this run"] = made(Path.cwd(), folder) | opened(browser, folder / "report")
        figures["axe"] = checked(browser, folder / "report")
        for problems in SIZES:
            there = folder / str(problems)
            figures[f"{problems} problems"] = written(there, problems) | opened(browser, there)
    for key, value in figures.items():
        click.echo(f"{key}: {value}")
    json_file.write_json(out, figures)


if __name__ == "__main__":
    main()
