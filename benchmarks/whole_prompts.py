"""
Answers and grades of a student whose plain prompts are made tokens as a whole, as lm_eval does it.

    python -m benchmarks.whole_prompts --student data/students/r0 --out predictions-whole

Run in a project; its out-of-domain tests are asked. The project itself encodes what is before
[[question]], the question and what is after it apart, so that a token may differ at the borders.
`benchmarks.harness` compares what comes of it with the samples of the harness.
"""

from pathlib import Path
from unittest.mock import patch

import click

from redistill.grading import predictions
from redistill.grading.grader import GradeSettings
from redistill.problems import sets
from redistill.records import jsonl
from redistill.records.types import Problem
from redistill.settings import sections
from redistill.students.answer import exam
from redistill.students.answer.settings import EvaluateSettings
from redistill.students.model import tokens
from redistill.students.model.settings import StudentSettings


@click.command()
@click.option("--student", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(student: Path, out: Path) -> None:
    """Have STUDENT answer the out-of-domain tests of the project here, and grade it."""
    params = sections.read(Path("params.yaml"))
    asked = params.section("student", StudentSettings)

    def whole(encoder: tokens.Encoder, problem: Problem) -> list[int]:
        text = tokens.plain_prompt(asked.prompt, asked.system, problem)
        return list(encoder.tokenizer.encode(text))

    known = sets.read(Path("data/problems/outside"))
    rules = params.section("evaluate", EvaluateSettings)
    with patch.object(tokens.Encoder, "prompt", whole):  # no setting asks for this
        answered = exam.answer(student, known, asked, rules, seed=params.seed)
    grader = params.section("grade", GradeSettings).grader
    graded = predictions.grade(known, answered.completions, grader)
    jsonl.write_all(out, graded.predictions)
    click.echo(str(graded))


if __name__ == "__main__":
    main()
