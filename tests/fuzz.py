"""
Fuzzing of every scanner of text from outside: no exception, no hang, and what it reads holds.

``python -m tests.fuzz numeric --seconds 600`` runs one (atheris has to be installed; it is no
dependency), and ``python -m tests.fuzz collect FOLDER docs/results/fuzz.json`` gathers what the
runs printed into ``FOLDER/*.log``.
"""

import argparse
import importlib.metadata
import importlib.util
import inspect
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redistill.graders import choice, math, numeric, yes_no
from redistill.grading import answers, numbers
from redistill.grading.grader import Grader
from redistill.rationales import reply, wrapping
from redistill.records import json_file
from redistill.solutions import equations, wordings

PIECES = [
    "#### ", "\\boxed{", "\\text{", "}", "{", "$", "**", "The answer is ", "answer: ", "1,005",
    "1 1/2", "3/4", "-", "− ", "±", "%", ".5", "1e30", "million", "<<", ">>", "=", "+", "×", "(B)",
    "B", "A ", "option ", "yes", "no", "not ", "\\frac{1}{2}", "\\(", "\\)", "\\[", "\\]", "\n",
    "<rationale>", "</rationale>", " and ", " or ", "٣", "½", "\u202f", "\ud800", "is 5", " apples",
    "/", "0",
]  # fmt: skip
MODULES = [answers, numbers, equations, wordings, reply, wrapping, choice, math, numeric, yes_no]
MAX_TEXT = 16384  # characters


def checked(name: str, text: str) -> None:
    """Run the scanner *name* over *text*; raise AssertionError where what it read does not hold."""
    SCANNERS[name](text)


def _grader(grader: Grader) -> Callable[[str], None]:
    def run(text: str) -> None:
        for read in (grader.strict, grader.lenient):
            found = read(text)
            assert found is None or (found and grader.equal(found, found)), found
            if found is not None and grader is not math:  # a formula can hold a box itself
                assert grader.equal(grader.strict(f"#### {found}"), found), found

    return run


def _numerals(text: str) -> None:
    end = 0
    for numeral in numbers.scan(text):
        assert end <= numeral.start < numeral.end <= len(text), numeral
        end = numeral.end
    for line in text.split("\n"):
        found = numbers.scan(line)
        first, last = numbers.leading(line), numbers.trailing(line)
        assert (first and first.value) == (found[0].value if found else None), line
        assert (last and last.value) == (found[-1].value if found else None), line
        assert (first is None) == (last is None) == (not found), line
    answers.boxed(text)
    answers.cued(text)
    answers.bold(text)


def _steps(text: str) -> None:
    for found in (equations.annotated(text), wordings.bare(text), wordings.spoken(text)):
        for step in found:
            assert 0 <= step.start <= step.end <= len(text), step
            assert str(step), step
            assert step.rounds or not step.holds, step


def _rationale(text: str) -> None:
    found = reply.read(text).text
    assert found is None or found == found.strip(), found
    assert found is None or reply.read(f"<rationale>{found}</rationale>").text is not None


SCANNERS: dict[str, Callable[[str], None]] = {
    "numeric": _grader(numeric),
    "choice": _grader(choice),
    "yes_no": _grader(yes_no),
    "math": _grader(math),  # equal texts are compared here, so no other process is asked
    "numerals": _numerals,
    "steps": _steps,
    "rationale": _rationale,
}


def text_of(data: bytes) -> str:
    """A text from *data*: half of the bytes stand for pieces that scanners look for."""
    out: list[str] = []
    for byte in data:
        piece = byte - 128 if byte >= 128 else 0
        out.append(PIECES[piece % len(PIECES)] if byte >= 128 else chr(byte))
    return "".join(out)[:MAX_TEXT]


def fuzz(name: str, seconds: int) -> None:
    """Run *name* under atheris for *seconds*, printing lines of JSON with its figures."""
    import atheris

    figures: dict[str, Any] = {"scanner": name, "executions": 0, "max_ms": 0.0, "crashes": 0}
    started = shown = time.monotonic()

    def once(data: bytes) -> None:
        nonlocal shown
        text = text_of(data)
        begun = time.thread_time()
        try:
            checked(name, text)
        except BaseException as problem:
            figures["crashes"] += 1
            _say(figures, started, crash=repr(problem)[:300], text=text[:2000])
            raise
        spent = 1000 * (time.thread_time() - begun)
        figures["executions"] += 1
        if spent > figures["max_ms"]:
            figures["max_ms"] = round(spent, 3)
            figures["characters_of_slowest"] = len(text)
        if time.monotonic() - shown > 5:
            shown = time.monotonic()
            _say(figures, started)

    atheris.enabled_hooks.add("RegEx")
    for module in MODULES:
        for value in vars(module).values():
            if inspect.isfunction(value) and value.__module__ == module.__name__:
                atheris.instrument_func(value)
    options = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=10", "-len_control=20"]
    atheris.Setup([sys.argv[0], *options], once)
    atheris.Fuzz()


def collect(folder: Path, out: Path) -> None:
    """Write the last figures of every log in *folder* to *out*."""
    found = {}
    for log in sorted(folder.glob("*.log")):
        lines = [line for line in log.read_text(errors="replace").split("\n") if line[:1] == "{"]
        if lines:
            row = json.loads(lines[-1])
            row["crash_texts"] = [json.loads(x)["text"] for x in lines if '"crash"' in x]
            found[row["scanner"]] = row
    setting = {
        "atheris": importlib.metadata.version("atheris"),
        "python": sys.version.split()[0],
        "times": "of one text, every reading of it and the checks, under atheris's instrumentation",
    }
    content = {"command": "python -m tests.fuzz SCANNER --seconds N", "setting": setting}
    json_file.write_json(out, {**content, "scanners": found})
    print(f"{len(found)} scanners in {out}")


def _say(figures: dict[str, Any], started: float, **more: str) -> None:
    print(json.dumps({**figures, "seconds": round(time.monotonic() - started), **more}), flush=True)


def main() -> None:
    """Fuzz one scanner, or collect what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("scanner", choices=[*SCANNERS, "collect"])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("folders", nargs="*", type=Path, help="for collect: FOLDER OUT")
    asked = parser.parse_args()
    if asked.scanner == "collect":
        collect(*asked.folders)
        return
    if importlib.util.find_spec("atheris") is None:
        sys.exit(
            "fuzzing needs atheris, which is no dependency of the project: pip install atheris"
        )
    fuzz(asked.scanner, asked.seconds)


if __name__ == "__main__":
    main()
