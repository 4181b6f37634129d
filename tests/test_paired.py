"""Paired differences: by hand, against scipy, and what may be called level."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from mmlib.metrics import discoveries, mean_interval, paired
from mmlib.metrics.intervals import Interval
from mmlib.metrics.paired import Paired


def test_by_hand_and_by_scipy() -> None:
    a, b = [0.9, 0.8, 0.85, 0.95], [0.7, 0.75, 0.8, 0.8]
    found = paired(a, b)
    assert found.difference == pytest.approx(mean_interval([0.2, 0.05, 0.05, 0.15]))
    assert found.p == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert not found.level
    back = paired(b, a)
    assert back.difference.mean == -found.difference.mean
    assert back.p == found.p


def test_level_is_two_one_sided_tests() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        d = rng.normal(rng.normal(0, 0.01), 0.01, size=10)
        ends = [stats.ttest_1samp(d, -0.01, alternative="greater").pvalue, stats.ttest_1samp(d, 0.01, alternative="less").pvalue]
        assert paired(d.tolist(), [0.0] * 10, margin=0.01).level == (max(ends) < 0.05)


def test_not_found_is_not_level() -> None:
    wide = paired([0.1, -0.1, 0.2, -0.2], [0.0] * 4)
    assert wide.p > 0.5
    assert not wide.level


def test_where_every_pair_is_the_same() -> None:
    same, apart, near = paired([0.5] * 3, [0.5] * 3), paired([0.5] * 3, [0.25] * 3), paired([0.5] * 3, [0.495] * 3)
    assert (same.p, same.level) == (1.0, True)
    assert (apart.p, apart.level) == (0.0, False)
    assert near.level


def test_discoveries_by_hand() -> None:
    """Of five, the sorted p are compared with 0.01, 0.02, 0.03, 0.04, 0.05: the largest below its bound takes all before it."""
    none = Interval(0.0, 0.0, 0.0)
    ps = [0.029, 0.001, 0.5, 0.019, 0.9]
    assert discoveries([Paired(none, p, False) for p in ps]) == [True, True, False, True, False]
    assert discoveries([Paired(none, p, False) for p in ps], rate=0.01) == [False, True, False, False, False]
    assert discoveries([]) == []


def test_few_false_discoveries_among_differences_that_are_none() -> None:
    rng = np.random.default_rng(1)
    named = [any(discoveries([paired(rng.normal(size=10).tolist(), [0.0] * 10) for _ in range(20)])) for _ in range(200)]
    assert np.mean(named) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="expected two lists of one length, two or more, found 2 and 3"):
        paired([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="two or more, found 1 and 1"):
        paired([1], [1])
    for margin in (0, -1, math.nan):
        with pytest.raises(ValueError, match="margin: expected a number above 0"):
            paired([1, 2], [1, 2], margin=margin)
    for rate in (0, 1, 5):
        with pytest.raises(ValueError, match="rate: expected a share between 0 and 1"):
            discoveries([], rate=rate)


def test_overlap_is_the_corrected_resampled_test() -> None:
    """By hand: t = mean / sqrt((1 / n + overlap) s^2) with n - 1 degrees of freedom (Nadeau and Bengio, 2003)."""
    a, b = [0.9, 0.8, 0.85, 0.95], [0.7, 0.75, 0.8, 0.8]
    d = np.array(a) - np.array(b)
    error = math.sqrt((1 / 4 + 0.5) * d.var(ddof=1))
    found = paired(a, b, overlap=0.5)
    assert found.p == pytest.approx(2 * stats.t.sf(d.mean() / error, 3))
    assert found.difference.low == pytest.approx(d.mean() - stats.t.ppf(0.975, 3) * error)
    assert found.difference.mean == paired(a, b).difference.mean
    assert paired(a, b, overlap=0.0) == paired(a, b)
    level = paired([0.5, 0.501] * 5, [0.5] * 10, margin=0.01, overlap=0.5)
    assert level.level
    assert not paired([0.5, 0.52] * 5, [0.5] * 10, margin=0.012, overlap=0.5).level
    with pytest.raises(ValueError, match="overlap: expected 0 or more, found -1"):
        paired(a, b, overlap=-1)


def test_draws_that_share_samples_name_few_that_are_none() -> None:
    """Splits drawn again and again from one set: the plain test names far too many, the corrected one does not."""
    rng = np.random.default_rng(0)
    plain = corrected = 0
    for _ in range(300):
        pool = rng.normal(size=200)  # what one method is better by on each sample; 0 on average over all that might be drawn
        d = [float(rng.permutation(pool)[:66].mean()) for _ in range(10)]
        plain += paired(d, [0.0] * 10).p < 0.05
        corrected += paired(d, [0.0] * 10, overlap=0.5).p < 0.05
    assert plain > 60
    assert corrected < 30
