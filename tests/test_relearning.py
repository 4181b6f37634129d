"""Re-learning: purity and pull by hand, when encoders go back and how far, what is measured, the control, and bad input."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from mmlib.methods import Joint, Relearning
from mmlib.methods.blending_estimate import split_holdout
from mmlib.methods.relearning import pull
from mmlib.methods.relearning_purity import purities, purity
from mmlib.model import MultimodalClassifier, build
from mmlib.train import fit
from tests.conftest import make_tiny
from tests.stepping import OPTIONS, same
from tests.test_stream import streamed


def test_purity_by_hand() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    assert purity(labels, torch.tensor([0, 0, 0, 1, 1, 2])) == 1
    assert purity(labels, torch.tensor([2, 2, 2, 0, 0, 1])) == 1, "the names of clusters mean nothing"
    assert purity(labels, torch.zeros(6, dtype=torch.long)) == 0.5
    assert purity(labels, torch.tensor([0, 0, 1, 1, 1, 1])) == pytest.approx(4 / 6)


def test_pull_by_hand() -> None:
    assert pull(0.2, 3.0) == pytest.approx(math.tanh(0.6))
    assert pull(0.7, 0.0) == pull(0.0, 9.0) == 0
    assert pull(0.1) < pull(0.2) < 1


def test_features_that_tell_the_classes_apart_are_pure_and_noise_is_not() -> None:
    splits = make_tiny(("a", "b"), samples=300)
    data = replace(splits.train, inputs={**splits.train.inputs, "b": torch.randn(len(splits.train), 6)})
    model = MultimodalClassifier({"a": nn.Identity(), "b": nn.Identity()}, num_classes=3, dims={"a": 6, "b": 6})
    model.to("cpu")
    found = purities(model, data)
    assert found["a"] > 0.9
    assert found["b"] < 0.6
    assert purities(model, data) == found


def test_samples_without_the_modality_do_not_count() -> None:
    data = make_tiny(("a", "b"), samples=300, missing=0.3).train
    assert data.present is not None
    model = MultimodalClassifier({"a": nn.Identity(), "b": nn.Identity()}, num_classes=3, dims={"a": 6, "b": 6})
    only = data.select(data.present["a"].nonzero().squeeze(1))
    assert purities(model, data)["a"] == purities(model, only)["a"]


class Noted(Relearning):
    """Writes down the state before and after every return."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.noted: dict[int, list[dict[str, torch.Tensor]]] = {}

    def start_epoch(self, epoch: int, model: MultimodalClassifier, data: Any) -> None:
        before = {k: v.clone() for k, v in model.state_dict().items()}
        super().start_epoch(epoch, model, data)
        self.noted[epoch] = [before, {k: v.clone() for k, v in model.state_dict().items()}]


def test_encoders_go_back_by_their_own_weight_and_the_head_stays() -> None:
    splits = make_tiny(("a", "b", "c"), missing=0.2)
    model = build(splits, "gated", normalise="batch")
    start = {k: v.clone() for k, v in model.state_dict().items()}
    method = Noted(every=2, strength=1.0, times=2)
    rows = fit(model, splits, method, **{**OPTIONS, "epochs": 7, "keep": "last"}).rows
    changed = [e for e, (one, other) in method.noted.items() if not same(one, other)]
    assert changed == [2, 4], "every second epoch, twice"
    assert [row["pull_a"] for row in rows[:2]] == [0, 0]
    for epoch in changed:
        before, after = method.noted[epoch]
        for name, value in after.items():
            w = 0.0
            if name.startswith("encoders.") and value.is_floating_point():
                w = rows[epoch][f"pull_{name.split('.')[1]}"]
            expected = before[name] if w == 0 else (1 - w) * before[name] + w * start[name]
            torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-4)
    for row in rows:
        for m in "abc":
            assert row[f"pull_{m}"] == pytest.approx(math.tanh(row[f"gap_{m}"]), abs=1e-6)
    assert len({row["pull_a"] for row in rows[4:]}) == 1, "what was measured last"


def test_gap_is_that_of_the_part_trained_on_and_the_part_held_out() -> None:
    splits = make_tiny(("a", "b"), samples=200)
    splits.train.inputs["b"].normal_(generator=torch.Generator().manual_seed(2))  # nothing to learn but by heart
    model, method = build(splits), Relearning(every=1, times=1)
    start = {k: v.clone() for k, v in model.state_dict().items()}
    fit(model, splits, method, **{**OPTIONS, "epochs": 1})
    kept, held = split_holdout(splits.train, "random", 0.2, 0)
    assert len(kept) + len(held) == len(splits.train)
    one, other = purities(model, kept), purities(model, held)
    method.start_epoch(1, model, splits.train)
    assert method.gaps.tolist() == pytest.approx([abs(one[m] - other[m]) for m in "ab"])
    assert method.pulls.max() > 0
    method.strength = 1e9
    method.pulls.zero_()
    method.start_epoch(1, model, splits.train)
    gone = [m for m, w in zip("ab", method.pulls.tolist(), strict=True) if w == 1]
    for m in gone:  # all the way: it is where it began
        own = {k: v for k, v in model.state_dict().items() if k.startswith(f"encoders.{m}.")}
        assert all(torch.allclose(v, start[k], atol=1e-7) for k, v in own.items())
    assert gone


@pytest.mark.parametrize("never", [{"strength": 0.0}, {"times": 0}, {"every": 9}])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_without_a_pull_it_is_joint_on_the_part_bit_for_bit(never: dict[str, Any], optimizer: str) -> None:
    splits = make_tiny(("a", "b"), missing=0.2)

    def trained(method: Joint, part: Any) -> dict[str, torch.Tensor]:
        model = build(splits, dropout=0.2)
        fit(model, replace(splits, train=part), method, **{**OPTIONS, "keep": "last", "optimizer": optimizer})
        return model.state_dict()

    joint = trained(Joint(), split_holdout(splits.train, "random", 0.2, 0)[0])
    assert same(joint, trained(Relearning(**{"every": 1, **never}), splits.train))
    assert not same(joint, trained(Relearning(every=1), splits.train))


def test_features_that_are_all_alike_or_fewer_than_classes() -> None:
    splits = make_tiny(("a", "b"))
    model = build(splits)
    for p in model.encoders["a"].parameters():
        p.data.zero_()
    found = purities(model, splits.train)
    assert found["a"] == pytest.approx(splits.train.labels.bincount().max().item() / len(splits.train))
    two = torch.stack([(splits.train.labels == c).nonzero()[0, 0] for c in (0, 1)])
    assert purities(model, splits.train.select(two)) == {"a": 0.5, "b": 1.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every: expected 1 epoch"),
        ({"strength": -1.0}, "strength: expected 0 or more"),
        ({"strength": math.inf}, "strength: expected 0 or more"),
        ({"times": -1}, "times: expected 0 or more"),
        ({"holdout_fraction": 1.0}, "holdout_fraction: expected a share"),
    ],
)
def test_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Relearning(**options)


def test_data_that_is_not_in_memory() -> None:
    splits = streamed(make_tiny(("a", "b")))
    with pytest.raises(TypeError, match="re-learning holds samples out and needs MultimodalData, in memory, found StreamedData"):
        fit(build(splits), splits, Relearning(), **OPTIONS)
