"""OPM: the probability of a drop by hand and by property, what is dropped and rescaled, and bad input."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlib.data.core import Batch
from mmlib.fusion import FUSIONS
from mmlib.methods import OPM, Joint
from mmlib.methods.ogm_ge import discrepancy_ratios
from mmlib.methods.opm import drop_probability
from mmlib.model import MultimodalClassifier, build
from mmlib.train import fit
from tests.conftest import make_tiny
from tests.stepping import OPTIONS, same, steps, weights

ALWAYS: dict[str, Any] = {"share": 1.0, "warmup": 0}


def trained(fusion: str = "concat", modalities: tuple[str, ...] = ("a", "b", "c")) -> tuple[MultimodalClassifier, list[Batch]]:
    splits = make_tiny(modalities)
    model = build(splits, fusion)
    fit(model, splits, **OPTIONS)
    return model, list(splits.train.batches(24))


def test_by_hand() -> None:
    found = drop_probability(torch.tensor([[0.0, 0.99, 1.0], [1.0 + 1e-6, 1.5, 1e30]]), base=0.4, strength=0.5)
    assert found[0].tolist() == [0, 0, 0]
    assert found[1].tolist() == pytest.approx([0.4, 0.4 * (1 + 0.5 * math.tanh(0.5)), 0.6], abs=1e-5)
    assert drop_probability(torch.tensor(5.0), base=0.9, strength=3.0).item() == 1


@given(low=st.floats(0, 10), more=st.floats(0, 10), base=st.floats(0, 1), strength=st.floats(0, 5))
@settings(max_examples=60, deadline=None)
def test_further_ahead_is_dropped_more(low: float, more: float, base: float, strength: float) -> None:
    near, far = drop_probability(torch.tensor([low, low + more], dtype=torch.float64), base, strength).tolist()
    assert 0 <= near <= far <= 1


@pytest.mark.parametrize("fusion", FUSIONS)
def test_what_is_kept_is_rescaled_and_what_is_dropped_counts_as_missing(fusion: str) -> None:
    """base 1: whoever is ahead is gone from every sample, and theta is its share of the features."""
    model, batches = trained(fusion)
    batch = batches[0]
    rho = discrepancy_ratios(model(batch.inputs).unimodal, batch.labels)
    behind = [m for m in "abc" if rho[m] <= 1]
    assert 0 < len(behind) < 3
    model.zero_grad()
    told = steps(OPM(base=1.0, **ALWAYS), model, batch)
    features = {m: model.encoders[m](batch.inputs[m]) for m in "abc"}
    there = {m: torch.full((24, 1), float(m in behind)) for m in "abc"}
    logits = model.fusion.fuse({m: f * there[m] * 3 / len(behind) for m, f in features.items()}, there)
    F.cross_entropy(logits, batch.labels).backward()
    for name, p in model.named_parameters():
        gradient = torch.zeros_like(p) if p.grad is None else p.grad
        torch.testing.assert_close(told[name], gradient, atol=1e-6, rtol=1e-3)
    for name in told:
        if name.startswith("encoders."):
            assert bool(told[name].any()) == (name.split(".")[1] in behind), "who was dropped learned nothing"


def test_each_sample_loses_it_by_itself_and_as_often_as_it_should() -> None:
    model, _ = trained(modalities=("a", "b"))
    method = OPM(base=0.5, strength=0.5, **ALWAYS)
    steps(method, model)
    ratio, there = torch.tensor([3.0, 1 / 3]), torch.ones(2, 4000, dtype=torch.bool)
    kept, scale = method._kept(model, ratio, there)
    q = 0.5 * (1 + 0.5 * math.tanh(2))
    assert kept[1].all()
    assert 1 - kept[0].float().mean().item() == pytest.approx(q, abs=0.03)
    assert scale.item() == pytest.approx(1 / (1 - q / 2), rel=1e-5)  # both have features of one size
    again, _ = method._kept(model, ratio, there)
    assert not torch.equal(kept, again)


def test_theta_weighs_modalities_by_the_size_of_their_features() -> None:
    splits = make_tiny(("a", "b"))
    small = {"b": torch.nn.Sequential(torch.nn.Linear(6, 16))}
    model = build(splits, encoders=small, dims={"b": 16})
    method = OPM(base=0.5, strength=0.0, **ALWAYS)
    steps(method, model)
    everybody = torch.ones(2, 5, dtype=torch.bool)
    assert method._kept(model, torch.tensor([2.0, 0.5]), everybody)[1].item() == pytest.approx(1 / (1 - 0.5 * 64 / 80))
    assert method._kept(model, torch.tensor([0.5, 2.0]), everybody)[1].item() == pytest.approx(1 / (1 - 0.5 * 16 / 80))


def test_who_would_lose_all_loses_nothing_and_what_is_missing_stays_so() -> None:
    model, _ = trained(modalities=("a", "b"))
    method = OPM(base=1.0, **ALWAYS)
    steps(method, model)
    there = torch.tensor([[True, True, False], [True, False, True]])
    kept, _ = method._kept(model, torch.tensor([2.0, 0.5]), there)
    assert kept.tolist() == [[False, True, False], [True, False, True]]


def test_a_modality_nobody_has_is_not_compared() -> None:
    model, batches = trained()
    x, no = batches[0].inputs, torch.zeros(24, dtype=torch.bool)
    for batch in (
        Batch(x, batches[0].labels, {"a": ~no, "b": ~no, "c": no}),
        Batch({m: x[m] for m in "ab"}, batches[0].labels),
    ):
        method = OPM(base=1.0, **ALWAYS)
        told = steps(method, model, batch)
        assert method.report()["ratio_c"] == 1
        assert method.report()["dropped_c"] == 0
        assert not any(g.any() for n, g in told.items() if n.startswith("encoders.c."))
        assert any(g.any() for n, g in told.items() if n.startswith("encoders."))


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("never", [{"base": 0.0}, {"share": 0.0}, {"warmup": 3}])
def test_without_drops_it_is_joint_bit_for_bit(missing: float, never: dict[str, Any]) -> None:
    splits = make_tiny(("a", "b", "c"), missing=missing)
    joint = weights(Joint(), splits, "film")
    assert same(joint, weights(OPM(**{**ALWAYS, **never}), splits, "film"))
    assert not same(joint, weights(OPM(**ALWAYS), splits, "film"))


def test_warmup_and_share() -> None:
    splits = make_tiny(("a", "b"), samples=400)
    rows = fit(build(splits), splits, OPM(base=1.0, share=0.5, warmup=2), **{**OPTIONS, "epochs": 4, "batch_size": 8}).rows
    dropped = [row["dropped_a"] + row["dropped_b"] for row in rows]
    assert dropped[:2] == [0, 0]
    assert all(0.25 < d < 0.75 for d in dropped[2:]), "in half of the steps one of them is ahead, and gone"
    assert all(row["ratio_a"] > 0 for row in rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base": 1.1}, "base: expected a probability"),
        ({"base": math.nan}, "base: expected"),
        ({"strength": -1.0}, "strength: expected 0 or more"),
        ({"share": -0.1}, "share: expected a share"),
        ({"warmup": -1}, "warmup: expected 0 epochs"),
    ],
)
def test_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OPM(**options)


def test_one_modality() -> None:
    splits = make_tiny(("a",), samples=30)
    with pytest.raises(ValueError, match="OPM compares modalities and needs two or more, found a"):
        fit(build(splits), splits, OPM(), **OPTIONS)
