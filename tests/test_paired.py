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
