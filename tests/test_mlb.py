"""MLB: coefficients by hand and by property, what is scaled, the control, and bad input."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlib.data.core import Batch
from mmlib.fusion import FUSIONS
from mmlib.methods import MLB
from mmlib.methods.mlb import balancing_coefficients
from mmlib.methods.ogm_ge import discrepancy_ratios
from mmlib.methods.own_heads import OwnHeads
from mmlib.model import MultimodalClassifier, Output, build
from mmlib.train import fit
from tests.conftest import make_tiny
from tests.stepping import OPTIONS, same, steps, weights


class Added(OwnHeads):
    """The control: all losses added, nothing scaled."""

    name = "added"

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: torch.optim.Optimizer) -> tuple[torch.Tensor, Output]:
        output = self.predict(model, batch.inputs, batch.present)
        loss = F.cross_entropy(output.logits, batch.labels)
        for own in self.own_losses(output, batch).values():
            loss = loss + own
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, output


def test_by_hand() -> None:
    found = balancing_coefficients({"a": torch.tensor(2.0), "b": 0.5, "c": 1.0}, alpha=0.6)
    expected = {"a": 1 + math.tanh(-0.3), "b": 1 + math.tanh(0.6), "c": 1}
    assert {m: k.item() for m, k in found.items()} == pytest.approx(expected)
    assert all(k.item() == 1 for k in balancing_coefficients({"a": 0.0, "b": 1e30}, alpha=0).values())


@given(rho=st.floats(1e-3, 1e3), other=st.floats(1e-3, 1e3), alpha=st.floats(0, 5))
@settings(max_examples=60, deadline=None)
def test_above_one_for_those_behind_below_for_those_ahead(rho: float, other: float, alpha: float) -> None:
    k = {m: v.item() for m, v in balancing_coefficients({"a": rho, "b": other}, alpha).items()}
    turned = balancing_coefficients({"b": other, "a": rho}, alpha)
    assert k == {m: v.item() for m, v in turned.items()}
    assert all(0 <= v <= 2 for v in k.values())
    assert (k["a"] - 1) * (1 - rho) >= 0
    assert (k["a"] - k["b"]) * (other - rho) >= 0


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("modalities", [("a", "b"), ("a", "b", "c")], ids=len)
def test_scales_encoders_alone_by_what_their_own_heads_say(fusion: str, modalities: tuple[str, ...]) -> None:
    splits = make_tiny(modalities)
    model, method = build(splits, fusion), MLB(alpha=1.0)
    fit(model, splits, method, **OPTIONS)
    batch = next(iter(splits.train.batches(24)))
    plain, changed = steps(Added(), model, batch), steps(method, model, batch)
    method.setup(model, splits.train, 0)  # the heads that the step saw
    rho = discrepancy_ratios({m: method.heads[m](model.encoders[m](batch.inputs[m])) for m in modalities}, batch.labels)
    k = balancing_coefficients(rho, 1.0)
    assert min(k.values()) < 1 < max(k.values()), "both ways"
    for name, gradient in plain.items():
        factor = k[name.split(".")[1]] if name.startswith("encoders.") else 1.0
        torch.testing.assert_close(changed[name], factor * gradient, atol=1e-6, rtol=2e-3)


def test_three_are_compared_with_the_mean_of_the_others() -> None:
    """Probabilities of the true class .8, .4, .2: the authors' code has (.4 + .2) / 2 / .8 and so on."""
    said = {m: torch.tensor([[math.log(p), math.log(1 - p)]]) for m, p in (("a", 0.8), ("b", 0.4), ("c", 0.2))}
    k = balancing_coefficients(discrepancy_ratios(said, torch.tensor([0])), 0.8)
    for m, ratio in (("a", 0.3 / 0.8), ("b", 0.5 / 0.4), ("c", 0.6 / 0.2)):
        assert k[m].item() == pytest.approx(1 + math.tanh(0.8 * (ratio - 1)), rel=1e-5)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_strength_zero_is_the_sum_of_the_losses_bit_for_bit(optimizer: str, missing: float) -> None:
    splits = make_tiny(("a", "b", "c"), missing=missing)
    control = weights(Added(), splits, "gated", optimizer=optimizer)
    assert same(control, weights(MLB(alpha=0), splits, "gated", optimizer=optimizer))
    assert not same(control, weights(MLB(alpha=1), splits, "gated", optimizer=optimizer))


@pytest.mark.parametrize("passed", [True, False])
def test_a_batch_without_a_modality(passed: bool) -> None:
    splits = make_tiny(("a", "b", "c"))
    model, x = build(splits), next(iter(splits.train.batches(24)))
    no = torch.zeros(24, dtype=torch.bool)
    batch = Batch(x.inputs, x.labels, {"a": ~no, "b": ~no, "c": no})
    if not passed:
        batch = Batch({m: x.inputs[m] for m in "ab"}, x.labels)
    method = MLB()
    told = steps(method, model, batch)
    row = method.report()
    assert row["ratio_c"] == row["coefficient_c"] == 1
    assert row["ratio_a"] * row["ratio_b"] == pytest.approx(1, rel=1e-5)
    assert not any(g.any() for n, g in told.items() if n.startswith(("encoders.c.", "heads.c.")))


@pytest.mark.parametrize("alpha", [-0.1, math.inf, math.nan])
def test_strength_out_of_range(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha: expected a strength of 0 or more"):
        MLB(alpha)


def test_one_modality() -> None:
    splits = make_tiny(("a",), samples=30)
    with pytest.raises(ValueError, match="MLB compares modalities and needs two or more, found a"):
        fit(build(splits), splits, MLB(), **OPTIONS)
