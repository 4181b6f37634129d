"""Multi-loss and the unimodal ensemble, the controls: by hand, by property, and at their neutral values."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mmlib.data.core import Batch
from mmlib.methods import Joint, Method, MultiLoss
from mmlib.methods.multi_loss import unimodal_losses
from mmlib.model import MultimodalClassifier, build
from mmlib.train import fit
from tests.conftest import make_tiny

OPTIONS: dict[str, Any] = {"epochs": 2, "batch_size": 16, "lr": 1e-2, "device": "cpu", "progress": False}


def trained(method: Method, missing: float = 0.0, modalities: tuple[str, ...] = ("a", "b", "c"), **options: Any) -> Any:
    splits = make_tiny(modalities, missing=missing)
    model = build(splits, dropout=0.2)
    fit(model, splits, method, **{**OPTIONS, **options})
    return model.state_dict()


def gradients_after(method: Method, model: MultimodalClassifier, batch: Batch) -> dict[str, torch.Tensor]:
    """The gradients that the optimiser saw: SGD with learning rate 1 from the weights before."""
    model = copy.deepcopy(model)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    method.setup(model, make_tiny(tuple(model.modalities)).train, 0)
    method.step(model, batch, torch.optim.SGD([*model.parameters(), *method.parameters()], lr=1.0))
    return {n: before[n] - p.detach() for n, p in model.named_parameters()}


def test_losses_by_hand() -> None:
    logits = {"a": torch.tensor([[2.0, 0.0], [0.0, 1.0]]), "b": torch.zeros(2, 2), "c": torch.zeros(2, 2)}
    present = {"a": torch.tensor([True, False]), "b": torch.tensor([False, False])}
    batch = Batch({"a": torch.zeros(2, 1), "b": torch.zeros(2, 1)}, torch.tensor([0, 0]), present)
    found = unimodal_losses(logits, batch)
    assert {m: x.item() for m, x in found.items()} == pytest.approx({"a": math.log1p(math.exp(-2)), "b": 0.0})


@pytest.mark.parametrize("heads", ["own", "fusion"])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_loss_is_the_sum(heads: Any, missing: float) -> None:
    splits = make_tiny(("a", "b", "c"), missing=missing)
    model, method = build(splits), MultiLoss(weight=0.5, heads=heads)
    method.class_weights = torch.tensor([1.0, 2.0, 3.0])
    method.setup(model, splits.train, 0)
    batch = next(iter(splits.train.batches(16)))
    output = model(batch.inputs, batch.present)
    expected = F.cross_entropy(output.logits, batch.labels, method.class_weights)
    for m in "abc":
        said = method.heads[m](output.features[m]) if heads == "own" else output.unimodal[m]
        there = batch.present[m] if batch.present else torch.ones(16, dtype=torch.bool)
        expected = expected + 0.5 * F.cross_entropy(said[there], batch.labels[there], method.class_weights)
    loss, told = method.step(model, batch, torch.optim.SGD(model.parameters(), lr=0.1))
    torch.testing.assert_close(loss, expected)
    assert told.logits is not None


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("heads", ["own", "fusion"])
def test_weight_zero_is_joint_bit_for_bit(optimizer: str, missing: float, heads: Any) -> None:
    joint = trained(Joint(), missing, optimizer=optimizer)
    same = trained(MultiLoss(weight=0, heads=heads), missing, optimizer=optimizer)
    assert all(torch.equal(joint[n], same[n]) for n in joint)
    other = trained(MultiLoss(weight=1, heads=heads), missing, optimizer=optimizer)
    assert not all(torch.equal(joint[n], other[n]) for n in joint)


def test_own_heads_add_to_the_encoders_alone() -> None:
    splits = make_tiny(("a", "b"))
    model, batch = build(splits), next(iter(splits.train.batches(32)))
    joint, more = gradients_after(Joint(), model, batch), gradients_after(MultiLoss(), model, batch)
    changed = {n for n in joint if not torch.allclose(joint[n], more[n])}
    assert changed == {n for n in joint if n.startswith("encoders.")}


def test_a_modality_that_was_not_passed_is_left_alone() -> None:
    splits = make_tiny(("a", "b"))
    model, batch = build(splits), next(iter(splits.train.batches(32)))
    short = Batch({"a": batch.inputs["a"]}, batch.labels)
    method = MultiLoss()
    moved = gradients_after(method, model, short)
    assert not any(g.any() for n, g in moved.items() if n.startswith("encoders.b."))
    assert method.heads["b"].weight.grad is None


def test_vote_by_hand() -> None:
    splits = make_tiny(("a", "b"))
    model, method = build(splits), MultiLoss(predict="vote")
    method.setup(model, splits.train, 0)
    x = {m: v[:4] for m, v in splits.test.inputs.items()}
    there = {"a": torch.tensor([True, True, False, False]), "b": torch.tensor([True, False, True, True])}
    fused = model(x, there)
    p = {m: torch.softmax(method.heads[m](fused.features[m]), 1) for m in "ab"}
    joint = torch.softmax(fused.logits, 1)
    expected = (there["a"][:, None] * p["a"] + there["b"][:, None] * p["b"] + joint) / torch.tensor([3, 2, 2, 2])[:, None]
    torch.testing.assert_close(method.predict(model, x, there).logits.exp(), expected)
    alone = method.predict(model, {"a": x["a"]}).logits.exp()
    torch.testing.assert_close(alone, (p["a"] + torch.softmax(model({"a": x["a"]}).logits, 1)) / 2)
    plain = MultiLoss()
    plain.setup(model, splits.train, 0)
    assert torch.equal(plain.predict(model, x, there).logits, fused.logits)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultiLoss(weight=-1), "weight: expected a number of 0 or more, found -1"),
        (lambda: MultiLoss(weight=math.nan), "weight: expected"),
        (lambda: MultiLoss(heads="none"), "heads: unknown 'none'; known: own, fusion"),  # type: ignore[arg-type]
        (lambda: MultiLoss(predict="all"), "predict: unknown 'all'; known: fused, vote"),  # type: ignore[arg-type]
    ],
)
def test_bad_arguments(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
