"""Checks of what data sets are asked for: each error names the argument, what was expected and what was found."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: what the library calls its own heads, beside those of the modalities
RESERVED = ("joint", "fused")


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


def check_splits(asked: Sequence[str], known: Sequence[str] = ("train", "val", "test")) -> None:
    """Raise TypeError or ValueError unless ``asked`` lists names of splits."""
    if isinstance(asked, str):
        raise TypeError(f"splits: expected a list of names, found the text {asked!r}; write [{asked!r}]")
    unknown = sorted({str(name) for name in asked} - set(known))
    if unknown:
        raise ValueError(f"splits: unknown {unknown}; known: {', '.join(known)}")


def check_names(names: Iterable[object], argument: str = "inputs") -> None:
    """Raise TypeError or ValueError unless these can be names of modalities: any text that the library does not use itself."""
    for name in names:
        if not isinstance(name, str):
            raise TypeError(
                f"{argument}: expected text for the name of a modality, found {name!r}; call it 'modality {name}', say"
            )
        if not name.strip():
            raise ValueError(f"{argument}: expected a name for every modality, found {name!r}")
        if name in RESERVED:
            raise ValueError(
                f"{argument}: a modality cannot be called {name!r}, the library names a head of its own so; rename it"
            )


def as_mask(what: str, values: Any, size: int) -> Tensor:
    """Booleans [size] on the device of ``values``; 0 and 1 will do.

    Raises:
        TypeError, ValueError: another shape, or anything that is neither true nor false: NaN, 0.2, text.
    """
    if not isinstance(values, Tensor):
        found = np.asarray(values)
        if found.dtype == object:  # pandas' missing values, None, or Python objects
            odd = [v for v in found.ravel().tolist() if not isinstance(v, bool | int | float | np.generic)]
            if odd:
                raise TypeError(f"{what}: expected booleans, or 0 and 1, found {odd[0]!r}")
            found = found.astype(np.float64)
        if found.dtype.kind not in "biuf":
            raise TypeError(f"{what}: expected booleans, or 0 and 1, found {found.dtype}")
        values = torch.from_numpy(found.astype(bool if found.dtype.kind == "b" else np.float64))
    if values.shape != (size,):
        raise ValueError(f"{what}: expected shape [{size}], found {list(values.shape)}")
    if values.dtype != torch.bool:
        odd = values[(values != 0) & (values != 1)]
        if len(odd):
            raise ValueError(f"{what}: expected booleans, or 0 and 1, found {odd[0].item():g} ({len(odd)} of {size} are neither)")
    return values.bool()


def check_finite(what: str, x: Tensor) -> None:
    """Raise ValueError for NaN or infinity in ``x`` [N, ...], naming the first sample."""
    if x.is_floating_point() and not bool(torch.isfinite(x).all()):
        raise not_finite(what, ~torch.isfinite(x.flatten(1)).all(1))


def not_finite(what: str, bad: Tensor) -> ValueError:
    """The error for samples that hold NaN or infinity: ``bad`` [N] booleans, at least one of them true."""
    return ValueError(
        f"{what}: expected finite numbers, found NaN or infinity in {int(bad.sum())} of {len(bad)} samples, "
        f"first in sample {int(bad.nonzero()[0])}; mark missing modalities with present={{...}}"
    )
