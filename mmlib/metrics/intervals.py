"""Means over seeds, and how sure one may be of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A mean with a confidence interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"

    @property
    def points(self) -> str:
        """A difference of shares, in percentage points."""
        return f"{100 * self.mean:+.1f} points ({100 * self.low:.1f} to {100 * self.high:.1f})"


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Mean of independent runs with Student's t interval (Student, 1908): mean +- t s / sqrt(n).

    With one value the interval is unknown, and its ends are NaN.

    Raises:
        ValueError: no value, or a level outside (0, 1).
    """
    from scipy import stats

    x = np.asarray(values, dtype=float)
    if x.ndim != 1 or len(x) == 0:
        raise ValueError(f"values: expected a list of at least one number, found shape {list(x.shape)}")
    if not 0 < level < 1:
        raise ValueError(f"level: expected a share between 0 and 1, found {level}")
    mean = float(x.mean())
    if len(x) == 1:
        return Interval(mean, float("nan"), float("nan"))
    half = float(stats.t.ppf((1 + level) / 2, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    return Interval(mean, mean - half, mean + half)


def separable(higher: Sequence[float], lower: Sequence[float]) -> bool:
    """Whether the mean of ``higher`` is above that of ``lower`` with 95 % intervals that do not overlap."""
    return mean_interval(higher).low > mean_interval(lower).high
