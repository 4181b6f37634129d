"""How the axes of an array are read: a vector, a sequence or a picture. Asked for where that is open, never guessed."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

#: layout -> what a sample is. N samples, D numbers, L steps, C channels, H x W points
LAYOUTS = {
    "ND": "a vector",
    "NL": "a series of single numbers (or token ids)",
    "NLD": "a sequence",
    "NDL": "a sequence, steps last",
    "NHW": "a grey picture",
    "NCHW": "a picture, channels first",
    "NHWC": "a picture, channels last",
}
_CHANNELS = (1, 3, 4)


def choose(modality: str, shape: tuple[int, ...], asked: str | None, tokens: bool) -> str:
    """The layout of an array of this shape [N, ...]: the one asked for, or the only one that it can have.

    Returns:
        One of `LAYOUTS`; an empty text for five axes and more, which are left as they are.

    Raises:
        ValueError: an unknown layout, or one with another number of axes; three axes without a layout.
    """
    what, axes = f"inputs[{modality!r}]", len(shape)
    if asked is not None:
        wanted = asked.upper() if isinstance(asked, str) else ""
        if wanted not in LAYOUTS:
            raise ValueError(f"layout[{modality!r}]: unknown {asked!r}; known: {', '.join(LAYOUTS)}")
        if len(wanted) != axes:
            raise ValueError(f"layout[{modality!r}]: {wanted} has {len(wanted)} axes, {what} has {axes}: {list(shape)}")
        if tokens and wanted != "NL":
            raise ValueError(f"layout[{modality!r}]: token ids are NL, found {wanted}")
        return wanted
    if tokens:
        if axes != 2:
            raise ValueError(f"{what}: expected token ids [N, L], found {list(shape)}")
        return "NL"
    if axes == 3:
        a, b = shape[1:]
        raise ValueError(
            f"{what}: three axes, {list(shape)}, can be read in three ways. Say which: layout={{{modality!r}: 'NLD'}} for {a} "
            f"steps of {b} numbers, 'NDL' for {b} steps of {a} numbers, 'NHW' for grey pictures of {a} x {b}"
        )
    if axes == 4 and shape[3] in _CHANNELS and shape[1] not in _CHANNELS:
        warnings.warn(
            f"{what}: {list(shape)} is read as pictures with {shape[3]} channels last; "
            f"layout={{{modality!r}: 'NHWC'}} says so without this warning, 'NCHW' if they have {shape[1]} channels",
            stacklevel=4,
        )
        return "NHWC"
    return {2: "ND", 4: "NCHW"}.get(axes, "")


def arrange(array: NDArray[np.generic], layout: str, tokens: bool = False) -> NDArray[np.generic]:
    """Axes in the order the encoders read: [N, D], [N, L, D] or [N, C, H, W] (token ids [N, L])."""
    if layout == "NHWC":
        return array.transpose(0, 3, 1, 2)
    if layout == "NDL":
        return array.transpose(0, 2, 1)
    if layout == "NHW":
        return array[:, None]
    if layout == "NL" and not tokens:
        return array[:, :, None]
    return array


def raw_shape(shape: tuple[int, ...], layout: str, tokens: bool = False) -> tuple[int, ...]:
    """The shape of a sample before `arrange`."""
    if layout == "NHWC":
        return (*shape[1:], shape[0])
    if layout == "NDL":
        return shape[::-1]
    if layout == "NHW":
        return shape[1:]
    if layout == "NL" and not tokens:
        return shape[:1]
    return shape
