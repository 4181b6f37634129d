"""Intervals and probes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmlib.metrics import features, linear_probe, mean_interval, separable
from mmlib.model import build
from mmlib.train import fit
from tests.conftest import make_tiny


def test_interval_by_hand() -> None:
    # mean 3, s = sqrt(2.5), t(0.975, 4) = 2.776445
    interval = mean_interval([1, 2, 3, 4, 5])
    half = 2.776445 * math.sqrt(2.5 / 5)
    assert interval == pytest.approx((3, 3 - half, 3 + half), abs=1e-5)
    assert str(interval) == "3.000 [1.037, 4.963]"


def test_interval_covers_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).normal(size=(2000, 5))
    hits = [low <= 0 <= high for _, low, high in map(mean_interval, draws)]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.015)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=10), st.floats(-5, 5))
def test_interval_moves_with_the_data(values: list[float], shift: float) -> None:
    a, b = mean_interval(values), mean_interval([v + shift for v in values])
    assert a.low <= a.mean <= a.high
    assert b == pytest.approx(tuple(x + shift for x in a), abs=1e-6)


def test_one_value_has_no_interval() -> None:
    mean, low, high = mean_interval([0.5])
    assert mean == 0.5
    assert math.isnan(low)
    assert math.isnan(high)
    assert not separable([0.9], [0.1])


def test_interval_errors() -> None:
    with pytest.raises(ValueError, match="at least one number"):
        mean_interval([])
    with pytest.raises(ValueError, match="level"):
        mean_interval([1, 2], level=95)


def test_separable() -> None:
    assert separable([0.9, 0.91, 0.92], [0.5, 0.52, 0.51])
    assert not separable([0.5, 0.52, 0.51], [0.9, 0.91, 0.92])
    assert not separable([0.6, 0.9, 0.7], [0.5, 0.8, 0.6])


def test_features_are_the_encoders() -> None:
    splits = make_tiny(("a", "b"))
    model = build(splits)
    model.train()
    found = features(model, splits.val, batch_size=7)
    torch.testing.assert_close(found["a"], model.encoders["a"](splits.val.inputs["a"]))
    assert model.training
    assert not found["a"].requires_grad


def test_probe_sees_what_an_encoder_knows() -> None:
    splits = make_tiny(("a", "b"), samples=300)
    noise = splits.map(lambda d: type(d)({"a": d.inputs["a"], "b": torch.randn_like(d.inputs["b"])}, d.labels, d.num_classes))
    model = build(noise)
    fit(model, noise, epochs=10, lr=1e-2, device="cpu", progress=False)
    scores = linear_probe(model, noise.train, noise.test)
    assert scores["a"] > 0.85
    assert scores["b"] < 0.55  # three classes, nothing to know


def test_probe_skips_what_is_missing() -> None:
    splits = make_tiny(("a", "b"), samples=300, missing=0.5)
    model = build(splits)
    fit(model, splits, epochs=10, lr=1e-2, device="cpu", progress=False)
    assert linear_probe(model, splits.train, splits.test)["a"] > 0.8
