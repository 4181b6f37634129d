"""OGR and Gradient-Blending: values by hand, properties, equivalence with joint training, the estimate, and wrong input."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from mmlib.data import load
from mmlib.data.core import MultimodalData, Splits
from mmlib.data.stream import StreamedData
from mmlib.fusion import FUSIONS
from mmlib.methods import GradientBlending, Joint, LateFusion
from mmlib.methods.base import Recipe, unimodal_heads
from mmlib.methods.blending_estimate import head_losses, split_holdout, train_aside
from mmlib.methods.gradient_blending import blend_weights, overfitting_to_generalization
from mmlib.metrics import overfitting
from mmlib.model import build
from mmlib.randomness import derive
from mmlib.train import evaluate, fit
from tests.conftest import make_tiny
from tests.test_stream import Reading

OPTIONS: dict[str, Any] = {"epochs": 4, "batch_size": 16, "lr": 1e-2, "device": "cpu", "progress": False}


def grouped(modalities: tuple[str, ...] = ("a", "b"), voices: int = 6, samples: int = 240) -> Splits:
    splits = make_tiny(modalities, samples)

    def add(data: MultimodalData) -> MultimodalData:
        numbers = torch.arange(len(data))
        return MultimodalData(data.inputs, data.labels, 3, groups={"voice": numbers % voices, "language": numbers // voices % 4})

    return splits.map(add)


# --- the equations


def test_ogr_by_hand() -> None:
    # O goes from 0.1 to 1.0, G = 2.1 - 1.5
    assert overfitting_to_generalization(torch.tensor([2.0, 0.5]), torch.tensor([2.1, 1.5])).item() == pytest.approx(0.9 / 0.6)
    both = overfitting_to_generalization(torch.tensor([[2.0, 0.5], [2.0, 1.0]]), torch.tensor([[2.0, 2.5], [2.0, 1.0]]))
    assert both.tolist() == pytest.approx([2.0 / 0.5, 0.0])  # the validation loss of the first rose: only |dG| is seen
    assert overfitting_to_generalization(torch.tensor([2.0, 1.0]), torch.tensor([2.0, 2.0])).item() == math.inf
    assert overfitting_to_generalization(torch.tensor([2.0, 2.0]), torch.tensor([2.0, 2.0])).item() == 0.0


@pytest.mark.parametrize("shapes", [((3,), (3,)), ((2, 3), (2, 3)), ((2,), (1, 2)), ((1, 1, 2), (1, 1, 2))])
def test_ogr_wants_two_checkpoints(shapes: Any) -> None:
    with pytest.raises(ValueError, match=r"train_loss, val_loss: expected the same shape \[2\] or \[K, 2\], found"):
        overfitting_to_generalization(torch.ones(shapes[0]), torch.ones(shapes[1]))


def test_weights_by_hand() -> None:
    # 1 / 0.25 : 0.5 / 0.01 : 2 / 4 = 4 : 50 : 0.5
    weights = blend_weights(torch.tensor([1.0, 0.5, 2.0]), torch.tensor([0.5, 0.1, -2.0]))
    assert weights.tolist() == pytest.approx([4 / 54.5, 50 / 54.5, 0.5 / 54.5])


def test_weights_minimise_the_ogr_of_the_blend() -> None:
    # heads with gain g_k and uncorrelated overfitting of variance s_k^2: E[O^2] / G^2 = sum w^2 s^2 / (sum w g)^2
    g, s = np.array([0.7, 1.5, 0.2]), np.array([0.9, 0.4, 0.3])

    def ogr2(w: Any) -> float:
        return float((w**2 * s**2).sum() / (w @ g) ** 2)

    start = np.full(3, 1 / 3)
    found = minimize(ogr2, start, bounds=[(0, 1)] * 3, constraints={"type": "eq", "fun": lambda w: w.sum() - 1}, tol=1e-12)
    closed = blend_weights(torch.tensor(g), torch.tensor(s)).numpy()
    np.testing.assert_allclose(closed, found.x, atol=1e-4)
    assert ogr2(closed) <= ogr2(start)


#: losses are differences of numbers with seven digits or sixteen: nothing below 2e-308 comes out of a training
numbers = st.floats(-1e6, 1e6, allow_nan=False, allow_subnormal=False)
pairs = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=6)


@settings(deadline=None)
@given(pairs)
def test_weights_are_weights(heads: list[tuple[float, float]]) -> None:
    g, o = torch.tensor(heads, dtype=torch.float64).T
    weights = blend_weights(g, o)
    assert bool(torch.isfinite(weights).all())
    assert bool((weights >= 0).all())
    assert weights.sum().item() == pytest.approx(1)
    if bool((g > 0).any()):
        assert bool((weights[g <= 0] == 0).all()), "no weight for a head that did not generalise"


def test_a_gain_that_no_training_has_is_still_a_gain() -> None:
    """Found by hypothesis: both are brought to one unit, where such a gain becomes zero."""
    assert blend_weights(torch.tensor([5e-324], dtype=torch.float64), torch.tensor([2.0], dtype=torch.float64)).item() == 1


@settings(deadline=None)
@given(pairs, st.floats(1e-3, 1e3), st.randoms(use_true_random=False))
def test_weights_do_not_depend_on_order_or_unit(heads: list[tuple[float, float]], scale: float, random: Any) -> None:
    g, o = torch.tensor(heads, dtype=torch.float64).T
    weights = blend_weights(g, o)
    torch.testing.assert_close(blend_weights(g * scale, o * scale), weights, rtol=1e-6, atol=1e-9)
    order = list(range(len(heads)))
    random.shuffle(order)
    torch.testing.assert_close(blend_weights(g[order], o[order]), weights[order])


def test_guards() -> None:
    one, zero = torch.ones(2), torch.zeros(2)
    assert blend_weights(zero, zero).tolist() == [0.5, 0.5]
    assert blend_weights(-one, one).tolist() == [0.5, 0.5]
    assert blend_weights(torch.tensor([1.0, -1.0]), zero).tolist() == [1, 0]
    # without overfitting: as if it were a hundredth of the largest number
    lucky = blend_weights(torch.tensor([1.0, 1.0]), torch.tensor([0.0, 0.1]))
    assert lucky.tolist() == pytest.approx([1 / 0.0001 / (1 / 0.0001 + 100), 100 / (1 / 0.0001 + 100)])
    for wrong in (torch.ones(3), torch.ones(2, 1), torch.ones(0)):
        with pytest.raises(ValueError, match=r"expected the same shape \[K\]"):
            blend_weights(torch.ones(2) if wrong.numel() else wrong, wrong)
    with pytest.raises(ValueError, match="expected finite numbers, found"):
        blend_weights(torch.tensor([1.0, math.nan]), one)
    for floor in (0, 1.5, -0.1):
        with pytest.raises(ValueError, match=r"floor: expected a number in \(0, 1\]"):
            blend_weights(one, one, floor=floor)
    # a floor of 1: all overfitting counts as that of the worst, and gains alone decide
    assert blend_weights(torch.tensor([1.0, 3.0]), torch.tensor([0.1, 4.0]), floor=1).tolist() == pytest.approx([0.25, 0.75])


# --- the method


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("weights_on", ["loss", "encoders"])
def test_weight_on_the_joint_head_alone_is_joint_training_bit_for_bit(fusion: str, optimizer: str, weights_on: Any) -> None:
    splits = make_tiny(("a", "b", "c"), missing=0.2)
    joint, blend = build(splits, fusion, dropout=0.2), build(splits, fusion, dropout=0.2)
    options = {**OPTIONS, "optimizer": optimizer}
    a = fit(joint, splits, Joint(), **options)
    b = fit(blend, splits, GradientBlending({"a": 0, "b": 0, "c": 0, "joint": 1}, weights_on=weights_on), **options)
    assert all(torch.equal(p, q) for p, q in zip(joint.parameters(), blend.parameters(), strict=True))
    assert [r["val_loss"] for r in a.rows] == [r["val_loss"] for r in b.rows]


def test_no_weight_on_the_joint_head_is_late_fusion_for_the_encoders() -> None:
    """Under SGD the sum of losses at weight 1/2 each moves an encoder half as far as alone."""
    splits = make_tiny(("a", "b"))
    blend, late = build(splits), build(splits)
    options = {**OPTIONS, "keep": "last"}
    fit(blend, splits, GradientBlending([1, 1, 0]), optimizer=lambda p: torch.optim.SGD(p, lr=0.2), **options)
    fit(late, splits, LateFusion(), optimizer=lambda p: torch.optim.SGD(p, lr=0.1), **options)
    for m in ("a", "b"):
        for p, q in zip(blend.encoders[m].parameters(), late.encoders[m].parameters(), strict=True):
            torch.testing.assert_close(p, q)


def gradients(method: GradientBlending, splits: Splits) -> tuple[Any, dict[str, torch.Tensor]]:
    model = build(splits)
    method.setup(model, splits.train, 0)
    batch = next(splits.train.batches(32))
    start = copy.deepcopy((model, method.heads))
    method.step(model, batch, torch.optim.SGD([*model.parameters(), *method.parameters()], lr=0.0))
    named = [*model.named_parameters(), *((f"own.{n}", p) for n, p in method.named_parameters())]
    return (start, batch), {n: p.grad for n, p in named if p.grad is not None}


def test_the_step_is_the_weighted_sum() -> None:
    splits, weights = make_tiny(("a", "b")), (0.2, 0.5, 0.3)
    ((model, heads), batch), found = gradients(GradientBlending(weights), splits)
    output = model(batch.inputs)
    losses = [F.cross_entropy(heads[m](output.features[m]), batch.labels) for m in ("a", "b")]
    losses.append(F.cross_entropy(output.logits, batch.labels))
    sum(w * x for w, x in zip(weights, losses, strict=True)).backward()
    for name, p in [*model.named_parameters(), *((f"own.heads.{n}", p) for n, p in heads.named_parameters())]:
        torch.testing.assert_close(found[name], p.grad)


def test_weights_on_encoders_leave_the_heads_their_rate_and_encoders_do_not_notice() -> None:
    splits = make_tiny(("a", "b"))
    _, letter = gradients(GradientBlending((0.2, 0.5, 0.3)), splits)
    _, full = gradients(GradientBlending((0.2, 0.5, 0.3), weights_on="encoders"), splits)
    for name, gradient in full.items():
        weight = 0.3 if name.startswith("fusion") else {"a": 0.2, "b": 0.5}.get(name.split(".")[2], 1.0) if "own" in name else 1.0
        torch.testing.assert_close(gradient * weight, letter[name])


def test_a_head_without_weight_learns_but_moves_no_encoder() -> None:
    splits = make_tiny(("a", "b"))
    _, found = gradients(GradientBlending((1, 0, 0), weights_on="encoders"), splits)
    assert any(n.startswith("own.heads.b") and bool(g.any()) for n, g in found.items())
    assert any(n.startswith("fusion") and bool(g.any()) for n, g in found.items())
    assert any(n.startswith("encoders.a") and bool(g.any()) for n, g in found.items())
    assert not any(n.startswith("encoders.b") and bool(g.any()) for n, g in found.items())
    _, all_weighed = gradients(GradientBlending((0.2, 0.5, 0.3), weights_on="encoders"), splits)
    for name, gradient in found.items():
        if name.startswith(("own", "fusion")):  # at the full rate, weight or not
            torch.testing.assert_close(gradient, all_weighed[name])
    _, letter = gradients(GradientBlending((1, 0, 0)), splits)
    assert not any(n.startswith(("own.heads.b", "fusion")) and bool(g.any()) for n, g in letter.items())


def test_weights_are_brought_to_sum_one_and_named() -> None:
    splits = make_tiny(("a", "b"))
    history = fit(build(splits), splits, GradientBlending({"joint": 2, "b": 1, "a": 5}), **OPTIONS)
    row = history.rows[-1]
    assert [row[f"weight_{h}"] for h in ("a", "b", "joint")] == pytest.approx([0.625, 0.125, 0.25])


def test_vote_by_hand() -> None:
    splits = make_tiny(("a", "b"), missing=0.3)
    model, method = build(splits), GradientBlending([0.5, 0.25, 0.25], predict="vote")
    fit(model, splits, method, **OPTIONS)
    model.eval()
    data = splits.test
    assert data.present is not None
    plain: Any = model(data.inputs, data.present)
    found = method.predict(model, data.inputs, data.present)
    for i in range(len(data)):
        share = {m: w * bool(data.present[m][i]) for m, w in (("a", 0.5), ("b", 0.25))} | {"joint": 0.25}
        heads = {m: method.heads[m](plain.features[m][i]) for m in ("a", "b")} | {"joint": plain.logits[i]}
        expected = sum(w * heads[h].softmax(0) for h, w in share.items()) / sum(share.values())
        torch.testing.assert_close(found.logits[i].exp(), expected)
    # nobody with a weight is there: the joint head speaks
    method.blend.copy_(torch.tensor([1.0, 0, 0]))
    without = method.predict(model, {"b": data.inputs["b"]})
    torch.testing.assert_close(without.logits, model({"b": data.inputs["b"]}).logits.log_softmax(1))


def test_vote_where_everything_is_there() -> None:
    splits = make_tiny(("a", "b"))
    model, method = build(splits), GradientBlending([0.5, 0.2, 0.3], predict="vote")
    method.setup(model, splits.train, 0)
    plain: Any = model(splits.test.inputs)
    found = method.predict(model, splits.test.inputs)
    heads = [method.heads[m](plain.features[m]).softmax(1) for m in ("a", "b")]
    expected = 0.5 * heads[0] + 0.2 * heads[1] + 0.3 * plain.logits.softmax(1)
    torch.testing.assert_close(found.logits.exp(), expected)
    everybody = {m: torch.ones(len(splits.test), dtype=torch.bool) for m in ("a", "b")}
    torch.testing.assert_close(method.predict(model, splits.test.inputs, everybody).logits, found.logits)


# --- the estimate


@pytest.mark.parametrize("kind", ["random", "voice", ("voice", "language")])
def test_holdout_keeps_apart_what_it_names(kind: Any) -> None:
    data = grouped(samples=400).train
    kept, held = split_holdout(data, kind, 0.34, seed=3)
    again = split_holdout(data, kind, 0.34, seed=3)
    assert torch.equal(kept.inputs["a"], again[0].inputs["a"])
    assert not torch.equal(held.inputs["a"][:5], split_holdout(data, kind, 0.34, seed=4)[1].inputs["a"][:5])
    for group in [] if kind == "random" else [kind] if isinstance(kind, str) else kind:
        sides = [set(part.groups[group].tolist()) for part in (kept, held)]
        assert not sides[0] & sides[1]
        assert len(sides[1]) == round(0.34 * len(data.groups[group].unique()))
    if kind == "random":
        assert len(held) == pytest.approx(0.34 * len(data), abs=3)
        assert len(kept) + len(held) == len(data)
    rows = torch.cat([kept.inputs["a"], held.inputs["a"]])
    assert len(rows.unique(dim=0)) == len(rows), "no sample on both sides"


def test_holdout_takes_at_least_one() -> None:
    data = grouped().train
    _, held = split_holdout(data, "random", 0.001, 0)
    assert sorted(held.labels.tolist()) == [0, 1, 2]
    _, held = split_holdout(data, "voice", 0.01, 0)
    assert len(held.groups["voice"].unique()) == 1


def test_holdout_errors() -> None:
    data = grouped().train
    with pytest.raises(ValueError, match="holdout: unknown 'speaker'; known: random, voice, language"):
        split_holdout(data, "speaker", 0.3, 0)
    with pytest.raises(ValueError, match="holdout: 95% of the 6 members of 'voice' is all of them"):
        split_holdout(data, "voice", 0.95, 0)
    with pytest.raises(ValueError, match="at least one group, found none"):
        split_holdout(data, [], 0.3, 0)
    by_class = MultimodalData(data.inputs, data.labels, 3, groups={"voice": data.labels})
    with pytest.raises(ValueError, match="holdout: the held-out part has no sample of class"):
        split_holdout(by_class, "voice", 0.3, 0)
    one_each = [int((data.labels == c).nonzero()[0]) for c in (1, 2)]  # the error names the first of two
    single = data.select([*(data.labels == 0).nonzero().squeeze(1).tolist(), *one_each])
    with pytest.raises(ValueError, match="holdout: the part to train on has no sample of class 1"):
        split_holdout(single, "random", 0.3, 0)
    only_one = MultimodalData(
        data.inputs, data.labels, 3, {"b": data.groups["voice"] == 0}, groups={"voice": data.groups["voice"]}
    )
    with pytest.raises(ValueError, match="has no sample with modality 'b'"):
        split_holdout(only_one, "voice", 0.5, 0)


def test_streamed_data_are_held_out_where_they_say_their_labels() -> None:
    """The same samples as of the data in memory, and the same weights, estimated by reading the parts from the source."""
    splits = grouped()

    class Labelled(Reading):
        def __init__(self, data: MultimodalData) -> None:
            super().__init__(data)
            self.labels, self.groups, self.raw = data.labels, data.groups, {"name": [f"s{i}" for i in range(len(data))]}

    told = Splits(*(StreamedData(Labelled(d), 3) for _, d in splits.items()))  # type: ignore[arg-type]
    for kind in ("random", "voice"):
        for here, there in zip(split_holdout(splits.train, kind, 0.3, 1), split_holdout(told.train, kind, 0.3, 1), strict=True):
            (whole,) = there.batches(len(there))
            assert torch.equal(here.labels, whole.labels)
            assert torch.equal(here.inputs["a"], whole.inputs["a"])
            assert torch.equal(here.groups["voice"], there.groups["voice"])
            assert len(there.raw["name"]) == len(here)
    rows = []
    for source in (splits, told):
        history = fit(build(source), source, GradientBlending(super_epoch=1, mode="online"), epochs=2, progress=False)
        rows.append([{**row, "seconds": 0} for row in history.rows])
    assert rows[0] == rows[1]
    silent = Splits(*(StreamedData(Reading(d), 3) for _, d in splits.items()))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a hold-out needs all labels beforehand, and the streamed dataset has no attribute"):
        split_holdout(silent.train, "random", 0.5, 0)
    with pytest.raises(TypeError, match="'balanced' needs all labels"):
        fit(build(silent), silent, class_weights="balanced", progress=False)


def test_head_losses_are_what_evaluate_says() -> None:
    splits = make_tiny(("a", "b"), missing=0.2)
    model, method = build(splits), GradientBlending([1, 1, 1])
    fit(model, splits, method, **OPTIONS)
    found, row = head_losses(model, method.heads, splits.val), evaluate(model, splits.val, method)
    assert found == pytest.approx({"a": row["loss_a"], "b": row["loss_b"], "joint": row["loss"]})


def test_head_losses_draw_nothing_build_no_graph_and_leave_the_mode_as_it_was() -> None:
    splits = make_tiny(("a", "b"))
    model, graphs = build(splits, dropout=0.5), []
    heads = unimodal_heads(model, 0)
    model.encoders["a"].register_forward_hook(lambda *_: graphs.append(torch.is_grad_enabled()))
    for mode in (True, False):
        model.train(mode)
        assert head_losses(model, heads, splits.val) == head_losses(model, heads, splits.val)
        assert model.training == mode
    assert graphs == [False] * 4


@pytest.mark.parametrize("weights", [(0.25, 0.5, 0.25), (0.0, 0.5, 0.5), (1.0, 0.0, 0.0)])
def test_training_aside_is_training(weights: tuple[float, ...]) -> None:
    """Side by side with another network, on the batches and with the steps of a run of its own."""
    splits = make_tiny(("a", "b"))
    model, apart, other = (build(splits) for _ in range(3))
    method = GradientBlending(weights, weights_on="encoders")
    fit(model, splits, method, **{**OPTIONS, "epochs": 2, "keep": "last"}, seed=3)
    heads, shares = unimodal_heads(apart, 3), dict(zip(("a", "b", "joint"), weights, strict=True))
    recipe = Recipe(9, 16, lambda nets: torch.optim.Adam([p for net in nets for part in net for p in part.parameters()], lr=1e-2))
    nets = [(other, unimodal_heads(other, 3), {"a": 0.0, "b": 0.0, "joint": 1.0}), (apart, heads, shares)]
    train_aside(nets, splits.train, 2, recipe, 3, idle=True)
    for p, q in zip([*apart.parameters(), *heads.parameters()], [*model.parameters(), *method.parameters()], strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize("estimate", ["separate", "shared"])
def test_losses_after_a_super_epoch_are_those_of_training_aside(estimate: Any) -> None:
    splits = grouped()
    model, apart, together = (build(splits) for _ in range(3))
    method = GradientBlending(estimate=estimate, super_epoch=2)
    fit(model, splits, method, **OPTIONS, seed=5)
    [found] = method.measured
    alone, joint = {"a": 1.0, "b": 1.0, "joint": 0.0}, {"a": 0.0, "b": 0.0, "joint": 1.0}
    after: dict[str, float] = {}
    for net, weights in ((apart, alone), (together, joint)):
        heads = unimodal_heads(net, 5)
        train_aside([(net, heads, weights)], method.fit_part, 2, method.recipe, derive(5, "aside", 0), idle=estimate == "shared")
        losses = head_losses(net, heads, method.held_part)
        after |= {h: losses[h] for h in losses if weights[h]}
        if estimate == "shared":  # one network: its joint head learned beside the others, and could not change the features
            after = losses
            break
    assert {h: found["val"][h][1] for h in after} == pytest.approx(after, rel=1e-4)


def test_until_a_head_generalises_nothing_changes() -> None:
    splits, made = grouped(), []

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        made.append(1)  # the run's own, that of the first estimate, and then those that stand still
        return torch.optim.SGD(parameters, lr=0.1 if len(made) == 2 else 0.0)

    method = GradientBlending(mode="online", super_epoch=1)
    method.setup(build(splits), splits.train, 0)
    assert method.weights == pytest.approx(dict.fromkeys(("a", "b", "joint"), 1 / 3))
    history = fit(build(splits), splits, method, **{**OPTIONS, "optimizer": optimizer})
    first, *later = [[row[f"weight_{h}"] for h in ("a", "b", "joint")] for row in history.rows]
    assert len(set(first)) == 3
    assert later == [first] * 3


def test_given_weights_train_on_everything_in_either_mode() -> None:
    splits = make_tiny(("a", "b"))
    runs = [fit(build(splits), splits, GradientBlending([1, 2, 1], mode=m), **OPTIONS).rows for m in ("offline", "online")]  # type: ignore[arg-type]
    assert [r["train_loss"] for r in runs[0]] == [r["train_loss"] for r in runs[1]]


def test_estimate_by_hand() -> None:
    """The separate estimate is what training each head alone, written out, gives; and the run itself does not notice."""
    splits = grouped()
    model, start = build(splits), build(splits)
    method = GradientBlending(super_epoch=2, holdout="voice", holdout_fraction=0.34)
    fit(model, splits, method, **OPTIONS, seed=5)
    [found] = method.measured
    kept, held = method.fit_part, method.held_part

    heads = unimodal_heads(start, 5)
    for m in ("a", "b"):
        assert found["val"][m][0] == pytest.approx(
            F.cross_entropy(heads[m](start.encoders[m](held.inputs[m])), held.labels).item()
        )
        assert found["train"][m][1] < found["train"][m][0]
    assert found["train"]["joint"][0] == pytest.approx(F.cross_entropy(start(kept.inputs).logits, kept.labels).item())
    train, val = (torch.tensor([found[s][h] for h in ("a", "b", "joint")]) for s in ("train", "val"))
    weights = blend_weights(val[:, 0] - val[:, 1], (val - train)[:, 1] - (val - train)[:, 0])
    assert list(found["weights"].values()) == pytest.approx(weights.tolist(), rel=1e-4)

    given = build(splits)
    fit(given, splits, GradientBlending(found["weights"]), **OPTIONS, seed=5)
    assert all(torch.allclose(p, q, atol=1e-6) for p, q in zip(model.parameters(), given.parameters(), strict=True))


def test_the_shared_estimate_has_the_unimodal_losses_of_the_separate_one() -> None:
    splits, found = grouped(("a", "b", "c")), {}
    for estimate in ("separate", "shared"):
        method = GradientBlending(estimate=estimate, super_epoch=2)  # type: ignore[arg-type]
        fit(build(splits), splits, method, **OPTIONS)
        found[estimate] = method.measured[0]
    for m in ("a", "b", "c"):
        for split in ("train", "val"):
            assert found["shared"][split][m] == pytest.approx(found["separate"][split][m], rel=1e-4)
    assert found["shared"]["val"]["joint"][1] != found["separate"]["val"]["joint"][1]


def test_online_never_trains_on_what_it_holds_out() -> None:
    splits = grouped()
    poisoned = copy.deepcopy(splits)
    method = GradientBlending(mode="online", super_epoch=2, holdout="voice")
    method.setup(build(splits), splits.train, 0)
    voices = set(method.held_part.groups["voice"].tolist())
    assert voices
    bad = torch.tensor([v in voices for v in poisoned.train.groups["voice"].tolist()])
    poisoned.train.inputs["a"][bad] = 1e6
    models = []
    for data in (splits, poisoned):
        model = build(data)
        fixed = GradientBlending(mode="online", super_epoch=2, holdout="voice")
        fixed._weigh = lambda *_: None  # type: ignore[method-assign]  # the same weights for both: only the samples differ
        fit(model, data, fixed, **OPTIONS)
        models.append(model)
    assert all(torch.equal(p, q) for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True))


def test_online_weighs_anew_every_super_epoch() -> None:
    method = GradientBlending(mode="online", super_epoch=3)
    splits = grouped()
    history = fit(build(splits), splits, method, **{**OPTIONS, "epochs": 7})
    assert [m["epoch"] for m in method.measured] == [0, 3, 6]
    assert [history.rows[e]["weight_a"] for e in (0, 1, 2)] == [method.measured[0]["weights"]["a"]] * 3
    assert sum(v for k, v in history.rows[-1].items() if k.startswith("weight_")) == pytest.approx(1)


def test_a_modality_of_noise_gets_little_weight() -> None:
    splits = make_tiny(("a", "b"), samples=600)
    generator = torch.Generator().manual_seed(0)
    noise = splits.map(
        lambda d: MultimodalData({"a": d.inputs["a"], "b": torch.randn(len(d), 6, generator=generator)}, d.labels, 3)
    )
    for estimate in ("separate", "shared"):
        method = GradientBlending(estimate=estimate, super_epoch=4)  # type: ignore[arg-type]
        fit(build(noise), noise, method, **{**OPTIONS, "epochs": 8})
        assert method.weights["b"] < 0.05 < 0.5 < method.weights["a"] + method.weights["joint"]


def test_the_data_of_the_book_can_be_held_out() -> None:
    data = load("digits", seed=0).train
    kept, held = split_holdout(data, ["voice", "language"], 0.4, 0)
    assert len(kept.groups["voice"].unique()) == len(held.groups["voice"].unique()) == 1
    assert len(held.groups["language"].unique()) == 6


# --- OGR from a history


def test_overfitting_from_a_history() -> None:
    rows = [
        {"train_loss": 2.0, "val_loss": 2.1, "train_loss_a": 2.0, "val_loss_a": 2.0},
        {"train_loss": 1.0, "val_loss": 1.5, "train_loss_a": 1.0, "val_loss_a": 1.0},
        {"train_loss": 0.5, "val_loss": 1.6, "train_loss_a": 0.5, "val_loss_a": 2.0},
    ]
    found = overfitting(rows)
    assert found["fused"] == pytest.approx((1.0, 0.5, 2.0))
    assert found["a"] == (1.5, 0.0, math.inf)
    assert overfitting(rows, 0, 1)["a"] == (0.0, 1.0, 0.0)
    assert overfitting(rows, 1, -1)["fused"].gain == pytest.approx(-0.1)
    splits = make_tiny(("a", "b"))
    history = fit(build(splits), splits, train_metrics="evaluated", **OPTIONS)
    assert set(overfitting(history)) == {"fused", "a", "b"}
    with pytest.raises(IndexError, match="end: expected an epoch of the 3 there are, found 3"):
        overfitting(rows, 0, 3)
    with pytest.raises(ValueError, match="expected a later end, found epochs 1 and 1"):
        overfitting(rows, 1, 1)


# --- wrong input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "on"}, "mode: unknown 'on'; known: offline, online"),
        ({"estimate": "cheap"}, "estimate: unknown 'cheap'; known: separate, shared"),
        ({"predict": "mean"}, "predict: unknown 'mean'; known: joint, vote"),
        ({"weights_on": 1}, "weights_on: unknown 1; known: loss, encoders"),
        ({"holdout_fraction": 0.0}, "holdout_fraction: expected a share between 0 and 1, found 0.0"),
        ({"holdout_fraction": 1.0}, "holdout_fraction: expected a share between 0 and 1, found 1.0"),
        ({"super_epoch": 0}, "super_epoch: expected 1 epoch or more, found 0"),
        ({"floor": 0}, r"floor: expected a number in \(0, 1\], found 0"),
        ({"floor": 1.5}, r"floor: expected a number in \(0, 1\], found 1.5"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GradientBlending(**options)


def test_options_at_their_bounds() -> None:
    method = GradientBlending(floor=1, super_epoch=1)
    assert (method.floor, method.super_epoch) == (1, 1)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 1], "weights: expected one per head: a, b, joint; found 2 numbers"),
        ({"a": 1, "b": 1}, "weights: expected one per head: a, b, joint; found a, b"),
        ({"a": 1, "b": 1, "joint": 1, "c": 1}, "weights: expected one per head: a, b, joint; found a, b, joint, c"),
        ([1, -0.1, 1], r"weights\['b'\]: expected a number of 0 or more, found -0.1"),
        ([1, 1, math.nan], r"weights\['joint'\]: expected a number of 0 or more, found nan"),
        ([0, 0, 0], "weights: expected at least one above 0, found all zero"),
    ],
)
def test_wrong_weights(weights: Any, message: str) -> None:
    splits = make_tiny(("a", "b"))
    with pytest.raises(ValueError, match=message):
        fit(build(splits), splits, GradientBlending(weights), **OPTIONS)


def test_a_super_epoch_longer_than_the_run() -> None:
    splits = make_tiny(("a", "b"))
    assert len(fit(build(splits), splits, GradientBlending(super_epoch=4), **OPTIONS)) == 4
    with pytest.raises(ValueError, match="super_epoch: expected at most the 4 epochs of the run, found 5"):
        fit(build(splits), splits, GradientBlending(super_epoch=5), **OPTIONS)


def test_a_loss_that_explodes_on_the_side_says_so() -> None:
    splits = make_tiny(("a", "b"))
    with pytest.raises(ArithmeticError, match="estimate: a loss became NaN or infinite on the side in epoch 0, of a"):
        fit(build(splits), splits, GradientBlending(super_epoch=2), **{**OPTIONS, "optimizer": "sgd", "lr": 1e30})
