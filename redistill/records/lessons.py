"""Which of the texts that were accepted for a problem a student is taught."""

from collections.abc import Sequence
from dataclasses import dataclass

from redistill.records.types import Lessons, Rationale


@dataclass(frozen=True)
class Lesson:
    """
    A *text* that is taught, the round that it was written in, and the rationale it is of.

    *own* numbers the completions that students drew themselves; 0 is a text of a teacher.
    """

    rationale: Rationale
    round: str
    text: str
    own: int = 0

    @property
    def id(self) -> str:
        """The id of the rationale for the text that it has now, else with the text's round."""
        latest = self.text == self.rationale.text and self.round == self.rationale.round
        if self.own:
            return f"{self.rationale.id}@{self.round}-own{self.own}"
        return self.rationale.id if latest else f"{self.rationale.id}@{self.round}"


def taught(rationales: Sequence[Rationale], lessons: Lessons) -> list[Lesson]:
    """
    Return what is taught of *rationales*, in their order, the oldest text of each first.

    ``latest`` is the text that each has now, ``all`` every text that was accepted up to then, and
    ``distinct`` those of them that no later one repeats: of two that take the same path, the later
    is kept, since it was written for this student. Both teach the students' own completions that
    the rationale has as well, before its latest text.
    """
    found = []
    for rationale in rationales:
        if lessons != "latest":
            for version in rationale.history:
                if lessons == "all" or not version.repeated:
                    found.append(Lesson(rationale, version.round, version.text))
            for number, version in enumerate(rationale.own, 1):
                if lessons == "all" or not version.repeated:
                    found.append(Lesson(rationale, version.round, version.text, number))
        found.append(Lesson(rationale, rationale.round, rationale.text))
    return found
