"""Chapter 8: the modality gap, watched over methods and seeds, set by hand, and drawn together; and standardised features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from mmlib.book.pinned import PinnedGap
from mmlib.book.pulled import PulledJoint, PulledMLA
from mmlib.book.studies.base import DIGITS, TWO_SPEED, alone
from mmlib.book.studies.blending import APART, APART_TWO, VARIANT
from mmlib.fusion import Concat, Cosine
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


class WatchedPulledJoint(GapWatch, PulledJoint):
    """Joint training with the centres drawn together, or held; it notes its gap."""


class WatchedPulledMLA(GapWatch, PulledMLA):
    """MLA with the centres drawn together, or held; it notes its gap."""


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


#: weights of a loss that pulls the two centres together, and of the one that holds them
PULLS = (0.1, 1.0, 10.0)


def no_bias(dims: Mapping[str, int], num_classes: int) -> Concat:
    """`mmlib.fusion.Concat` with a bias of zero for good: it cannot take up a constant offset of the features."""
    fusion = Concat(dims, num_classes)
    with torch.no_grad():
        fusion.head.bias.zero_()
    fusion.head.bias.requires_grad_(False)
    return fusion


def shrunk_cosine(dims: Mapping[str, int], num_classes: int) -> Cosine:
    """`mmlib.fusion.Cosine` with the scale that is left of 10 at the largest distance.

    A feature of length 1 that is moved by d / 2 has a length of sqrt(1 + d^2 / 4), and its cosines shrink by as much.
    """
    return Cosine(dims, num_classes, scale=10 / math.sqrt(1 + DISTANCES[-1] ** 2 / 4))


def gap_unabsorbed() -> list[Setting]:
    """The distance set by hand before heads that a bias does not help, a cosine head and one without a bias; the gap closed
    by a loss while features are as they are; and a control for each."""
    rows = []
    for name in PINNED:
        base = DATA[name]
        for label, fusion in (("cosine head", "cosine"), ("no bias", no_bias)):
            for d in DISTANCES:
                row = base.with_("", method=PinnedJoint, method_options={"distance": d}, fusion=fusion)
                rows.append(row.with_(f"{label}, {d:g}, {name}"))
        row = base.with_("", method=PinnedJoint, method_options={"distance": 0.0}, fusion=shrunk_cosine)
        rows.append(row.with_(f"cosine head, 0, smaller scale, {name}"))
        for label, method in (("joint", WatchedPulledJoint), ("MLA", WatchedPulledMLA)):
            for pull in (0.0, *PULLS):
                rows.append(base.with_(f"{label}, pull {pull:g}, {name}", method=method, method_options={"pull": pull}))
            for pull in PULLS:
                held = {"pull": pull, "towards": "start"}
                rows.append(base.with_(f"{label}, held {pull:g}, {name}", method=method, method_options=held))
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
    for name, modalities in SINGLE.items():
        base = DATA[name]
        for m in modalities:
            row = alone(base, m, f"{m} alone, {name}")
            rows += [row, standardise(row, f"{row.label}, standardised")]
        for label, method in TWICE.items():
            options = {"estimate": "shared", **VARIANT, **HELD_OUT[name]} if method == "gradient_blending" else {}
            row = base.with_(f"{label}, {name}", method=method, method_options=options)
            rows += [row, standardise(row, f"{row.label}, standardised")]
    return rows
