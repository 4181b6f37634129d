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


def paired(values: Sequence[float], others: Sequence[float], margin: float = 0.01) -> Paired:
    """``values`` minus ``others``, pair by pair (same seed: same data, same start), [n] each.

    A difference that a test does not find is not shown to be small. "Level" takes a margin that was stated beforehand, and two
    one-sided tests at 5 % (Schuirmann, 1987): the 90 % interval of the mean difference lies within the margin on both sides.

    Args:
        margin: above 0, in the unit of the values.

    Raises:
        ValueError: lists of different length, fewer than two pairs, or a margin out of range.
    """
    from scipy import stats

    if len(values) != len(others) or len(values) < 2:
        raise ValueError(f"values, others: expected two lists of one length, two or more, found {len(values)} and {len(others)}")
    if not margin > 0:
        raise ValueError(f"margin: expected a number above 0, found {margin}")
    d = np.asarray(values, dtype=float) - np.asarray(others, dtype=float)
    narrow = mean_interval(d.tolist(), 0.9)
    if d.std() == 0:  # nothing to test by
        return Paired(mean_interval(d.tolist()), float(d[0] == 0), bool(abs(d[0]) < margin))
    p = float(stats.ttest_1samp(d, 0.0).pvalue)
    return Paired(mean_interval(d.tolist()), p, bool(-margin < narrow.low and narrow.high < margin))


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
