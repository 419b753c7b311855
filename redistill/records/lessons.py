"""Which of the texts that were accepted for a problem a student is taught."""

from collections.abc import Sequence
from dataclasses import dataclass

from redistill.records.types import Lessons, Rationale


@dataclass(frozen=True)
class Lesson:
    """A *text* that is taught, the round that it was written in, and the rationale it is of."""

    rationale: Rationale
    round: str
    text: str

    @property
    def id(self) -> str:
        """The id of the rationale for the text that it has now, else with the text's round."""
        latest = self.text == self.rationale.text and self.round == self.rationale.round
        return self.rationale.id if latest else f"{self.rationale.id}@{self.round}"


def taught(rationales: Sequence[Rationale], lessons: Lessons) -> list[Lesson]:
    """
    Return what is taught of *rationales*, in their order, the oldest text of each first.

    ``latest`` is the text that each has now, ``all`` every text that was accepted up to then, and
    ``distinct`` those of them that no later one repeats: of two that take the same path, the later
    is kept, since it was written for this student.
    """
    found = []
    for rationale in rationales:
        for version in rationale.history if lessons != "latest" else ():
            if lessons == "all" or not version.repeated:
                found.append(Lesson(rationale, version.round, version.text))
        found.append(Lesson(rationale, rationale.round, rationale.text))
    return found
