"""
MATH: competition problems with worked solutions (Hendrycks et al., 2021, arXiv 2103.03874).

Split rule: train as published, test is MATH-500, 500 problems of the published test (Lightman et
al., 2023); dev is a share of train, by the hash of the id.
"""

from redistill.grading.answers import last_box
from redistill.problems import source
from redistill.problems.source import Hub, Part, Rejected, Row, Rows, Settings
from redistill.records.types import Problem

SOURCE = "https://github.com/hendrycks/math"
LICENCE = "MIT"
GRADER = "math"
PUBLISHED = True
REVISION = "21a5633873b6a120296cce3e2df9d5550074f4a3"
REVISION_500 = "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be"
SUBJECTS = (
    "algebra", "counting_and_probability", "geometry", "intermediate_algebra", "number_theory",
    "prealgebra", "precalculus",
)  # fmt: skip
PARTS = (
    Part(
        "train",
        "train",
        tuple(Hub("EleutherAI/hendrycks_math", name, "train", REVISION) for name in SUBJECTS),
    ),
    Part("dev", "dev"),
    Part("test", "test", (Hub("HuggingFaceH4/MATH-500", None, "test", REVISION_500),)),
)


def problems(settings: Settings, seed: int) -> Rows:
    """Read the problems of all splits."""
    return source.problems("math", PARTS, settings, seed, problem)


def problem(identity: str, row: Row) -> Problem | Rejected:
    """
    Read a row of the hub.

    Where it has no answer of its own, that is what its solution boxes last.
    """
    answer = row.get("answer") or last_box(row["solution"])
    if answer is None:
        return Rejected("no boxed answer")
    solution = row["solution"].strip()
    return Problem(id=identity, question=row["problem"].strip(), answer=answer, solution=solution)
