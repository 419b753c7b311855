"""A headless Chromium of this machine, and how long a report takes to open in it."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
ABSENT = f"there is no browser: none of {', '.join(NAMES)}"
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
LIST, ALL = "html[data-ready]", "html[data-ready=all]"  # the list can be used; all is searchable


@contextmanager
def started() -> Iterator[Any]:
    """A browser that downloads nothing and asks for nothing by itself."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def opening(browser: Any, file: Path) -> dict[str, float]:
    """Seconds until the list of problems in the report *file* can be used, and what follows."""
    page = browser.new_page()
    begun = time.monotonic()
    page.goto(file.as_uri())
    page.wait_for_selector(LIST, state="attached")
    found = {"list": time.monotonic() - begun}
    page.wait_for_selector(ALL, state="attached")
    found["searchable"] = time.monotonic() - begun
    begun = time.monotonic()
    page.click("#rows a >> nth=1")
    page.wait_for_selector("#life h3")
    found["problem"] = time.monotonic() - begun
    page.close()
    return found


def axe(page: Any) -> list[dict[str, Any]]:
    """What axe-core finds wrong with *page*, whose context bypasses the page's own policy."""
    import axe_core_python

    source = Path(str(axe_core_python.__file__)).parent / "axe.min.js"
    page.add_script_tag(content=source.read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = page.evaluate("async () => (await axe.run()).violations")
    return found
