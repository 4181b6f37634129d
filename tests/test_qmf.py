"""QMF: confidence and ranking by hand and by property, what is remembered of each sample, the control, and bad input."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlib.data.core import Batch
from mmlib.methods import QMF, LateFusion
from mmlib.methods.numbered import Numbered
from mmlib.methods.qmf import energy_confidence, ranking_loss
from mmlib.model import MultimodalClassifier, Output, build
from mmlib.train import evaluate, fit
from tests.conftest import make_tiny
from tests.stepping import OPTIONS, same, steps, weights
from tests.test_stream import streamed


class Unranked(LateFusion):
    """The control: votes weighed by their energy, and nothing else."""

    name = "unranked"

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: torch.optim.Optimizer) -> tuple[torch.Tensor, Output]:
        f = model.encode(batch.inputs)
        z = {m: self.heads[m](x) for m, x in f.items()}
        fused = sum(torch.logsumexp(u, 1, keepdim=True).detach() / 10 * u for u in z.values())
        assert isinstance(fused, torch.Tensor)
        loss = F.cross_entropy(fused, batch.labels) + sum(F.cross_entropy(u, batch.labels) for u in z.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, Output(f, z, fused)


def test_confidence_by_hand() -> None:
    z = torch.tensor([[math.log(2.0), math.log(3.0)], [-5.0, -5.0]])
    assert energy_confidence(z, 2.0).tolist() == pytest.approx([math.log(5) / 2, (math.log(2) - 5) / 2])
    assert torch.isfinite(energy_confidence(torch.tensor([[3e38, 0.0], [-3e38, -3e38]]))).all()
    torch.testing.assert_close(energy_confidence(z + 10, 10.0), energy_confidence(z, 10.0) + 1)


def test_ranking_by_hand() -> None:
    """Three pairs in a ring: the harder of the first is the surer one, of the second it is less sure by enough."""
    w, kappa = torch.tensor([0.9, 0.5, 2.0]), torch.tensor([0.6, 0.2, 0.0])
    pairs = [0.4 + 0.4, max(0, 0.5 - 2.0 + 0.2), max(0, -(2.0 - 0.9) + 0.6)]
    everybody = torch.tensor([True] * 3)
    assert ranking_loss(w, kappa, everybody).item() == pytest.approx(sum(pairs) / 3)
    assert ranking_loss(w, kappa, torch.tensor([True, True, False])).item() == pytest.approx(pairs[0])
    assert ranking_loss(w, kappa, ~everybody).item() == 0
    assert ranking_loss(w, torch.ones(3), everybody).item() == 0, "no one was harder"


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_ranking_is_zero_where_confidence_falls_as_fast_as_losses_rise(seed: int) -> None:
    kappa = torch.rand(9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    everybody = torch.ones(9, dtype=torch.bool)
    assert ranking_loss(3 - 1.01 * kappa, kappa, everybody).item() == pytest.approx(0, abs=1e-9)
    assert ranking_loss(3 + kappa, kappa, everybody).item() > 0


def test_ranking_pushes_the_harder_one_down() -> None:
    w = torch.tensor([0.5, 0.5], requires_grad=True)
    ranking_loss(w, torch.tensor([1.0, 0.0]), torch.tensor([True, True])).backward()
    assert w.grad is not None
    assert w.grad[0] > 0 > w.grad[1]


# --- prediction


def test_prediction_adds_the_votes_that_are_there_by_their_confidence() -> None:
    splits = make_tiny(("a", "b", "c"))
    model, method = build(splits), QMF(temperature=3.0)
    method.setup(model, splits.train, 0)
    x = {m: v[:4] for m, v in splits.test.inputs.items()}
    there = {m: torch.tensor([True, m == "a", m != "a", m != "c"]) for m in "abc"}
    output = method.predict(model, x, there)
    for i in range(4):
        votes = [u[i] for m, u in output.unimodal.items() if there[m][i]]
        expected = sum(torch.logsumexp(u, 0) / 3 * u for u in votes)
        torch.testing.assert_close(output.logits[i], expected)
    short = method.predict(model, {m: x[m] for m in "ab"}).logits
    yes = torch.ones(4, dtype=torch.bool)
    torch.testing.assert_close(short, method.predict(model, x, {"a": yes, "b": yes, "c": ~yes}).logits)


def test_weights_are_detached() -> None:
    """What the fused loss hands to a vote is its weight times what it hands to the sum."""
    splits = make_tiny(("a", "b"))
    model, method = build(splits), QMF()
    method.setup(model, splits.train, 0)
    output = method.predict(model, {m: v[:4] for m, v in splits.test.inputs.items()})
    gradients = torch.autograd.grad(output.logits.sum(), list(output.unimodal.values()))
    for u, g in zip(output.unimodal.values(), gradients, strict=True):
        torch.testing.assert_close(g, energy_confidence(u)[:, None].expand(-1, 3))


# --- what is remembered


@pytest.mark.parametrize("kind", ["in memory", "streamed"])
def test_batches_tell_which_samples_they_are(kind: str) -> None:
    splits = make_tiny(("a", "b"), missing=0.2)
    train = splits.train
    data: Any = train if kind == "in memory" else streamed(splits).train
    numbered: Any = Numbered(data)
    seen = []
    pairs = zip(
        numbered.batches(16, torch.Generator().manual_seed(3)), data.batches(16, torch.Generator().manual_seed(3)), strict=True
    )
    for batch, plain in pairs:
        assert numbered.index is not None
        assert torch.equal(batch.inputs["a"], plain.inputs["a"]), "the same batches"
        assert torch.equal(batch.inputs["a"], train.inputs["a"][numbered.index])
        seen += numbered.index.tolist()
    assert sorted(seen) == list(range(len(train)))
    assert numbered.index is None
    again: Any = Numbered(data)
    assert next(again.index.tolist() for _ in again.batches(50)) == list(range(50))


def test_past_is_the_sum_of_the_losses_of_each_sample_that_has_the_modality() -> None:
    splits = make_tiny(("a", "b"), missing=0.3)
    model, method = build(splits), QMF()
    fit(model, splits, method, **{**OPTIONS, "lr": 1e-30, "epochs": 3, "keep": "last"})  # nothing moves
    assert splits.train.present is not None
    output = method.predict(model, splits.train.inputs, splits.train.present)
    for i, m in enumerate("ab"):
        own = F.cross_entropy(output.unimodal[m], splits.train.labels, reduction="none")
        torch.testing.assert_close(method.past[0, i], 3 * own * splits.train.present[m], rtol=1e-4, atol=1e-4)
        assert method.past[1, i].tolist() == (3.0 * splits.train.present[m]).tolist()


def test_the_first_epoch_knows_no_past_and_then_ranks() -> None:
    splits = make_tiny(("a", "b", "c"), missing=0.2)

    def trained(epochs: int, rank: float) -> dict[str, torch.Tensor]:
        model = build(splits)
        fit(model, splits, QMF(rank=rank), **{**OPTIONS, "epochs": epochs, "keep": "last"})
        return model.state_dict()

    assert same(trained(1, 0.0), trained(1, 5.0))
    assert not same(trained(2, 0.0), trained(2, 5.0))


def test_ranking_makes_confidence_follow_the_losses() -> None:
    def agreement(rank: float) -> float:
        """Correlation of w with the loss of modality a over the training data."""
        splits = make_tiny(("a", "b"), samples=200)
        splits.train.inputs["a"][:40] = 0.3 * torch.randn(40, 6, generator=torch.Generator().manual_seed(1))  # says nothing
        model, method = build(splits), QMF(rank=rank)
        fit(model, splits, method, **{**OPTIONS, "epochs": 12, "keep": "last"})
        z = method.predict(model, splits.train.inputs).unimodal["a"].detach()
        own = F.cross_entropy(z, splits.train.labels, reduction="none")
        return torch.corrcoef(torch.stack([energy_confidence(z), own]))[0, 1].item()

    assert agreement(2.0) < agreement(0.0) - 0.05


def test_neutral_value_is_the_control_bit_for_bit() -> None:
    control = weights(Unranked())
    assert same(control, weights(QMF(rank=0)))
    assert not same(control, weights(QMF(rank=1)))


def test_the_past_survives_a_checkpoint(tmp_path: Path) -> None:
    splits = make_tiny(("a", "b"), missing=0.2)
    whole, part, again = QMF(rank=1.0), QMF(rank=1.0), QMF(rank=1.0)
    options = {**OPTIONS, "keep": "last"}
    one, two, three = (build(splits) for _ in range(3))
    fit(one, splits, whole, **{**options, "epochs": 4})
    fit(two, splits, part, **{**options, "epochs": 2}, checkpoint=tmp_path / "run.pt")
    fit(three, splits, again, **{**options, "epochs": 4}, checkpoint=tmp_path / "run.pt", resume=True)
    assert torch.equal(whole.past, again.past)
    assert same(one.state_dict(), three.state_dict())


def test_a_batch_without_a_modality() -> None:
    splits = make_tiny(("a", "b", "c"))
    batch = next(iter(splits.train.batches(24)))
    no = torch.zeros(24, dtype=torch.bool)
    for without in (
        Batch(batch.inputs, batch.labels, {"a": ~no, "b": ~no, "c": no}),
        Batch({m: batch.inputs[m] for m in "ab"}, batch.labels),
    ):
        told = steps(QMF(), build(splits), without)
        assert not any(g.any() for n, g in told.items() if n.startswith(("encoders.c.", "heads.c.")))
        assert all(g.isfinite().all() for g in told.values())


def test_one_modality_alone() -> None:
    splits = make_tiny(("a",), samples=300)
    model = build(splits)
    fit(model, splits, QMF(), **{**OPTIONS, "epochs": 6})
    assert evaluate(model, splits.test)["accuracy"] > 0.7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature: expected a positive number, found 0"),
        ({"temperature": math.inf}, "temperature: expected"),
        ({"rank": -1.0}, "rank: expected a weight of 0 or more"),
        ({"rank": math.nan}, "rank: expected"),
    ],
)
def test_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        QMF(**options)
