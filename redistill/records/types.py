"""The records that stages pass on."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Split = Literal["train", "dev", "test"]
Verdict = Literal["correct", "wrong", "no_answer", "cut_off"]
Status = Literal["first", "refined", "kept"]
Lessons = Literal["latest", "all", "distinct"]  # which accepted texts of a problem are taught
Identity = Field(min_length=1, max_length=200)
Text = Field(min_length=1)
_GIVEN: dict[frozenset[str], set[str]] = {}  # half of what a small record takes is such a set


class Record(BaseModel):
    """What all records share: no unknown fields, no coercion, no change after reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    id: str = Identity

    def model_post_init(self, context: Any) -> None:
        """Share the set of the fields that were given: records are many, and such sets few."""
        given = self.__pydantic_fields_set__
        same = _GIVEN.setdefault(frozenset(given), given)
        object.__setattr__(self, "__pydantic_fields_set__", same)


class Version(BaseModel):
    """A rationale text that a later one replaced, *repeated* if a later one takes the same path."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    round: str
    text: str
    repeated: bool = False


class Problem(Record):
    """A question with its gold answer and, where the source has one, a worked solution."""

    question: str = Text
    answer: str = Text
    choices: dict[str, str] | None = None
    solution: str | None = None
    source: str = ""


class Rationale(Record):
    """
    A worked answer to one problem, with everything it replaced.

    *round* is the one in which the text was written, *parent* the hash of the text it replaced,
    *gaps* the kinds of gap that the text treats, *fingerprint* the hash of the request for it.
    *own* are correct completions that students drew themselves, named for the branch of each; no
    teacher wrote them.
    """

    problem: str = Identity
    text: str = Text
    round: str
    teacher: str
    status: Status
    parent: str | None = None
    reason: str | None = None
    gaps: list[str] = []
    history: list[Version] = []
    own: list[Version] = []
    fingerprint: str = ""


class Output(BaseModel):
    """What a student wrote: its text, whether it ended by itself, and its tokens without EOS."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    text: str
    eos: bool
    tokens: int = Field(ge=0)


class Completion(Record):
    """A student's greedy output for a problem, and the outputs that were *drawn* beside it."""

    problem: str = Identity
    split: Split
    output: Output
    drawn: list[Output] = []


class Slip(BaseModel):
    """A drawn completion that is not correct."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    completion: str
    answer: str | None = None
    verdict: Verdict


class Prediction(Record):
    """
    A student's completion with the answer that was read from it; *tokens* excludes EOS.

    Where further completions were drawn, *passes* of *samples* were correct; *solved* are the texts
    of these and *slips* the others, each text once and none that is the completion itself.
    """

    problem: str = Identity
    split: Split
    completion: str
    answer: str | None
    verdict: Verdict
    strict: bool
    lenient: bool
    eos: bool
    tokens: int = Field(ge=0)
    samples: int | None = Field(default=None, ge=1)
    passes: int | None = Field(default=None, ge=0)
    slips: list[Slip] = []
    solved: list[str] = []

    @model_validator(mode="before")
    @classmethod
    def _of_one_slip(cls, row: Any) -> Any:
        """Read a row as earlier versions wrote it, with one slip or none: revisions have such."""
        if not isinstance(row, dict) or "slip" not in row:
            return row
        rest = {name: value for name, value in row.items() if name != "slip"}
        return rest | {"slips": [] if row["slip"] is None else [row["slip"]]}


class Attempt(Record):
    """A correct completion of a train problem that the *student*, a branch, drew itself."""

    problem: str = Identity
    student: str
    text: str = Text
    held_out: bool = False


class Exemplar(BaseModel):
    """A dev problem on which the student showed the same gap."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    problem: str
    question: str
    completion: str
    choices: dict[str, str] | None = None
    gap: str | None = None


class Error(Record):
    """
    A prediction worth showing to the teacher: where it first went wrong, and what was tried.

    *pass_rate* is the share of drawn completions that were correct, where any were drawn. An error
    that is *held_out* is that of a student that had not been taught the problem. In a pool of the
    errors of several students, *student* is the branch of the one that wrote it.
    """

    problem: str = Identity
    split: Split
    completion: str
    verdict: Verdict
    answer: str | None = None
    gap: str
    first_wrong_step: str | None = None
    history: list[Version] = []
    exemplars: list[Exemplar] = []
    pass_rate: float | None = None
    held_out: bool = False
    student: str | None = None
