"""Why a round did not help, or what still limits it: its causes, the likeliest first."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from redistill.analysis.comparison import p_text
from redistill.analysis.figures import Figures
from redistill.analysis.ladder import Ladder, Row
from redistill.analysis.scores import Score
from redistill.analysis.summary import ReportSettings
from redistill.causes import learning, measuring, teaching
from redistill.causes.evidence import (
    SOUGHT,
    Absent,
    Evidence,
    Reach,
    reach_in,
    read,
    refined,
    tests_setting,
)
from redistill.causes.line import NAMED, Cause, Line, line
from redistill.causes.measuring import direction
from redistill.console.exceptions import RefusedError
from redistill.records.json_file import read_json
from redistill.rounds.branches import Branch, Round, branches, loop
from redistill.settings.sections import Params

CAUSES = (  # in the order in which a gain would have to come through them
    Cause("the loop had stopped", teaching.stopped, needs_student=False),
    Cause("ceiling", measuring.ceiling),
    Cause("near-duplicates", teaching.near_duplicates, needs_student=False),
    Cause("errors hidden by lessons learnt by heart", teaching.hidden, needs_student=False),
    Cause("too few errors asked about", teaching.asked, needs_student=False),
    Cause("teacher's losses", teaching.lost, needs_student=False),
    Cause("gaps not reached", teaching.gaps, needs_student=False),
    Cause("texts longer and less likely", learning.texts),
    Cause("floor", learning.floor),
    Cause("under-trained", learning.short),
    Cause("learnt by heart", learning.by_heart),
    Cause("cut off", learning.cut_off),
    Cause("not in the answer format", learning.unread),
    Cause("test set too small", measuring.too_few),
)
HEAD = ("cause", "can explain", "figure", "read from", "to change")
WORDS = (0, 2, 3, 4)  # columns of words


class Why(Figures):
    """
    The answer for the round *branch*: whether it *helped*, what is *said* of that, and its causes.

    *helped* is True where the gain over the control on test, or out of domain, has its whole 95 %
    interval above 0, False where it has not, None where nothing was compared yet. *lead* leads over
    to the *lines*: the causes found, the likeliest first, those that lack data, and those that are
    clear.
    """

    branch: str
    helped: bool | None
    said: tuple[str, ...]
    lead: str
    lines: tuple[Line, ...]

    def of(self, *states: str) -> list[Line]:
        """Return the lines in one of the *states*."""
        return [found for found in self.lines if found.state in states]


def why(seen: Evidence) -> Why:
    """
    Look for every cause in what was *seen* of a round, and put them in order.

    A cause's share is what it takes of all that came to it. The largest comes first; of equals the
    one that comes first in CAUSES, since the others can only take what that one leaves. Where the
    loop had stopped before the round there is no other.
    """
    looked = [line(cause, seen) for cause in CAUSES if cause.needs_student <= (not seen.passed)]
    if looked[0].state == "found":  # nothing was begun, so nothing else can have failed
        looked = looked[:1]
    found = sorted((x for x in looked if x.state == "found"), key=lambda x: -(x.share or 0.0))
    rest = [x for state in ("missing", "clear") for x in looked if x.state == state]
    helped = _helped(seen)
    return Why(
        branch=seen.name,
        helped=helped,
        said=tuple(_compared(seen)),
        lead=_led(seen.name, helped, found),
        lines=(*found, *rest),
    )


def chosen(branches: Mapping[str, Branch], metrics: Path, ladder: Ladder | None) -> str:
    """
    Choose the round to be asked about: the one that dev chose, where it is a refined one.

    Else the refined round that is best on dev, or the first one. Raises RefusedError where no
    branch is taught rewritten rationales.
    """
    known = refined(branches)
    if ladder is not None and ladder.chosen in known:
        return ladder.chosen
    if not known:
        raise RefusedError(
            "nothing is rewritten in this run: branches and rewrites have no round after r0; "
            "docs/settings.md shows the two lines of one"
        )
    rounds = [name for name in known if ladder is None or name in ladder.rounds] or known
    return max(rounds, key=lambda name: (_on_dev(metrics, name), -rounds.index(name)))


def _on_dev(metrics: Path, name: str) -> float:
    """The accuracy of *name* on dev, -1 where it has none."""
    file = metrics / "rounds" / f"{name}.json"
    scores = read_json(file)["scores"] if file.is_file() else {}
    return Score.held(scores["dev"], str(file)).accuracy if "dev" in scores else -1.0


def _helped(seen: Evidence) -> bool | None:
    rows = [row for row in (seen.row(), seen.row(outside=True)) if row]
    if seen.passed:
        return False
    return any(direction(row) > 0 for row in rows) if rows else None


def _compared(seen: Evidence) -> Iterable[str]:
    """What the round is worth on test, out of domain and on dev, as far as that was compared."""
    if seen.passed:
        yield f"{seen.name} was passed through: it has no student of its own."
        return
    for outside, place in ((False, "on test"), (True, "on the out-of-domain tests together")):
        row = seen.row(outside=outside)
        if row:
            yield _gain(seen.name, row, place)
    try:
        found = seen.mined(seen.name).decision
    except Absent as absent:
        yield f"On dev: {absent.told}."
        return
    if found.gain_points is not None and found.p is not None:
        yield (
            f"On dev it is {found.gain_points:+.1f} points against {seen.before} "
            f"({found.fixed:,} fixed, {found.broken:,} broken, p = {p_text(found.p)})."
        )


def _gain(name: str, row: Row, place: str) -> str:
    verb = f"is not told apart from {row.against}"
    if told := direction(row):
        verb = f"{'helped' if told > 0 else 'did harm'} against {row.against}"
    return (
        f"{name} {verb} {place}: {row.gain_points:+.1f} points (95 % interval "
        f"{row.low_points:+.1f} to {row.high_points:+.1f}; {row.fixed:,} fixed, {row.broken:,} "
        f"broken of {row.n:,}, p = {p_text(row.p)}; {row.steps.round:,} optimiser steps against "
        f"{row.steps.against:,})."
    )


def _led(name: str, helped: bool | None, found: Sequence[Line]) -> str:
    """What leads over to the causes."""
    if not found:
        return (
            "Nothing in these files stands in its way: it may be the texts themselves. Arms of the "
            "ladder (docs/ladder.md) and further seeds (redistill sweep) would show."
        )
    if helped:
        return f"What still limits {name}, the likeliest first"
    if helped is None:
        return f"What limits {name}, as far as the run has come, the likeliest first"
    return f"Why {name} did not help, the likeliest first"


def cells(lines: Sequence[Line]) -> list[tuple[str, ...]]:
    """Write *lines* as rows of a table, without its HEAD."""
    return [(x.cause, _share(x), x.told, x.file, x.change) for x in lines]


def _share(line: Line) -> str:
    if line.share is None:
        return "unknown"
    return f"{100 * line.share:.0f} %" if line.state == "found" else f"under {100 * NAMED:.0f} %"


def of_run(
    params: Params, metrics: Path, data: Path, name: str | None = None, sought: float | None = None
) -> Why:
    """
    Answer for the round *name* of the run with these settings, by default the `chosen` one.

    What is under *metrics* and *data* is read as far as it is there; *sought* is a gain in points.
    """
    known = loop(branches(params))
    file = metrics / "ladder.json"
    ladder = Ladder.read(file) if file.is_file() else None
    name = name or chosen(known, metrics, ladder)
    branch = known.get(name)
    reached = reach_in(data, branch, name) if isinstance(branch, Round) else None
    control = params.section("report", ReportSettings).control
    tests = tests_setting(params)
    return why(read(name, known, metrics, ladder, reached, control, tests, sought or SOUGHT))


def of_rounds(
    branches: Mapping[str, Branch],
    metrics: Path,
    ladder: Ladder,
    reached: Callable[[Round, str], Reach],
    tests: str,
) -> list[Why]:
    """
    Answer for the `chosen` round, and for the other refined rounds that have a student.

    *reached* counts how far the rewriting of a round reached, *tests* is as in `Evidence`. Empty
    where nothing is rewritten.
    """
    if not refined(branches):
        return []
    first = chosen(branches, metrics, ladder)
    names = dict.fromkeys([first, *(name for name in refined(branches) if name in ladder.rounds)])
    rounds = [(name, branches[name]) for name in names]
    return [
        why(read(name, branches, metrics, ladder, reached(one, name), ladder.control, tests))
        for name, one in rounds
        if isinstance(one, Round)
    ]
