"""How errors are found, as the section ``mine`` says."""

from typing import Annotated

from pydantic import Field

from redistill.settings.sections import Section


class MineSettings(Section):
    """
    Section ``mine``: where errors come from, which are kept, and when to stop.

    With *folds*, the errors on train are those of students that were not taught the problem; null
    takes those of the student itself. A teacher is shown at most *shown* errors of a problem.
    """

    folds: Annotated[int, Field(ge=2, le=100)] | None
    max_completion: int
    exemplars: int
    shown: Annotated[int, Field(ge=1, le=100)]
    common: float
    alpha: float
    below: float
    most: int | None
