"""Causes that lie before the training: problems, errors, and what became of the texts."""

from collections import Counter

from redistill.analysis.comparison import p_text
from redistill.analysis.rewriting import STOPPED
from redistill.causes.evidence import Absent, Evidence, Reach
from redistill.causes.line import NAMED, Look, least, most, percent, solved
from redistill.causes.recorded import First, Problems
from redistill.console.counted import counted
from redistill.rounds.branches import FIRST
from redistill.solutions import gaps as kinds

UNASKED = ("not wrong", STOPPED)  # why a text is kept that no teacher was asked about
CHANGES = {  # what lets more texts through, by the reason why they were lost
    "unchanged": "teach.refiner (the same text came back), or teach.prompts of a language model",
    "too long": "guard.max_growth (guard.max_repair of mended texts)",
    "copies the student": "guard.min_copied",
    "right, but not between the markers": "teach.unmarked: take",
    "no rationale between the markers": "teach.unmarked: take, or teach.prompts",
    "truncated": "the length of an answer in the section of teach.refiner, or teach.prompts",
    "no solution to explain": "teach.refiner: one that needs no worked solution",
}
AGAIN = "teach.attempts or teach.draws: more, or teach.refiner"


def stopped(seen: Evidence) -> Look:
    """Look whether the loop had ended before the round, so that nothing was asked for it."""
    kept = Counter(seen.rewriting().kept)
    file, change = seen.where("gaps", seen.before), "mine.stop: no_gain or never, or mine.alpha"
    if not kept[STOPPED]:
        return Look(0.0, f"the loop had not stopped at {seen.before}", file, change)
    found = seen.mined(seen.before).decision
    gain = ""
    if found.p is not None and found.gain_points is not None:
        gain = f" ({found.gain_points:+.1f} points on dev, p = {p_text(found.p)})"
    told = f"the loop stopped at {seen.before}: {found.because}{gain}; nothing was rewritten"
    return Look(1.0, told, file, change)


def near_duplicates(seen: Evidence) -> Look:
    """
    Look how many questions of a set `prepare` found to be nearly another one of train.

    Such lessons teach the same twice, and such tests ask what was taught. The share is that of the
    set with most of them.
    """
    known = seen.held("problems", "all", Problems)
    file, found = seen.where("problems", "all"), known.near_duplicates
    if found is None:
        told = "unknown: near-duplicates were not looked for"
        raise Absent(file, "prepare.near_duplicates: report", told)
    sizes = known.sizes | {f"outside/{name}": t.rows_out for name, t in known.outside.items()}
    counts = {
        name: (found.questions.get(name, {}).get("train", 0), size)
        for name, size in sizes.items()
        if size
    }
    listed = ", ".join(f"{n:,} of {size:,} in {name}" for name, (n, size) in counts.items())
    told = f"nearly another question of train: {listed} (from {found.alike:g} of the words on)"
    share = max((n / size for n, size in counts.values()), default=0.0)
    if found.dropped is not None:
        told, share = f"{told}; {sum(found.dropped.values()):,} were left out", 0.0
    change = "prepare.near_duplicates: drop, after a look at the first pairs in that file"
    return Look(share, told, file, change)


def hidden(seen: Evidence) -> Look:
    """
    Look which share of a student's errors does not show on the problems that it was taught.

    It is 1 - (wrong on train) / (wrong on dev), by the far ends of their 95 % intervals.
    """
    file, held = seen.where("rounds", seen.before), seen.held_out(seen.before)
    change = "mine.folds: 2 (errors of students that were not taught the problem)"
    if held is not None:
        return Look(0.0, f"errors are held out; {solved(held)} are right there", file, change)
    train, dev = (seen.score(seen.before, split) for split in ("train", "dev"))
    shown, wrong = most(train.n - train.k, train.n), least(dev.n - dev.k, dev.n)
    share = max(0.0, 1 - shown / wrong) if wrong else 0.0
    told = f"{seen.before} solves {solved(train)} of train and {solved(dev)} of dev"
    if share >= NAMED:
        told += f": {percent(share)} of its errors do not show where the teacher reads them"
    return Look(share, told, file, change)


def asked(seen: Evidence) -> Look:
    """Look how many of the errors on train the teacher was not asked about."""
    found, file = seen.rewriting(), seen.where("rationales", seen.name)
    change = "refine.scope: all, or mine.most (more), or mine.below"
    if Counter(found.kept)[STOPPED]:
        return Look(0.0, "the loop had stopped", file, change)
    score = seen.held_out(seen.before) or seen.score(seen.before, "train")
    wrong, number = score.n - score.k, found.asked
    told = f"asked about {counted(number, 'text')}; {seen.before} is wrong on {wrong:,} of train"
    share = 1 - number / wrong if wrong else float(not number)
    return Look(share, told, file, change)


def lost(seen: Evidence) -> Look:
    """
    Look which share of the train problems with an error got no new text all the same.

    With the data that is counted. By the metrics alone it is what is lost at least: all texts that
    were rewritten may be of such problems. Problems without any text since the first round add to
    it.
    """
    found, file = seen.rewriting(), seen.where("rationales", seen.name)
    shown, new = _shown(seen), found.rewritten
    if seen.reached is not None:
        shown, new = (sum(n.values()) for n in (seen.reached.shown, seen.reached.rewritten))
    first = seen.held("rationales", FIRST, First).balance
    kept = Counter({why: n for why, n in found.kept.items() if why not in UNASKED})
    reasons = kept or Counter(first.rejected)
    change = next((CHANGES.get(reason, AGAIN) for reason, _ in reasons.most_common(1)), AGAIN)
    told = f"of {counted(shown, 'text')} behind an error {_new(seen, new)} were rewritten"
    told += _reasons(reasons)
    if first.left < 1:
        missing = counted(first.rows_in - first.rows_out, "problem")
        told += f"; {missing} without any text since {FIRST}"
    return Look(1 - first.left * (min(1.0, new / shown) if shown else 1.0), told, file, change)


def _shown(seen: Evidence) -> int:
    """Of how many train problems the teacher was shown an error, at most."""
    score = seen.held_out(seen.before) or seen.score(seen.before, "train")
    return min(score.n - score.k, seen.rewriting().asked)


def _new(seen: Evidence, new: int) -> str:
    return f"{new:,}" if seen.reached is not None else f"at most {new:,}"


def _reasons(reasons: Counter[str]) -> str:
    """Why texts were not accepted, of all that were asked for; empty where all were."""
    why = ", ".join(f"{n:,} {reason}" for reason, n in reasons.most_common(3))
    return f" (not accepted of all asked for: {why})" if why else ""


def gaps(seen: Evidence) -> Look:
    """
    Look which share of the errors on dev is of gaps that rewriting did not reach.

    A gap is not reached where less than a tenth of the train problems that show it have a new text,
    and no new text is said to treat it. Gaps that no train problem shows are left out where errors
    are hidden, which is a cause of its own. The share is the low end of its 95 % interval.
    """
    profile, file = seen.mined(seen.before).profile.gaps, seen.where("gaps", seen.before)
    change = "refine.extend: true, mine.common (less), or mine.shown (more)"
    if seen.reached is None:
        data = f"data/errors/{seen.before}.jsonl, data/rationales/{seen.branch.rationales}.jsonl"
        raise Absent(data, "dvc pull, or dvc repro", f"unknown: {data} are not here")
    told_of, blind = seen.reached, hidden(seen).share >= NAMED
    known = {gap: n for gap, n in profile.items() if told_of.shown.get(gap) or not blind}
    left = {gap: n for gap, n in known.items() if n and not _is_reached(told_of, gap)}
    few, n = sum(left.values()), sum(known.values())
    listed = ", ".join(f"{gap} {errors:,}" for gap, errors in Counter(left).most_common(4))
    told = f"{few:,} of {counted(n, 'error')} on dev are of gaps that no new text is about"
    if blind and not n:
        told = f"no train problem shows a gap: the errors of {seen.before} are hidden"
    return Look(least(few, n), told + (f": {listed}" if listed else _rest(seen)), file, change)


def _is_reached(found: Reach, gap: str) -> bool:
    """Whether new texts are about *gap*."""
    shown = found.shown.get(gap, 0)
    reached = shown > 0 and found.rewritten.get(gap, 0) >= NAMED * shown
    return reached or found.treated.get(gap, 0) > 0


def _rest(seen: Evidence) -> str:
    """What is left on dev after the round, where its errors have been mined."""
    if seen.passed or ("gaps", seen.name) not in seen.files:
        return ""
    after = seen.mined(seen.name).profile
    return f"; left after {seen.name}: {kinds.describe(after.gaps)}"
