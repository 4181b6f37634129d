"""Data Remixing: who keeps what, what a batch has, the two losses, the control, and bad input."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mmlib.data.core import Batch, MultimodalData, Splits
from mmlib.methods import Remix
from mmlib.methods.base import masked_cross_entropy
from mmlib.methods.remix import separability
from mmlib.methods.remix_data import Remixed
from mmlib.model import MultimodalClassifier, Output, build
from mmlib.train import fit
from tests.conftest import make_tiny
from tests.stepping import OPTIONS, same, steps, weights
from tests.test_mlb import Added
from tests.test_stream import streamed


def ready(splits: Splits, **options: Any) -> tuple[MultimodalClassifier, Remix]:
    model, method = build(splits), Remix(**options)
    method.setup(model, splits.train, 0)
    return model, method


def test_separability_by_hand() -> None:
    p = torch.tensor([[0.5, 0.25, 0.25], [1 / 3] * 3])
    by_hand = sum(x * math.log(3 * x) for x in (0.5, 0.25, 0.25))
    assert separability(p.log()).tolist() == pytest.approx([by_hand, 0], abs=1e-6)
    expected = F.kl_div(torch.full((2, 3), math.log(1 / 3)), p, reduction="none").sum(1)
    torch.testing.assert_close(separability(p.log()), expected, atol=1e-6, rtol=1e-4)


def test_a_sample_keeps_the_modality_closest_to_uniform_of_those_it_has() -> None:
    splits = make_tiny(("a", "b", "c"), missing=0.3)
    model, method = ready(splits)
    train = splits.train
    assert train.present is not None
    kept = method.weakest(model, train)
    z = {m: method.heads[m](model.encoders[m](train.inputs[m])) for m in "abc"}
    for i in range(len(train)):
        sure = {m: separability(z[m][i]).item() for m in "abc" if train.present[m][i]}
        assert "abc"[kept[i]] == min(sure, key=lambda m: sure[m])
    names: dict[str, Any] = {"a": "c", "b": "a", "c": "b"}  # the same by other names, in another order
    turned = MultimodalData(
        {names[m]: train.inputs[m] for m in "bca"}, train.labels, 3, {names[m]: train.present[m] for m in "abc"}
    )
    other = build(Splits(turned, turned, turned))
    again = Remix()
    again.setup(other, turned, 0)
    for m in "abc":
        other.encoders[names[m]].load_state_dict(model.encoders[m].state_dict())
        again.heads[names[m]].load_state_dict(method.heads[m].state_dict())
    assert [other.modalities[k] for k in again.weakest(other, turned)] == [names["abc"[k]] for k in kept]


@pytest.mark.parametrize("kind", ["in memory", "streamed"])
def test_batches_have_one_modality_and_together_every_sample_once(kind: str) -> None:
    splits = make_tiny(("a", "b", "c"))
    train = splits.train
    kept = torch.arange(len(train)) % 2 * 2  # half keep 'a', half 'c', nobody 'b'
    data: Any = train if kind == "in memory" else streamed(splits).train
    remixed: Any = Remixed(data, kept, "abc")
    seen, order = [], []
    for batch in remixed.batches(10, torch.Generator().manual_seed(0)):
        assert batch.present is not None
        assert [m for m, p in batch.present.items() if p.all()] == [remixed.modality]
        assert [m for m, p in batch.present.items() if p.any()] == [remixed.modality]
        rows = [int((train.inputs["a"] == x).all(1).nonzero()) for x in batch.inputs["a"]]
        assert {"abc"[kept[i]] for i in rows} == {remixed.modality}
        seen += rows
        order.append(remixed.modality)
    assert sorted(seen) == list(range(len(train)))
    assert seen != sorted(seen), "shuffled"
    assert order == sorted(order), "one modality after the other"
    assert remixed.modality is None
    assert sum(len(b.labels) for b in remixed.batches(10)) == len(train)


def test_the_step_after_the_warm_up() -> None:
    """CE_fused + gamma CE_m, with the features of the others zero: they learn nothing."""
    splits = make_tiny(("a", "b"))
    model, method = build(splits), Remix(warmup=0, gamma=2.0)
    batch = next(iter(splits.train.batches(24)))
    yes = torch.ones(24, dtype=torch.bool)
    method.setup(model, splits.train, 0)
    method.remixed = Remixed(splits.train, torch.zeros(1), "ab")
    method.remixed.modality = "b"
    optimizer = torch.optim.SGD([*model.parameters(), *method.parameters()], lr=1e-12)
    loss, _ = method.step(model, batch._replace(present={"a": ~yes, "b": yes}), optimizer)
    f = model.encoders["b"](batch.inputs["b"])
    fused = model.fusion({"a": torch.zeros_like(f), "b": f})[0]
    expected = F.cross_entropy(fused, batch.labels) + 2 * F.cross_entropy(method.heads["b"](f), batch.labels)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for m, learns in (("a", False), ("b", True)):
        gradients = [p.grad for p in [*model.encoders[m].parameters(), *method.heads[m].parameters()]]
        assert any(g is not None and bool(g.any()) for g in gradients) == learns


class Half(Added):
    """The warm-up: half of the modalities' own losses."""

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: torch.optim.Optimizer) -> tuple[torch.Tensor, Output]:
        output = self.predict(model, batch.inputs, batch.present)
        loss = F.cross_entropy(output.logits, batch.labels)
        for m, u in output.unimodal.items():
            loss = loss + 0.5 * masked_cross_entropy(u, batch.labels, batch.present[m] if batch.present else None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, output


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_in_its_warm_up_it_is_the_control_bit_for_bit(missing: float) -> None:
    splits = make_tiny(("a", "b", "c"), missing=missing)
    assert same(weights(Half(), splits, "gated"), weights(Remix(warmup=3), splits, "gated"))
    assert same(weights(Added(), splits, "gated"), weights(Remix(warmup=3, unimodal=1.0), splits, "gated"))
    assert not same(weights(Half(), splits, "gated"), weights(Remix(warmup=1), splits, "gated"))


def test_who_lags_behind_gets_more_samples() -> None:
    splits = make_tiny(("a", "b"), samples=300)
    noise = torch.Generator().manual_seed(5)
    splits = splits.map(
        lambda d: MultimodalData({**d.inputs, "b": d.inputs["b"] + 3 * torch.randn(len(d), 6, generator=noise)}, d.labels, 3)
    )
    rows = fit(build(splits), splits, Remix(warmup=3), **{**OPTIONS, "epochs": 5}).rows
    assert [row["kept_a"] for row in rows[:3]] == [row["kept_b"] for row in rows[:3]] == [1, 1, 1]
    for row in rows[3:]:
        assert row["kept_b"] > 0.6
        assert row["kept_a"] + row["kept_b"] == pytest.approx(1)


def test_a_batch_without_a_modality() -> None:
    splits = make_tiny(("a", "b", "c"))
    batch = next(iter(splits.train.batches(24)))
    told = steps(Remix(), build(splits), Batch({m: batch.inputs[m] for m in "ab"}, batch.labels))
    assert not any(g.any() for n, g in told.items() if n.startswith(("encoders.c.", "heads.c.")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"warmup": -1}, "warmup: expected 0 epochs or more"),
        ({"unimodal": -1.0}, "unimodal: expected a weight of 0 or more"),
        ({"gamma": math.nan}, "gamma: expected a weight of 0 or more"),
    ],
)
def test_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Remix(**options)


def test_one_modality() -> None:
    splits = make_tiny(("a",), samples=30)
    with pytest.raises(ValueError, match="compares modalities and needs two or more, found a"):
        fit(build(splits), splits, Remix(), **OPTIONS)
