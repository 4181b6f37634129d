"""What is left of a method's gain over joint training once features are on one scale; chapters 4, 5 and 6 show it alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmlib.book import results
from mmlib.metrics.intervals import Interval
from mmlib.metrics.paired import paired

#: data -> the stored result, the label of a row with features as they are, and with them on one scale
SOURCES: dict[str, tuple[str, str, str]] = {
    "digits": ("standardised", "{}, digits", "{}, digits, standardised"),
    "two_speed": ("standardised", "{}, two_speed", "{}, two_speed, standardised"),
    "motion": ("motion", "{}, as they are, 8 people", "{}, layer, 8 people"),
    "emoji": ("emoji", "{}, as they are", "{}, layer"),
}
#: rates: those of the book, the same for all, or one for each row, chosen on validation data
HOW = {
    "digits": "batch, the book's rate",
    "two_speed": "batch, the book's rate",
    "motion": "layer, rate chosen for each row",
    "emoji": "layer, rate chosen for each row",
}


class Left(NamedTuple):
    """Test accuracy of joint training and of a method, and the paired difference; without and with one scale."""

    joint: float
    method: float
    gain: Interval
    joint_scaled: float
    method_scaled: float
    gain_scaled: Interval


def left(label: str, data: str) -> Left:
    """What a stored row gains over joint training, with features as they are and with features on one scale.

    Raises:
        KeyError: a method that was not run on these data.
    """
    name, plain, scaled = SOURCES[data]
    stored = results.load(name)
    found: list[float | Interval] = []
    for form in (plain, scaled):
        joint, method = stored.values(form.format("joint")), stored.values(form.format(label))
        found += [float(np.mean(joint)), float(np.mean(method)), paired(method, joint).difference]
    return Left(*found)  # type: ignore[arg-type]  # three of each, in this order


def table(label: str, data: Sequence[str] = tuple(SOURCES)) -> str:
    """A table in Markdown, one line for each data set."""
    lines = ["| | scale | joint | method | gain | joint, on one scale | method, on one scale | what is left of the gain |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for name in data:
        x = left(label, name)
        cells = [f"{x.joint:.3f}", f"{x.method:.3f}", x.gain.points, f"{x.joint_scaled:.3f}", f"{x.method_scaled:.3f}"]
        lines.append(f"| `{name}` | {HOW[name]} | " + " | ".join([*cells, x.gain_scaled.points]) + " |")
    return "\n".join(lines)
