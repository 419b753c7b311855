"""What the report holds: the run in words and tables, and the life of every problem."""

import base64
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from redistill.analysis import costs as cost_table
from redistill.analysis import plots
from redistill.causes import why as causes
from redistill.causes.line import Line
from redistill.causes.why import Why
from redistill.cli import look
from redistill.cli.main import main
from redistill.console import timing as times
from redistill.console.exceptions import RefusedError
from redistill.console.timing import Timing
from redistill.diff import render
from redistill.records import json_file
from redistill.records.types import Error, Prediction, Slip
from redistill.report import explorer
from redistill.report import page as pages
from redistill.report.text import Facts, Recorded, sentences, tables
from tests import reports
from tests.reports import BRANCHES, ROUNDS
from tests.unit.test_showing import PAYLOADS

SVG = '<svg xmlns="http://www.w3.org/2000/svg"><path id="a" style="fill: #ffffff"/></svg>'
PICTURES = [SVG] * 5
RUN = reports.run(60)
FACTS = reports.facts(RUN)


def row(**fields) -> dict:
    known = {"stage": "generate", "round": "r0", "model": "m", "outcome": "ok", "calls": 3}
    tokens = {"prompt_tokens": 20, "completion_tokens": 10, "nano": 5_000_000}
    return {**known, **tokens, **fields}


class Nodes(HTMLParser):
    """The tags and attributes of a page, and the texts between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.texts: list[str] = []
        self.links: list[str | None] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.links += [value for name, value in attrs if name in ("href", "src", "srcset", "data")]

    def handle_data(self, data):
        self.texts.append(data)


# ---- the life of a problem


def life(problem: str) -> dict:
    return next(one for one in explorer.lives(RUN) if one["id"] == problem)


def of_branch(problem: str, name: str) -> dict:
    place = list(BRANCHES).index(name)
    return next(one for one in life(problem)["branches"] if one["branch"] == place)


def refined() -> str:
    lessons = RUN.rationales["r1"].values()
    return next(lesson.problem for lesson in lessons if lesson.status == "refined")


def test_a_rewritten_rationale_comes_with_its_differences_word_by_word():
    problem = refined()
    old, new = (RUN.rationales[name][problem] for name in ("r0", "r1"))

    told = of_branch(problem, "r1")["lesson"]

    assert told["edits"] == render.words(old.text, new.text)
    assert {sign for sign, _ in told["edits"]} == {"=", "+"}
    assert (told["status"], told["teacher"], told["reason"]) == ("refined", "tutor", "multiply")
    assert told["gaps"] == ["multiply", "finer add"]


def test_a_text_that_stays_is_not_written_again():
    kept = next(r for r in RUN.rationales["r1"].values() if r.status == "kept")

    told = of_branch(kept.problem, "r1")["lesson"]

    assert "edits" not in told
    assert (told["status"], told["round"], told["reason"]) == ("kept", "r0", kept.reason)


def test_a_control_says_whose_rationales_it_was_taught():
    assert of_branch(refined(), "long")["taught"] == "r0"
    assert "lesson" not in of_branch(refined(), "long")


def test_a_branch_that_was_passed_through_has_a_rationale_and_no_answer():
    assert of_branch(refined(), "r3")["lesson"]["reason"] == "stopped"
    assert "answer" not in of_branch(refined(), "r3")


def test_the_first_wrong_step_is_marked_where_it_stands():
    wrong = next(e for e in RUN.errors["r0"].values() if e.split == "train")

    told = of_branch(wrong.problem, "r0")

    marked = [text for sign, text in told["answer"]["parts"] if sign == "!"]
    step = wrong.completion.split("\n")[1]
    assert marked == [step]
    assert "".join(text for _, text in told["answer"]["parts"]) == wrong.completion
    assert told["error"]["step"] == f"step 2: {step.strip('<>')}"


@pytest.mark.parametrize(
    ("completion", "step", "marked"),
    [
        ("<<2+2=5>> and <<2+2=5>>", "step 2: 2+2=5", "<<2+2=5>>"),
        ("2 + 2 = 5, so 5", "step 1: 2+2=5", "2 + 2 = 5"),
        ("So 2 plus 2 is 5.", "step 1: 2+2=5", "2 plus 2 is 5."),
        ("It is warm. It is 7.", "It is 7", "It is 7"),
        ("<<2+2=5>>", "step 2: 2+2=5", None),
        ("<<2+2=5>>", "step 1: 3+3=5", None),
        ("<<2+2=5>>", "step 0: 2+2=5", None),
        ("(A)", "takes (B) a cat", None),
        ("<<2+2=5>>", "", None),
        ("<<2+2=5>>", None, None),
    ],
)
def test_a_step_is_found_as_mining_counts_it_or_not_marked(completion, step, marked):
    found = explorer.parts(completion, step)

    assert "".join(text for _, text in found) == completion
    assert [text for sign, text in found if sign == "!"] == ([marked] if marked else [])


def test_where_a_drawn_completion_was_mined_it_is_shown_with_its_step():
    slip = Slip(completion="<<2+2=5>>", answer="5", verdict="wrong")
    given = Prediction(
        id="p", problem="p", split="train", completion="<<2+2=4>>", answer="4", verdict="correct",
        strict=True, lenient=True, eos=True, tokens=0, samples=4, passes=3, slips=[slip],
    )  # fmt: skip
    error = Error(
        id="p", problem="p", split="train", completion=slip.completion, verdict="wrong", gap="add",
        first_wrong_step="step 1: 2+2=5",
    )  # fmt: skip

    told = explorer._answer(given, error)

    assert told["parts"] == [("=", "<<2+2=4>>")]
    assert told["slip"] == {"verdict": "wrong", "parts": [("!", "<<2+2=5>>")]}
    assert (told["passes"], told["tokens"]) == ([3, 4], 0)


def test_of_several_errors_on_a_problem_the_first_is_the_one_of_its_life():
    error = next(e for e in RUN.errors["r0"].values() if e.split == "train")
    again = error.model_copy(update={"id": f"{error.id}#2", "gap": "copying"})

    assert dict(explorer.Failures([error, again])) == {("train", error.problem): error}


def test_the_index_has_what_the_filters_ask_for_in_the_order_of_the_problems():
    index = explorer.index(RUN)
    columns = {branch["name"]: branch for branch in index["branches"]}

    assert list(columns) == list(BRANCHES)
    assert [c["kind"] for c in columns.values()] == [*["round"] * 4, "control", "arm"]
    assert [name for name, column in columns.items() if column["passed"]] == ["r3"]
    assert index["splits"] == [["train", 40], ["dev", 10], ["test", 10]]
    for place, (split, problem) in enumerate(RUN.problems):
        given = RUN.predictions["r1"][split, problem.id].verdict
        error = RUN.errors["r1"].get((split, problem.id))
        assert columns["r1"]["verdicts"][place] == ("c" if given == "correct" else "w")
        assert columns["r1"]["gaps"][place] == (index["gaps"].index(error.gap) if error else -1)
        lesson = RUN.rationales["r1"].get(problem.id)
        assert columns["r1"]["statuses"][place] == (lesson.status[0] if lesson else "-")
        kept = lesson is not None and lesson.status == "kept"
        reason = index["reasons"].index(lesson.reason) if kept else -1
        assert columns["r1"]["reasons"][place] == reason
    assert set(columns["r3"]["verdicts"]) == {"-"}


# ---- the files


def test_a_script_of_data_has_nothing_in_it_that_could_be_markup_or_end_a_line():
    content = {"text": "</script><!--&amp;\u2028\u2029\u0085😀é", "__proto__": 1}

    made = pages.script("lives-000", content)

    assert made.isascii()
    assert not set("<>&") & set(made)
    assert made.count("\n") == 1
    name, _, data = made.removeprefix("redistill(").removesuffix(");\n").partition(",")
    assert (json.loads(name), json.loads(data)) == ("lives-000", content)


def test_the_same_records_give_the_same_bytes_and_old_files_go(tmp_path: Path):
    small = reports.run(12)
    pages.write(tmp_path / "report", FACTS, PICTURES, RUN)
    (tmp_path / "report/problems/lives-099.js").write_text("old")

    sizes = [pages.write(tmp_path / n, FACTS, PICTURES, small) for n in ("report", "other")]

    found = [
        {file.relative_to(tmp_path / n): file.read_bytes() for file in (tmp_path / n).rglob("*.*")}
        for n in ("report", "other")
    ]
    assert found[0] == found[1]
    assert sizes == [sum(map(len, found[0].values()))] * 2
    assert {str(name) for name in found[0]} == {
        "index.html", "problems/index.js", "problems/questions-000.js", "problems/lives-000.js",
    }  # fmt: skip
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["other", "report"]


def test_a_folder_that_holds_something_else_is_left_as_it_is(tmp_path: Path):
    (tmp_path / "thesis.md").write_text("mine")

    with pytest.raises(RefusedError, match=r"thesis\.md: no file of a report"):
        pages.write(tmp_path, FACTS, PICTURES, RUN)

    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.md"]


def test_every_problem_is_in_the_shard_that_its_place_says():
    run = reports.run(pages.LIVES * 2 + 10)
    files = dict(pages.files(FACTS, PICTURES, run))

    shards = [
        json.loads(files[f"problems/lives-{n:03}.js"].partition(",")[2].removesuffix(");\n"))
        for n in range(3)
    ]

    assert [len(shard) for shard in shards] == [pages.LIVES, pages.LIVES, 10]
    assert [one["id"] for shard in shards for one in shard] == [p.id for _, p in run.problems]


# ---- the page


PAGE = pages.page(FACTS, PICTURES, 60)


def test_the_policy_of_the_page_names_its_own_script_and_style_and_nothing_else():
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', PAGE)
    assert policy is not None
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", PAGE, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy[1]
    assert policy[1].startswith("default-src 'none'; ")
    assert "unsafe" not in policy[1]


def test_the_page_asks_for_nothing_from_elsewhere():
    assert {link for link in Nodes(PAGE).links if not (link or "").startswith("#")} == set()
    assert "@import" not in PAGE
    assert "url(" not in PAGE.replace("url(#", "")
    assert not re.search(r"\b(fetch|XMLHttpRequest|innerHTML|outerHTML|eval|insertAdj)", PAGE)


def told(text: str) -> Nodes:
    """The page of a run in which every text from outside is *text*."""
    attempts = {"replies": 1, "accepted": 0, "rejected": {text: 1}}
    kept = {"kept": {text: 1}, "balance": reports.BALANCE}
    teaching = {"r0": {"attempts": attempts, "rewritten": 1, **kept}}
    balance = {**reports.BALANCE, "rejected": {text: 2}}
    recorded = Recorded({}, teaching, [("training/r0", balance)])
    fields = {**vars(FACTS), "title": text, "recorded": recorded}
    paid = [row(model=text, outcome=text)]
    why = [because(text, text)]
    return Nodes(pages.page(Facts(**fields | {"ledger": paid, "why": why}), PICTURES, 60))


def because(cause: str, told: str) -> Why:
    """One cause of a round that did not help, and what leads over to it."""
    words = {"cause": cause, "told": told, "file": "metrics/rounds/r1.json", "change": "mine.folds"}
    found = Line(**words, state="found", share=0.48)
    return Why(branch="r1", helped=False, said=("No gain.",), lead="Why not", lines=(found,))


PLAIN = told("word")


@pytest.mark.parametrize("payload", PAYLOADS)
def test_text_from_outside_is_inert_in_the_page(payload: str):
    page = told(payload)

    assert page.tags == PLAIN.tags
    assert not [c for text in page.texts for c in text if ord(c) < 32 and c != "\n"]
    if payload.isprintable():
        assert payload in "".join(page.texts)


def test_the_causes_of_a_round_stand_in_a_section_that_the_page_leads_to():
    fields = {**vars(FACTS), "why": [because("cut off", "48 of 100 answers"), because("a", "b")]}

    page = pages.page(Facts(**fields), PICTURES, 60)

    section = page.split('<section id="why"')[1].split("</section>")[0]
    assert '<a href="#why">Why</a>' in page
    assert section.count("<table>") == 2
    assert '<p class="note">No gain.</p>' in section
    cells = re.findall(r"<t[hd][^>]*>([^<]+)</t[hd]>", section)
    assert cells[:5] == list(causes.HEAD)
    figures = ["48 %", "48 of 100 answers", "metrics/rounds/r1.json", "mine.folds"]
    assert cells[5:10] == ["cut off", *figures]


def test_a_run_in_which_nothing_is_rewritten_says_so_in_place_of_causes():
    assert "Nothing is rewritten in this run." in pages.page(FACTS, PICTURES, 60)


def test_a_picture_in_the_page_takes_its_colours_from_it_and_shares_no_id():
    drawn = plots.costs(FACTS.costs, "Toys")

    first, second = (pages.inlined(drawn, prefix) for prefix in ("a-", "b-"))

    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', first))
    assert used
    assert used <= ids[0]
    for gone in ("style=", "<style", "<metadata", "xlink", "http:"):
        assert gone not in first


def test_the_summary_tells_the_verdict_the_stop_and_what_was_passed_through():
    told = "\n".join(sentences(FACTS))

    for part in (
        "Best on dev: r2.",
        "Against r0, plain one-shot distillation",
        "The loop stopped after r2: not better than the round before (p = 0.500).",
        "Passed through, with no student: r3.",
        "The teacher gave 20 texts; no call to an endpoint is in the ledger.",
    ):
        assert part in told


def advised_by(advice: str | None) -> Facts:
    return dataclasses.replace(FACTS, summary=FACTS.summary.model_copy(update={"advice": advice}))


def test_the_summary_says_what_is_advised_and_nothing_where_nothing_is():
    advised = advised_by("More steps.")

    assert "More steps." in sentences(advised)
    silent = advised_by(None)
    assert None not in sentences(silent)


def test_the_tables_have_every_branch_every_rejection_and_what_was_paid():
    paid = reports.facts(RUN, [row(), row(outcome="refused", nano=None)])

    found = tables(paid)

    (rounds,) = found["rounds"]
    assert [cells[0] for cells in rounds.rows] == ["r0", "r1", "r2 *", "r3", "long", "told"]
    assert rounds.rows[3][1] == "passed through"
    costs, teaching, ledger = found["spend"]
    assert [cells[0] for cells in costs.rows] == ["r0", "r1", "r2", "long", "told"]
    assert teaching.rows[0][-2:] == ("too long 1", "too long 1")
    assert [cells[-1] for cells in ledger.rows] == ["0.0050", "unknown"]
    assert found["balance"][0].rows[0] == (
        "training/r0", "9", "7", "2", "holds", "too long 2",
    )  # fmt: skip
    assert "their cost is unknown" in sentences(paid)[-1]


# ---- what each branch cost


PROBES = {"r0": 100, "r1": 90, "r2": 0, "r3": 0, "long": 0, "told": 0}


def spent(ledger: list[dict]) -> dict[str, cost_table.Cost]:
    metrics = {n: reports.measured(RUN, n) for n in BRANCHES if n != reports.PASSED}
    asked = {"r0": 10, "r1": 5, "r2": 4, "r3": 0, "told": 5}
    rows = cost_table.table(BRANCHES, ROUNDS, metrics, asked, ledger, PROBES)
    return {found.round: found for found in rows}


def test_a_round_costs_what_led_to_it_and_a_control_what_it_is_taught():
    found = spent([])

    calls = {name: row.calls for name, row in found.items()}
    assert calls == {"r0": 10, "r1": 15, "r2": 19, "long": 10, "told": 15}
    assert {name: row.training_tokens for name, row in found.items()} == {
        "r0": 1000, "r1": 2000, "r2": 3000, "long": 1000, "told": 2000,
    }  # fmt: skip
    probed = {name: row.probe_steps for name, row in found.items()}
    assert probed == {"r0": 0, "r1": 100, "r2": 190, "long": 0, "told": 100}
    assert found["r2"].cost is None
    assert found["r2"].teacher_tokens is None


def test_tokens_and_money_are_those_of_the_ledger_and_unknown_where_it_lacks_a_round():
    found = spent([row(), row(stage="refine", round="r1"), row(round="r1", nano=None)])

    assert (found["r0"].teacher_tokens, found["r0"].cost) == (30, 0.005)
    assert (found["r1"].teacher_tokens, found["r1"].cost) == (90, None)
    assert (found["r2"].teacher_tokens, found["r2"].cost) == (None, None)
    assert (found["long"].teacher_tokens, found["long"].cost) == (30, 0.005)


# ---- what took how long


def test_times_lie_apart_from_the_report_for_its_page_to_read(tmp_path: Path):
    times.write(tmp_path / "answer/r0.json", Timing(seconds=2.04, tokens=100))
    times.write(tmp_path / "train/r0.json", Timing(seconds=0.0, tokens=0))

    pages.write_timing(tmp_path, times.read(tmp_path))

    rows = [["answer/r0", 2.0, 49.0], ["train/r0", 0.0, 0.0]]
    assert (tmp_path / "timing.js").read_text() == pages.script("timing", rows)


def test_what_was_not_computed_has_no_time_and_what_is_no_timing_is_left_out(tmp_path: Path):
    times.write(tmp_path / "answer/r3.json", Timing(seconds=2.0, tokens=100))
    times.write(tmp_path / "answer/r3.json", None)
    times.write(tmp_path / "never.json", None)
    for name, text in (("cut", '{"seconds": 1'), ("list", "[1]"), ("words", '{"seconds": "x"}')):
        (tmp_path / f"answer/{name}.json").write_text(text)

    assert times.read(tmp_path) == {}
    assert times.read(tmp_path / "none") == {}
    assert not (tmp_path / "answer/r3.json").exists()


# ---- where it is said


def test_the_command_rounds_ends_with_where_the_report_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    json_file.write_json(tmp_path / "metrics/summary.json", FACTS.summary.as_dict())

    without = CliRunner().invoke(main, ["rounds"])
    (tmp_path / "data/report").mkdir(parents=True)
    look.REPORT.write_text(PAGE)
    told = CliRunner().invoke(main, ["rounds"])

    json_file.write_json(
        tmp_path / "metrics/summary.json", advised_by("More steps.").summary.as_dict()
    )
    advised = CliRunner().invoke(main, ["rounds"])

    assert "\nMore steps.\n" in advised.output
    assert "report" not in without.output
    assert told.output.endswith("The report, for a browser: data/report/index.html\n")


def test_rounds_shows_what_is_graded_before_there_is_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    nothing = CliRunner().invoke(main, ["rounds"])
    score = FACTS.summary.branches["r0"].test.as_dict() | {"k": 3, "n": 6, "accuracy": 0.5}
    scores = {"dev": score, "test": score | {"k": 5}}
    json_file.write_json(tmp_path / "metrics/rounds/r0.json", {"scores": scores})

    told = CliRunner().invoke(main, ["rounds"])

    assert nothing.exit_code != 0
    assert told.exit_code == 0
    assert "50.0 % (3/6)" in told.output
    assert "5/6" not in told.output  # of test
    assert "dvc repro has come to the stage report" in told.output
