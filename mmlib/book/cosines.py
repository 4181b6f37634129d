"""Cosine fusion at scales other than the paper's, as functions that a stored setting can name."""

from __future__ import annotations

from collections.abc import Mapping

from mmlib.fusion import Cosine


def cosine_5(dims: Mapping[str, int], num_classes: int) -> Cosine:
    """`mmlib.fusion.Cosine` with a scale of 5."""
    return Cosine(dims, num_classes, scale=5.0)


def cosine_20(dims: Mapping[str, int], num_classes: int) -> Cosine:
    """`mmlib.fusion.Cosine` with a scale of 20."""
    return Cosine(dims, num_classes, scale=20.0)
