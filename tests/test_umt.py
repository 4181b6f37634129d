"""Unimodal teachers: the loss by hand, how teachers are made, what they are not, neutral value, bad input."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from mmlib.methods import UMT, Joint, LateFusion, Method
from mmlib.methods.umt import distillation_loss
from mmlib.model import MultimodalClassifier, build
from mmlib.train import fit
from tests.conftest import make_tiny

OPTIONS: dict[str, Any] = {"epochs": 3, "batch_size": 16, "lr": 1e-2, "device": "cpu", "progress": False, "keep": "last"}


def test_by_hand() -> None:
    f = {"a": torch.tensor([[1.0, 2.0], [0.0, 0.0]]), "b": torch.tensor([[3.0], [1.0]])}
    t = {"a": torch.tensor([[0.0, 0.0], [2.0, 0.0]]), "b": torch.tensor([[1.0], [1.0]])}
    assert {m: x.item() for m, x in distillation_loss(f, t).items()} == {"a": 9 / 4, "b": 2.0}
    present = {"a": torch.tensor([True, False]), "b": torch.tensor([False, False])}
    assert {m: x.item() for m, x in distillation_loss(f, t, present).items()} == {"a": 2.5, "b": 0.0}
    assert not sum(distillation_loss(f, f).values())


def trained(method: Method, missing: float = 0.0, **options: Any) -> MultimodalClassifier:
    splits = make_tiny(("a", "b", "c"), missing=missing)
    model = build(splits, dropout=0.2)
    fit(model, splits, method, **{**OPTIONS, **options})
    return model


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_strength_zero_is_joint_bit_for_bit(optimizer: str, missing: float) -> None:
    joint = trained(Joint(), missing, optimizer=optimizer).state_dict()
    method = UMT(0)
    same = trained(method, missing, optimizer=optimizer).state_dict()
    assert all(torch.equal(joint[n], same[n]) for n in joint)
    assert not method.state_dict(), "no teachers where nobody listens"


def test_teachers_are_trained_apart_and_stay_as_they_were() -> None:
    splits = make_tiny(("a", "b", "c"))
    seen: list[dict[str, torch.Tensor]] = []
    method = UMT()
    model = build(splits)
    start = {n: v.clone() for n, v in model.state_dict().items()}
    fit(model, splits, method, callback=lambda *_: seen.append({n: v.clone() for n, v in method.state_dict().items()}), **OPTIONS)
    first = seen[0]
    assert all(torch.equal(v, later[n]) for later in seen[1:] for n, v in first.items())
    assert all(torch.equal(first[f"teacher.{n}"], v) == n.startswith("fusion.") for n, v in start.items())
    assert not any(p.requires_grad for p in method.teacher.parameters())
    # as well trained as late fusion, which does the same on the same start
    late = LateFusion()
    fit(other := build(splits), splits, late, **OPTIONS)
    start_gap, gap = (
        sum((first[f"teacher.{n}"] - v).norm().item() for n, v in state.items() if n.startswith("encoders."))
        for state in (start, other.state_dict())
    )
    assert 0 < gap < start_gap


def test_teachers_depend_on_the_seed_alone() -> None:
    def teachers(**options: Any) -> dict[str, torch.Tensor]:
        method = UMT()
        trained(method, **options)
        return method.state_dict()

    one, again, longer, other = teachers(), teachers(), teachers(epochs=4), teachers(seed=1)
    assert all(torch.equal(one[n], again[n]) for n in one)
    assert not all(torch.equal(one[n], longer[n]) for n in one), "trained for the epochs of the run"
    assert not all(torch.equal(one[n], other[n]) for n in one)


def test_a_prolonged_run_is_the_whole_one_where_the_teachers_epochs_are_given(tmp_path: Path) -> None:
    whole = trained(UMT(epochs=2))
    trained(UMT(epochs=2), epochs=1, checkpoint=tmp_path / "run.pt")
    prolonged = trained(UMT(epochs=2), checkpoint=tmp_path / "run.pt", resume=True)
    assert all(torch.equal(v, prolonged.state_dict()[n]) for n, v in whole.state_dict().items())


def test_features_follow_the_teachers() -> None:
    x = make_tiny(("a", "b", "c")).test.inputs
    gaps = []
    for strength in (1e-6, 3.0):
        method = UMT(strength)
        model = trained(method, epochs=5)
        gaps.append(sum(distillation_loss(model.encode(x), method.teacher.encode(x)).values()).item())  # type: ignore[union-attr]
    assert gaps[1] < gaps[0] / 2


def test_teachers_speak_in_evaluation_mode() -> None:
    method = UMT()
    trained(method)
    assert not any(part.training for part in method.train().teacher.modules())


def test_going_on_does_not_train_them_again(tmp_path: Path) -> None:
    class Counting(UMT):
        count = 0

        def _train_teachers(self, *args: Any) -> None:
            Counting.count += 1
            super()._train_teachers(*args)

    whole = trained(Counting())
    assert Counting.count == 1
    first = Counting()
    trained(first, epochs=2, checkpoint=tmp_path / "run.pt")
    method = Counting()
    model = trained(method, checkpoint=tmp_path / "run.pt", resume=True)
    assert Counting.count == 2
    assert all(torch.equal(v, method.state_dict()[n]) for n, v in first.state_dict().items())
    assert set(model.state_dict()) == set(whole.state_dict())


def test_frozen_encoders_have_frozen_teachers() -> None:
    splits = make_tiny(("a", "b"))
    model, method = build(splits), UMT()
    model.encoders["a"].requires_grad_(False)
    start = {n: v.clone() for n, v in model.state_dict().items()}
    fit(model, splits, method, **OPTIONS)
    for n, v in start.items():
        assert torch.equal(method.state_dict()[f"teacher.{n}"], v) == (not n.startswith("encoders.b"))


def test_a_second_training_does_not_take_the_first_along() -> None:
    splits = make_tiny(("a", "b"))
    model = build(splits)
    fit(model, splits, UMT(), **OPTIONS)
    second = UMT()
    fit(model, splits, second, **OPTIONS)
    assert second.teacher.method is None
    assert model.method is second


@pytest.mark.parametrize("strength", [-1.0, math.nan, math.inf])
def test_bad_strength(strength: float) -> None:
    with pytest.raises(ValueError, match="strength: expected a number of 0 or more, found"):
        UMT(strength)


def test_bad_epochs() -> None:
    with pytest.raises(ValueError, match="epochs: expected 1 or more, found 0"):
        UMT(epochs=0)
