"""Data with holes, modality dropout, features about pinned centres, and methods that note the modality gap."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mmlib.book.pinned import PinnedEncoder, PinnedGap
from mmlib.data import incomplete, load, lose
from mmlib.data.core import Batch
from mmlib.methods import MLA, GradientBlending, Joint, LateFusion, ModalityDropout
from mmlib.metrics import GapWatch, features, modality_gap
from mmlib.model import build
from mmlib.train import evaluate, fit
from tests.conftest import make_tiny

OPTIONS = {"epochs": 3, "batch_size": 16, "lr": 1e-2, "device": "cpu", "progress": False}


class WatchedJoint(GapWatch, Joint):
    pass


class WatchedLateFusion(GapWatch, LateFusion):
    pass


class WatchedBlending(GapWatch, GradientBlending):
    pass


class PinnedMLA(PinnedGap, MLA):
    pass


@pytest.mark.parametrize(("rate", "modalities"), [(0.0, 3), (0.3, 2), (0.8, 3), (1.0, 3), (1.0, 1)])
def test_lose_has_the_share_it_promises_and_spares_the_last(rate: float, modalities: int) -> None:
    names = ("a", "b", "c")[:modalities]
    data = lose(make_tiny(names, samples=4000).train, rate, seed=1)
    assert data.present is not None
    there = torch.stack([data.present[m] for m in names])
    assert there.any(0).all()
    assert 1 - there.float().mean().item() == pytest.approx(rate - rate**modalities / modalities, abs=0.015)
    for m in names:  # nobody is preferred, and what is lost is gone
        assert data.present[m].float().mean().item() == pytest.approx(there.float().mean().item(), abs=0.03)
        assert not data.inputs[m][~data.present[m]].any()


def test_lose_is_independent_between_modalities_and_repeats_with_its_seed() -> None:
    data = make_tiny(("a", "b", "c"), samples=6000).train
    first, again, other = (lose(data, 0.3, seed=s).present for s in (3, 3, 4))
    assert first is not None
    assert again is not None
    assert other is not None
    assert all(torch.equal(first[m], again[m]) for m in first)
    assert any(not torch.equal(first[m], other[m]) for m in first)
    both = (~first["a"] & ~first["b"]).float().mean().item()  # 0.09, less the share of those who would lose all and keep one
    assert both == pytest.approx(0.3**2 - 0.3**3 * 2 / 3, abs=0.02)


def test_lose_takes_from_what_a_sample_still_has() -> None:
    data = make_tiny(("a", "b"), samples=500, missing=0.4).train
    lost = lose(data, 0.9, seed=0)
    assert data.present is not None
    assert lost.present is not None
    for m in data.modalities:
        assert not (lost.present[m] & ~data.present[m]).any(), "nothing comes back"


def test_lose_refuses_a_rate_that_is_no_share() -> None:
    with pytest.raises(ValueError, match=r"rate: expected a share from 0 to 1, found 1\.5"):
        lose(make_tiny(("a", "b")).train, 1.5)


def test_incomplete_data_sets() -> None:
    whole = load("two_speed", seed=2)
    assert torch.equal(incomplete(2, "two_speed").train.inputs["fast"], whole.train.inputs["fast"])
    test_only = incomplete(2, "two_speed", rate=0.5, splits=["test"])
    assert test_only.train.present is None
    assert test_only.val.present is None
    assert test_only.test.present is not None
    one = incomplete(2, "two_speed", rate=0.5, modality="slow").train
    assert one.present is not None
    assert one.present["fast"].all()
    assert one.present["slow"].float().mean().item() == pytest.approx(0.5, abs=0.001)
    filled = incomplete(2, "two_speed", rate=0.5, modality="slow", fill=True).train
    assert filled.present is None
    assert torch.equal(filled.inputs["slow"], one.inputs["slow"])
    assert (filled.inputs["slow"].flatten(1) == 0).all(1).float().mean().item() == pytest.approx(0.5, abs=0.001)
    with pytest.raises(ValueError, match="unknown"):
        incomplete(2, "two_speed", rate=0.5, modality="taste")


def test_lose_takes_splits_and_gives_each_a_draw_of_its_own() -> None:
    whole = make_tiny(("a", "b"), samples=600)
    made = lose(whole, 0.4, seed=2)
    assert (made.name, made.classes, made.prepare) == (whole.name, whole.classes, whole.prepare)
    for number, (split, data) in enumerate(made.items()):
        alone = lose(getattr(whole, split), 0.4, seed=3 * 2 + number)
        assert data.present is not None
        assert alone.present is not None
        assert all(torch.equal(data.present[m], alone.present[m]) for m in ("a", "b"))
    with pytest.raises(TypeError, match="data: expected MultimodalData or Splits, in memory, found dict"):
        lose({}, 0.4)  # type: ignore[call-overload]
    known = incomplete(1, "two_speed", rate=0.4).train.present
    again = lose(load("two_speed", seed=1), 0.4, seed=1).train.present
    assert known is not None
    assert again is not None
    assert all(torch.equal(known[m], again[m]) for m in known)


@pytest.mark.parametrize("options", [{"rate": 0.5}, {"rate": 0.5, "modality": "slow"}, {}])
def test_incomplete_refuses_splits_that_there_are_not(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"splits: unknown \['tset'\]; known: train, val, test"):
        incomplete(0, "two_speed", splits=["tset"], **options)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"splits: expected a list of names, found the text 'test'; write \['test'\]"):
        incomplete(0, "two_speed", splits="test", **options)  # type: ignore[arg-type]


def test_modality_dropout_of_rate_zero_is_joint_training_bit_for_bit() -> None:
    splits = make_tiny(("a", "b"), missing=0.3)
    models = [build(splits, dropout=0.3) for _ in range(2)]  # whose own draws would show any other
    methods = (Joint(), ModalityDropout(0.0))
    losses = [fit(m, splits, how, **OPTIONS).frame["train_loss"].tolist() for m, how in zip(models, methods, strict=True)]
    assert losses[0] == losses[1]


def test_modality_dropout_drops_the_share_it_says_and_never_the_last() -> None:
    torch.manual_seed(0)
    n = 20_000
    present = {"a": torch.ones(n, dtype=torch.bool), "b": torch.arange(n) % 2 == 0}
    batch = Batch({m: torch.zeros(n, 1) for m in present}, torch.zeros(n, dtype=torch.long), present)
    kept = ModalityDropout(0.3)._kept(batch)
    assert not (kept["b"] & ~present["b"]).any()
    assert (kept["a"] | kept["b"]).all()
    assert kept["a"][~present["b"]].all(), "the only one that a sample has stays"
    both = present["b"]
    assert kept["a"][both].float().mean().item() == pytest.approx(0.7 + 0.09, abs=0.01)  # who would lose both loses none
    for rate in (1, 1.5, -0.1):
        with pytest.raises(ValueError, match=f"rate: expected a share from 0 to below 1, found {rate}"):
            ModalityDropout(rate)


def test_a_step_of_modality_dropout_sees_every_sample_with_all_or_without_what_it_lost() -> None:
    torch.manual_seed(0)
    splits = make_tiny(("a", "b"), samples=3000)
    model, method = build(splits), ModalityDropout(0.4)
    batch = next(splits.train.batches(2000))
    n = len(batch.labels)
    some, none = torch.ones(n, dtype=torch.bool), torch.zeros(n, dtype=torch.bool)
    with torch.no_grad():
        views = [model(batch.inputs, {"a": a, "b": b}).logits for a, b in ((some, some), (some, none), (none, some))]
    loss, output = method.step(model, batch, torch.optim.SGD(model.parameters(), lr=0.1))
    said = torch.stack([torch.isclose(output.logits, view, atol=1e-5).all(1) for view in views])  # [3, n]
    assert bool((said.sum(0) == 1).all()), "each sample was seen in exactly one of three ways"
    shares = said.float().mean(1).tolist()  # whole: both kept, or both lost
    assert shares == pytest.approx([0.6**2 + 0.4**2, 0.6 * 0.4, 0.6 * 0.4], abs=0.04)
    assert loss.item() == pytest.approx(torch.nn.functional.cross_entropy(output.logits, batch.labels).item())


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize(("plain", "watched"), [(Joint, WatchedJoint), (LateFusion, WatchedLateFusion)])
def test_watching_the_gap_changes_nothing_and_tells_that_of_the_validation_data(
    plain: type[Joint], watched: type[Joint], missing: float
) -> None:
    splits = make_tiny(("a", "b", "c"), missing=missing)
    one, two = build(splits), build(splits)
    before = fit(one, splits, plain(), **OPTIONS, keep="last").frame
    after = fit(two, splits, watched(), **OPTIONS, keep="last").frame
    assert before["train_loss"].tolist() == after["train_loss"].tolist()
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))
    assert {c for c in after if c.startswith(("gap_", "spread_"))} == {
        "gap_a_b", "gap_a_c", "gap_b_c", "spread_a", "spread_b", "spread_c"
    }  # fmt: skip
    seen = features(two, splits.val)
    here = {m: f if splits.val.present is None else f[splits.val.present[m]] for m, f in seen.items()}
    assert after["gap_a_b"].iloc[-1] == pytest.approx(modality_gap(here["a"], here["b"]), rel=1e-5)


def test_a_watched_method_still_starts_its_epochs() -> None:
    splits = make_tiny(("a", "b"))
    made = [kind(mode="online", super_epoch=1) for kind in (GradientBlending, WatchedBlending)]
    plain, watched = (fit(build(splits), splits, method, **OPTIONS).rows for method in made)
    assert [len(method.measured) for method in made] == [3, 3], "weights are estimated as an epoch starts"
    for row, told in zip(plain, watched, strict=True):
        assert {k: told[k] for k in row} == {**row, "seconds": told["seconds"]}


def test_standardised_features_have_their_centre_at_zero_and_length_one() -> None:
    torch.manual_seed(0)
    encoder = PinnedEncoder(nn.Linear(5, 8), 8, torch.zeros(8))
    f = encoder(10 * torch.randn(500, 5) + 3)
    assert f.mean(0).abs().max().item() < 1e-5
    assert f.square().sum(1).mean().item() == pytest.approx(1, abs=1e-3)
    assert not list(encoder.norm.parameters()), "nothing to train"


@pytest.mark.parametrize("distance", [0.0, 1.0, 3.0])
def test_the_pinned_gap_is_what_was_asked_for_whatever_is_learned(distance: float) -> None:
    splits = make_tiny(("a", "b"), samples=400)
    model, method = build(splits), PinnedMLA(distance)
    fit(model, splits, method, **{**OPTIONS, "epochs": 6})
    model.train()  # statistics of the batch: the whole training data at once
    f = model.encode(splits.train.inputs)
    assert (f["a"].mean(0) - f["b"].mean(0)).norm().item() == pytest.approx(distance, abs=1e-4)
    assert evaluate(model, splits.test, method)["accuracy"] > 0.6


def test_pinned_models_are_saved_and_resumed(tmp_path: object) -> None:
    splits = make_tiny(("a", "b"))
    whole, path = build(splits), f"{tmp_path}/run.pt"
    fit(whole, splits, PinnedMLA(1.0), **{**OPTIONS, "epochs": 4}, keep="last")
    for epochs in (2, 4):
        part = build(splits)
        fit(part, splits, PinnedMLA(1.0), **{**OPTIONS, "epochs": epochs}, keep="last", checkpoint=path, resume=True)
    assert all(torch.equal(p, q) for p, q in zip(whole.state_dict().values(), part.state_dict().values(), strict=True))
    copy.deepcopy(part)(splits.test.inputs)


def test_what_cannot_be_pinned_is_refused() -> None:
    with pytest.raises(ValueError, match="distance: expected a finite number of 0 or more, found -1"):
        PinnedMLA(-1)
    splits = make_tiny(("a", "b", "c"))
    with pytest.raises(ValueError, match="model: expected two modalities with features of one size"):
        fit(build(splits), splits, PinnedMLA(1.0), **OPTIONS)
