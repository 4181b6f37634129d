"""A colour, a marker and a line style for every modality and method (house style: `mmlib.book.plots`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mmlib.book.inline_svg import INK


@dataclass(frozen=True)
class Look:
    """How a modality or a method is drawn: told apart by hue and, in grey print, by marker, dashes or hatching."""

    colour: str
    marker: str
    dashes: Any  #: a matplotlib line style
    hatch: str


#: Every colour has at least 3:1 against white and against the dark pages, and the modalities of one data set stay apart
#: under protanopia, deuteranopia and tritanopia (tests/test_plots.py). Blue and vermillion are Okabe and Ito's. Colours
#: that suit both backgrounds are about equally light: grey print relies on marker, dashes and hatching.
LOOKS: dict[str, Look] = {
    "image": Look("#0072B2", "o", "-", "//"),
    "audio": Look("#D55E00", "s", "--", "\\\\"),
    "text": Look("#9A28F0", "^", "-.", ".."),
    "fast": Look("#A88400", "o", "-", "//"),
    "slow": Look("#5F6CF2", "s", "--", "\\\\"),
    "video": Look("#C2409C", "^", "-.", ".."),
    "joint": Look(INK, "D", (0, (8, 1.5)), "xx"),
    "late_fusion": Look("#B37558", "P", ":", "oo"),
    "best_single": Look("#777380", "v", (0, (3, 1, 1, 1, 1, 1)), ""),
    "phone": Look("#0089A8", "o", "-", "//"),
    "watch": Look("#9A28F0", "s", "--", "\\\\"),
    "phone_accel": Look("#0089A8", "o", "-", "//"),
    "phone_gyro": Look("#CC2E62", "s", "--", "\\\\"),
    "watch_accel": Look("#8C7607", "^", "-.", ".."),
    "watch_gyro": Look("#9A28F0", "p", (0, (3, 1, 1, 1)), "++"),
    "gradient_blending": Look("#0089A8", "<", "-", "//"),
    "ogm": Look("#6F7F00", "p", "-.", ".."),
    "ogm_ge": Look("#C4405A", ">", "--", "\\\\"),
    "mla": Look("#8A6FC0", "h", (0, (5, 1)), "oo"),
    "modality_dropout": Look("#CC0A2B", "X", "--", "++"),
    "alternating": Look("#C66DF2", "d", (0, (5, 1)), "--"),
}
COLOURS: dict[str, str] = {name: look.colour for name, look in LOOKS.items()}
FALLBACK = [
    Look("#D43DF2", "*", "-", "//"),
    Look("#806020", "H", "--", "\\\\"),
    Look("#F20C7F", "8", "-.", ".."),
    Look("#5C5CCC", "d", ":", "oo"),
    Look("#1D7356", "X", (0, (8, 1.5)), "xx"),
]
#: What a cell says of a difference, and its colour: the ends of `heatmap`.
ABOVE, BELOW, LEVEL = "#005A8F", "#A34700", "#777380"
_others: dict[str, Look] = {}


def look(name: str) -> Look:
    """The look of a modality or method; a name without one gets the next of a cycle and keeps it in this process."""
    if name in LOOKS:
        return LOOKS[name]
    return _others.setdefault(name, FALLBACK[len(_others) % len(FALLBACK)])


def colour(name: str) -> str:
    """The colour of a modality or method, as in `look`."""
    return look(name).colour


def luminance(colour: Any) -> float:
    """Relative luminance of a colour, 0 (black) to 1 (white); WCAG 2.2."""
    import matplotlib.colors

    channels = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def contrast(a: Any, b: Any) -> float:
    """Contrast ratio of two colours, 1 to 21; WCAG 2.2."""
    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


def text_on(background: Any) -> str:
    """The colour of text on a background: near-black or white, whichever reads better; ink on no background."""
    if isinstance(background, str) and background == "none":
        return INK
    return max(("#111111", "#FFFFFF"), key=lambda text: contrast(text, background))
