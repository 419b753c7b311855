"""What changed between two versions of the rationales: compared, counted, and shown."""

import html.parser
import json
import os
import pty
import re
import subprocess
import sys
import time
import tracemalloc
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from redistill.cli.main import main
from redistill.diff import render
from redistill.diff.compare import KINDS, compare, edits, similarity, summed
from redistill.records import jsonl
from redistill.records.types import Prediction, Rationale, Version
from tests.imports import ROOT
from tests.unit.test_showing import PAYLOADS, harmless

WORDS = st.sampled_from(
    ["so", "2", "+", "=", "4", "4.", "三个", "苹", " ", "  ", "\n", "\t", "\xa0"]
)
TEXTS = st.lists(WORDS, max_size=40).map("".join)
EDITIONS = st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from(["x", "y", "z z"]))


def lesson(problem: str, text: str, **fields: object) -> Rationale:
    known = {"round": "r0", "teacher": "tutor", "status": "first"}
    return Rationale(id=problem, problem=problem, text=text, **{**known, **fields})


def answer(problem: str, verdict: str) -> Prediction:
    return Prediction(
        id=problem, problem=problem, split="train", completion="c", answer="1", verdict=verdict,
        strict=True, lenient=True, eos=True, tokens=1,
    )  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three rounds: p2 is refined in r1 and again in r2, p1 in r1 alone, p3 is kept throughout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    first = {"p1": "2 + 2 = 5", "p2": "so it is 7", "p3": "3 is 3"}
    rounds = {
        "r0": [lesson(p, text) for p, text in first.items()],
        "r1": [
            lesson("p1", "2 + 2 = 4", round="r1", status="refined", reason="add", gaps=["add"]),
            lesson("p2", "so it is 8", round="r1", status="refined", reason="copying"),
            lesson("p3", "3 is 3", status="kept", reason="not wrong"),
        ],
        "r2": [
            lesson("p1", "2 + 2 = 4", round="r1", status="kept", reason="stopped", gaps=["add"]),
            lesson("p2", "then it is 8", round="r2", status="refined", reason="set_up"),
            lesson("p3", "3 is 3", status="kept", reason="stopped"),
        ],
    }
    for name, rows in rounds.items():
        jsonl.write(Path(f"data/rationales/{name}.jsonl"), rows)
    for name, verdict in (("r0", "wrong"), ("r1", "correct")):
        rows = [answer(p, verdict) for p in first]
        jsonl.write(Path(f"data/predictions/{name}/train.jsonl"), rows)
    return tmp_path


def diff(*words: str) -> Result:
    return CliRunner().invoke(main, ["diff", *words])


def shown(*words: str) -> list[dict]:
    ran = diff(*words, "--format", "json")
    assert ran.exit_code == 0, ran.output
    return [json.loads(line) for line in ran.output.splitlines()]


@settings(max_examples=300, deadline=None)
@given(before=TEXTS, after=TEXTS)
def test_the_edits_applied_to_the_old_text_give_the_new_one_exactly(before: str, after: str):
    found = edits(before, after)

    assert "".join(text for operation, text in found if operation != "+") == before
    assert "".join(text for operation, text in found if operation != "-") == after
    assert all(text for _, text in found)
    neighbours = {one[0] + other[0] for one, other in pairwise(found)}
    assert neighbours <= {"=-", "=+", "-+", "-=", "+="}


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("same", "same", [("=", "same")]),
        ("", "new", [("+", "new")]),
        ("old", "", [("-", "old")]),
        ("a b c", "a c", [("=", "a"), ("-", " b"), ("=", " c")]),
        ("a\nb", "a\nx y\nb", [("=", "a"), ("+", "\nx y"), ("=", "\nb")]),
        ("a\nb", "a\nx y b", [("=", "a\n"), ("+", "x y "), ("=", "b")]),
        ("a b", "a\nb", [("=", "a"), ("-", " "), ("+", "\n"), ("=", "b")]),
        ("有三个", "有四个", [("=", "有"), ("-", "三"), ("+", "四"), ("=", "个")]),
    ],
)
def test_edits_are_whole_words(before: str, after: str, found: list):
    assert edits(before, after) == found


@pytest.mark.timed
@pytest.mark.parametrize("words", [["a"], ["a", "b"], [str(n) for n in range(50)]])
@pytest.mark.parametrize("count", [3_000, 19_000, 200_000])
def test_texts_made_to_be_slow_are_compared_within_seconds(words: list[str], count: int):
    before = " ".join(words[n * n % 7 % len(words)] for n in range(count))
    after = " ".join(words[n * 3 % 11 % len(words)] for n in range(count))

    started = time.monotonic()
    found = edits(before, after)
    alike = similarity(before, after)

    assert time.monotonic() - started < 5
    assert "".join(text for operation, text in found if operation != "-") == after
    assert 0 <= alike <= 1


@settings(max_examples=100, deadline=None)
@given(old=EDITIONS, new=EDITIONS)
def test_every_row_of_both_versions_is_counted_once(old: dict, new: dict):
    before = [lesson(p, old[p]) for p in sorted(old)]
    after = [lesson(p, new[p]) for p in sorted(new)]

    changes = list(compare(before, after))
    counts = summed(changes).counts

    assert counts["added"] + counts["changed"] + counts["kept"] == len(after)
    assert counts["removed"] + counts["changed"] + counts["kept"] == len(before)
    assert [c.problem for c in changes] == sorted(old.keys() | new.keys())
    for change in changes:
        assert change.texts == (old.get(change.problem, ""), new.get(change.problem, ""))
        assert (change.kind == "kept") == (old.get(change.problem) == new.get(change.problem))


def test_rows_out_of_order_are_no_comparison():
    rows = [lesson("b", "x"), lesson("a", "x")]

    with pytest.raises(ValueError, match="sort by problem"):
        list(compare(rows, rows[::-1]))


def test_verdicts_are_those_of_the_problem_whichever_others_there_are():
    before, after = [lesson("b", "x")], [lesson("b", "y"), lesson("d", "z")]
    then = [answer("a", "wrong"), answer("b", "cut_off"), answer("c", "wrong")]
    now = [answer("d", "correct")]

    changes = compare(before, after, then=then, now=now)

    assert [change.verdicts for change in changes] == [("cut_off", None), (None, "correct")]


def test_the_reason_of_a_text_that_was_kept_since_is_that_of_the_round_that_wrote_it(project: Path):
    rows = {row["problem"]: row for row in shown("r0", "r2")}

    assert rows["p1"]["reason"] == "add"
    assert rows["p1"]["round"] == {"before": "r0", "after": "r1"}
    assert rows["p2"]["reason"] == "set_up"
    Path("data/rationales/r1.jsonl").unlink()
    assert shown("r0", "r2", "--problem", "p1")[0]["reason"] is None


def test_a_line_of_json_holds_everything_about_a_change(project: Path):
    assert shown("r0", "r1", "--problem", "p1") == [
        {
            "problem": "p1",
            "kind": "changed",
            "reason": "add",
            "gaps": ["add"],
            "round": {"before": "r0", "after": "r1"},
            "similarity": 0.8889,
            "characters": {"before": 9, "after": 9},
            "words": {"before": 5, "after": 5},
            "verdict": {"before": "wrong", "after": "correct"},
            "edits": [["=", "2 + 2 = "], ["-", "5"], ["+", "4"]],
        }
    ]


def test_the_terminal_shows_the_summary_and_then_each_problem(project: Path):
    assert diff("r0", "r1").output.splitlines() == [
        "r0 -> r1: 3 problems, 2 changed, 0 added, 0 removed, 1 kept",
        "changed on average: 89.4 % alike, +0.0 characters, +0.0 words",
        "reasons: add 1, copying 1",
        "kept because: not wrong 1",
        "student on the changed: wrong -> correct 2",
        "",
        "== p1: changed, 89 % alike, +0 characters, +0 words",
        "   round: r1; reason: add; gaps: add",
        "   student: wrong -> correct",
        "    2 + 2 = [-5-]{+4+}",
        "",
        "== p2: changed, 90 % alike, +0 characters, +0 words",
        "   round: r1; reason: copying",
        "   student: wrong -> correct",
        "    so it is [-7-]{+8+}",
    ]


def test_what_is_listed_can_be_chosen_by_kind_gap_and_problem(project: Path):
    jsonl.write(Path("more.jsonl"), [lesson("p1", "2 + 2 = 5"), lesson("p4", "four")])

    def listed(*words: str) -> list[tuple[str, str]]:
        return [(row["problem"], row["kind"]) for row in shown(*words)]

    assert listed("r1", "more.jsonl") == [
        ("p1", "changed"), ("p2", "removed"), ("p3", "removed"), ("p4", "added"),
    ]  # fmt: skip
    assert listed("r1", "more.jsonl", "--only", "added") == [("p4", "added")]
    assert listed("r1", "more.jsonl", "--only", "removed", "--problem", "p3") == [("p3", "removed")]
    assert listed("r0", "r1", "--only", "kept") == [("p3", "kept")]
    assert listed("r0", "r1", "--gap", "add") == [("p1", "changed")]
    assert listed("r0", "r1", "--gap", "copying") == [("p2", "changed")]
    assert listed("r0", "r1", "--gap", "nothing") == []
    missing = diff("r0", "r1", "--problem", "p9")
    assert (missing.exit_code, "no problem 'p9'" in missing.output) == (65, True)


def test_a_chain_of_rounds_is_one_line_a_step(project: Path):
    head, *lines = diff("--stat", "r0", "r1", "r2").output.splitlines()
    rows = shown("--stat", "r0", "r1", "r2")
    markdown = diff("--stat", "r0", "r1", "--format", "markdown").output

    assert head.split()[:5] == ["step", "changed", "added", "removed", "kept"]
    assert [line.split()[:7] for line in lines] == [
        ["r0", "->", "r1", "2", "0", "0", "1"],
        ["r1", "->", "r2", "1", "0", "0", "2"],
    ]
    assert lines[0].endswith("add 1, copying 1")
    assert [(row["before"], row["after"], row["changed"], row["kept"]) for row in rows] == [
        ("r0", "r1", 2, 1),
        ("r1", "r2", 1, 2),
    ]
    assert rows[1]["kept_for"] == {"stopped": 2}
    assert rows[0]["verdicts"] == [["wrong", "correct", 2]]
    assert "| `r0 -> r1` | 2 | 0 | 0 | 1 |" in markdown
    assert "<td>r0 -&gt; r1</td><td>2</td>" in diff("--stat", "r0", "r1", "--format", "html").output


def test_a_step_without_a_change_says_why_all_was_kept():
    kept = lesson("a", "x", status="kept", reason="stopped")
    step = render.Step("r2", "r3", summed(compare([lesson("a", "x")], [kept])))

    assert list(render.stat("text", [step], None))[1].split() == [
        "r2", "->", "r3", "0", "0", "0", "1", "1", "-", "-", "-", "kept:", "stopped", "1",
    ]  # fmt: skip


def test_a_step_counts_all_texts_that_the_newer_version_has_and_the_distinct_ones():
    old = [{"round": "r0", "text": "x", "repeated": True}, {"round": "r1", "text": "y"}]
    history = [Version(**version) for version in old]
    now = [lesson("a", "z", history=history, own=[history[1]]), lesson("b", "x")]

    found = summed(compare([lesson("a", "y")], now)).as_dict()

    assert (found["texts"], found["distinct"]) == (5, 4)


def test_reasons_that_find_no_room_are_counted():
    rows = [lesson(f"{n:03}", "new", reason=f"r{n % 9}") for n in range(99)]
    step = render.Step("a", "b", summed(compare([], rows)))

    assert list(render.stat("text", [step], 88))[1].endswith("r0 11, r1 11, 7 more")


def test_predictions_of_plain_files_are_given_by_option(project: Path):
    files = [f"data/rationales/r{n}.jsonl" for n in (0, 1)]
    given = ["--before", "data/predictions/r1/train.jsonl"]

    without = shown(*files, "--problem", "p1")[0]
    found = shown(*files, *given, "--problem", "p1")[0]

    assert without["verdict"] == {"before": None, "after": None}
    assert found["verdict"] == {"before": "correct", "after": None}


@pytest.mark.parametrize("width", [20, 31, 40, 80])
@pytest.mark.parametrize("colour", [False, True])
def test_lines_fit_the_terminal_and_texts_close_their_marks(width: int, colour: bool):
    old = "The farmer sells three baskets of apples, each with many a worm.\n\nAll 苹果苹果苹果."
    new = (
        "A farmer who lives nearby sells "
        + "x" * 90
        + "\nthree baskets 苹果苹果苹果苹果苹果苹果 of pears."
    )
    changes = list(compare([lesson("p", old)], [lesson("p", new, reason="because " * 12)]))
    step = render.Step("r0", "r1", summed(changes))

    lines = list(render.text(step, changes, width=width, colour=colour))

    plain = [re.sub("\x1b\\[(31|32|1|0)m", "", line) for line in lines]
    whole = re.sub(r"\s", "", "".join(plain))  # a mark can be broken with a word
    assert max(map(render.cell_len, plain)) <= width
    assert (whole.count("[-"), whole.count("{+")) == (whole.count("-]"), whole.count("+}"))
    assert all(line.count("\x1b[0m") * 2 == line.count("\x1b[") for line in lines)
    assert whole.count("苹果") == 6
    assert "x" * 90 in whole
    assert ("\x1b" in "".join(lines)) == colour


def test_a_very_long_text_is_cut_for_people_and_whole_for_programs():
    changes = list(compare([], [lesson("p", "word " * 10_000 + "end")]))
    step = render.Step("a", "b", summed(changes))

    for form in ("text", "markdown", "html"):
        drawn = "\n".join(render.view(form, step, changes, width=80, colour=False))
        assert len(drawn) < 40_000
        assert "[30003 more characters]" in drawn
    assert "end" in next(render.rows(changes))


class Nodes(html.parser.HTMLParser):
    """The elements of a page with their attributes, its text, and nothing else."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.nodes: list[tuple[str, tuple]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.nodes.append((tag, tuple(attrs)))

    def handle_comment(self, data: str) -> None:
        self.nodes.append(("comment", (data,)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def tokens(text: str) -> list[tuple[str, str]]:
    found = MarkdownIt("commonmark").enable("table").parse(text)
    return [(t.type, t.tag) for block in found for t in [block, *(block.children or [])]]


def drawn(payload: str, form: str) -> str:
    """Every view of versions that hold *payload* wherever a data set or a teacher can put it."""
    old = [lesson("p", f"one {payload} two", teacher=payload), lesson("q", "gone")]
    fields = {"round": payload, "reason": payload, "gaps": [payload], "teacher": payload}
    new = [lesson("p", f"two {payload}", **fields), lesson(f"p{payload}", payload, **fields)]
    new.sort(key=lambda row: row.problem)
    changes = list(compare(old, new))
    step = render.Step(f"main:{payload}", payload, summed(changes))
    if form == "json":
        views = [*render.rows(changes), *render.stat(form, [step], 80)]
    else:
        views = [*render.view(form, step, changes, width=80, colour=False), ""]
        views += render.stat(form, [step, step], 80)
    return "\n".join(views)


MARKDOWN = [
    "```\n# x", "`", "``", "a ``` b", "~~~", "| a | b", "\n\n# head", "\n- item", "[x](http://y)",
    "![x](y)", "@someone", "#12", "*a*", "<b>", "<!-- x -->", "\\", "$x$", "&lt;", "&#27;",
    "{{x}} {% y %}", "</ins><del>", "[-x-]", "{+x+}", "http://x.y", "\r\n# x",
]  # fmt: skip


@pytest.mark.parametrize("payload", PAYLOADS + MARKDOWN)
def test_whatever_a_record_holds_is_text_in_every_format(payload: str):
    text, markdown, as_json, page = (
        drawn(payload, f) for f in ("text", "markdown", "json", "html")
    )

    for view in (text, markdown, as_json, page):
        assert harmless(view)
    assert as_json.isascii()
    assert json.loads(as_json.splitlines()[0])["reason"] == payload
    assert tokens(markdown) == tokens(drawn("x", "markdown"))
    assert Nodes(page).nodes == Nodes(drawn("x", "html")).nodes
    if payload.isprintable():
        assert payload in "".join(Nodes(page).texts)
        assert payload in markdown


def test_the_page_loads_nothing_and_runs_nothing(project: Path):
    nodes = Nodes(diff("r0", "r1", "--format", "html").output).nodes

    policy = ("http-equiv", "Content-Security-Policy")
    content = ("content", "default-src 'none'; style-src 'unsafe-inline'")
    assert ("meta", (policy, content)) in nodes
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in nodes}
    assert [tag for tag, _ in nodes if tag in ("ins", "del")] == ["del", "ins", "del", "ins"]
    assert [dict(a)["href"] for tag, a in nodes if tag == "a"] == ["#c1", "#c1", "#c2"]


@pytest.mark.parametrize("form", ["text", "markdown", "json", "html"])
def test_files_that_are_not_sorted_are_refused_with_what_to_do(form: str, project: Path):
    rows = [lesson(p, f"text {p}").model_dump_json() for p in ("p3", "p1", "p2")]
    Path("mixed.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")

    ran = diff("r0", "mixed.jsonl", "--format", form)

    assert ran.exit_code == 65
    assert 'mixed.jsonl:2: field "problem": comes before line 1; sort the file by' in ran.output


def test_a_problem_twice_is_refused(project: Path):
    rows = [lesson(p, "x").model_copy(update={"id": i}) for i, p in zip("123", "aab", strict=True)]
    Path("twins.jsonl").write_text("\n".join(row.model_dump_json() for row in rows))

    ran = diff("r0", "twins.jsonl")

    assert ran.exit_code == 65
    assert 'twins.jsonl:2: field "problem": the same problem as line 1' in ran.output


def test_a_malformed_line_is_named_before_anything_is_printed(project: Path):
    good = lesson("p1", "x").model_dump_json()
    Path("bad.jsonl").write_text(good + "\n" + good.replace("p1", "p2").replace('"r0"', "0") + "\n")

    for form in ("text", "markdown", "html"):
        ran = diff("r0", "bad.jsonl", "--format", form)
        assert (ran.exit_code, ran.stdout) == (65, "")
        assert 'bad.jsonl:2: field "round": expected string, got number (id="p2")' in ran.stderr


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["r0"], 2, "two versions"),
        (["r0", "r1", "r2"], 2, "--stat"),
        (["--stat", "r0"], 2, "two versions"),
        (["--stat", "r0", "r1", "r2", "--before", "x"], 2, "two versions"),
        (["--stat", "r0", "r1", "--only", "kept"], 2, "--only"),
        (["r0", "r7"], 65, "no round, file or revision 'r7'; the rounds here are r0, r1, r2"),
        (["r0", "../../etc"], 65, "no round, file or revision"),
    ],
)
def test_what_cannot_be_compared_is_told(words: list[str], code: int, told: str, project: Path):
    ran = diff(*words)

    assert (ran.exit_code, told in ran.output) == (code, True), ran.output


def test_rounds_of_the_working_tree_are_compared_without_dvc_and_torch(project: Path):
    code = (
        "import sys; from redistill.cli.main import main\n"
        "main(['diff', 'r0', 'r2'], standalone_mode=False)\n"
        "print([m for m in ('dvc', 'torch', 'jinja2', 'matplotlib') if m in sys.modules])"
    )

    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip

    assert ran.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("lines", "paged"), [("12", True), ("200", False)])
def test_what_is_longer_than_the_screen_goes_to_the_pager(lines: str, paged: bool, project: Path):
    env = {"PAGER": "sed s/^/paged:/", "LINES": lines, "COLUMNS": "80", "TERM": "xterm"}
    child, terminal = pty.fork()
    if not child:  # pragma: no cover
        env |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        words = [sys.executable, "-m", "redistill.cli", "diff", "r0", "r1"]
        os.execve(words[0], words, env)  # noqa: S606
    shown = b""
    while True:
        try:
            block = os.read(terminal, 65536)
        except OSError:
            break
        shown += block
        if not block:
            break
    os.close(terminal)

    assert os.waitpid(child, 0)[1] == 0
    assert (b"paged:r0 -> r1" in shown) == paged
    assert (b"\x1b[32m{+4+}\x1b[0m" in shown) == (not paged)  # click strips colours for sed


def test_memory_does_not_grow_with_the_files(tmp_path: Path):
    def peak(count: int) -> int:
        files = [tmp_path / f"{count}-{side}.jsonl" for side in "ab"]
        for side, file in enumerate(files):
            rows = (lesson(f"{n:06}", f"text {n} {n % 3 * side}") for n in range(count))
            jsonl.write_rows(file, (row.model_dump() for row in rows))
        tracemalloc.start()
        streams = [jsonl.stream(file, Rationale, by="problem") for file in files]
        summed(compare(*streams))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(10)
    assert peak(4_000) < 1.5 * peak(400)


def test_the_page_of_documentation_names_every_key_of_the_json(project: Path):
    page = (ROOT / "docs" / "diff.md").read_text(encoding="utf-8")
    table, stat = page.split("| key | |")[1].split("With `--stat`")

    assert [key for key in shown("r0", "r1")[0] if f"`{key}`" not in table] == []
    assert [
        key for key in shown("--stat", "r0", "r1")[0] if f"`{key}`" not in stat and key not in KINDS
    ] == []


def test_a_small_change_in_a_long_text_is_not_called_the_same():
    changes = list(compare([lesson("p", "word " * 500)], [lesson("p", "word " * 500 + ".")]))
    step = render.Step("a", "b", summed(changes))

    lines = list(render.text(step, changes, width=80, colour=False))

    assert "== p: changed, 99 % alike, +1 character, +1 word" in lines


def test_the_figures_of_the_documentation_are_those_of_the_benchmark():
    page = (ROOT / "docs" / "diff.md").read_text(encoding="utf-8")
    figures = json.loads((ROOT / "docs/results/diff.json").read_text(encoding="utf-8"))

    for count in (10_000, 1_000_000):
        for name in ("text", "stat", "json", "html"):
            f = figures[str(count)][name]
            shown = "`--stat`" if name == "stat" else f"`{name}`"
            row = f"| {count:,} | {shown} | {f['seconds']:.2f} | {f['cpu_seconds']:.2f} |"
            assert f"{row} {f['peak_mb']} MB |" in page
