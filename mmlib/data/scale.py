"""Columns of very different scale: noticed, and brought to one scale where asked for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: standard deviations further apart than this factor, or above it, are worth a warning
VERY_DIFFERENT = 100.0


def columns_of(array: NDArray[Any]) -> NDArray[np.float64]:
    """Samples as encoders read them -> [rows, columns]: the numbers of a vector or of each step, the channels of pictures."""
    last = np.moveaxis(array, 1, -1) if array.ndim == 4 else array
    return last.reshape(-1, last.shape[-1]).astype(np.float64)


def mean_and_deviation(columns: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[rows, D] -> mean [D] and standard deviation [D]; 0 for a column that is constant but for rounding."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = columns.mean(0), columns.std(0)
    return mean, np.where(std <= 1e-7 * np.abs(mean), 0.0, std)


def check_scale(scale: Any, modalities: Mapping[str, bool]) -> dict[str, bool]:
    """Which modalities are to be standardised.

    Args:
        scale: None, "standard", or modality -> "standard" or None.
        modalities: modality -> whether it is tokens, which have no scale.

    Raises:
        TypeError, ValueError: anything else; token ids that are to be scaled by name.
    """
    if scale is None or isinstance(scale, str):
        scale = dict.fromkeys((m for m, tokens in modalities.items() if not tokens), scale)
    if not isinstance(scale, Mapping):
        raise TypeError(f"scale: expected 'standard', None, or a dict from modality to these, found {scale!r}")
    for m, kind in scale.items():
        if m not in modalities:
            raise ValueError(f"scale: unknown modality {m!r}; known: {', '.join(modalities)}")
        if kind not in (None, "standard"):
            raise ValueError(f"scale: unknown {kind!r}; known: 'standard'")
        if kind and modalities[m]:
            raise ValueError(f"scale[{m!r}]: token ids have no scale")
    return {m: scale.get(m) == "standard" for m in modalities}


def warn_about_scales(deviations: Mapping[str, NDArray[np.float64]], names: Mapping[str, tuple[str, ...]]) -> None:
    """Warn where columns differ so much in scale that the largest drown the others, or where all are large.

    Args:
        deviations: modality -> standard deviation of each column [D], 0 for constant ones.
        names: modality -> names of the columns, where they have any.
    """
    found = []
    for m, std in deviations.items():
        vary = np.nonzero(std)[0]
        if len(vary):
            small, large = (vary[i] for i in (std[vary].argmin(), std[vary].argmax()))
            found.append((float(std[small]), float(std[large]), m, small, large))
    advice = "scale='standard' brings all to mean 0 and deviation 1, as measured on the training data"
    for low, high, m, small, large in found:
        if high > VERY_DIFFERENT * min(low, 1.0):  # about 1 is what networks are initialised for
            kind = "columns of very different scale" if high > VERY_DIFFERENT * low else "columns of large scale"
            first, second = ((names[m][i] if names.get(m) else f"column {i}") for i in (small, large))
            warnings.warn(
                f"inputs[{m!r}]: {kind}, standard deviations from {low:.3g} ({first}) to {high:.3g} ({second}); {advice}",
                stacklevel=3,
            )
    if len(found) > 1:
        least, most = min(found, key=lambda f: f[1]), max(found, key=lambda f: f[1])
        if most[1] > VERY_DIFFERENT * least[1]:
            warnings.warn(
                f"inputs: modalities of very different scale, standard deviations up to {least[1]:.3g} in {least[2]!r} and up to "
                f"{most[1]:.3g} in {most[2]!r}; {advice}",
                stacklevel=3,
            )
