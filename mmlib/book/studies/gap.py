"""Chapter 8: the modality gap, watched over methods and seeds, and set by hand; and features that are standardised."""

from __future__ import annotations

from typing import Any

from mmlib.book.pinned import PinnedGap
from mmlib.book.studies.base import DIGITS, TWO_SPEED, alone
from mmlib.book.studies.blending import APART, APART_TWO, VARIANT
from mmlib.methods.gradient_blending import GradientBlending
from mmlib.methods.joint import Joint
from mmlib.methods.late_fusion import LateFusion
from mmlib.methods.mla import MLA
from mmlib.methods.ogm_ge import OGMGE
from mmlib.metrics.watch import GapWatch
from mmlib.setting import Setting


class WatchedJoint(GapWatch, Joint):
    """Joint training that notes its gap."""


class WatchedLateFusion(GapWatch, LateFusion):
    """Late fusion that notes its gap."""


class WatchedBlending(GapWatch, GradientBlending):
    """Gradient-Blending that notes its gap."""


class WatchedOGM(GapWatch, OGMGE):
    """OGM-GE that notes its gap."""


class GapMLA(GapWatch, MLA):
    """MLA that notes its gap."""


class PinnedJoint(GapWatch, PinnedGap, Joint):
    """Joint training at a distance set by hand."""


class PinnedMLA(GapWatch, PinnedGap, MLA):
    """MLA at a distance set by hand."""


DATA: dict[str, Setting] = {
    "digits": DIGITS,
    "digits, image and audio": DIGITS.with_("", data_options={"modalities": ["image", "audio"]}),
    "two_speed": TWO_SPEED,
}
#: options of Gradient-Blending: hold out new voices (and languages), where there are any
HELD_OUT: dict[str, dict[str, Any]] = {"digits": APART, "digits, image and audio": APART_TWO, "two_speed": {"super_epoch": 10}}
METHODS = ("joint", "late fusion", "Gradient-Blending", "OGM-GE", "alternating", "MLA")
#: data -> its modalities, for the settings with one of them
SINGLE: dict[str, tuple[str, ...]] = {"digits": ("image", "audio", "text"), "two_speed": ("fast", "slow")}
DISTANCES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
PINNED = ("digits, image and audio", "two_speed")


def gap_methods() -> list[Setting]:
    """Every method on three data sets, its gap noted after each epoch."""
    rows = []
    for name, base in DATA.items():
        tail = f", {name}"
        rows += [base.with_(f"joint{tail}", method=WatchedJoint), base.with_(f"late fusion{tail}", method=WatchedLateFusion)]
        blending = {"estimate": "shared", **VARIANT, **HELD_OUT[name]}
        rows.append(base.with_(f"Gradient-Blending{tail}", method=WatchedBlending, method_options=blending))
        rows.append(base.with_(f"OGM-GE{tail}", method=WatchedOGM))
        rows.append(base.with_(f"alternating{tail}", method=GapMLA, method_options={"hgm": "off"}))
        rows.append(base.with_(f"MLA{tail}", method=GapMLA))
    return rows


def gap_pinned() -> list[Setting]:
    """Joint training and MLA with the two modalities kept at a distance set by hand."""
    rows = []
    for name in PINNED:
        for d in DISTANCES:
            for method, make in (("joint", PinnedJoint), ("MLA", PinnedMLA)):
                rows.append(DATA[name].with_(f"{method}, {d:g}, {name}", method=make, method_options={"distance": d}))
    return rows


#: name -> method, which `standardised` runs twice
TWICE = {
    "joint": "joint",
    "late fusion": "late_fusion",
    "Gradient-Blending": "gradient_blending",
    "OGM-GE": "ogm_ge",
    "MLA": "mla",
}


def standardise(row: Setting, label: str) -> Setting:
    """The same with its features batch-normalised, without parameters."""
    return row.with_(label, model_options={"normalise": "batch"})


def standardised() -> list[Setting]:
    """Every method on `digits` and on `two_speed`, with features as the encoders make them, and standardised."""
    rows = []
    for name, senses in SINGLE.items():
        base = DATA[name]
        for m in senses:
            row = alone(base, m, f"{m} alone, {name}")
            rows += [row, standardise(row, f"{row.label}, standardised")]
        for label, method in TWICE.items():
            options = {"estimate": "shared", **VARIANT, **HELD_OUT[name]} if method == "gradient_blending" else {}
            row = base.with_(f"{label}, {name}", method=method, method_options=options)
            rows += [row, standardise(row, f"{row.label}, standardised")]
    return rows
