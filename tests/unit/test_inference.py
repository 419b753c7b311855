"""What a difference is worth, held against scipy and against chance itself."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from redistill.analysis import statistics
from redistill.analysis.scores import mcnemar, wilson

ITEMS = 400
COUNTS = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 200))


def normal_effect(n: int, share: float) -> float:
    """The smallest detectable gain at 0.05 and 0.8 (Connor 1987, Biometrics 43, 207)."""
    a, b = stats.norm.ppf(0.975), stats.norm.ppf(0.8)
    reach = a * n**0.5 + b * (n + b * b - a * a) ** 0.5
    return float(share**0.5 * reach / (n + b * b))


@pytest.mark.parametrize(("k", "n"), [(0, 20), (3, 20), (210, 600), (599, 600)])
def test_the_wilson_interval_is_that_of_scipy(k: int, n: int):
    theirs = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")

    assert wilson(k, n) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@pytest.mark.parametrize(("fixed", "broken"), [(5, 0), (6, 0), (10, 2), (150, 21), (30, 31)])
def test_exact_mcnemar_is_the_binomial_test_of_scipy_and_so_is_its_limit(fixed: int, broken: int):
    theirs = stats.binomtest(fixed, fixed + broken).pvalue
    limit = int(statistics.critical([fixed + broken])[0])

    assert mcnemar(fixed, broken) == pytest.approx(theirs, rel=1e-9)
    assert (min(fixed, broken) <= limit) == (theirs < 0.05)


@pytest.mark.parametrize(
    ("fixed", "broken"),
    [(0, 0), (0, 1), (1, 1), (3, 9), (40, 41), (0, 1074), (0, 1500), (700, 300), (1490, 1510)],
)
def test_mcnemar_is_the_quotient_of_whole_numbers_to_the_last_bit(fixed: int, broken: int):
    n, few = fixed + broken, min(fixed, broken)
    tail = sum(math.comb(n, k) for k in range(few + 1))

    assert mcnemar(fixed, broken) == min(1.0, float(Fraction(2 * tail, 2**n)))


def test_the_terms_of_mcnemar_follow_from_one_another(monkeypatch: pytest.MonkeyPatch):
    asked, comb = [], math.comb
    monkeypatch.setattr(math, "comb", lambda n, k: asked.append(k) or comb(n, k))

    assert mcnemar(4_800, 5_100) == pytest.approx(0.0026534845115026772, rel=1e-12)
    assert asked == [4_800]


@pytest.mark.parametrize(("fixed", "broken"), [(60, 40), (150, 21), (9, 3)])
def test_the_paired_bootstrap_is_that_of_scipy(fixed: int, broken: int):
    items = np.repeat([1.0, -1.0, 0.0], [fixed, broken, 300 - fixed - broken])
    theirs = stats.bootstrap(
        (items,), np.mean, method="percentile", n_resamples=5000, rng=np.random.default_rng(1)
    ).confidence_interval

    low, high = statistics.bootstrap(fixed, broken, 300)

    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.004)
    assert (low, high) == statistics.bootstrap(fixed, broken, 300)
    assert statistics.item_variance(fixed, broken, 300) == pytest.approx(items.var())


def test_the_bootstrap_of_two_equal_branches_is_a_point():
    assert statistics.bootstrap(0, 0, 300) == (0.0, 0.0)
    assert statistics.bootstrap(0, 0, 0) == (0.0, 0.0)


def test_the_mean_over_seeds_has_the_interval_of_scipys_t_test():
    gains = [21.5, 26.8, 24.7]
    theirs = stats.ttest_1samp(gains, 0).confidence_interval(0.95)

    found = statistics.mean(gains)

    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-4)
    assert found.mean == pytest.approx(np.mean(gains), abs=1e-4)
    assert statistics.mean([21.5]).as_dict() == {
        "n": 1, "mean": 21.5, "low": None, "high": None, "deviation": None,
    }  # fmt: skip


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_its_definition_rejects(p_values: list[float]):
    for alpha in (0.01, 0.05, 0.2):
        expected = set()
        for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
            if min(1.0, (len(p_values) - rank) * p_values[place]) > alpha:
                break
            expected.add(place)

        corrected = statistics.holm(p_values)

        assert {i for i, p in enumerate(corrected) if p <= alpha} == expected


def test_relative_gain_is_in_percent_of_what_was_there():
    assert statistics.relative(383, 254) == pytest.approx(50.787, abs=1e-3)
    assert statistics.relative(3, 0) is None


@pytest.mark.parametrize(("n", "share", "effect"), [(60, 0.3, 0.2), (90, 0.1, 0.0), (40, 0.2, 0.2)])
def test_power_is_the_sum_over_all_outcomes(n: int, share: float, effect: float):
    towards, total = (share + effect) / (2 * share), 0.0
    for m in range(n + 1):
        for fixed in range(m + 1):
            if mcnemar(fixed, m - fixed) < 0.05:
                total += stats.binom.pmf(m, n, share) * stats.binom.pmf(fixed, m, towards)

    assert statistics.power(n, share, effect) == pytest.approx(total, abs=1e-6)


def test_the_smallest_effect_has_the_power_it_was_asked_for():
    for n, share in ((600, 0.25), (200, 0.05), (1319, 0.3)):
        effect = statistics.smallest_effect(n, share)

        assert effect is not None
        assert statistics.power(n, max(share, effect), effect) == pytest.approx(0.8, abs=0.002)
        assert effect == pytest.approx(normal_effect(n, share), rel=0.15)
    assert statistics.smallest_effect(5, 0.5) is None
    assert statistics.smallest_effect(0, 0.0) is None
    assert statistics.smallest_effect(600, 0.0) == pytest.approx(0.013, abs=0.002)


def test_of_many_items_it_is_what_the_normal_formula_says():
    assert statistics.smallest_effect(6600, 0.3) == pytest.approx(
        normal_effect(6600, 0.3), rel=0.02
    )


def answers(rng: np.random.Generator, runs: int, chances: np.ndarray) -> np.ndarray:
    """Whether each item is solved in each of *runs*, by the *chances* of the items."""
    return rng.random((runs, len(chances))) < chances


def rejected(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In which runs exact McNemar has p < 0.05, and in which of these for the better."""
    fixed, broken = (after & ~before).sum(axis=1), (before & ~after).sum(axis=1)
    found = np.minimum(fixed, broken) <= statistics.critical(fixed + broken)
    return found, found & (fixed > broken)


def test_a_teacher_that_ignores_the_error_is_found_better_as_often_as_alpha_allows():
    rng, runs = np.random.default_rng(1), 2000
    chances = rng.beta(1, 1, ITEMS)
    refine, control = answers(rng, runs, chances), answers(rng, runs, chances)
    share = float((2 * chances * (1 - chances)).mean())

    rate = rejected(control, refine)[0].mean()

    size = statistics.power(ITEMS, share, 0.0)
    error = (0.05 * 0.95 / runs) ** 0.5
    assert 0.03 < size <= 0.05
    assert rate == pytest.approx(size, abs=3.5 * error)
    assert rate <= 0.05 + 3.5 * error


def test_holm_keeps_a_whole_ladder_of_equal_arms_below_alpha():
    rng, runs, arms = np.random.default_rng(2), 1000, 4
    chances = rng.beta(1, 1, 200)
    refine = answers(rng, runs, chances)
    p_values = []
    for _ in range(arms):
        control = answers(rng, runs, chances)
        fixed, broken = (refine & ~control).sum(axis=1), (control & ~refine).sum(axis=1)
        p_values.append([mcnemar(int(f), int(b)) for f, b in zip(fixed, broken, strict=True)])

    raw = np.array(p_values).T
    some = (raw < 0.05).any(axis=1).mean()
    corrected = np.mean([min(statistics.holm(list(row))) < 0.05 for row in raw])

    assert some > 0.07
    assert corrected <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_a_planted_effect_of_the_smallest_size_is_found_as_often_as_was_computed():
    rng, runs, share = np.random.default_rng(3), 2000, 0.25
    effect = statistics.smallest_effect(ITEMS, share)
    assert effect is not None
    kinds = rng.multinomial(ITEMS, [(share + effect) / 2, (share - effect) / 2, 1 - share], runs)
    limit = statistics.critical(kinds[:, 0] + kinds[:, 1])

    found = (np.minimum(kinds[:, 0], kinds[:, 1]) <= limit).mean()

    assert found == pytest.approx(0.8, abs=3.5 * (0.8 * 0.2 / runs) ** 0.5)


def test_a_refining_teacher_whose_items_differ_is_found_at_least_as_often():
    rng, runs = np.random.default_rng(4), 2000
    chances = rng.beta(1, 1, ITEMS)
    better = chances + 0.25 * chances * (1 - chances) * 2
    share = float((chances * (1 - better) + better * (1 - chances)).mean())
    effect = float((better - chances).mean())

    found = rejected(answers(rng, runs, chances), answers(rng, runs, better))[1].mean()

    assert found == pytest.approx(statistics.power(ITEMS, share, effect), abs=0.05)
