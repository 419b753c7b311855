"""Causes that lie in the training: too little learnt, by heart, texts that are hard to learn."""

import math

from redistill.analysis.scores import Score, memorised
from redistill.analysis.summary import Training
from redistill.causes.evidence import Absent, Evidence
from redistill.causes.line import NAMED, Look, ended, least, lenient, most, percent, solved

SPLITS = ("train", "dev", "test")
HALF = 0.5


def texts(seen: Evidence) -> Look:
    """
    Look whether the new texts are longer and less likely to the student than those before.

    The share is 1 - (how likely a token is, against before) * (tokens of a text before / now):
    what as many steps can no longer carry. 0 where a token is at least nine tenths as likely.
    """
    now, then = seen.training(seen.name), seen.training(seen.branch.of)
    file = seen.where("training", seen.name)
    change = f"branches.{seen.name}.lessons: all (old texts too), guard.max_growth, teach.prompts"
    if seen.starts[seen.name] != seen.starts[seen.branch.of]:
        told = f"unknown: {seen.name} and {seen.branch.of} start from different students"
        raise Absent(file, f"branches.{seen.name}.start: that of {seen.branch.of}", told)
    if now.nll_before is None or then.nll_before is None:
        raise Absent(file, "train.nll_rows: more than 0", "unknown: no NLL was measured")
    less = 1 - math.exp(min(0.0, then.nll_before - now.nll_before))
    shorter = min(1.0, _tokens(then) / _tokens(now)) if _tokens(now) else 1.0
    told = (
        f"NLL of a token {now.nll_before:.2f} against {then.nll_before:.2f} in {seen.branch.of}, "
        f"{_tokens(now):.0f} tokens a text against {_tokens(then):.0f}"
    )
    return Look(1 - (1 - less) * shorter if less >= NAMED else 0.0, told, file, change)


def _tokens(training: Training) -> float:
    """How many tokens the student is taught of a text, on average."""
    return training.labels.get("completion_tokens", 0) / training.taught if training.taught else 0.0


def floor(seen: Evidence) -> Look:
    """
    Look whether students learn the texts and solve next to nothing, more steps or not.

    Next to nothing is less than a tenth of all problems, by the high end of the 95 % interval, of
    the round and of the control that took more steps. The control has learnt its texts where less
    than half of their NLL is left at the end of its training.
    """
    name, control = seen.name, seen.control
    file = seen.where("rounds", control)
    change = "student.model: a stronger one, or prepare.task: easier problems"
    ours, theirs = (_all(seen, branch) for branch in (name, control))
    trained, longer = (seen.training(branch) for branch in (name, control))
    low = max(most(*ours), most(*theirs)) < NAMED
    told = (
        f"{name} solves {ours[0]:,} of all {ours[1]:,} problems; {control}, with "
        f"{longer.steps:,} steps against {trained.steps:,}, {theirs[0]:,}"
    )
    if low:
        told += f", with {percent(_left(longer))} of the NLL of its texts left"
    found = low and longer.steps > trained.steps and _left(longer) < HALF
    return Look(1 - most(*theirs) if found else 0.0, told, file, change)


def _left(training: Training) -> float:
    """The share of the NLL of the texts that is left at the end; 1 where it was not measured."""
    if not training.nll_before or training.loss_last is None:
        return 1.0
    return min(1.0, training.loss_last / training.nll_before)


def _all(seen: Evidence, name: str) -> tuple[int, int]:
    """How many of the problems of all splits *name* solves, wherever the answer stands."""
    scores = [seen.score(name, split) for split in SPLITS]
    return sum(lenient(score) for score in scores), sum(score.n for score in scores)


def short(seen: Evidence) -> Look:
    """
    Look which share of its own lessons the student has not learnt.

    Those are the answers on train that ended and are wrong wherever the answer may stand; one that
    did not end says little of itself, and counts by the share of the texts' NLL that is left. It is
    the low end of the 95 % interval; 0 where more steps did not help the control, which is a floor.
    """
    score, file = seen.score(seen.name, "train"), seen.where("rounds", seen.name)
    change = f"train.steps (or branches.{seen.name}.times): more; train.learning_rate"
    told = f"{seen.name} solves {solved(score)} of the train problems that it was taught"
    if _floored(seen):
        return Look(0.0, f"{told}; more steps did not help {seen.control}", file, change)
    whole, left = ended(score), _left(seen.training(seen.name))
    if whole < score.n:
        told += f"; {percent(left)} of the NLL of its texts is left"
    wrong = whole - min(whole, lenient(score)) + round(left * (score.n - whole))
    return Look(least(wrong, score.n), told, file, change)


def _floored(seen: Evidence) -> bool:
    try:
        return floor(seen).share >= NAMED
    except Absent:  # of the control; what it lacks is said in the line on the floor
        return False


def by_heart(seen: Evidence) -> Look:
    """
    Look which share of what the student solves on train it cannot do elsewhere.

    It is (train - dev) / train, by the near ends of their 95 % intervals, where the student counts
    as one that has learnt its lessons by heart (`scores.memorised`): else too little was learnt.
    """
    train, dev = (seen.score(seen.name, split) for split in ("train", "dev"))
    known, elsewhere = least(lenient(train), train.n), most(lenient(dev), dev.n)
    told = f"{seen.name} solves {solved(train)} of train and {solved(dev)} of dev"
    change = f"more train problems, branches.{seen.name}.lessons: all, or train.steps: fewer"
    file = seen.where("rounds", seen.name)
    counts = [(lenient(score), score.n) for score in (train, dev)]
    return Look(1 - elsewhere / known if memorised(*counts) else 0.0, told, file, change)


def cut_off(seen: Evidence) -> Look:
    """Look which share of the answers on test did not end by itself, at least."""
    score = seen.score(seen.name, "test")
    told = f"{percent(1 - score.eos)} of the answers on test did not end{_then(seen, score)}"
    change = "evaluate.max_new_tokens: more; where answers run on, train.steps: more"
    cut = score.n - ended(score)
    return Look(least(cut, score.n), told, seen.where("rounds", seen.name), change)


def _then(seen: Evidence, score: Score) -> str:
    """The same of the branch before, and how long answers are."""
    before = seen.score(seen.before, "test")
    return (
        f", {percent(1 - before.eos)} in {seen.before}; {score.mean_tokens:.0f} tokens an answer "
        f"against {before.mean_tokens:.0f}"
    )


def unread(seen: Evidence) -> Look:
    """Look which share of the right answers on test is not in the task's format, at least."""
    score = seen.score(seen.name, "test")
    right = lenient(score)
    told = f"{right:,} answers on test are right wherever they stand, {score.k:,} in the format"
    change = "train.steps: more, teach.prompts, or grade.grader"
    file = seen.where("rounds", seen.name)
    return Look(least(right - score.k, right), told, file, change)
