"""Differences between two rows of a comparison, run by run: how large, how sure, and whether small enough to call level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmlib.metrics.intervals import Interval, mean_interval


class Paired(NamedTuple):
    """What `paired` found."""

    difference: Interval
    p: float  #: of Student's paired t test that the mean difference is 0, two-sided
    level: bool  #: whether the mean difference is within the margin, by two one-sided tests


def paired(values: Sequence[float], others: Sequence[float], margin: float = 0.01, overlap: float = 0.0) -> Paired:
    """``values`` minus ``others``, pair by pair (same seed: same data, same start), [n] each.

    A difference that a test does not find is not shown to be small. "Level" takes a margin that was stated beforehand, and two
    one-sided tests at 5 % (Schuirmann, 1987): the 90 % interval of the mean difference lies within the margin on both sides.

    Args:
        margin: above 0, in the unit of the values.
        overlap: test samples for each training sample, where every pair draws its split anew from *one* set of samples. Then the
            pairs share samples, and are not independent: the variance of the mean is taken as ``(1 / n + overlap) s^2`` in place
            of ``s^2 / n`` (the corrected resampled t test, Nadeau and Bengio, 2003). 0 where every pair has data of its own.

    Raises:
        ValueError: lists of different length, fewer than two pairs, a margin or an overlap out of range.
    """
    from scipy import stats

    if len(values) != len(others) or len(values) < 2:
        raise ValueError(f"values, others: expected two lists of one length, two or more, found {len(values)} and {len(others)}")
    if not margin > 0:
        raise ValueError(f"margin: expected a number above 0, found {margin}")
    if not 0 <= overlap < np.inf:
        raise ValueError(f"overlap: expected 0 or more, found {overlap}")
    d = np.asarray(values, dtype=float) - np.asarray(others, dtype=float)
    wider = float(np.sqrt(1 + overlap * len(d)))
    whole, narrow = (_widened(mean_interval(d.tolist(), level), wider) for level in (0.95, 0.9))
    if d.std() == 0:  # nothing to test by
        return Paired(whole, float(d[0] == 0), bool(abs(d[0]) < margin))
    t = float(stats.ttest_1samp(d, 0.0).statistic) / wider
    p = float(2 * stats.t.sf(abs(t), len(d) - 1))
    return Paired(whole, p, bool(-margin < narrow.low and narrow.high < margin))


def _widened(interval: Interval, times: float) -> Interval:
    if times == 1:  # to the last bit
        return interval
    mean, low, high = interval
    return Interval(mean, mean - times * (mean - low), mean + times * (high - mean))


def discoveries(found: Sequence[Paired], rate: float = 0.05) -> list[bool]:
    """Which of many differences are there, when they are looked at together: Benjamini and Hochberg (1995).

    Of those that are named, a share of ``rate`` is expected to be none.

    Raises:
        ValueError: a rate outside (0, 1).
    """
    from scipy import stats

    if not 0 < rate < 1:
        raise ValueError(f"rate: expected a share between 0 and 1, found {rate}")
    if not found:
        return []
    return [bool(p <= rate) for p in stats.false_discovery_control([f.p for f in found])]
