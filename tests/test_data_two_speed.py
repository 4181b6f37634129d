"""two_speed: what its formula says, and that every knob does what it says."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from mmlib.data import load
from mmlib.data.two_speed import make

KNOBS = [k for k in inspect.signature(make).parameters if k not in ("modalities", "seed")]


def products(x: torch.Tensor) -> torch.Tensor:
    """All products of two coordinates: [N, D] -> [N, D * D]."""
    return (x[:, :, None] * x[:, None]).flatten(1)


def linear_accuracy(x: torch.Tensor, y: torch.Tensor, x_test: torch.Tensor, y_test: torch.Tensor) -> float:
    scale = x.std()
    return float(LogisticRegression(C=1.0, max_iter=2000).fit(x / scale, y).score(x_test / scale, y_test))


def test_fast_is_linear_and_bounded_by_its_noise() -> None:
    for noise in (0.5, 1.0, 2.0):
        splits = load("two_speed", seed=1, samples=20_000, fast_noise=noise)
        train, test = splits.train, splits.test
        found = linear_accuracy(train.inputs["fast"], train.labels, test.inputs["fast"], test.labels)
        best = norm.cdf(1 / noise)  # no rule can be right more often
        assert abs(found - best) < 4 * (best * (1 - best) / len(test)) ** 0.5


def test_slow_says_nothing_along_a_line_and_nearly_all_by_a_product() -> None:
    splits = load("two_speed", seed=2, samples=20_000)
    (x, y), (x_test, y_test) = ((d.inputs["slow"], d.labels) for d in (splits.train, splits.test))
    assert abs(linear_accuracy(x, y, x_test, y_test) - 0.5) < 0.05
    assert linear_accuracy(products(x) * 100, y, products(x_test) * 100, y_test) > 0.98


def test_slow_noise_blurs_the_four_clusters() -> None:
    accuracy = []
    for noise in (0.2, 0.5, 1.0):
        splits = load("two_speed", seed=3, samples=10_000, slow_noise=noise)
        (x, y), (x_test, y_test) = ((products(d.inputs["slow"]) * 100, d.labels) for d in (splits.train, splits.test))
        accuracy.append(linear_accuracy(x, y, x_test, y_test))
        wrong = norm.cdf(-1 / noise)  # of one sign; the product is wrong when exactly one of the two is
        assert abs(accuracy[-1] - (1 - 2 * wrong * (1 - wrong))) < 0.03
    assert accuracy[0] > accuracy[1] > accuracy[2]


@pytest.mark.parametrize(("knob", "modality"), [("fast_gain", "fast"), ("slow_gain", "slow")])
def test_a_gain_multiplies_its_modality_alone(knob: str, modality: str) -> None:
    one, three = load("two_speed", seed=4, **{knob: 1.0}), load("two_speed", seed=4, **{knob: 3.0})
    for (_, a), (_, b) in zip(one.items(), three.items(), strict=True):
        for m in a.modalities:
            torch.testing.assert_close(b.inputs[m], a.inputs[m] * (3 if m == modality else 1))


def test_samples_and_dimensions() -> None:
    splits = load("two_speed", seed=5, samples=123, fast_dims=7, slow_dims=3)
    assert [len(d) for _, d in splits.items()] == [123, 500, 2000]
    assert splits.train.shapes == {"fast": (7,), "slow": (3,)}
    for _, data in splits.items():
        assert abs(data.labels.float().mean().item() - 0.5) <= 0.5 / len(data)


def test_validation_and_test_do_not_depend_on_samples() -> None:
    few, many = load("two_speed", seed=6, samples=50), load("two_speed", seed=6, samples=500)
    for a, b in ((few.val, many.val), (few.test, many.test)):
        assert torch.equal(a.labels, b.labels)
        assert all(torch.equal(a.inputs[m], b.inputs[m]) for m in a.modalities)


def test_one_seed_one_draw() -> None:
    first, again, other = load("two_speed", seed=7), load("two_speed", seed=7), load("two_speed", seed=8)
    for m in ("fast", "slow"):
        assert torch.equal(first.train.inputs[m], again.train.inputs[m])
        assert not torch.equal(first.train.inputs[m], other.train.inputs[m])
        assert not torch.equal(first.train.inputs[m][:100], first.test.inputs[m][:100])
        assert first.train.inputs[m].dtype == torch.float32


def test_modalities_are_chosen_in_order_and_left_unchanged() -> None:
    both, turned, slow = load("two_speed"), load("two_speed", ["slow", "fast"]), load("two_speed", modalities=("slow",))
    assert (turned.modalities, slow.modalities) == (("slow", "fast"), ("slow",))
    assert torch.equal(both.test.inputs["slow"], slow.test.inputs["slow"])
    assert torch.equal(both.test.inputs["fast"], turned.test.inputs["fast"])


def test_the_knobs_stand_in_the_settings() -> None:
    assert set(load("two_speed").settings) == {"seed", *KNOBS}
    assert "fast_noise=0.5" in repr(load("two_speed", fast_noise=0.5))


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ({"samples": 1}, ValueError, "samples: expected a whole number from 2"),
        ({"samples": 10.5}, TypeError, "samples: expected a whole number"),
        ({"samples": True}, TypeError, "samples: expected a whole number"),
        ({"fast_noise": -0.1}, ValueError, "fast_noise: expected a number from 0"),
        ({"slow_noise": float("nan")}, ValueError, "slow_noise: .* found nan"),
        ({"fast_gain": 0}, ValueError, "fast_gain"),
        ({"slow_gain": "loud"}, TypeError, "slow_gain: .* found 'loud'"),
        ({"fast_dims": 0}, ValueError, "fast_dims"),
        ({"slow_dims": 1}, ValueError, "slow_dims: expected a whole number from 2"),
        ({"seed": -1}, ValueError, "seed: expected a whole number from 0"),
        ({"modalities": ["smell"]}, ValueError, "unknown 'smell'; known: fast, slow"),
        ({"modalities": []}, ValueError, "at least one; known: fast, slow"),
        ({"modalities": ["fast", "fast"]}, ValueError, "each at most once"),
        ({"modalities": "fast"}, TypeError, r"write \('fast',\)"),
        ({"noise": 1}, TypeError, "unknown knob 'noise' of 'two_speed'; known: samples, fast_noise"),
    ],
)
def test_bad_input(bad: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load("two_speed", **bad)


def test_unknown_data_set() -> None:
    with pytest.raises(ValueError, match="unknown data set 'mnist'; known: two_speed, digits"):
        load("mnist")
