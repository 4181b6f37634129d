"""Chapters 7 and 10: real voices again, with standardised features."""

from __future__ import annotations

from mmlib.book.studies.base import alone
from mmlib.book.studies.gap import StandardisedJoint, StandardisedLateFusion, StandardisedMLA, StandardisedUnimodal
from mmlib.book.studies.real_voices import REAL
from mmlib.methods.base import Method
from mmlib.setting import Setting

METHODS: dict[str, type[Method]] = {
    "late fusion": StandardisedLateFusion,
    "joint": StandardisedJoint,
    "MLA": StandardisedMLA,
}


def real_standardised() -> list[Setting]:
    """Unseen voices: one modality alone, late fusion, joint training and MLA on standardised features."""
    rows = [alone(REAL, m).with_(f"{m} alone", method=StandardisedUnimodal) for m in ("image", "audio")]
    return rows + [REAL.with_(label, method=method) for label, method in METHODS.items()]
