"""Who has which modality is told by booleans, or by 0 and 1, and by nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mmlib.data import MultimodalData, from_arrays

LABELS = np.arange(12) % 2
INPUTS: dict[str, Any] = {"a": np.ones((12, 2), dtype=np.float32), "b": np.ones((12, 3), dtype=np.float32)}
HALF = [True, False] * 6
WAYS: list[Any] = [
    HALF, [1, 0] * 6, np.array([1.0, 0.0] * 6), np.array(HALF, dtype=object), torch.tensor([1, 0] * 6), pd.Series(HALF),
    pd.Series(HALF, dtype="boolean"), [np.True_, np.False_] * 6,
]  # fmt: skip


@pytest.mark.parametrize("mask", WAYS, ids=lambda m: f"{type(m).__name__}-{getattr(m, 'dtype', type(m[0]).__name__)}")
def test_booleans_or_0_and_1(mask: Any) -> None:
    data = MultimodalData(INPUTS, LABELS, present={"a": mask})  # type: ignore[arg-type]
    assert data.present is not None
    assert data.present["a"].tolist() == HALF
    assert data.present["a"].dtype == data.present["b"].dtype == torch.bool
    made = from_arrays(INPUTS, LABELS, present={"a": mask})
    assert sum(int(d.present["a"].sum()) for _, d in made.items() if d.present is not None) == 6


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        ([0.2] * 12, ValueError, r"expected booleans, or 0 and 1, found 0.2 \(12 of 12 are neither\)"),
        ([1.0, float("nan")] * 6, ValueError, r"found nan \(6 of 12 are neither\)"),
        (torch.full((12,), 2), ValueError, r"found 2 \(12 of 12 are neither\)"),
        ([True, None] * 6, TypeError, "expected booleans, or 0 and 1, found None"),
        (pd.Series([True, None] * 6, dtype="boolean"), TypeError, "expected booleans, or 0 and 1, found <NA>"),
        (["yes"] * 12, TypeError, "expected booleans, or 0 and 1, found <U3"),
        ([True] * 3, ValueError, r"expected shape \[12\], found \[3\]"),
        ([HALF] * 2, ValueError, r"expected shape \[12\], found \[2, 12\]"),
    ],
)
def test_anything_else_is_refused(mask: Any, error: type[Exception], message: str) -> None:
    for make in (MultimodalData, from_arrays):
        with pytest.raises(error, match=r"present\['a'\]: .*" + message):
            make(INPUTS, LABELS, present={"a": mask})  # type: ignore[operator]


def test_it_is_told_by_modality() -> None:
    for make in (MultimodalData, from_arrays):
        with pytest.raises(TypeError, match=r"present: expected a dict from modality to booleans \[N\], found list"):
            make(INPUTS, LABELS, present=HALF)  # type: ignore[operator]
