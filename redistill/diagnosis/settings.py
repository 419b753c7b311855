"""How errors are found, as the section ``mine`` says."""

from typing import Annotated, Literal

from pydantic import Field

from redistill.settings.bounds import Above, Count, Few, Length, Share
from redistill.settings.sections import Section

Stop = Literal["significant", "no_gain", "never"]


class MineSettings(Section):
    """
    Section ``mine``: where errors come from, which are kept, and when to stop.

    With *folds*, the errors on train are those of students that were not taught the problem; null
    takes those of the student itself. A teacher is shown at most *shown* errors of a problem.
    *stop* says after which rounds nothing more is refined: those that are not better on dev by a
    test at *alpha* (``significant``), those without any gain there (``no_gain``), or none
    (``never``).
    """

    folds: Annotated[int, Field(ge=2, le=100)] | None
    max_completion: Length
    exemplars: Annotated[int, Field(ge=0, le=100)]
    shown: Few
    common: Share
    alpha: Above
    below: Share
    most: Count | None
    stop: Stop = "significant"  # older projects have none
