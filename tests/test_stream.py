"""Streamed data train like data in memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from mmlib.data.core import MultimodalData, Splits
from mmlib.data.stream import StreamedData
from mmlib.model import build
from mmlib.train import evaluate, fit
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


@pytest.mark.parametrize("workers", [0, 2])
def test_same_numbers_with_dropout_and_nobody_elses_random_numbers(workers: int) -> None:
    """Bit for bit: the loader's own draws come between neither dropout nor the caller and the global generator."""
    splits = make_tiny(("a", "b"), missing=0.2)
    options: dict[str, Any] = {"epochs": 2, "batch_size": 16, "device": "cpu", "progress": False}
    memory, stream = build(splits, dropout=0.4), build(splits, dropout=0.4)
    fit(memory, splits, **options)
    other = streamed(splits, workers)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fit(stream, other, **options)
    scores = evaluate(stream, other.test)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(p, q) for p, q in zip(memory.parameters(), stream.parameters(), strict=True))
    assert scores == evaluate(memory, splits.test)


def test_one_generator_for_several_epochs_goes_on_as_in_memory() -> None:
    data = make_tiny(("a", "b")).train
    orders = []
    for source in (data, StreamedData(Reading(data), 3)):
        generator = torch.Generator().manual_seed(3)
        orders.append([b.labels.tolist() for _ in range(3) for b in source.batches(7, generator)])
        assert generator.initial_seed() == 3
    assert orders[0] == orders[1]


def test_looks_like_data() -> None:
    data = streamed(make_tiny(("a", "b"))).train
    assert (len(data), data.modalities, data.shapes) == (72, ("a", "b"), {"a": (6,), "b": (6,)})
    assert "72 samples, 3 classes" in repr(data)
    assert "train 72" in repr(streamed(make_tiny(("a", "b"))))


def test_a_part_of_it_is_as_in_memory() -> None:
    data = make_tiny(("a", "b"), missing=0.2).train
    stream = StreamedData(Reading(data), 3)
    assert stream.labels is None
    for at in ([5, 2, 2, 70], torch.tensor([3, 1]), torch.arange(72) % 3 == 0):
        part, expected = stream.select(at), data.select(at)
        (batch,), (same,) = part.batches(100), expected.batches(100)
        assert torch.equal(batch.labels, same.labels)
        assert torch.equal(batch.inputs["b"], same.inputs["b"])
        assert batch.present is not None
        assert same.present is not None
        assert torch.equal(batch.present["a"], same.present["a"])
        assert len(part) == len(expected)
    assert len(stream.select([0, 4]).select([1])) == 1


class Items(list[Any], Dataset[Any]):  # type: ignore[misc]
    pass


def test_errors() -> None:
    wrong = Items([({"a": torch.zeros(3)}, 0)] * 4)
    wrong.labels = [0, 1]
    with pytest.raises(ValueError, match=r"dataset.labels: expected 4 labels, one per sample, found \[2\]"):
        StreamedData(wrong, 3)
    with pytest.raises(ValueError, match="found an empty split"):
        StreamedData(Items(), 3)
    with pytest.raises(TypeError, match=r"expected items \(inputs, label\)"):
        StreamedData(Items([torch.zeros(3)]), 3)
    with pytest.raises(ValueError, match=r"expected labels in 0 .. 2, found 3 in sample 0"):
        StreamedData(Items([({"a": torch.zeros(3)}, 3)]), 3)
    with pytest.raises(ValueError, match="batch_size: expected 1 or more, found 0"):
        next(StreamedData(Items([({"a": torch.zeros(3)}, 1)]), 3).batches(0))


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        (({"joint": torch.zeros(3)}, 1), ValueError, "dataset: a modality cannot be called 'joint'"),
        (({"fused": torch.zeros(3)}, 1), ValueError, "dataset: a modality cannot be called 'fused'"),
        (({0: torch.zeros(3)}, 1), TypeError, "dataset: expected text for the name of a modality, found 0"),
    ],
)
def test_names_that_cannot_be(item: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        StreamedData(Items([item]), 3)


def test_what_only_a_later_sample_shows() -> None:
    def batch(*items: Any) -> Any:
        return next(StreamedData(Items([({"a": torch.zeros(3)}, 1, {"a": True}), *items]), 3).batches(8))

    for bad, found in ((0.2, "0.2"), (float("nan"), "nan")):
        with pytest.raises(ValueError, match=rf"present\['a'\]: expected booleans, or 0 and 1, found {found}"):
            next(StreamedData(Items([({"a": torch.zeros(3)}, 1, {"a": x}) for x in (1.0, bad)]), 3).batches(8))
    with pytest.raises(ValueError, match=r"dataset: expected labels in 0 .. 2, found 1 .. 7"):
        batch(({"a": torch.zeros(3)}, 7, {"a": True}))
    made = batch(({"a": torch.zeros(3, dtype=torch.float32)}, 2, {"a": False}))
    assert made.present["a"].tolist() == [True, False]
    doubles = StreamedData(Items([({"a": torch.zeros(3, dtype=torch.float64)}, 1)] * 2), 3)
    assert doubles.example["a"].dtype == next(doubles.batches(2)).inputs["a"].dtype == torch.float32
    with pytest.raises(TypeError, match="num_classes: expected a whole number"):
        StreamedData(Items([({"a": torch.zeros(3)}, 1)]), 2.5)  # type: ignore[arg-type]
