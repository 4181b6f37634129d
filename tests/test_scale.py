"""Chapter "Scale": lengths that are set by hand, parts of a normalisation, and rates that validation data chose."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mmlib.book import results
from mmlib.book.lengths import MeasuredJoint
from mmlib.book.scaled import (
    DosedEncoder,
    DosedJoint,
    InsideJoint,
    NormalisedInside,
    PartlyNormalised,
    PartlyNormalisedJoint,
)
from mmlib.book.studies import STUDIES, scale
from mmlib.book.studies.scale_rates import SCALE_RATES
from mmlib.data import load
from mmlib.encoders import stages
from mmlib.methods import Joint
from mmlib.model import build
from mmlib.normalise import NormalisedEncoder
from mmlib.train import evaluate, fit

BATCH = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)) * 3 + 2


@pytest.mark.parametrize(("study", "rows"), [("scale_rates", scale.part_rows), ("dose_rates", scale.dose_rows)])
def test_the_rates_are_those_that_validation_chose(study: str, rows) -> None:  # type: ignore[no-untyped-def]
    stored = results.load(study)
    for label in rows():
        rates = scale.rates(label)
        means = [stored.interval(f"{label}, lr {rate:g}", "val_accuracy").mean for rate in rates]
        assert SCALE_RATES[label] == rates[means.index(max(means))], label


def test_every_row_tries_four_rates_and_has_ten_draws() -> None:
    assert set(SCALE_RATES) == {*scale.part_rows(), *scale.dose_rows()}
    for tried, chosen in (("scale_rates", "scale"), ("dose_rates", "dose")):
        assert len(STUDIES[tried].settings()) == 4 * len(STUDIES[chosen].settings())
        assert STUDIES[tried].seeds == 3
        assert STUDIES[chosen].seeds == 10


def test_dividing_is_a_constant() -> None:
    net = PartlyNormalised(nn.Identity(), 8, "divide")
    assert torch.equal(net(BATCH), BATCH / math.sqrt(8))


def test_learned_parameters_start_as_batch_normalisation_and_are_trained() -> None:
    net = PartlyNormalised(nn.Identity(), 8, "parameters")
    torch.testing.assert_close(net(BATCH), nn.BatchNorm1d(8, affine=False)(BATCH) / math.sqrt(8))
    assert sum(p.numel() for p in net.parameters()) == 16


def test_running_statistics_do_not_depend_on_who_else_is_in_the_batch() -> None:
    """Beyond what the batch adds to them: a tenth of the way towards its own mean and variance, and no gradient."""
    net = PartlyNormalised(nn.Identity(), 8, "running")
    x = BATCH.clone().requires_grad_()
    made = net(x)
    mean, variance = 0.1 * BATCH.mean(0), 0.9 + 0.1 * BATCH.var(0, unbiased=False)
    torch.testing.assert_close(made, (BATCH - mean) / (variance + 1e-5).sqrt() / math.sqrt(8))
    made[0].sum().backward()
    assert x.grad is not None
    assert not x.grad[1:].any(), "no gradient to the other samples"
    net.eval()
    before = net.mean.clone()
    torch.testing.assert_close(net(BATCH[:1]), net(BATCH)[:1])
    assert torch.equal(net.mean, before)


@pytest.mark.parametrize("ratio", [0.1, 1.0, 10.0])
def test_lengths_have_the_ratio_that_was_set(ratio: float) -> None:
    splits = load("two_speed", seed=0)
    model = build(splits, seed=0)
    fit(model, splits, DosedJoint(ratio), epochs=2, seed=0, progress=False, keep="last")
    model.train()  # in evaluation mode it is by running lengths, which lag behind while features grow
    with torch.no_grad():
        made = model.encode(splits.train.inputs)
    lengths = {m: float((f**2).sum(1).mean().sqrt()) for m, f in made.items()}
    assert lengths["fast"] / lengths["slow"] == pytest.approx(ratio, rel=1e-4)
    assert math.sqrt(lengths["fast"] * lengths["slow"]) == pytest.approx(1, rel=1e-4)


def test_a_second_fit_sets_a_new_ratio_and_wraps_nothing_twice() -> None:
    splits = load("two_speed", seed=0)
    model = build(splits, seed=0)
    for ratio in (1.0, 4.0):
        fit(model, splits, DosedJoint(ratio), epochs=1, seed=0, progress=False)
    encoder = model.encoders["fast"]
    assert isinstance(encoder, DosedEncoder)
    assert encoder.factor == 2
    assert not isinstance(encoder.encoder, DosedEncoder)
    for _ in range(2):
        fit(model, splits, PartlyNormalisedJoint("divide"), epochs=1, seed=0, progress=False)
    wrapped = model.encoders["fast"]
    assert isinstance(wrapped, PartlyNormalised)
    assert not isinstance(wrapped.encoder, PartlyNormalised)


@pytest.mark.parametrize("part", ["divide", "running", "parameters"])
def test_every_part_trains(part: str) -> None:
    splits = load("two_speed", seed=0)
    model = build(splits, seed=0)
    fit(model, splits, PartlyNormalisedJoint(part), epochs=3, seed=0, progress=False)  # type: ignore[arg-type]
    assert evaluate(model, splits.test)["accuracy"] > 0.7


def test_wrong_input() -> None:
    with pytest.raises(ValueError, match="part: unknown 'half'"):
        PartlyNormalisedJoint("half")  # type: ignore[arg-type]
    for ratio in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="ratio: expected a positive number"):
            DosedJoint(ratio)
    splits = load("digits", seed=0)
    with pytest.raises(ValueError, match="expected two modalities, found image, audio, text"):
        fit(build(splits, seed=0), splits, DosedJoint(1.0), epochs=1, progress=False)


@pytest.mark.parametrize("name", ["two_speed", "digits", "emoji"])
def test_normalised_inside_is_normalised_after_every_hidden_layer(name: str) -> None:
    splits = load(name, seed=0)
    model = build(splits, seed=0)
    whole = {m: stages(encoder) for m, encoder in model.encoders.items()}
    InsideJoint().setup(model, splits.train, 0)
    for m, encoder in model.encoders.items():
        assert isinstance(encoder, NormalisedInside)
        assert len(encoder.norms) == len(whole[m]) - 1
        x = splits.train.inputs[m][:64]
        hidden = encoder.norms[0](whole[m][0](x).flatten(2) if x.ndim == 4 else whole[m][0](x).flatten(0, -2))
        channels = hidden.transpose(1, 2).flatten(0, 1) if x.ndim == 4 else hidden
        torch.testing.assert_close(channels.mean(0), torch.zeros(channels.shape[1]), atol=1e-4, rtol=0)
        assert encoder(x).shape == (64, model.dims[m])


def test_normalised_inside_goes_under_the_normalisation_of_features_and_wraps_nothing_twice() -> None:
    splits = load("two_speed", seed=0)
    model = build(splits, seed=0, normalise="layer")
    method = InsideJoint()
    for _ in range(2):
        fit(model, splits, method, epochs=1, seed=0, progress=False)
    outer = model.encoders["fast"]
    assert isinstance(outer, NormalisedEncoder)
    assert isinstance(outer.encoder, NormalisedInside)
    assert isinstance(outer.encoder.encoder, nn.Module)
    assert not isinstance(outer.encoder.encoder, NormalisedInside)


def test_measuring_lengths_changes_nothing_and_gives_mean_norms() -> None:
    splits = load("two_speed", seed=0)
    ours, theirs = build(splits, seed=0), build(splits, seed=0)
    history = fit(ours, splits, MeasuredJoint(), epochs=2, seed=0, progress=False, keep="last")
    fit(theirs, splits, Joint(), epochs=2, seed=0, progress=False, keep="last")
    assert all(torch.equal(p, q) for p, q in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True))
    with torch.no_grad():
        made = ours.encode(splits.val.inputs)
    for m, f in made.items():
        assert history.rows[-1][f"length_{m}"] == pytest.approx(f.norm(dim=1).mean().item(), rel=1e-5)
