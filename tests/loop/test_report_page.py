"""The report in a browser, opened as a file: what it loads, finds and shows, and how quickly."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from redistill.records.types import Error, Exemplar, Prediction, Problem, Rationale
from redistill.report import page as pages
from redistill.report.explorer import Run
from tests import browsers, reports
from tests.browsers import ALL
from tests.reports import BRANCHES
from tests.unit.test_showing import PAYLOADS

RUN = reports.run(300)
LIMITS = {1_000: 1.0, 20_000: 2.0, 100_000: 6.0}  # seconds until the list can be used

pytestmark = pytest.mark.skipif(browsers.CHROMIUM is None, reason=browsers.ABSENT)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with browsers.started() as chromium:
        yield chromium


def written(
    root: Path, run: Run, title: str = "Toys", figures: Run | None = None, timed: str = "train-r0"
) -> Path:
    """
    The page of *run* as in the project *root*, with the time that the stage *timed* took.

    It has the figures of another run where *run* has none.
    """
    folder, known = root / "data/report", reports.facts(figures or run, title=title)
    pages.write(folder, known, reports.pictures(known), run)
    took = {"seconds": 61.5, "tokens": 73800.0, "tokens_per_second": 1200.0}
    pages.write_timing(root / "metrics/timing", {timed: took})
    return folder / pages.INDEX


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("run"), RUN)


@pytest.fixture
def opened(browser: Any, report: Path) -> Iterator[Callable[..., Any]]:
    """A function that opens the report at a place of it, and fails at whatever the page logs."""
    contexts, heard = [], []

    def visit(place: str = "", file: Path = report, **options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("dialog", lambda dialog: heard.append(dialog.message))
        page.goto(file.as_uri() + place)
        page.wait_for_selector(ALL, state="attached")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert heard == []


def count(page: Any) -> int:
    return int(page.inner_text("#count").split(" of ")[0].replace(",", ""))


def solved(name: str, split: str, problem: str) -> bool:
    return RUN.predictions[name][split, problem].verdict == "correct"


def test_it_asks_for_nothing_but_its_own_files_and_what_took_how_long(opened: Any, report: Path):
    page = opened()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    page.reload()
    page.wait_for_selector(ALL, state="attached")
    page.click("#rows a")
    page.wait_for_selector("#life h3")

    root = report.parents[2].as_uri()
    assert sorted(url.removeprefix(root) for url in asked) == [
        "/data/report/index.html",
        "/data/report/problems/index.js",
        "/data/report/problems/lives-000.js",
        "/data/report/problems/questions-000.js",
        "/metrics/timing/timing.js",
    ]


def test_it_shows_what_took_how_long(opened: Any):
    page = opened()
    page.wait_for_selector("#times:not([hidden])")

    cells = page.locator("#times-rows > *").first.locator("th, td").all_inner_texts()
    assert cells == ["train-r0", "61.5", "1,200"]


def test_a_report_that_is_taken_elsewhere_without_times_is_whole(
    browser: Any, report: Path, tmp_path: Path
):
    shutil.copytree(report.parent, tmp_path / "data/report")
    page = browser.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))

    page.goto((tmp_path / "data/report" / pages.INDEX).as_uri())
    page.wait_for_selector(ALL, state="attached")
    page.click("#rows a")
    page.wait_for_selector("#life h3")

    assert page.is_hidden("#times")
    assert page.is_hidden("#trouble")
    assert faults == []
    page.close()


def test_the_policy_keeps_out_what_the_page_does_not_bring_itself(browser: Any, report: Path):
    page = browser.new_page()
    page.goto(report.as_uri())
    page.wait_for_selector(ALL, state="attached")
    for code in (
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.bad=1\">')",
        "const s = document.createElement('script'); s.textContent = 'window.bad=2';"
        " document.body.append(s)",
        "const t = document.createElement('script'); t.src = 'https://example.org/x.js';"
        " t.onerror = () => { document.title = 'kept out' }; document.body.append(t)",
    ):
        page.evaluate(f"() => {{ {code} }}")
    page.wait_for_timeout(200)

    assert page.evaluate("() => window.bad") is None
    assert page.title() == "kept out"
    page.close()


@pytest.mark.parametrize(
    ("field", "value", "holds"),
    [
        ("split", "dev", lambda s, p: s == "dev"),
        ("outcome", "fixed", lambda s, p: not solved("r0", s, p) and solved("r2", s, p)),
        ("outcome", "broken", lambda s, p: solved("r0", s, p) and not solved("r2", s, p)),
        ("outcome", "unsolved", lambda s, p: not solved("r0", s, p) and not solved("r2", s, p)),
        ("outcome", "never", lambda s, p: not any(solved(n, s, p) for n in ("r0", "r1", "r2"))),
        ("outcome", "always", lambda s, p: all(solved(n, s, p) for n in ("r0", "r1", "r2"))),
        ("gap", "multiply", lambda s, p: any((s, p) in RUN.errors[n] for n in BRANCHES)),
        (
            "rationale", "refined",
            lambda s, p: any(
                p in found and found[p].status == "refined" for found in RUN.rationales.values()
            ),
        ),
        (
            "rationale", "kept:too long",
            lambda s, p: any(
                p in found and found[p].reason == "too long" for found in RUN.rationales.values()
            ),
        ),
    ],
)  # fmt: skip
def test_a_filter_finds_the_problems_that_it_names(opened: Any, field, value, holds):
    page = opened()

    page.select_option(f"#f-{field}", value)

    expected = [p.id for split, p in RUN.problems if holds(split, p.id)]
    assert 0 < len(expected) < len(RUN.problems)
    assert count(page) == len(expected)
    assert page.locator("#rows .id").all_inner_texts() == expected[:50]
    page.click("#reset")
    assert count(page) == len(RUN.problems)


def test_filters_go_together_and_stand_in_the_address(opened: Any, report: Path):
    page = opened()

    page.click("summary:has-text('Verdict by branch')")
    page.select_option("#f-verdicts label:has-text('told') select", "w")
    page.select_option("#f-to", "long")
    page.select_option("#f-outcome", "fixed")
    page.fill("#f-q", "crayons JONAS")
    page.wait_for_selector("#rows a[href*='q=']")

    expected = [
        p.id
        for s, p in RUN.problems
        if not solved("r0", s, p.id) and solved("long", s, p.id) and not solved("told", s, p.id)
    ]
    assert count(page) == len(expected)
    again = opened(page.url.removeprefix(report.as_uri()))
    assert count(again) == len(expected)
    assert again.input_value("#f-q") == "crayons JONAS"
    assert again.input_value("#f-to") == "long"


def test_a_search_looks_into_questions_and_ids(opened: Any):
    page = opened()
    wanted = RUN.problems[123][1]

    page.fill("#f-q", wanted.id.upper())
    page.wait_for_selector("#rows a[href*='q=']")
    assert page.locator("#rows .id").all_inner_texts() == [wanted.id]

    page.fill("#f-q", wanted.question[:60])
    page.wait_for_function(
        "text => document.querySelector('#rows a').href.includes(text)", arg="In"
    )
    assert wanted.id in page.locator("#rows .id").all_inner_texts()


def refined() -> str:
    first, second = (RUN.rationales[name] for name in ("r1", "r2"))
    return next(
        p
        for p in first
        if first[p].status == second[p].status == "refined" and not solved("r0", "train", p)
    )


def test_a_problem_shows_its_life_over_the_branches(opened: Any):
    problem = refined()

    page = opened(f"#problem={problem}")
    page.wait_for_selector("#life h3")

    assert page.inner_text("#life h3") == problem
    names = page.locator("#life .branch h4 > span").all_inner_texts()
    assert names == list(BRANCHES)
    first, second = (page.locator("#life .branch").nth(n) for n in (0, 1))
    wrong = RUN.predictions["r0"]["train", problem].completion.split("\n")[1]
    assert first.locator("mark").all_inner_texts() == [wrong]
    assert "First wrong: step 2" in first.inner_text()
    assert "Written by tutor and accepted." in first.inner_text()
    assert "Rewritten by tutor and accepted. Why: multiply." in second.inner_text()
    assert "Digit by digit" in second.locator("ins").first.inner_text()
    assert "Taught the rationale of r0." in page.inner_text("#life")
    assert "the loop had stopped" in page.inner_text("#life")
    page.click("text=Show changes")
    assert page.locator("#life ins").first.evaluate(
        "node => getComputedStyle(node).textDecorationLine"
    ) == "none"  # fmt: skip


def test_all_of_it_can_be_reached_from_the_keyboard(opened: Any):
    page = opened()

    page.keyboard.press("/")
    assert page.evaluate("() => document.activeElement.id") == "f-q"
    page.focus("#rows a")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("#life h3:focus")
    assert page.inner_text("#life h3") == RUN.problems[2][1].id
    outline = page.locator("#life h3").evaluate("node => getComputedStyle(node).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Escape")
    assert page.locator("#rows a:focus .id").inner_text() == RUN.problems[2][1].id
    page.keyboard.press("End")
    page.keyboard.press("ArrowDown")
    assert page.inner_text("#page") == "Page 2 of 6"
    assert page.locator("#rows a:focus .id").inner_text() == RUN.problems[50][1].id
    page.keyboard.press("ArrowUp")
    assert page.locator("#rows a:focus .id").inner_text() == RUN.problems[49][1].id


def test_a_link_to_a_problem_opens_the_page_of_the_list_that_it_is_on(opened: Any):
    problem = RUN.problems[123][1].id

    page = opened(f"#problem={problem}")
    page.wait_for_selector("#life h3")

    assert page.inner_text("#page") == "Page 3 of 6"
    assert page.inner_text("#rows [aria-current] .id") == problem
    there = "#rows [aria-current]", "#rows"
    row, box = (page.locator(place).bounding_box() for place in there)
    assert box["y"] <= row["y"] <= box["y"] + box["height"] - row["height"]
    page.click("#on")
    assert page.inner_text("#page") == "Page 4 of 6"


def test_where_nothing_is_found_it_is_said(opened: Any):
    page = opened("#q=nothing+like+it")

    assert page.inner_text("#count") == "0 of 300 problems"
    assert page.inner_text("#rows") == "No problem is like that."


def test_going_back_in_the_browser_goes_back_to_the_problem_before(opened: Any):
    page = opened("#problem=wp-00001")
    page.click("#rows a >> nth=5")
    page.wait_for_selector("#life h3:has-text('wp-00005')")
    page.click("text=Problem after")
    page.wait_for_selector("#life h3:has-text('wp-00006')")

    page.go_back()
    page.wait_for_selector("#life h3:has-text('wp-00005')")
    page.go_back()

    page.wait_for_selector("#life h3:has-text('wp-00001')")


def test_an_unknown_problem_and_a_lost_file_are_told(browser: Any, opened: Any, tmp_path: Path):
    page = opened("#problem=nobody")
    assert "There is no problem nobody" in page.inner_text("#life")

    file = written(tmp_path, reports.run(6))
    (file.parent / "problems/lives-000.js").unlink()
    page = browser.new_page()
    page.goto(f"{file.as_uri()}#problem=wp-00000")
    page.wait_for_selector("#trouble:not([hidden])")
    assert "problems/lives-000.js cannot be read" in page.inner_text("#trouble")
    page.close()


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (400, "dark"),
        (1400, "light"),
        pytest.param(400, "light", marks=pytest.mark.slow),
        pytest.param(1400, "dark", marks=pytest.mark.slow),
    ],
)
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_screen(
    opened: Any, scheme: str, width: int
):
    page = opened(
        f"#problem={refined()}", color_scheme=scheme, bypass_csp=True,
        viewport={"width": width, "height": 900},
    )  # fmt: skip
    page.wait_for_selector("#life h3")
    page.click("summary:has-text('Verdict by branch')")

    found = browsers.axe(page)

    for one in found:
        print(f"axe {scheme} {width}: {one['impact']} {one['id']}: {len(one['nodes'])} nodes")
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    end = page.evaluate("() => document.querySelector('footer').getBoundingClientRect().bottom")
    below = page.evaluate("() => document.documentElement.scrollHeight - scrollY") - end
    assert below < 100  # nothing but the margin of the page
    paper = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")


def poisoned(texts: list[str]) -> Run:
    """A run of one train problem for each of *texts*, which stands wherever a text can stand."""
    sound = reports.run(2 * len(texts))
    pairs = [(one, text) for (_, one), text in zip(sound.problems, texts, strict=False)]

    def lesson(name: str, problem: str, text: str) -> Rationale:
        whole = {"text": f"{text} in {name}", "teacher": text, "reason": text, "gaps": [text]}
        old = sound.rationales[name][problem]
        return old.model_copy(update={**whole, "status": "refined"})

    def given(name: str, problem: str, text: str) -> Prediction:
        update = {"completion": f"so {text} it is", "answer": text, "verdict": "wrong"}
        return sound.predictions[name]["train", problem].model_copy(update=update)

    def error(problem: str, text: str) -> Error:
        shown = [Exemplar(problem=text, question=text, completion=text)]
        return Error(
            id=problem, problem=problem, split="train", completion=text, verdict="wrong", gap=text,
            first_wrong_step=text, exemplars=shown,
        )  # fmt: skip

    return Run(
        sound.branches,
        sound.rounds,
        [
            (
                "train",
                Problem(
                    id=one.id, question=text, answer=text, source=text, solution=text,
                    choices={text: text, "A": "a cat"},
                ),
            )
            for one, text in pairs
        ],
        {
            name: {one.id: lesson(name, one.id, text) for one, text in pairs}
            for name in sound.rationales
        },
        {
            name: {("train", one.id): given(name, one.id, text) for one, text in pairs}
            if name in reports.SOLVED
            else {}
            for name in BRANCHES
        },
        {
            name: {("train", one.id): error(one.id, text) for one, text in pairs}
            if name in reports.SOLVED
            else {}
            for name in BRANCHES
        },
    )  # fmt: skip


NODES = """place => [...document.querySelectorAll(place)].map(
    node => node.tagName + ' ' + [...node.attributes].map(one => one.name).sort().join(' '))"""


def lives(page: Any, count: int) -> Iterator[tuple[str, list[str]]]:
    """The text of the life of each of *count* problems, and the nodes that show it."""
    for number in range(count):
        page.evaluate("place => { location.hash = place }", f"#problem=wp-{number:05}")
        page.wait_for_selector(f"#life h3:has-text('wp-{number:05}')")
        yield page.text_content("#life"), page.evaluate(NODES, "#life *")


def test_no_text_of_a_run_becomes_a_node_a_link_or_a_script(
    opened: Any, tmp_path: Path, capsys: pytest.CaptureFixture
):
    words = ["word"] * len(PAYLOADS)
    folders = [written(tmp_path / "plain", poisoned(words), figures=RUN)]
    title = "</title></script><img src=x onerror=alert(1)>"
    folders.append(written(tmp_path / "poisoned", poisoned(PAYLOADS), title, RUN, timed=title))
    plain, page = (opened(file=file) for file in folders)
    outside = "body :not(option, svg *)"  # one for each gap, and the title drawn in outlines
    listed = page.locator("#rows .asks").all_text_contents()

    injected = int(page.evaluate(NODES, outside) != plain.evaluate(NODES, outside))
    pairs = zip(lives(plain, len(PAYLOADS)), lives(page, len(PAYLOADS)), strict=True)
    for number, ((_, expected), (shown, nodes)) in enumerate(pairs):
        injected += nodes != expected
        assert not [c for c in shown if ord(c) < 32 and c != "\n"]
        if PAYLOADS[number].isprintable():
            assert shown.count(PAYLOADS[number]) > 20
            assert number >= len(listed) or listed[number] == PAYLOADS[number]

    hrefs = page.evaluate("() => [...document.links].map(link => link.getAttribute('href'))")
    with capsys.disabled():
        print(f"\nX1: {len(PAYLOADS)} payloads in every field of the report, {injected} injected")
    assert {href[0] for href in hrefs} == {"#"}
    assert page.evaluate(NODES, "body :is(script, img, iframe, object, embed)") == ["SCRIPT "]
    assert injected == 0


@pytest.mark.parametrize(
    "problems", [1_000, *(pytest.param(n, marks=pytest.mark.slow) for n in (20_000, 100_000))]
)
def test_it_is_quick_to_open_with_many_problems(
    browser: Any, tmp_path: Path, problems: int, capsys: pytest.CaptureFixture
):
    file = written(tmp_path, reports.run(problems))
    seconds = [browsers.opening(browser, file)["list"] for _ in range(5)]

    with capsys.disabled():
        told = ", ".join(f"{some:.2f}" for some in seconds)
        print(f"\nreport: the list of {problems} problems can be used after {told} s")
    assert min(seconds) < LIMITS[problems]
