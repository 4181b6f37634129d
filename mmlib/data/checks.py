"""Checks of what data sets are asked for: each error names the argument, what was expected and what was found."""

from __future__ import annotations

import math
from collections.abc import Sequence
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


def check_modalities(asked: Sequence[str], known: Sequence[str]) -> None:
    """Raise ValueError unless ``asked`` is a non-empty choice from ``known`` without repeats."""
    if isinstance(asked, str):
        raise TypeError(f"modalities: expected a list of names, found the text {asked!r}; write ({asked!r},)")
    if not asked:
        raise ValueError(f"modalities: expected at least one; known: {', '.join(known)}")
    for modality in asked:
        if modality not in known:
            raise ValueError(f"modalities: unknown {modality!r}; known: {', '.join(known)}")
    if len(set(asked)) != len(asked):
        raise ValueError(f"modalities: each at most once, found {list(asked)}")
