"""Sets of problems as tasks of lm-evaluation-harness: a YAML file, the rows, and our reading."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from redistill.console import drafts
from redistill.console.exceptions import RefusedError
from redistill.harness import reading
from redistill.harness.reading import GRADER
from redistill.problems.sets import ProblemSet
from redistill.records import json_file
from redistill.records.types import Problem
from redistill.students.model.settings import StudentSettings
from redistill.students.model.tokens import plain_prompt, question

READING = "reading.py"
COLUMNS = pa.schema(
    [(name, pa.string()) for name in ("id", "prompt", "answer", GRADER)]
)  # text: no guesses
TASK = """\
task: {name}
dataset_path: parquet
dataset_kwargs: {data}
test_split: test
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{answer}}}}"
num_fewshot: 0
generation_kwargs: {generation}
filter_list:
  - name: strict
    filter:
      - function: custom
        filter_fn: !function reading.{grader}
      - function: take_first
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
metadata: {{"version": 1.0}}
"""


@dataclass(frozen=True)
class Asking:
    """How the student of a run is asked: through its chat template, or in the plain format."""

    student: StudentSettings
    chat: bool
    max_new_tokens: int

    def prompt(self, problem: Problem) -> str:
        """Write what the harness passes on for *problem*: the user's turn, or the whole prompt."""
        if self.chat:
            return question(problem)
        return plain_prompt(self.student.prompt, self.student.system, problem)

    def arguments(self) -> list[str]:
        """Return what `lm_eval` has to be given for it."""
        if not self.chat:
            return []
        system = ["--system_instruction", self.student.system] if self.student.system else []
        return ["--apply_chat_template", *system]

    def loss(self) -> str | None:
        """Say what of the settings the harness does not pass on; None where there is nothing."""
        if self.chat and self.student.template_arguments:
            return (
                "student.template_arguments go into no prompt of the harness: give them as its "
                "model argument chat_template_args, or enable_thinking"
            )
        return None


def write(folder: Path, sets: Mapping[str, ProblemSet], asking: Asking, grader: str) -> list[str]:
    """
    Write a task for each of *sets* to *folder*, and return their names.

    *grader* reads the answers of those that name none. Raises RefusedError where *folder* holds
    anything else.
    """
    _check(folder)
    names = {name: f"redistill_{name}" for name in sets}
    with drafts.folder(folder) as draft:
        for name, found in sets.items():
            judge = found.grader or grader
            _write_rows(draft / f"{name}.parquet", found, asking, judge)
            data = (folder / f"{name}.parquet").absolute().as_posix()
            text = TASK.format(
                name=names[name],
                data=json.dumps({"data_files": {"test": data}}),
                generation=json.dumps(_generation(asking)),
                grader=judge,
            )
            json_file.write_text(draft / f"{names[name]}.yaml", text)
        graders = sorted({found.grader or grader for found in sets.values()})
        json_file.write_text(draft / READING, _reading(graders))
    return sorted(names.values())


def respelt(
    sets: Mapping[str, ProblemSet],
    asking: Asking,
    encode: Callable[[str], list[int]],
    given: Callable[[Problem], list[int]],
) -> str | None:
    """
    Say how many plain prompts of *sets* the harness hands on as other tokens, None where none is.

    It has the whole prompt made ids by *encode*; *given* makes those that our student is asked
    with. They differ where a question holds the text of a special token.
    """
    if asking.chat:
        return None
    problems = [problem for found in sets.values() for problem in found.problems]
    other = sum(encode(asking.prompt(problem)) != given(problem) for problem in problems)
    if not other:
        return None
    return (
        f"{other} of {len(problems)} prompts are other tokens for the harness, so texts and scores "
        "of these can differ: their questions hold the text of a special token of the student, "
        "which is text here and such a token there"
    )


def _generation(asking: Asking) -> dict[str, Any]:
    """Greedy, to its own end: the harness would stop at a blank line where nothing is said."""
    return {"until": [], "do_sample": False, "max_gen_toks": asking.max_new_tokens}


def _write_rows(path: Path, found: ProblemSet, asking: Asking, grader: str) -> None:
    rows = [
        {"id": p.id, "prompt": asking.prompt(p), "answer": p.answer, GRADER: grader}
        for p in found.problems
    ]
    with drafts.file(path) as draft:
        pq.write_table(pa.Table.from_pylist(rows, schema=COLUMNS), draft)


def _reading(graders: list[str]) -> str:
    for name in graders:
        reading.comparing(name)
    lines = [f'{name} = reading.of("{name}")' for name in graders]
    head = '"""The filters of the tasks beside this file: how Redistill reads an answer."""'
    return "\n".join([head, "", "from redistill.harness import reading", "", *lines, ""])


def _check(folder: Path) -> None:
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        ours = file.suffix in (".yaml", ".parquet") or file.name in (READING, "__pycache__")
        if not ours:
            raise RefusedError(f"{file}: no file of an export; name another folder than {folder}")
