"""The parts of what stages record that causes are looked for in, as their files hold them."""

from pydantic import Field

from redistill.analysis.figures import Figures
from redistill.analysis.scores import Score


class Rows(Figures):
    """The rows that went into a stage and came out of it, and those *rejected* by reason."""

    rows_in: int
    rows_out: int
    rejected: dict[str, int]

    @property
    def left(self) -> float:
        """The share of the rows that came out; 1 where none went in."""
        return self.rows_out / self.rows_in if self.rows_in else 1.0


class NearDuplicates(Figures):
    """
    How many *questions* of each set are nearly one of another, or of the set itself.

    *alike* is the share of their words from which on two count as that; *dropped* says how many
    questions of each set were left out for it, None where all stayed.
    """

    alike: float
    questions: dict[str, dict[str, int]]
    dropped: dict[str, int] | None = None


class Problems(Figures):
    """
    How many problems each split has, what became of the rows of the tests *outside* of the domain,
    and the near-duplicates among all of them where they were looked for.
    """

    sizes: dict[str, int]
    outside: dict[str, Rows] = Field(default_factory=dict)
    near_duplicates: NearDuplicates | None = None


class First(Figures):
    """What became of the first texts."""

    balance: Rows


class Rewriting(Figures):
    """Of how many texts a teacher was *asked*, how many are new, and why others were *kept*."""

    asked: int
    rewritten: int
    kept: dict[str, int] = Field(default_factory=dict)


class Graded(Figures):
    """The *scores* of a branch by split; none where it was *passed_through*."""

    scores: dict[str, Score]
    passed_through: bool = False


class Profile(Figures):
    """The errors by gap among *n* dev problems."""

    n: int
    gaps: dict[str, int]


class Decision(Figures):
    """Whether the loop stopped, why, and the paired test on dev where there was one."""

    stop: bool
    because: str
    gain_points: float | None = None
    fixed: int = 0
    broken: int = 0
    p: float | None = None


class Mined(Figures):
    """What `mine` found on dev."""

    profile: Profile
    decision: Decision
