"""Disentangled gradient learning: which loss moves what, by value; neutral values; bad input."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mmlib.data.core import Batch
from mmlib.fusion import FUSIONS, Fusion
from mmlib.methods import DGL, Joint, Method
from mmlib.methods.dgl import alone
from mmlib.model import MultimodalClassifier, build
from mmlib.train import fit
from tests.conftest import make_tiny

OPTIONS: dict[str, Any] = {"epochs": 3, "batch_size": 16, "lr": 1e-2, "device": "cpu", "progress": False}


def gradients_after(method: Method, model: MultimodalClassifier, batch: Batch) -> dict[str, torch.Tensor]:
    """The gradients that the optimiser saw; zeros where it saw none."""
    model = copy.deepcopy(model)
    method.setup(model, make_tiny(tuple(model.modalities)).train, 0)
    method.step(model, batch, torch.optim.SGD(model.parameters(), lr=1.0))
    return {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in model.named_parameters()}


def a_batch(missing: float = 0.0) -> tuple[MultimodalClassifier, Batch]:
    splits = make_tiny(("a", "b", "c"), missing=missing)
    return build(splits), next(iter(splits.train.batches(24)))


def test_alone_by_hand() -> None:
    model, batch = a_batch()
    f = model.encode(batch.inputs)
    w, b = model.fusion.head.weight.split(64, dim=1), model.fusion.head.bias
    for m, w_m, said in zip("abc", w, alone(model.fusion, f).values(), strict=True):
        torch.testing.assert_close(said, f[m] @ w_m.T + b, atol=1e-5, rtol=1e-4)  # the whole bias


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_who_learns_from_what(fusion: str, missing: float) -> None:
    splits = make_tiny(("a", "b", "c"), missing=missing)
    model, batch = build(splits, fusion), next(iter(splits.train.batches(24)))
    found = gradients_after(DGL(alpha=3.0), model, batch)
    F.cross_entropy(model(batch.inputs, batch.present).logits, batch.labels).backward()
    for n, p in model.fusion.named_parameters():
        expected = torch.zeros_like(p) if p.grad is None else p.grad
        torch.testing.assert_close(found[f"fusion.{n}"], expected, atol=1e-6, rtol=1e-4)
    for m in "abc":
        model.zero_grad()
        there = batch.present[m] if batch.present else torch.ones(24, dtype=torch.bool)
        nobody = {k: there if k == m else torch.zeros(24, dtype=torch.bool) for k in "abc"}
        said = model(batch.inputs, nobody).logits[there]
        (3 * F.cross_entropy(said, batch.labels[there])).backward()
        for n, p in model.encoders[m].named_parameters():
            expected = torch.zeros_like(p) if p.grad is None else p.grad
            torch.testing.assert_close(found[f"encoders.{m}.{n}"], expected, atol=1e-5, rtol=1e-3)


def test_what_others_see_makes_no_difference_to_an_encoder() -> None:
    """What the paper is about: in joint training it does."""
    model, batch = a_batch()
    other = Batch({**batch.inputs, "b": -3 * batch.inputs["b"]}, batch.labels)
    for method, same in ((DGL(), True), (Joint(), False)):
        one, two = (gradients_after(method, model, x) for x in (batch, other))
        assert all(torch.equal(one[n], two[n]) for n in one if n.startswith("encoders.a.")) == same


def test_alpha_scales_encoders_alone() -> None:
    model, batch = a_batch()
    one, four, none = (gradients_after(DGL(alpha), model, batch) for alpha in (1, 4, 0))
    for n, g in one.items():
        factor = 4.0 if n.startswith("encoders.") else 1.0
        torch.testing.assert_close(four[n], factor * g, atol=1e-6, rtol=1e-4)
        assert not none[n].any() if n.startswith("encoders.") else torch.equal(none[n], g)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_one_modality_and_alpha_one_is_joint_bit_for_bit(optimizer: str) -> None:
    def weights(method: Method) -> dict[str, torch.Tensor]:
        splits = make_tiny(("a",))
        model = build(splits, dropout=0.2)
        fit(model, splits, method, **{**OPTIONS, "optimizer": optimizer})
        return model.state_dict()

    joint, same, other = weights(Joint()), weights(DGL(1.0)), weights(DGL(0.0))
    assert all(torch.equal(joint[n], same[n]) for n in joint)
    assert not all(torch.equal(joint[n], other[n]) for n in joint)


@pytest.mark.parametrize("mask", [True, False])
def test_a_modality_that_is_not_there_stays_as_it_is(mask: bool) -> None:
    model, batch = a_batch()
    nobody = torch.zeros(24, dtype=torch.bool)
    short = (
        Batch(batch.inputs, batch.labels, {"a": ~nobody, "b": ~nobody, "c": nobody})
        if mask
        else Batch({m: batch.inputs[m] for m in "ab"}, batch.labels)
    )
    found = gradients_after(DGL(), model, short)
    assert not any(g.any() for n, g in found.items() if n.startswith("encoders.c."))
    assert all(torch.isfinite(g).all() for g in found.values())
    assert found["encoders.a.layers.1.weight"].any()


def test_frozen_encoders() -> None:
    splits = make_tiny(("a", "b"))
    model = build(splits)
    model.encoders.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    fit(model, splits, DGL(), **{**OPTIONS, "keep": "last"})
    changed = {n.split(".")[0] for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
    assert changed == {"fusion"}


@pytest.mark.parametrize("alpha", [-1.0, math.nan, math.inf])
def test_bad_alpha(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha: expected a number of 0 or more, found"):
        DGL(alpha)


def test_a_fusion_that_cannot_be_asked() -> None:
    class Whole(Fusion):
        def __init__(self, dims: Any, num_classes: int) -> None:
            super().__init__(dims, num_classes)
            self.head = torch.nn.Linear(sum(dims.values()), num_classes)

        def forward(self, features: Any, present: Any = None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            return self.head(torch.cat(list(features.values()), dim=1)), {}

    splits = make_tiny(("a", "b"))
    with pytest.raises(ValueError, match="model: DGL asks the fusion about each modality alone, and Whole has no method 'fuse'"):
        fit(build(splits, Whole), splits, DGL(), **OPTIONS)
