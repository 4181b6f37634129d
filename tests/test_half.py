"""Training in float16: what its range would lose is kept, and an overflow costs a tensor one step."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmlib.half import GradientScale
from mmlib.methods import GradientBlending
from mmlib.model import MultimodalClassifier, build
from mmlib.train import fit
from tests.conftest import make_tiny

OPTIONS: dict[str, Any] = {"epochs": 2, "batch_size": 16, "device": "cpu", "progress": False}


def half(scale: GradientScale | None) -> tuple[MultimodalClassifier, dict[str, Tensor]]:
    splits = make_tiny(("a", "b"))
    model = build(splits)
    model.autocast = torch.float16
    model.scale_gradients(scale)
    return model, splits.train.inputs


def gradients(model: MultimodalClassifier) -> list[Tensor]:
    return [p.grad for p in model.encoders.parameters() if p.grad is not None]


def test_gradients_below_its_range_survive() -> None:
    """Scaled down by 1e-6, most gradients are nothing in float16; with the factor they are those of a usual loss, times 1e-6."""
    model, inputs = half(None)
    model(inputs).logits.sum().backward()
    whole = [g.clone() for g in gradients(model)]
    found = {}
    for name, scale in (("without", None), ("with", GradientScale(2.0**16))):
        model, inputs = half(scale)
        (1e-6 * model(inputs).logits.sum()).backward()
        found[name] = gradients(model)
    for kept, expected in zip(found["with"], whole, strict=True):
        torch.testing.assert_close(kept * 1e6, expected, rtol=0.02, atol=0.02 * expected.abs().max().item())
    lost = sum(float((g == 0).sum()) for g in found["without"]) / sum(float((g == 0).sum()) for g in found["with"])
    assert lost > 1.5


def test_methods_see_gradients_without_the_factor() -> None:
    """Also by `torch.autograd.grad`, also on a second backward pass through the same graph."""
    seen = []
    for factor in (1.0, 2.0**10):
        model, inputs = half(GradientScale(factor))
        loss = model(inputs).logits.square().mean()
        seen.append(torch.autograd.grad(loss, list(model.encoders.parameters()), retain_graph=True))
        loss.backward()
        for direct, left in zip(seen[-1], gradients(model), strict=True):
            torch.testing.assert_close(direct, left)
    for one, other in zip(*seen, strict=True):
        torch.testing.assert_close(one, other, rtol=0.02, atol=0.02 * one.abs().max().item())


def test_an_overflow_costs_the_tensors_it_reached_one_step_and_halves_the_factor() -> None:
    model, inputs = half(scale := GradientScale(2.0**24))
    before = {n: p.clone() for n, p in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    model(inputs).logits.square().sum().backward()
    assert all(bool(g.isfinite().all()) for g in gradients(model))
    assert any(not bool(g.any()) for g in gradients(model))
    optimizer.step()
    scale.update()
    assert scale.scale.item() == 2.0**23
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved >= {n for n in before if n.startswith("fusion")}
    scale.update()
    assert (scale.scale.item(), scale.calm.item(), scale.overflowed.item()) == (2.0**23, 1, 0)


def test_the_factor_grows_in_calm_and_has_bounds() -> None:
    scale = GradientScale(2.0**22, interval=3)
    factors = []
    for _ in range(12):
        scale.update()
        factors.append(scale.scale.item())
    assert factors == [2.0**22] * 2 + [2.0**23] * 3 + [2.0**24] * 7
    for _ in range(30):
        scale.overflowed.fill_(1)
        scale.update()
    assert scale.scale.item() == 1


def test_copies_have_a_factor_of_their_own() -> None:
    """Gradient-Blending trains copies on the side: their weights are other ones, and are watched anew."""
    model, inputs = half(GradientScale(2.0**10))
    model(inputs).logits.sum().backward()
    twin = copy.deepcopy(model)
    twin.zero_grad()
    twin(inputs).logits.sum().backward()
    for one, other in zip(gradients(model), gradients(twin), strict=True):
        assert torch.equal(one, other)
    assert twin.gradient_scale is not model.gradient_scale


@pytest.mark.parametrize("intermediate", [None, "mmtm", "centralnet"])
def test_nothing_of_it_is_left_afterwards(intermediate: Any) -> None:
    splits = make_tiny(("a", "b"))
    model = build(splits, intermediate=intermediate)
    fit(model, splits, precision="fp16", **OPTIONS)
    assert model.gradient_scale is None
    assert not any(p._backward_hooks for p in model.parameters())
    assert model.autocast is torch.float16  # it predicts as it was trained
    assert "scale" not in " ".join(model.state_dict())


def test_resumed_with_its_factor(tmp_path: Path) -> None:
    """The factor is part of a checkpoint: bit for bit the same with a break, though it changes on the way."""
    splits, path = make_tiny(("a", "b")), tmp_path / "run.pt"

    def train(**options: Any) -> list[dict[str, float]]:
        wide = {m: nn.Linear(x.flatten(1).shape[1], 8) for m, x in splits.train.example.items()}
        history = fit(
            build(splits, encoders=wide, dims=dict.fromkeys(wide, 8)), splits, GradientBlending(super_epoch=1),
            precision="fp16", **{**OPTIONS, "lr": 0.05, **options},
        )  # fmt: skip
        return [{**row, "seconds": 0} for row in history.rows]

    torch.manual_seed(0)
    state = torch.get_rng_state()
    whole = train(epochs=4)
    torch.set_rng_state(state)
    train(epochs=2, checkpoint=path)
    torch.set_rng_state(state)
    assert torch.load(path, weights_only=True)["gradient_scale"]["scale"] > 1
    assert train(epochs=4, checkpoint=path, resume=True) == whole
