"""MMPareto: the united gradient by hand, against a search, by property; what a step does with it; neutral values; bad input."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmlib.data.core import Batch
from mmlib.methods import Method, MMPareto, MultiLoss
from mmlib.methods.mmpareto import pareto_gradient
from mmlib.model import MultimodalClassifier, build
from mmlib.train import fit
from tests.conftest import make_tiny

OPTIONS: dict[str, Any] = {"epochs": 3, "batch_size": 16, "lr": 1e-2, "device": "cpu", "progress": False}


def test_by_hand() -> None:
    """(4, 0) and (-1, 1): the segment between them is nearest to 0 at a = 6/26, (2, 10)/13, twice that (4, 20)/13."""
    joint, unimodal = torch.tensor([4.0, 0.0]), torch.tensor([-1.0, 1.0])
    shortest = torch.tensor([4.0, 20.0]) / 13  # of length sqrt(416) / 13 = 1.57, against |(3, 1)| = 3.16
    expected = shortest / shortest.norm() * math.sqrt(10)
    torch.testing.assert_close(pareto_gradient(joint, unimodal, 1.0), expected)
    torch.testing.assert_close(pareto_gradient(joint, unimodal), 1.5 * expected)
    torch.testing.assert_close(pareto_gradient(unimodal, joint), 1.5 * expected)


def test_a_clipped_point_is_not_enlarged_beyond_the_sum() -> None:
    """Nearly opposite and of one length: half of each, which is the sum, already as long as it."""
    joint, unimodal = torch.tensor([1.0, 0.1]), torch.tensor([-1.0, 0.1])
    torch.testing.assert_close(pareto_gradient(joint, unimodal, 1.0), joint + unimodal)


@given(seed=st.integers(0, 9999), size=st.integers(2, 6), scale=st.floats(1e-3, 1e3), gamma=st.floats(0.1, 5))
@example(seed=0, size=2, scale=825.0, gamma=1.0)
@settings(max_examples=80, deadline=None)
def test_properties(seed: int, size: int, scale: float, gamma: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    joint, unimodal = torch.randn(2, size, generator=generator, dtype=torch.float64) * torch.tensor([[1.0], [scale]])
    g = pareto_gradient(joint, unimodal, gamma)
    slack = 1e-9 * float(g.norm() * max(joint.norm(), unimodal.norm()))
    assert g @ joint >= -slack
    assert g @ unimodal >= -slack
    assert g.norm() >= gamma * (joint + unimodal).norm() * (1 - 1e-9)
    torch.testing.assert_close(pareto_gradient(unimodal, joint, gamma), g)
    torch.testing.assert_close(pareto_gradient(7 * joint, 7 * unimodal, gamma), 7 * g)
    if joint @ unimodal >= 0:
        torch.testing.assert_close(g, gamma * (joint + unimodal))
        return
    low, high = 0.0, 1.0
    for _ in range(3):  # a search for the shortest, finer each time: one gradient may be a thousand times the other
        a = torch.linspace(low, high, 2001, dtype=torch.float64)[:, None]
        points = a * joint + (1 - a) * unimodal
        best = int(points.norm(dim=1).argmin())
        low, high = float(a[max(best - 1, 0)]), float(a[min(best + 1, 2000)])
    shortest = points[best]
    cosine = F.cosine_similarity(g, shortest, dim=0)
    assert shortest.norm() < 1e-3 * min(joint.norm(), unimodal.norm()) or cosine > 0.999


@pytest.mark.parametrize("factor", [1.0, 0.3, 1e-4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_opposite_gradients_leave_nothing(factor: float, dtype: torch.dtype) -> None:
    """And no rounding blown up to the length of a gradient."""
    joint = torch.randn(50, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert not pareto_gradient(joint, -factor * joint).any()


def test_zero_gradients() -> None:
    zero, one = torch.zeros(3), torch.ones(3)
    assert not pareto_gradient(zero, zero).any()
    torch.testing.assert_close(pareto_gradient(one, zero, 2.0), 2 * one)


def gradients_after(method: Method, model: MultimodalClassifier, batch: Batch) -> dict[str, torch.Tensor]:
    """The gradients that the optimiser saw; zeros where it saw none."""
    model = copy.deepcopy(model)
    method.setup(model, make_tiny(tuple(model.modalities)).train, 0)
    optimizer = torch.optim.SGD([*model.parameters(), *method.parameters()], lr=0.1)
    method.step(model, batch, optimizer)
    named = [*model.named_parameters(), *method.named_parameters()]
    return {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in named}


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("fusion", ["concat", "film"])
def test_step(missing: float, fusion: str) -> None:
    splits = make_tiny(("a", "b", "c"), missing=missing)
    model = build(splits, fusion)
    fit(model, splits, **OPTIONS)
    batch = next(iter(splits.train.batches(24)))
    method = MMPareto(gamma=1.2)
    found = gradients_after(method, model, batch)
    plain = gradients_after(MultiLoss(), model, batch)
    method = MMPareto()
    method.setup(model, splits.train, 0)
    output = model(batch.inputs, batch.present)
    fused = F.cross_entropy(output.logits, batch.labels)
    conflicts = 0
    for m in "abc":
        there = batch.present[m] if batch.present else torch.ones(24, dtype=torch.bool)
        own = F.cross_entropy(method.heads[m](output.features[m])[there], batch.labels[there])
        parameters = list(model.encoders[m].parameters())
        joint, unimodal = (
            torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, retain_graph=True)]) for loss in (fused, own)
        )
        conflicts += int(joint @ unimodal < 0)
        seen = torch.cat([found[f"encoders.{m}.{n}"].flatten() for n, _ in model.encoders[m].named_parameters()])
        torch.testing.assert_close(seen, pareto_gradient(joint, unimodal, 1.2), atol=1e-6, rtol=1e-3)
    assert conflicts, "otherwise this says little"
    for n in plain:  # the heads, of the model and of the method
        if not n.startswith("encoders."):
            torch.testing.assert_close(found[n], plain[n], atol=1e-6, rtol=1e-4)


def trained(method: Method, missing: float, optimizer: str) -> dict[str, torch.Tensor]:
    splits = make_tiny(("a", "b", "c"), missing=missing)
    model = build(splits, dropout=0.2)
    fit(model, splits, method, **{**OPTIONS, "optimizer": optimizer})
    return model.state_dict()


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_neutral_it_is_multi_loss_bit_for_bit(optimizer: str, missing: float) -> None:
    control = trained(MultiLoss(), missing, optimizer)
    same = trained(MMPareto(gamma=1, gradients="sum"), missing, optimizer)
    assert all(torch.equal(control[n], same[n]) for n in control)
    other = trained(MMPareto(gamma=2, gradients="sum"), missing, "sgd")
    assert not all(torch.equal(control[n], other[n]) for n in control)


def test_without_a_conflict_and_with_gamma_one_it_is_multi_loss() -> None:
    """Up to rounding: two backward passes add up in another order than one."""
    splits = make_tiny(("a",))  # a fused head that starts as the modality's own never disagrees with it
    model, batch = build(splits), next(iter(splits.train.batches(24)))
    method = MMPareto(gamma=1)
    method.setup(model, splits.train, 0)
    with torch.no_grad():
        model.fusion.head.weight.copy_(method.heads["a"].weight)
        model.fusion.head.bias.copy_(method.heads["a"].bias)
    found, plain = gradients_after(MMPareto(gamma=1), model, batch), gradients_after(MultiLoss(), model, batch)
    for n in plain:
        torch.testing.assert_close(found[n], plain[n], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("gradients", ["pareto", "sum"])
def test_a_modality_that_is_not_there_stays_as_it_is(mask: bool, gradients: Any) -> None:
    splits = make_tiny(("a", "b", "c"))
    model, batch = build(splits), next(iter(splits.train.batches(24)))
    nobody = torch.zeros(24, dtype=torch.bool)
    masked = Batch(batch.inputs, batch.labels, {"a": ~nobody, "b": ~nobody, "c": nobody})
    short = masked if mask else Batch({m: batch.inputs[m] for m in "ab"}, batch.labels)
    found = gradients_after(MMPareto(gradients=gradients), model, short)
    assert not any(g.any() for n, g in found.items() if n.startswith("encoders.c."))
    assert all(torch.isfinite(g).all() for g in found.values())


@pytest.mark.parametrize("gradients", ["pareto", "sum"])
def test_frozen_encoders(gradients: Any) -> None:
    splits = make_tiny(("a", "b"))
    model = build(splits)
    model.encoders.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    fit(model, splits, MMPareto(gradients=gradients), **{**OPTIONS, "keep": "last"})
    changed = {n.split(".")[0] for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
    assert changed == {"fusion"}


@pytest.mark.parametrize("gamma", [-1.0, 0.0, math.nan, math.inf])
def test_bad_gamma(gamma: float) -> None:
    with pytest.raises(ValueError, match="gamma: expected a number greater than 0, found"):
        MMPareto(gamma)
    with pytest.raises(ValueError, match="gamma: expected"):
        pareto_gradient(torch.ones(2), torch.ones(2), gamma)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="gradients: unknown 'both'; known: pareto, sum"):
        MMPareto(gradients="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"joint, unimodal: expected the same shape \[P\], found \[2\] and \[3\]"):
        pareto_gradient(torch.ones(2), torch.ones(3))
    splits = make_tiny(("a", "b"))
    with pytest.raises(ValueError, match="compile: MMPareto needs two backward passes"):
        fit(build(splits), splits, MMPareto(), compile=True, **OPTIONS)
