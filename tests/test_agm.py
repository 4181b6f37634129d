"""AGM: Shapley values by hand and by property, coefficients against the definition, what is scaled, and bad input."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlib.data.core import Batch
from mmlib.fusion import FUSIONS
from mmlib.methods import AGM, Joint
from mmlib.methods.agm import shapley_logits, strength
from mmlib.model import MultimodalClassifier, build
from mmlib.train import fit
from tests.conftest import make_tiny
from tests.stepping import OPTIONS, same, steps, weights

YES = torch.tensor([True, True, True])


def subsets(names: str) -> list[frozenset[str]]:
    return [frozenset(s) for k in range(len(names) + 1) for s in itertools.combinations(names, k)]


def by_orders(value: dict[frozenset[str], torch.Tensor], names: str) -> dict[str, torch.Tensor]:
    """The other definition: the mean over all orders of arrival of what each brings."""
    orders = list(itertools.permutations(names))
    phi = {m: torch.zeros_like(value[frozenset()]) for m in names}
    for order in orders:
        for i, m in enumerate(order):
            phi[m] += (value[frozenset(order[: i + 1])] - value[frozenset(order[:i])]) / len(orders)
    return phi


# --- Shapley values


def test_three_by_hand() -> None:
    """Gloves: 'a' and 'b' have a left one each, 'c' the right one; a pair is worth 6."""
    value = {s: torch.tensor([[6.0 if "c" in s and len(s) > 1 else 0.0]]) for s in subsets("abc")}
    assert {m: phi.item() for m, phi in shapley_logits(value).items()} == pytest.approx({"a": 1, "b": 1, "c": 4})


@given(seed=st.integers(0, 10_000), count=st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_what_shapley_values_are(seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    names = "abcd"[:count]
    value = {s: torch.randn(5, 3, generator=generator, dtype=torch.float64) for s in subsets(names)}
    phi = shapley_logits(value)
    for m, expected in by_orders(value, names).items():
        torch.testing.assert_close(phi[m], expected)
    torch.testing.assert_close(torch.stack(list(phi.values())).sum(0), value[frozenset(names)] - value[frozenset()])
    # other names: the same values under the other names
    renamed = {frozenset(m.upper() for m in s): v for s, v in reversed(list(value.items()))}
    turned = shapley_logits(renamed)
    assert all(torch.allclose(turned[m.upper()], phi[m]) for m in names)


def test_a_modality_that_changes_nothing_has_none_and_equal_ones_share() -> None:
    value = {s: torch.tensor([[10.0 * len(s & {"a", "b"}) ** 2]]) for s in subsets("abc")}
    phi = {m: v.item() for m, v in shapley_logits(value).items()}
    assert phi == pytest.approx({"a": 20, "b": 20, "c": 0}, abs=1e-5)


def test_of_a_sum_of_heads_they_are_the_heads() -> None:
    model = build(make_tiny(("a", "b", "c")), "sum")
    x = {m: torch.randn(4, 64) for m in "abc"}
    value = {s: model.fusion(x, {m: torch.full((4,), m in s) for m in "abc"})[0] for s in subsets("abc")}
    for m, phi in shapley_logits(value).items():
        torch.testing.assert_close(phi, model.fusion.heads[m](x[m]))  # type: ignore[operator, index]


def test_every_subset_is_needed_and_no_other() -> None:
    value = {s: torch.zeros(1, 2) for s in subsets("ab")}
    with pytest.raises(ValueError, match=r"one entry for each of the 4 subsets of a, b, found nothing for \{a, b\}"):
        shapley_logits({s: v for s, v in value.items() if len(s) < 2})
    with pytest.raises(ValueError, match=r"found nothing for \{\}"):
        shapley_logits({s: v for s, v in value.items() if s})
    with pytest.raises(ValueError, match="subsets of a, b, found frozenset"):
        shapley_logits({**value, frozenset("az"): torch.zeros(1, 2)})
    with pytest.raises(ValueError, match="value: expected"):
        shapley_logits({frozenset(): torch.zeros(1, 2)})


# --- coefficients


def test_strength_by_hand() -> None:
    assert strength(torch.tensor([1.0, 2.0, 4.0]), YES).tolist() == pytest.approx([math.exp(2), math.exp(0.5), math.exp(-2.5)])
    two = strength(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([True, True, False]))
    assert two.tolist() == pytest.approx([math.e, 1 / math.e, 1])
    assert strength(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([True, False, False])).tolist() == [1, 1, 1]


def scores(model: MultimodalClassifier, batch: Batch, present: dict[str, torch.Tensor] | None = None) -> dict[str, float]:
    """s_m from the model's own output with modalities taken away, by the definition."""
    names, here = (
        "".join(model.modalities),
        present or {m: torch.ones(len(batch.labels), dtype=torch.bool) for m in model.modalities},
    )
    value = {s: model(batch.inputs, {m: here[m] & (m in s) for m in names}).logits for s in subsets(names)}
    phi = by_orders(value, names)
    told = {}
    for m in names:
        said = (phi[m] + value[frozenset()] / len(names))[here[m]]
        told[m] = F.cross_entropy(said, batch.labels[here[m]]).item()
    return told


def ratios(s: dict[str, float]) -> dict[str, float]:
    return {m: math.exp(sum(x - s[m] for n, x in s.items() if n != m) / (len(s) - 1)) for m in s}


def trained(fusion: str, modalities: tuple[str, ...] = ("a", "b", "c")) -> tuple[MultimodalClassifier, list[Batch]]:
    splits = make_tiny(modalities)
    model = build(splits, fusion)
    fit(model, splits, **OPTIONS)
    return model, list(splits.train.batches(24))


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("modalities", [("a", "b"), ("a", "b", "c")], ids=len)
def test_scales_encoders_by_the_definition_and_nothing_else(fusion: str, modalities: tuple[str, ...]) -> None:
    model, batches = trained(fusion, modalities)
    first, second = (scores(model, batch) for batch in batches[:2])
    plain, changed = steps(Joint(), model, batches[0]), steps(AGM(0.4), model, batches[0])
    for name, gradient in plain.items():  # in the first step there is no past: tau is 1
        k = math.exp(0.4 * (1 - ratios(first)[name.split(".")[1]])) if name.startswith("encoders.") else 1.0
        torch.testing.assert_close(changed[name], k * gradient, atol=1e-6, rtol=2e-3)
    plain, changed = steps(Joint(), model, batches[2]), steps(AGM(0.4), model, *batches[:3])
    past = ratios({m: (first[m] + second[m]) / 2 for m in first})
    now = ratios(scores(model, batches[2]))
    for name, gradient in plain.items():
        m = name.split(".")[1]
        k = math.exp(0.4 * (past[m] - now[m])) if name.startswith("encoders.") else 1.0
        torch.testing.assert_close(changed[name], k * gradient, atol=1e-6, rtol=2e-3)


def test_two_modalities_as_the_paper_writes_it() -> None:
    model, batches = trained("gated", ("a", "b"))
    y, yes, no = batches[0].labels, torch.ones(24, dtype=torch.bool), torch.zeros(24, dtype=torch.bool)
    both, a, b = (model(batches[0].inputs, {"a": p, "b": q}).logits for p, q in ((yes, yes), (yes, no), (no, yes)))
    s = {"a": F.cross_entropy((both - b + a) / 2, y).item(), "b": F.cross_entropy((both - a + b) / 2, y).item()}
    method = AGM(1.0)
    steps(method, model, batches[0])
    assert method.mean.tolist() == pytest.approx(list(s.values()), rel=1e-4)
    told = method.report()
    assert told["strength_a"] == pytest.approx(math.exp(s["b"] - s["a"]), rel=1e-4)
    assert told["coefficient_a"] == pytest.approx(math.exp(1 - math.exp(s["b"] - s["a"])), rel=1e-3)


class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, k: float) -> torch.Tensor:
        ctx.k = k
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.k * gradient, None


@pytest.mark.parametrize("fusion", ["concat", "sum"])
def test_encoders_get_what_scaling_at_the_contributions_gives_them(fusion: str) -> None:
    """The authors' code scales the gradient where it enters phi_m. Of additive fusions each encoder stands in one phi alone."""
    model, batches = trained(fusion)
    method = AGM(0.7)
    changed = steps(method, model, batches[0])
    k = {m: method.report()[f"coefficient_{m}"] for m in "abc"}
    model.zero_grad()
    output = model(batches[0].inputs)  # a concatenation or a sum: phi_m + F(none) / M is the unimodal logits
    F.cross_entropy(sum(Scaled.apply(u, k[m]) for m, u in output.unimodal.items()), batches[0].labels).backward()  # type: ignore
    for name, p in model.encoders.named_parameters():
        assert p.grad is not None
        torch.testing.assert_close(changed[f"encoders.{name}"], p.grad, atol=1e-6, rtol=1e-3)


# --- missing modalities, and the neutral value


def test_missing_samples_do_not_count() -> None:
    model, batches = trained("film")
    some = {m: torch.arange(24) % 3 != i for i, m in enumerate("abc")}
    method = AGM()
    steps(method, model, Batch(batches[0].inputs, batches[0].labels, some))
    assert method.mean.tolist() == pytest.approx(list(scores(model, batches[0], some).values()), rel=1e-3)


@pytest.mark.parametrize("passed", [True, False])
def test_a_batch_without_a_modality(passed: bool) -> None:
    model, batches = trained("concat")
    yes, no = torch.ones(24, dtype=torch.bool), torch.zeros(24, dtype=torch.bool)
    x = batches[0].inputs
    without = Batch(x, batches[0].labels, {"a": yes, "b": yes, "c": no})
    if not passed:
        without = Batch({m: x[m] for m in "ab"}, batches[0].labels)
    method = AGM()
    steps(method, model, without)
    assert method.scored.tolist() == [1, 1, 0]
    assert method.mean[2].item() == 0
    told = method.report()
    assert told["coefficient_c"] == told["strength_c"] == 1
    assert told["strength_a"] * told["strength_b"] == pytest.approx(1, rel=1e-5)


def test_hopeless_predictions_and_great_strength_stay_finite() -> None:
    model, batches = trained("sum")
    with torch.no_grad():
        for head, by in zip(model.fusion.heads.values(), (1e4, -1e4, 1.0), strict=True):  # type: ignore[operator]
            head.weight.mul_(by)
    method = AGM(alpha=2.5)
    steps(method, model, *batches[:3])
    assert method.mean.max().item() <= -math.log(1e-8) + 1e-3
    assert all(math.isfinite(x) for x in method.report().values())


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_strength_zero_is_joint_bit_for_bit(optimizer: str, missing: float) -> None:
    splits = make_tiny(("a", "b", "c"), missing=missing)
    joint = weights(Joint(), splits, "gated", optimizer=optimizer)
    assert same(joint, weights(AGM(alpha=0), splits, "gated", optimizer=optimizer))
    assert not same(joint, weights(AGM(alpha=1), splits, "gated", optimizer=optimizer))


def test_class_weights_count_in_the_scores() -> None:
    model, batches = trained("concat")
    method = AGM()
    steps(method, model, batches[0])
    plain = method.mean.clone()
    method.class_weights = torch.tensor([1.0, 1.0, 5.0])
    steps(method, model, batches[0])
    expected = F.cross_entropy(model(batches[0].inputs).unimodal["a"], batches[0].labels, method.class_weights)
    assert method.mean[0].item() == pytest.approx(expected.item(), rel=1e-4)
    assert method.mean[0].item() != pytest.approx(plain[0].item(), rel=1e-4)


@pytest.mark.parametrize("alpha", [-0.1, math.inf, math.nan])
def test_strength_out_of_range(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha: expected a strength of 0 or more"):
        AGM(alpha)


def test_numbers_of_modalities_for_which_it_is_not_defined() -> None:
    for names, message in (("a", "compares modalities and needs two or more"), ("abcdefghi", "of at most 8, found 9")):
        splits = make_tiny(tuple(names), samples=30)
        with pytest.raises(ValueError, match=message):
            fit(build(splits), splits, AGM(), **OPTIONS)


def test_an_encoder_that_is_not_trained() -> None:
    splits = make_tiny(("a", "b"))
    model = build(splits)
    model.encoders["b"].requires_grad_(False)
    with pytest.raises(ValueError, match=r"encoders\['b'\]: MLPEncoder has no tensor that is trained"):
        fit(model, splits, AGM(), **OPTIONS)


def test_history_has_the_means_over_the_steps() -> None:
    splits = make_tiny(("a", "b"))
    row = fit(build(splits), splits, AGM(), **OPTIONS).rows[0]
    assert {"strength_a", "strength_b", "coefficient_a", "coefficient_b"} <= set(row)


def test_an_encoder_is_never_sped_up_by_more_than_the_clip_allows() -> None:
    model, batches = trained("concat", ("a", "b"))
    method = AGM(alpha=0.5)
    steps(method, model, batches[0])
    method.mean.copy_(torch.tensor([0.0, 18.0]))  # 'a' was ahead by far: tau is 6e7
    method.start_epoch(1, model, make_tiny(("a", "b")).train)
    with torch.no_grad():
        k = method._coefficients(model, model(batches[0].inputs), batches[0])
    assert k[0].item() == pytest.approx(math.exp(0.5 * 10), rel=1e-4)
    assert 0 < k[1].item() < 1, "and 'b', which never was ahead, is slowed down as it is now"
