"""Chapters 6 and 8: a modality that rests, and centres that are drawn together or held."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mmlib.book.pulled import PulledJoint, PulledMLA, centre
from mmlib.book.resting import RestingMLA
from mmlib.book.studies import gap, mla
from mmlib.data import load
from mmlib.methods import MLA, Joint
from mmlib.metrics import modality_gap
from mmlib.model import build
from mmlib.train import fit


def trained(method, epochs=3, name="two_speed", seed=0, **options):  # type: ignore[no-untyped-def]
    splits = load(name, seed=seed)
    model = build(splits, seed=seed, **options)
    history = fit(model, splits, method, epochs=epochs, seed=seed, progress=False, keep="last")
    return splits, model, history


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {n: p for n, p in model.state_dict().items() if "anchors" not in n}


@pytest.mark.parametrize(("pulled", "plain"), [(PulledJoint, Joint), (PulledMLA, MLA)])
@pytest.mark.parametrize("towards", ["each other", "start"])
def test_a_pull_of_zero_changes_nothing(pulled, plain, towards) -> None:  # type: ignore[no-untyped-def]
    ours, theirs = trained(pulled(0.0, towards))[1], trained(plain())[1]
    assert all(torch.equal(p, weights(theirs)[n]) for n, p in weights(ours).items())


@pytest.mark.parametrize("method", [PulledJoint, PulledMLA])
def test_one_closes_the_gap_and_the_other_holds_the_centres(method) -> None:  # type: ignore[no-untyped-def]
    gaps, ways = {}, {}
    for towards, pull in (("each other", 0.0), ("each other", 10.0), ("start", 10.0)):
        splits = load("two_speed", seed=0)
        model = build(splits, seed=0)
        with torch.no_grad():
            before = model.encode(splits.train.inputs)
        fit(model, splits, method(pull, towards), epochs=5, seed=0, progress=False, keep="last")
        with torch.no_grad():
            after = model.encode(splits.train.inputs)
        gaps[towards, pull] = modality_gap(*after.values())
        ways[towards, pull] = max((centre(after[m]) - centre(before[m])).norm().item() for m in after)
    assert gaps["each other", 10.0] < 0.2 * gaps["each other", 0.0]
    assert gaps["start", 10.0] > 3 * gaps["each other", 10.0]
    assert ways["start", 10.0] < 0.5 * ways["each other", 0.0]


def test_the_term_is_the_square_of_the_gap_and_a_turn_leaves_the_other_alone() -> None:
    a, b = (torch.randn(20, 4, generator=torch.Generator().manual_seed(s)).requires_grad_() for s in (0, 1))
    method = PulledMLA(2.0)
    term = method.term({"a": a, "b": b}, "a")
    assert term.item() == pytest.approx(2 * modality_gap(a, b) ** 2, rel=1e-5)
    term.backward()
    assert a.grad is not None
    assert b.grad is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PulledJoint(-1.0), "pull: expected a number of 0 or more, found -1"),
        (lambda: PulledMLA(math.inf), "pull: expected a number of 0 or more, found inf"),
        (lambda: PulledJoint(1.0, "out"), "towards: unknown 'out'; known: each other, start"),  # type: ignore[arg-type]
        (lambda: trained(PulledJoint(1.0), name="digits"), "expected two modalities, found image, audio, text"),
        (lambda: RestingMLA("slow", 0), "after: expected 1 epoch or more, found 0"),
        (lambda: RestingMLA("slow", 1, head="separate", hgm="off"), "expected a shared head and alternating turns"),
        (lambda: trained(RestingMLA("image", 1)), "resting: unknown modality 'image'; the model has fast, slow"),
    ],
)
def test_errors_name_what_was_found(make, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("hgm", mla.PROJECTIONS)
def test_who_rests_stands_still_and_the_head_goes_on(hgm: str) -> None:
    states = []
    for epochs in (2, 4):
        method = RestingMLA("slow", 2, hgm=hgm)
        _, model, _ = trained(method, epochs)
        states.append({**model.state_dict(), "head": method.head.weight.detach().clone()})
    first, last = states
    still = {n: torch.equal(first[n], last[n]) for n in first}
    assert all(same for n, same in still.items() if n.startswith("encoders.slow."))
    assert not any(still[n] for n in still if n.startswith("encoders.fast.") and n.endswith("weight"))
    assert not still["head"]


def test_before_it_rests_the_training_is_that_of_mla() -> None:
    ours, theirs = trained(RestingMLA("slow", 3), 3)[1], trained(MLA(), 3)[1]
    assert all(torch.equal(p, weights(theirs)[n]) for n, p in weights(ours).items())


def test_a_head_without_bias_keeps_none_and_the_smaller_scale_is_what_is_left_of_ten() -> None:
    fusion = gap.no_bias({"a": 3, "b": 2}, 4)
    assert not fusion.head.bias.any()
    assert not fusion.head.bias.requires_grad
    _, model, _ = trained(Joint(), fusion=gap.no_bias)
    assert not model.fusion.head.bias.any()
    moved = F.normalize(torch.tensor([[1.0, 0.0]]) + torch.tensor([[0.0, gap.DISTANCES[-1] / 2]]), dim=1)
    assert gap.shrunk_cosine({"a": 2}, 2).scale == pytest.approx(10 * moved[0, 0].item())
