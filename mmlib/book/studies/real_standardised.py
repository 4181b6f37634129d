"""Chapters 8 and 10: real voices again, with standardised features."""

from __future__ import annotations

from mmlib.book.studies.base import alone
from mmlib.book.studies.gap import standardise
from mmlib.book.studies.real_voices import REAL
from mmlib.setting import Setting

METHODS = {"late fusion": "late_fusion", "joint": "joint", "MLA": "mla"}


def real_standardised() -> list[Setting]:
    """Unseen voices: one modality alone, late fusion, joint training and MLA on standardised features."""
    rows = [alone(REAL, m) for m in ("image", "audio")]
    rows += [REAL.with_(label, method=method) for label, method in METHODS.items()]
    return [standardise(row, row.label) for row in rows]
