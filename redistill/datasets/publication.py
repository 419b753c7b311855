"""A data set while it is made: each row looked at and counted once, on its way to the files."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from redistill.analysis.summary import Summary
from redistill.datasets.card import card
from redistill.datasets.rows import Gate, PublishSettings, Tally, provenance
from redistill.datasets.views import Row, Views
from redistill.records.types import Problem, Split


class Publication:
    """The rows of *views*, and what is told of them when all have gone by."""

    def __init__(
        self,
        views: Views,
        splits: Mapping[Split, Sequence[Problem]],
        settings: PublishSettings,
        origin: Mapping[str, Any],
        rounds: Sequence[Mapping[str, Any]],
        summary: Summary,
    ) -> None:
        """Publish *views*, in which no question of dev and test of *splits* may stand."""
        self._views = views
        self._gate = Gate(splits)
        self._tally = Tally()
        self._known = (settings, origin, rounds, summary)
        self.found: dict[str, Any] = {}

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Return every row with its view; refuses keys, as `Gate.look` does."""
        for entry in self._views.each():
            self._gate.look(entry)
            self._tally.add(entry)
            for view, rows in entry.rows.items():
                yield from ((view, row) for row in rows)

    def told(self) -> tuple[dict[str, Any], str]:
        """
        Tell provenance and card of the rows; the former is then `found`.

        Raises RefusedError for a question of dev or test that stands in them.
        """
        settings, origin, rounds, summary = self._known
        overlap = self._gate.found()
        self.found = provenance(
            settings, self._views, self._tally, overlap, origin, rounds, summary
        )
        return self.found, card(self.found)
