"""Features on one scale, by `build(..., normalise=...)`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmlib.model import build
from mmlib.normalise import KINDS, NormalisedEncoder
from mmlib.train import evaluate, fit
from tests.conftest import make_tiny

X = torch.randn(64, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 2, 3, 4, 5, 60.0]) + 7


def normalised(kind: Any, training: bool = True) -> Tensor:
    return NormalisedEncoder(nn.Identity(), 6, kind).train(training)(X)


def test_each_kind_by_hand() -> None:
    centred, deviation = X - X.mean(0), X.std(0, unbiased=False)
    torch.testing.assert_close(normalised("batch"), centred / (deviation**2 + 1e-5).sqrt() / 6**0.5)
    rows = X - X.mean(1, keepdim=True)
    torch.testing.assert_close(normalised("layer"), rows / (X.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt() / 6**0.5)
    torch.testing.assert_close(normalised("l2"), X / X.norm(dim=1, keepdim=True))
    torch.testing.assert_close(normalised("rms"), X / X.square().sum(1).mean().sqrt())
    torch.testing.assert_close(normalised("centre"), centred)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "centre"])
def test_features_have_a_length_of_about_one_whatever_the_scale(kind: Any) -> None:
    for scale in (1e-2, 1.0, 1e3):
        lengths = NormalisedEncoder(nn.Identity(), 6, kind).train()(X * scale).norm(dim=1)
        assert lengths.square().mean().sqrt() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_in_evaluation_mode_a_sample_does_not_depend_on_its_batch(kind: Any) -> None:
    encoder = NormalisedEncoder(nn.Identity(), 6, kind).train()
    for _ in range(200):
        whole = encoder(X)
    encoder.eval()
    torch.testing.assert_close(encoder(X[:1]), encoder(X)[:1])
    torch.testing.assert_close(encoder(X), whole, rtol=0.02, atol=0.02)  # the running statistics have arrived
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    encoder(X * 100)
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_no_parameters_and_the_same_start(kind: Any) -> None:
    splits = make_tiny(("a", "b"))
    plain, scaled = build(splits, dim=8), build(splits, dim=8, normalise=kind)
    assert [p.shape for p in plain.parameters()] == [p.shape for p in scaled.parameters()]
    assert all(torch.equal(p, q) for p, q in zip(plain.parameters(), scaled.parameters(), strict=True))
    assert scaled.dims == plain.dims


class Wide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(6, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_any_encoder_made_under_the_seed(kind: Any) -> None:
    splits = make_tiny(("a", "b"))
    one, two, other = (build(splits, encoders={"a": Wide}, dims={"a": 12}, normalise=kind, seed=s) for s in (0, 0, 1))
    assert torch.equal(next(one.encoders["a"].parameters()), next(two.encoders["a"].parameters()))
    assert not torch.equal(next(one.encoders["a"].parameters()), next(other.encoders["a"].parameters()))
    assert one.dims == {"a": 12, "b": 64}
    fit(one, splits, epochs=3, batch_size=16, lr=1e-2, progress=False, device="cpu")
    assert evaluate(one, splits.test)["accuracy"] > 0.6


def test_wrong_input() -> None:
    splits = make_tiny(("a", "b"))
    with pytest.raises(ValueError, match="normalise: unknown 'instance'; known: batch, layer, l2, rms, centre"):
        build(splits, normalise="instance")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="normalise: unknown 'x'"):
        NormalisedEncoder(nn.Identity(), 6, "x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"encoders\['a'\]: Wide has no attribute dim.*pass dims=\{'a': size\}"):
        build(splits, encoders={"a": Wide})
    with pytest.raises(ValueError, match="dims: unknown modality 'c'; the data has a, b"):
        build(splits, dims={"c": 3})
    with pytest.raises(TypeError, match=r"encoders\['a'\]: expected a torch.nn.Module, or a function .*found int"):
        build(splits, encoders={"a": lambda: 3})  # type: ignore[dict-item,return-value]
