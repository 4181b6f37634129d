"""Chapter 7: modalities missing at random."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mmlib.book.studies.base import DIGITS
from mmlib.book.studies.blending import APART, VARIANT
from mmlib.data.incomplete import incomplete
from mmlib.setting import Setting

MODALITIES = ("image", "audio", "text")
RATES = (0.0, 0.2, 0.4, 0.6, 0.8)
RATES_TEST = (0.4, 0.8)  #: where only the test is incomplete
RATES_ONE = (0.5, 0.8)  #: where one modality is
INCOMPLETE = replace(DIGITS, data=incomplete)

#: everybody with defaults. Gradient-Blending holds out voices and languages, as chapter 4 advises
CONTESTANTS: dict[str, dict[str, Any]] = {
    "MLA": {"method": "mla"},
    "MLA, zeros": {"method": "mla", "method_options": {"missing": "zero"}},
    "late fusion": {"method": "late_fusion"},
    "joint, zeros": {"data_options": {"fill": True}},
    "joint": {},
    "modality dropout": {"method": "modality_dropout"},
    "Gradient-Blending": {"method": "gradient_blending", "method_options": {"estimate": "shared", **VARIANT, **APART}},
    "Gradient-Blending, vote": {
        "method": "gradient_blending",
        "method_options": {"estimate": "shared", "predict": "vote", **VARIANT, **APART},
    },
    "OGM-GE": {"method": "ogm_ge"},
}

#: on one scale: (rate, the splits that lack modalities); and the kinds of `normalise`
SCALED: dict[str, dict[str, Any]] = {
    "0": {"rate": 0.0},
    "0.4": {"rate": 0.4},
    "0.8": {"rate": 0.8},
    "test 0.4": {"rate": 0.4, "splits": ["test"]},
    "test 0.8": {"rate": 0.8, "splits": ["test"]},
}
#: kind of `normalise` -> contestants; the batch's statistics count what is missing, a layer's do not
KINDS: dict[str, tuple[str, ...]] = {"batch": tuple(CONTESTANTS), "layer": ("MLA", "late fusion", "joint, zeros", "joint")}


def contestants(suffix: str, **knobs: Any) -> list[Setting]:
    """Everybody, on the same incomplete data."""
    base = INCOMPLETE.with_("", data_options=knobs)
    return [base.with_(name + suffix, **changes) for name, changes in CONTESTANTS.items()]


def missing() -> list[Setting]:
    """Every modality missing at random, in training, validation and test; and in the test alone."""
    rows = [s for r in RATES for s in contestants(f", {r:g}", rate=r)]
    return rows + [s for r in RATES_TEST for s in contestants(f", test {r:g}", rate=r, splits=["test"])]


def missing_one() -> list[Setting]:
    """One modality missing in half or in four fifths of the samples, in training, validation and test; with linear probes."""
    rows = [s for m in MODALITIES for r in RATES_ONE for s in contestants(f", {m} {r:g}", rate=r, modality=m)]
    return [replace(s, probe=True) for s in [*contestants(", complete"), *rows]]


def missing_scaled() -> list[Setting]:
    """A part of `missing` with features on one scale; "as they are" stands there."""
    return [
        s.with_(f"{s.label}, {kind}", model_options={"normalise": kind})
        for kind, names in KINDS.items()
        for holes, knobs in SCALED.items()
        for s in contestants(f", {holes}", **knobs)
        if s.label.removesuffix(f", {holes}") in names
    ]
