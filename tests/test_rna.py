"""Relative norm alignment: the loss by hand and by property, and the method against joint training."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlib.methods import RNA, Joint, Method
from mmlib.methods.rna import relative_norm_loss
from mmlib.model import build
from mmlib.train import fit
from tests.conftest import make_tiny

OPTIONS: dict[str, Any] = {"epochs": 3, "batch_size": 16, "lr": 1e-2, "device": "cpu", "progress": False}


def long(*lengths: float) -> torch.Tensor:
    """Features [B, 2] of these lengths."""
    return torch.tensor([[0.6 * x, -0.8 * x] for x in lengths])


def test_by_hand() -> None:
    assert relative_norm_loss({"a": long(4, 2), "b": long(1, 2)}).item() == pytest.approx(1)  # 3 over 1.5
    assert relative_norm_loss({"b": long(1, 2), "a": long(4, 2)}).item() == pytest.approx(0.25)  # and half of it
    three = {"a": long(4), "b": long(2), "c": long(1)}
    assert relative_norm_loss(three).item() == pytest.approx(1 + 9 + 1)
    assert relative_norm_loss({"a": long(4)}).item() == 0


@given(seed=st.integers(0, 999), scale=st.floats(1e-2, 1e2))
@settings(max_examples=25, deadline=None)
def test_properties(seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    f = {m: torch.randn(5, d, generator=generator) for m, d in (("a", 3), ("b", 7), ("c", 2))}
    loss = relative_norm_loss(f)
    assert loss >= 0
    torch.testing.assert_close(relative_norm_loss({m: scale * x for m, x in f.items()}), loss, rtol=1e-4, atol=1e-5)
    pairs = [relative_norm_loss({i: f[i], j: f[j]}) for i, j in ("ab", "ac", "bc")]
    torch.testing.assert_close(sum(pairs), loss)
    turned = f["a"][:, [2, 0, 1]] * torch.tensor([1.0, -1.0, 1.0])  # lengths are all that counts
    torch.testing.assert_close(relative_norm_loss({**f, "a": turned}), loss, rtol=1e-4, atol=1e-5)
    one = {m: torch.nn.functional.normalize(x, dim=1) for m, x in f.items()}
    assert relative_norm_loss(one).item() == pytest.approx(0, abs=1e-6)


def test_missing_samples_do_not_count() -> None:
    present = {"a": torch.tensor([True, False]), "b": torch.tensor([True, True])}
    assert relative_norm_loss({"a": long(4, 100), "b": long(1, 3)}, present).item() == pytest.approx(1)


@pytest.mark.parametrize("absent", ["mask", "zeros"])
def test_who_is_not_there_is_in_no_pair(absent: str) -> None:
    f = {"a": long(4, 2), "b": long(1, 2), "c": long(0, 0) if absent == "zeros" else long(7, 7)}
    for x in f.values():
        x.requires_grad_()
    present = {"c": torch.tensor([False, False])} if absent == "mask" else None
    loss = relative_norm_loss(f, present)
    assert loss.item() == pytest.approx(1)
    loss.backward()
    assert all(torch.isfinite(x.grad).all() for x in f.values() if x.grad is not None)
    assert f["c"].grad is None or not f["c"].grad.any()


def test_gradient_shortens_the_longer_and_lengthens_the_shorter() -> None:
    f = {"a": long(4, 2).requires_grad_(), "b": long(1, 2).requires_grad_()}
    relative_norm_loss(f).backward()
    assert f["a"].grad is not None
    assert f["b"].grad is not None
    assert ((f["a"].grad * f["a"]).sum(1) > 0).all()
    assert ((f["b"].grad * f["b"]).sum(1) < 0).all()


def trained(method: Method, missing: float = 0.0, **options: Any) -> tuple[dict[str, torch.Tensor], float]:
    splits = make_tiny(("a", "b", "c"), missing=missing)
    model = build(splits, dropout=0.2)
    with torch.no_grad():  # one modality with much longer features
        model.encoders["a"].layers[-3].weight.mul_(6)
    fit(model, splits, method, **{**OPTIONS, "keep": "last", **options})
    return model.state_dict(), relative_norm_loss(model.encode(splits.train.inputs)).item()


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_strength_zero_is_joint_bit_for_bit(optimizer: str, missing: float) -> None:
    (joint, _), (same, _) = trained(Joint(), missing, optimizer=optimizer), trained(RNA(0), missing, optimizer=optimizer)
    assert all(torch.equal(joint[n], same[n]) for n in joint)


def test_it_brings_norms_together() -> None:
    """What the paper claims."""
    (_, joint), (_, aligned) = trained(Joint(), epochs=10), trained(RNA(1), epochs=10)
    assert aligned < joint / 2


@pytest.mark.parametrize("strength", [-1.0, math.nan, math.inf])
def test_bad_strength(strength: float) -> None:
    with pytest.raises(ValueError, match="strength: expected a number of 0 or more, found"):
        RNA(strength)


def test_single_modality() -> None:
    splits = make_tiny(("a",))
    with pytest.raises(ValueError, match="model: RNA compares modalities and needs two or more, found a"):
        fit(build(splits), splits, RNA(), **OPTIONS)
