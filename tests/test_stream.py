"""Streamed data train like data in memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from mmlib.data.core import MultimodalData, Splits
from mmlib.data.stream import StreamedData
from mmlib.model import build
from mmlib.train import fit
from tests.conftest import make_tiny


class Reading(Dataset[Any]):
    def __init__(self, data: MultimodalData) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, i: int) -> Any:
        item = {m: x[i] for m, x in self.data.inputs.items()}, int(self.data.labels[i])
        return item if self.data.present is None else (*item, {m: p[i] for m, p in self.data.present.items()})


def streamed(splits: Splits, workers: int = 0) -> Splits:
    return splits.__class__(*(StreamedData(Reading(d), 3, workers) for _, d in splits.items()))  # type: ignore[arg-type]


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("workers", [0, 2])
def test_same_numbers_as_in_memory(missing: float, workers: int) -> None:
    splits = make_tiny(("a", "b"), missing=missing)
    options: dict[str, Any] = {"epochs": 2, "batch_size": 16, "device": "cpu", "progress": False}
    memory = fit(build(splits), splits, **options)
    other = streamed(splits, workers)
    stream = fit(build(other), other, **options)
    assert [{**r, "seconds": 0} for r in stream.rows] == [{**r, "seconds": 0} for r in memory.rows]


def test_looks_like_data() -> None:
    data = streamed(make_tiny(("a", "b"))).train
    assert (len(data), data.modalities, data.shapes) == (72, ("a", "b"), {"a": (6,), "b": (6,)})
    assert "72 samples, 3 classes" in repr(data)
    assert "train 72" in repr(streamed(make_tiny(("a", "b"))))


class Items(list[Any], Dataset[Any]):  # type: ignore[misc]
    pass


def test_errors() -> None:
    with pytest.raises(ValueError, match="found an empty split"):
        StreamedData(Items(), 3)
    with pytest.raises(TypeError, match=r"expected items \(inputs, label\)"):
        StreamedData(Items([torch.zeros(3)]), 3)
    with pytest.raises(ValueError, match=r"expected labels in 0 .. 2, found 3 in sample 0"):
        StreamedData(Items([({"a": torch.zeros(3)}, 3)]), 3)
    with pytest.raises(ValueError, match="batch_size: expected 1 or more, found 0"):
        next(StreamedData(Items([({"a": torch.zeros(3)}, 1)]), 3).batches(0))
