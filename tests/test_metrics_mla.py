"""Forgetting, the modality gap, calibration."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmlib.methods import MLA
from mmlib.metrics import (
    WatchedMLA,
    calibration_by_modality,
    expected_calibration_error,
    forgetting,
    gap_direction,
    modality_gap,
    reliability,
    shift_along_gap,
    update_angle,
    within_spread,
)
from mmlib.model import build
from mmlib.train import fit
from tests.conftest import make_tiny

OPTIONS: dict[str, Any] = {"epochs": 2, "batch_size": 16, "lr": 1e-2, "device": "cpu", "progress": False}


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Forgetting


def test_forgetting_is_a_change_of_loss() -> None:
    head = nn.Linear(4, 3)
    f, y = draw(9, 4), torch.arange(9) % 3
    weight, bias = head.weight.detach(), head.bias.detach()
    for step, sign in ((0.05, -1), (-0.05, 1)):  # down the gradient it remembers, up it forgets
        head.zero_grad()
        loss = nn.functional.cross_entropy(head(f), y)
        loss.backward()
        assert head.weight.grad is not None
        after = (weight - step * head.weight.grad, bias)
        change = forgetting((weight, bias), after, f, y)
        assert change.shape == ()
        assert sign * float(change) > 0
        expected = nn.functional.cross_entropy(f @ after[0].T + bias, y) - loss
        torch.testing.assert_close(change, expected.detach())
    assert forgetting((weight, None), (weight, None), f, y) == 0


def test_an_orthogonal_update_forgets_nothing() -> None:
    f, y = torch.cat([draw(6, 2), torch.zeros(6, 2)], dim=1), torch.arange(6) % 3
    update = torch.cat([torch.zeros(3, 2), draw(3, 2, seed=1)], dim=1)
    weight = draw(3, 4, seed=2)
    assert float(forgetting((weight, None), (weight + update, None), f, y)) == pytest.approx(0, abs=1e-6)
    assert update_angle(update, f) == pytest.approx(90)


def test_angles_by_hand() -> None:
    along = torch.tensor([[1.0, 0.0, 0.0]])
    assert update_angle(torch.tensor([[0.0, 2.0, 0.0]]), along) == pytest.approx(90)
    assert update_angle(torch.tensor([[-3.0, 0.0, 0.0]]), along) == pytest.approx(0, abs=1e-6)
    assert update_angle(torch.tensor([[1.0, 1.0, 0.0]]), along) == pytest.approx(45)
    assert update_angle(torch.tensor([[1.0, 1.0, 0.0]]), torch.eye(3)) == pytest.approx(0, abs=1e-6)
    assert update_angle(torch.ones(2, 3), torch.cat([along, along, 2 * along])) == pytest.approx(math.degrees(math.acos(3**-0.5)))
    assert math.isnan(update_angle(torch.zeros(2, 3), along))
    with pytest.raises(ValueError, match=r"expected \[C, D\] and \[K, D\]"):
        update_angle(torch.ones(3), along)


@pytest.mark.parametrize("hgm", ["off", "paper", "others"])
def test_watching_changes_nothing(hgm: Any) -> None:
    splits = make_tiny(("a", "b"), missing=0.2)
    runs = []
    for kind in (MLA, WatchedMLA):
        model, method = build(splits, dropout=0.3), kind(hgm=hgm, order="shuffled")
        history = fit(model, splits, method, **OPTIONS)
        runs.append((model, method, [{**r, "seconds": 0} for r in history.rows]))
    (one, plain, rows), (two, watched, same) = runs
    assert rows == same
    assert all(torch.equal(v, two.state_dict()[k]) for k, v in one.state_dict().items())
    assert torch.equal(plain.head.weight, watched.head.weight)

    assert isinstance(watched, WatchedMLA)
    notes = watched.frame
    assert len(notes) == 2 * 2 * math.ceil(len(splits.train) / 16), "epochs x modalities x batches"
    assert set(notes["modality"]) == {"a", "b"}
    assert notes.loc[notes["modality"] == "a", "forgetting_b"].notna().all()
    assert notes.loc[notes["modality"] == "a", "forgetting_a"].isna().all()
    if hgm == "off":
        assert "kept" not in notes
    else:
        assert notes["kept"].between(0, 1 + 1e-5).all()
        assert notes["turned"].between(0, 90).all()
        assert notes["eigenvalue_low"].gt(-1e-6).all()
        assert notes["eigenvalue_high"].le(1 + 1e-5).all()
    assert notes["angle_gradient"].dropna().between(0, 90).all()


def test_watching_what_does_not_share() -> None:
    with pytest.raises(ValueError, match="shared head and alternating turns"):
        WatchedMLA(hgm="off", head="separate")
    with pytest.raises(ValueError, match="shared head and alternating turns"):
        WatchedMLA(hgm="off", turns="together")


# The gap


def test_gap_by_hand() -> None:
    a, b = torch.tensor([[1.0, 0.0], [5.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    assert modality_gap(a, b) == pytest.approx(2**0.5)
    torch.testing.assert_close(gap_direction(a, b), torch.tensor([1.0, -1.0]) / 2**0.5)
    assert modality_gap(a, 7 * a) == pytest.approx(0)
    assert gap_direction(a, a).tolist() == [0, 0]
    assert modality_gap(a, -a) == pytest.approx(2)
    assert within_spread(a) == pytest.approx(0)
    assert within_spread(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])) == pytest.approx(1)
    assert modality_gap(torch.zeros(3, 2), b) == pytest.approx(1), "features of zeros have no direction"


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 8), st.floats(0.01, 100), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_gap_is_a_distance(n: int, k: int, dim: int, scale: float, seed: int) -> None:
    a, b = draw(n, dim, seed=seed), draw(k, dim, seed=seed + 1)
    gap = modality_gap(a, b)
    assert 0 <= gap <= 2 + 1e-9
    assert gap == pytest.approx(modality_gap(b, a))
    assert gap == pytest.approx(modality_gap(scale * a, b), abs=1e-5), "lengths do not matter"
    assert 0 <= within_spread(a) <= 1 + 1e-9
    torch.testing.assert_close(gap_direction(a, b), -gap_direction(b, a))


def test_shift_along_gap() -> None:
    a, b = draw(9, 3) + 2, draw(7, 3, seed=1)
    for by in (0.0, 0.5, 1.0, -1.0):
        moved_a, moved_b = shift_along_gap(a, b, by)
        torch.testing.assert_close(moved_a.mean(0) - moved_b.mean(0), (1 - by) * (a.mean(0) - b.mean(0)))
        torch.testing.assert_close(moved_a - moved_a.mean(0), a - a.mean(0), atol=1e-5, rtol=1e-5)


def test_gap_of_features_that_do_not_compare() -> None:
    with pytest.raises(ValueError, match="expected one size D for both"):
        modality_gap(torch.ones(2, 3), torch.ones(2, 4))
    with pytest.raises(ValueError, match=r"expected shape \[N, D\] with N >= 1"):
        modality_gap(torch.ones(0, 3), torch.ones(2, 3))


# Calibration


def test_calibration_by_hand() -> None:
    p = torch.tensor([[0.85, 0.15], [0.85, 0.15], [0.65, 0.35], [0.35, 0.65]])
    labels = torch.tensor([0, 1, 0, 0])  # confidence .85: half right; confidence .65: half right
    assert expected_calibration_error(p.log(), labels, bins=10) == pytest.approx(0.5 * 0.35 + 0.5 * 0.15, abs=1e-5)
    found = reliability(p.log(), labels, bins=10)
    assert found.share.tolist() == [0, 0, 0, 0, 0, 0, 0.5, 0, 0.5, 0]
    assert found.accuracy[~found.accuracy.isnan()].tolist() == [0.5, 0.5]


def test_who_knows_how_much_it_knows_is_calibrated() -> None:
    p = torch.softmax(2 * draw(40_000, 4), dim=1)
    labels = torch.multinomial(p, 1, generator=torch.Generator().manual_seed(1))[:, 0]
    assert expected_calibration_error(p.log(), labels) < 0.01
    assert expected_calibration_error(5 * p.log(), labels) > 0.1, "too sure of itself"


def test_calibration_counts_who_is_there() -> None:
    sure = torch.tensor([[50.0, 0.0]]).expand(4, 2)
    labels, there = torch.tensor([0, 0, 1, 1]), torch.tensor([True, True, False, False])
    errors = calibration_by_modality({"a": sure, "b": sure, "c": sure}, labels, {"a": there, "c": ~there & there})
    assert errors["a"] == pytest.approx(0)
    assert errors["b"] == pytest.approx(0.5)
    assert math.isnan(errors["c"])


def test_calibration_errors() -> None:
    with pytest.raises(ValueError, match="bins: expected 1 or more, found 0"):
        reliability(torch.zeros(2, 2), torch.zeros(2, dtype=torch.long), bins=0)
    with pytest.raises(ValueError, match=r"expected shapes \[N, C\] and \[N\]"):
        reliability(torch.zeros(2, 2), torch.zeros(3, dtype=torch.long))
