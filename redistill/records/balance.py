"""Where every row of a stage went."""

from dataclasses import dataclass, field
from typing import Any

from redistill.console.exceptions import RefusedError


@dataclass
class Balance:
    """
    Where every row went: rows in = rows out + rows rejected, by reason.

    >>> Balance("prepare", rows_in=3, rows_out=2, rejected={"repeated question": 1}).holds
    True
    """

    stage: str
    rows_in: int
    rows_out: int
    rejected: dict[str, int] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether no row was lost without a reason."""
        return self.rows_in == self.rows_out + sum(self.rejected.values())

    def __str__(self) -> str:
        reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(self.rejected.items()))
        lost = f" + {sum(self.rejected.values())} rejected ({reasons})" if reasons else ""
        return f"{self.stage}: {self.rows_in} rows in = {self.rows_out} out{lost}"

    def as_dict(self) -> dict[str, Any]:
        """Return the balance as a metrics file records it."""
        counts = {"rows_in": self.rows_in, "rows_out": self.rows_out, "rejected": self.rejected}
        return {**counts, "holds": self.holds}

    def check(self, max_loss: float) -> "Balance":
        """Refuse a balance that does not hold, or that lost more than *max_loss* of its rows."""
        if not self.holds:
            raise RefusedError(f"{self}: the rows do not balance", code=70)
        lost = sum(self.rejected.values())
        if self.rows_in and lost / self.rows_in > max_loss:
            raise RefusedError(
                f"{self}: lost {lost / self.rows_in:.1%}, more than max_loss {max_loss:.1%}; "
                "mend the rows named above or raise max_loss in params.yaml"
            )
        return self
