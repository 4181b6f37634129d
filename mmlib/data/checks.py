"""Checks of the knobs that data sets take: each error names the argument, what was expected and what was found."""

from __future__ import annotations

import math
from numbers import Integral, Real


def check_between(name: str, value: object, low: float, high: float, whole: bool = False, why: str = "") -> None:
    """Raise TypeError or ValueError unless ``value`` is a (whole) number from ``low`` to ``high``."""
    kind = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
        raise TypeError(f"{name}: expected {kind} from {low:,g} to {high:,g}, found {value!r}")
    if not (math.isfinite(float(value)) and low <= float(value) <= high):
        raise ValueError(f"{name}: expected {kind} from {low:,g} to {high:,g}{why}, found {value!r}")


def check_seed(seed: object) -> None:
    """Raise TypeError or ValueError unless ``seed`` is a whole number, 0 or more."""
    check_between("seed", seed, 0, 2**63 - 1, whole=True)
