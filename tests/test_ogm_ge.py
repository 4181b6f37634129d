"""OGM-GE: coefficients by hand and by property, what is scaled, the noise against its definition, and bad input."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlib.data.core import Batch
from mmlib.encoders import ConvEncoder, MLPEncoder, SequenceEncoder
from mmlib.fusion import FUSIONS, Fusion
from mmlib.methods import OGMGE, Joint, Method
from mmlib.methods.ogm_ge import coefficient, discrepancy_ratios, modulation_coefficients, unimodal_scores
from mmlib.methods.ogm_noise import covariance_noise, gradient_noise, sample_gradients
from mmlib.model import MultimodalClassifier, Output, build
from mmlib.randomness import derive
from mmlib.train import fit
from tests.conftest import make_tiny

OPTIONS: dict[str, Any] = {"epochs": 3, "batch_size": 16, "lr": 1e-2, "device": "cpu", "progress": False}


def logits_of(*probabilities: float) -> torch.Tensor:
    """Two-class logits [B, 2] that give class 0 these probabilities."""
    p = torch.tensor(probabilities)
    return torch.stack([p.log(), (1 - p).log()], dim=1)


ZEROS = torch.zeros(2, dtype=torch.long)
TWO = {"a": logits_of(0.9, 0.7), "b": logits_of(0.2, 0.6)}


# --- scores, ratios, coefficients


def test_by_hand() -> None:
    assert {m: s.item() for m, s in unimodal_scores(TWO, ZEROS).items()} == pytest.approx({"a": 1.6, "b": 0.8})
    assert {m: r.item() for m, r in discrepancy_ratios(TWO, ZEROS).items()} == pytest.approx({"a": 2.0, "b": 0.5})
    found = modulation_coefficients(TWO, ZEROS, alpha=0.3)
    assert found["a"].item() == pytest.approx(1 - math.tanh(0.6), rel=1e-5)
    assert found["b"].item() == 1.0
    smooth = modulation_coefficients(TWO, ZEROS, alpha=0.3, form="continuous")
    assert smooth["a"].item() == pytest.approx(1 - math.tanh(0.3), rel=1e-5)
    assert smooth["b"].item() == 1.0


def test_three_by_hand() -> None:
    three = {**TWO, "c": logits_of(0.1, 0.3)}  # scores 1.6, 0.8, 0.4
    found = {m: r.item() for m, r in discrepancy_ratios(three, ZEROS).items()}
    assert found == pytest.approx({"a": 1.6 / 0.6, "b": 0.8 / 1.0, "c": 0.4 / 1.2})


def test_two_modalities_are_inverse_to_each_other() -> None:
    ratio = discrepancy_ratios({"a": torch.randn(9, 5), "b": torch.randn(9, 5)}, torch.arange(9) % 5)
    assert (ratio["a"] * ratio["b"]).item() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("form", ["paper", "continuous"])
def test_equal_scores_scale_nobody(count: int, form: Any) -> None:
    same = torch.randn(33, 7, generator=torch.Generator().manual_seed(count))
    found = modulation_coefficients({f"m{i}": same.clone() for i in range(count)}, torch.arange(33) % 7, 1.0, form=form)
    assert all(k.item() == 1.0 for k in found.values())


def test_one_certain_the_other_uniform() -> None:
    certain = torch.tensor([[200.0, 0, 0, 0]] * 3)
    ratio = discrepancy_ratios({"a": certain, "b": torch.zeros(3, 4)}, torch.zeros(3, dtype=torch.long))
    assert ratio["a"].item() == pytest.approx(4)
    found = modulation_coefficients({"a": certain, "b": torch.zeros(3, 4)}, torch.zeros(3, dtype=torch.long), 0.5)
    assert found["a"].item() == pytest.approx(1 - math.tanh(2), rel=1e-4)
    assert found["b"].item() == 1.0


@pytest.mark.parametrize("wrong_by", [100.0, 1e4, 1e30, 3e38])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("alpha", [0.0, 1e-6, 1.0, 1e6])
def test_underflow(wrong_by: float, dtype: torch.dtype, alpha: float) -> None:
    """The true class has probability 0 in floating point, for one modality or for both."""
    hopeless = torch.tensor([[0.0, wrong_by]] * 2, dtype=dtype)
    fair = torch.zeros(2, 2, dtype=dtype)
    for said in ({"a": hopeless, "b": fair}, {"a": hopeless, "b": 2 * hopeless.clamp(max=1e37)}, {"a": hopeless, "b": hopeless}):
        ratio = torch.stack(list(discrepancy_ratios(said, ZEROS).values()))
        found = torch.stack(list(modulation_coefficients(said, ZEROS, alpha).values()))
        assert torch.isfinite(ratio).all()
        assert torch.isfinite(found).all()
        assert ((found >= 0) & (found <= 1)).all()
        assert (found == 1).any(), "somebody is not ahead"
    ahead = modulation_coefficients({"a": hopeless, "b": fair}, ZEROS, 1.0)
    assert ahead["a"].item() == 1.0
    assert ahead["b"].item() == pytest.approx(0, abs=1e-6)


def test_ratio_survives_where_probabilities_would_not() -> None:
    """exp(-200) is 0 in float32, but the two scores are a factor e apart all the same."""
    said = {"a": torch.tensor([[0.0, 200.0]]), "b": torch.tensor([[0.0, 201.0]])}
    assert discrepancy_ratios(said, ZEROS[:1])["a"].item() == pytest.approx(math.e, rel=1e-4)


@given(seed=st.integers(0, 10_000), size=st.integers(1, 20), scale=st.floats(0, 1e3), alpha=st.floats(0, 1e3))
@settings(max_examples=60, deadline=None)
def test_permuting_modalities_permutes_coefficients(seed: int, size: int, scale: float, alpha: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    said = {m: scale * torch.randn(size, 3, generator=generator) for m in "abc"}
    labels = torch.randint(3, (size,), generator=generator)
    found = modulation_coefficients(said, labels, alpha)
    turned = modulation_coefficients({m: said[m] for m in "cab"}, labels, alpha)
    assert list(turned) == list("cab")
    for m in "abc":
        assert 0 <= found[m].item() <= 1
        torch.testing.assert_close(found[m], turned[m], atol=1e-5, rtol=1e-4)
    assert any(k.item() == 1 for k in found.values()), "not everybody can be ahead of the mean of the others"


@given(alpha=st.floats(0, 50), low=st.floats(0, 30), more=st.floats(0, 30))
@settings(max_examples=60, deadline=None)
def test_further_ahead_is_scaled_more(alpha: float, low: float, more: float) -> None:
    for form in ("paper", "continuous"):
        near, far = coefficient(torch.tensor([low, low + more], dtype=torch.float64), alpha, form)  # type: ignore[arg-type]
        assert far <= near


def test_jump_and_its_absence() -> None:
    just_ahead = torch.tensor([1.0, 1.0 + 1e-6])
    assert coefficient(just_ahead, 0.8).tolist() == pytest.approx([1, 1 - math.tanh(0.8)], abs=1e-5)
    assert coefficient(just_ahead, 0.8, "continuous").tolist() == pytest.approx([1, 1], abs=1e-5)


def test_missing_samples_do_not_count() -> None:
    present = {"a": torch.tensor([True, False]), "b": torch.tensor([True, True])}
    scores = unimodal_scores(TWO, ZEROS, present)
    assert {m: s.item() for m, s in scores.items()} == pytest.approx({"a": 0.9, "b": 0.8})
    ratio = discrepancy_ratios(TWO, ZEROS, present)["a"]
    assert ratio.item() == pytest.approx(0.9 / 0.4, rel=1e-5)  # of the means: one sample against two


def test_modality_without_a_sample_is_not_compared() -> None:
    three = {**TWO, "c": logits_of(0.001, 0.001)}
    nobody, everybody = torch.zeros(2, dtype=torch.bool), torch.ones(2, dtype=torch.bool)
    present = {"a": everybody, "b": everybody, "c": nobody}
    found = modulation_coefficients(three, ZEROS, 0.3, present)
    assert found["c"].item() == 1.0
    assert found["a"].item() == pytest.approx(modulation_coefficients(TWO, ZEROS, 0.3)["a"].item(), rel=1e-5)
    alone = modulation_coefficients(TWO, ZEROS, 5.0, {"a": everybody, "b": nobody})
    assert [k.item() for k in alone.values()] == [1.0, 1.0]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_coefficients_for_every_fusion(fusion: str) -> None:
    """They are those of the definition u_m = F({m}) - (1 - 1/M) F({}), computed here from the model alone."""
    splits = make_tiny(("a", "b", "c"))
    model = build(splits, fusion)
    batch = next(iter(splits.train.batches(32)))
    output = model(batch.inputs)
    features = output.features
    zero = {m: torch.zeros_like(x) for m, x in features.items()}
    one, none = torch.ones(32, 1), torch.zeros(32, 1)
    silence = model.fusion.fuse(zero, dict.fromkeys(features, none))
    said = {
        m: model.fusion.fuse({**zero, m: x}, {**dict.fromkeys(features, none), m: one}) - 2 / 3 * silence
        for m, x in features.items()
    }
    expected = modulation_coefficients(said, batch.labels, 0.8)
    found = modulation_coefficients(output.unimodal, batch.labels, 0.8)
    for m in features:
        torch.testing.assert_close(found[m], expected[m], atol=1e-5, rtol=1e-4)
        assert not found[m].requires_grad


# --- the step


def gradients_after(method: Method, model: MultimodalClassifier, batch: Batch) -> dict[str, torch.Tensor]:
    """The gradients that the optimiser saw: SGD with learning rate 1 from the weights before."""
    model = copy.deepcopy(model)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    method.setup(model, make_tiny(tuple(model.modalities)).train, 0)
    method.step(model, batch, torch.optim.SGD(model.parameters(), lr=1.0))
    return {n: before[n] - p.detach() for n, p in model.named_parameters()}


@pytest.mark.parametrize("form", ["paper", "continuous"])
@pytest.mark.parametrize("fusion", ["concat", "gated"])
def test_scales_the_encoders_of_the_modality_ahead_and_nothing_else(form: Any, fusion: str) -> None:
    splits = make_tiny(("a", "b", "c"))
    model = build(splits, fusion)
    fit(model, splits.only("a", "b", "c"), **OPTIONS)
    batch = next(iter(splits.train.batches(32)))
    plain = gradients_after(Joint(), model, batch)
    changed = gradients_after(OGMGE(alpha=0.4, noise=None, form=form), model, batch)
    k = modulation_coefficients(model(batch.inputs).unimodal, batch.labels, 0.4, form=form)
    assert any(x < 1 for x in k.values())
    for name, gradient in plain.items():
        factor = k[name.split(".")[1]] if name.startswith("encoders.") else 1.0
        torch.testing.assert_close(changed[name], factor * gradient, atol=1e-6, rtol=1e-3)


def test_conv_scales_the_weights_of_convolutions_alone() -> None:
    torch.manual_seed(0)
    encoders = {"image": ConvEncoder(dim=8), "text": SequenceEncoder(vocabulary=9, dim=8)}
    model = MultimodalClassifier(encoders, num_classes=3)
    batch = Batch({"image": torch.randn(12, 1, 8, 8), "text": torch.randint(0, 9, (12, 5))}, torch.arange(12) % 3)
    method = OGMGE(alpha=30.0, noise=None, scale="conv")
    plain, changed = gradients_after(Joint(), model, batch), gradients_after(method, model, batch)
    k = modulation_coefficients(model(batch.inputs).unimodal, batch.labels, 30.0)
    ahead = "image" if k["image"] < 1 else "text"
    assert k[ahead] == 0
    convolutions = {"image": {"layers.0.weight", "layers.2.weight"}, "text": {"mix.weight"}}[ahead]
    scaled = {n for n in plain if not torch.allclose(plain[n], changed[n])}
    assert scaled == {f"encoders.{ahead}.{n}" for n in convolutions}
    assert all(not changed[n].any() for n in scaled)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_strength_zero_without_noise_is_joint_bit_for_bit(optimizer: str, missing: float) -> None:
    def weights(method: Method) -> dict[str, torch.Tensor]:
        splits = make_tiny(("a", "b", "c"), missing=missing)
        model = build(splits, dropout=0.2)
        fit(model, splits, method, **{**OPTIONS, "optimizer": optimizer})
        return model.state_dict()

    joint, same = weights(Joint()), weights(OGMGE(alpha=0, noise=None, gradients=True))
    assert all(torch.equal(joint[n], same[n]) for n in joint)
    other = weights(OGMGE(alpha=1, noise=None))
    assert not all(torch.equal(joint[n], other[n]) for n in joint)


def test_window() -> None:
    """Outside of it: joint training, without noise either."""

    def run(method: Method, epochs: int) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
        splits = make_tiny(("a", "b"))
        model = build(splits)
        rows = fit(model, splits, method, **{**OPTIONS, "epochs": epochs, "keep": "last"}).rows
        return model.state_dict(), rows

    joint, _ = run(Joint(), 2)
    late, rows = run(OGMGE(alpha=2, window=(2, 2)), 2)
    assert all(torch.equal(joint[n], late[n]) for n in joint)
    assert all(row["coefficient_a"] == row["coefficient_b"] == 1 for row in rows)
    late, rows = run(OGMGE(alpha=2, window=(2, 2)), 4)
    assert [row["coefficient_a"] < 1 or row["coefficient_b"] < 1 for row in rows] == [False, False, True, False]


def test_report() -> None:
    splits = make_tiny(("a", "b"))
    model = build(splits)
    batch = next(iter(splits.train.batches(32)))
    plain = gradients_after(Joint(), model, batch)
    method = OGMGE(alpha=0.7, noise=None, gradients=True)
    gradients_after(method, model, batch)
    told = method.report()
    ratio = discrepancy_ratios(model(batch.inputs).unimodal, batch.labels)
    for m in "ab":
        norm = torch.cat([g.flatten() for n, g in plain.items() if n.startswith(f"encoders.{m}.")]).norm()
        assert told[f"gradient_{m}"] == pytest.approx(norm.item(), rel=1e-4)
        assert told[f"ratio_{m}"] == pytest.approx(ratio[m].item(), rel=1e-4)
        assert told[f"coefficient_{m}"] == pytest.approx(coefficient(ratio[m], 0.7).item(), rel=1e-4)


def test_before_the_first_epoch_it_is_epoch_zero() -> None:
    splits = make_tiny(("a", "b"))
    model = build(splits)
    batch = next(iter(splits.train.batches(32)))
    plain = gradients_after(Joint(), model, batch)
    for window, same in (((1, 9), True), ((0, 0), False)):
        changed = gradients_after(OGMGE(alpha=2, window=window), model, batch)
        assert all(torch.equal(plain[n], changed[n]) for n in plain) == same


def test_a_step_leaves_no_graph_behind() -> None:
    splits = make_tiny(("a", "b"))
    model, method = build(splits), OGMGE(gradients=True)
    method.setup(model, splits.train, 0)
    method.step(model, next(splits.train.batches(16)), torch.optim.SGD(model.parameters(), lr=0.1))
    assert not any(p.grad.requires_grad for p in model.parameters() if p.grad is not None)
    assert not any(told.requires_grad for told in method.seen)


def test_a_modality_that_was_not_passed_has_a_gradient_of_zero() -> None:
    splits = make_tiny(("a", "b", "c"))
    batch = next(iter(splits.train.batches(16)))
    method = OGMGE(gradients=True)
    gradients_after(method, build(splits), Batch({m: x for m, x in batch.inputs.items() if m != "c"}, batch.labels))
    told = method.report()
    assert told["gradient_c"] == 0
    assert told["gradient_a"] > 0


def test_absent_modality_gets_no_noise() -> None:
    model = build(make_tiny(("a", "b", "c")))
    batch = next(iter(make_tiny(("a", "b", "c")).train.batches(16)))
    nobody, everybody = torch.zeros(16, dtype=torch.bool), torch.ones(16, dtype=torch.bool)
    for kind in ("released", "covariance"):
        masked = Batch(batch.inputs, batch.labels, {"a": everybody, "b": everybody, "c": nobody})
        changed = gradients_after(OGMGE(noise=kind), model, masked)  # type: ignore[arg-type]
        assert all(not g.any() for n, g in changed.items() if n.startswith("encoders.c."))
        short = Batch({m: x for m, x in batch.inputs.items() if m != "c"}, batch.labels)  # not passed at all
        changed = gradients_after(OGMGE(noise=kind), model, short)  # type: ignore[arg-type]
        assert all(not g.any() for n, g in changed.items() if n.startswith("encoders.c."))


# --- noise


def test_released_noise_has_one_standard_deviation_per_tensor() -> None:
    gradient = torch.linspace(1, 3, 50_000).view(100, 500)
    noise = gradient_noise(gradient, torch.Generator().manual_seed(0))
    assert noise.shape == gradient.shape
    assert noise.mean().item() == pytest.approx(0, abs=0.02)
    assert noise.std().item() == pytest.approx(gradient.std().item(), rel=0.02)
    assert abs(torch.corrcoef(torch.stack([noise.flatten(), gradient.flatten()]))[0, 1].item()) < 0.02
    assert gradient_noise(torch.tensor([2.0])).item() == 0
    assert bool(gradient_noise(torch.tensor([2.0, 3.0])).all()), "two entries have a standard deviation"


def test_noise_comes_from_the_generator() -> None:
    gradient = torch.randn(40)
    torch.manual_seed(1)
    first = gradient_noise(gradient, torch.Generator().manual_seed(5))
    torch.manual_seed(2)
    assert torch.equal(first, gradient_noise(gradient, torch.Generator().manual_seed(5)))
    assert not torch.equal(first, gradient_noise(gradient, torch.Generator().manual_seed(6)))


def test_step_adds_the_released_noise_of_the_unscaled_gradient() -> None:
    splits = make_tiny(("a", "b"))
    model = build(splits, dim=512)
    batch = next(iter(splits.train.batches(32)))
    plain = gradients_after(Joint(), model, batch)
    changed = gradients_after(OGMGE(alpha=50.0), model, batch)
    k = modulation_coefficients(model(batch.inputs).unimodal, batch.labels, 50.0)
    assert {x.item() for x in k.values()} == {0.0, 1.0}
    for name, gradient in plain.items():
        if not name.startswith("encoders."):
            assert torch.equal(gradient, changed[name])
        elif gradient.numel() > 1000:
            noise = changed[name] - k[name.split(".")[1]] * gradient
            assert noise.std().item() == pytest.approx(gradient.std().item(), rel=0.08)
            assert noise.mean().item() == pytest.approx(0, abs=0.08 * gradient.std().item())


def test_the_released_noise_is_the_generators_first_draw_of_the_epoch() -> None:
    splits = make_tiny(("a", "b"))
    model = build(splits)
    batch = next(iter(splits.train.batches(32)))
    plain = gradients_after(Joint(), model, batch)
    changed = gradients_after(OGMGE(alpha=0.0), model, batch)
    generator = torch.Generator().manual_seed(derive(0, "gradient noise", 0))
    for name in [n for m in "ab" for n in plain if n.startswith(f"encoders.{m}.")]:
        expected = plain[name] + gradient_noise(plain[name], generator)
        torch.testing.assert_close(changed[name], expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_covariance_noise_is_a_mixture_of_sample_gradients(missing: float) -> None:
    """One backward pass with random weights against the gradients of single samples from torch.func."""
    splits = make_tiny(("a", "b"), missing=missing)
    model = build(splits)
    batch = next(iter(splits.train.batches(16)))
    names, parameters = zip(*model.named_parameters(), strict=True)
    losses = F.cross_entropy(model(batch.inputs, batch.present).logits, batch.labels, reduction="none")
    noise = covariance_noise(losses, parameters, torch.Generator().manual_seed(3))
    single = sample_gradients(model, batch)
    e = torch.empty(16).normal_(generator=torch.Generator().manual_seed(3))
    for name, h in zip(names, noise, strict=True):
        assert h is not None
        centred = single[name] - single[name].mean(0)
        expected = torch.einsum("b,b...->...", e, centred) / math.sqrt(16 * 15)
        torch.testing.assert_close(h, expected, atol=1e-6, rtol=1e-3)


def test_sample_gradients_average_to_the_gradient_of_the_batch() -> None:
    splits = make_tiny(("a", "b"))
    model = build(splits, dropout=0.5)
    batch = next(iter(splits.train.batches(16)))
    single = sample_gradients(model, batch)
    assert model.training, "left as it was"
    model.eval()
    F.cross_entropy(model(batch.inputs).logits, batch.labels).backward()
    for name, p in model.named_parameters():
        assert p.grad is not None
        torch.testing.assert_close(single[name].mean(0), p.grad, atol=1e-6, rtol=1e-3)


def test_covariance_noise_has_the_covariance_of_the_minibatch_gradient() -> None:
    """Linear losses with known gradients: the covariance of many draws is sum (g_i - g)(g_i - g)^T / (B (B - 1))."""
    g = torch.tensor([[1.0, 0.0], [3.0, 1.0], [2.0, -1.0], [2.0, 4.0]])
    w = torch.zeros(2, requires_grad=True)
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([covariance_noise(g @ w, [w], generator)[0] for _ in range(4000)])  # type: ignore[arg-type]
    torch.testing.assert_close(torch.cov(draws.T), torch.cov(g.T) / 4, atol=0.03, rtol=0.1)
    assert draws.mean(0).abs().max() < 0.05
    one = covariance_noise((g @ w)[:1], [w], generator)[0]
    assert one is not None
    assert not one.any()


@pytest.mark.parametrize("options", [{"noise": "covariance"}, {"noise": None, "form": "continuous"}, {"window": (1, 2)}])
def test_killed_and_resumed_is_never_killed(options: dict[str, Any], tmp_path: Path) -> None:
    """The contract test does this for the default; here for the other kinds, killed in the middle of an epoch."""

    class Killed(BaseException):
        pass

    class Killing(OGMGE):
        steps = 0
        __module__, __qualname__ = OGMGE.__module__, OGMGE.__qualname__  # whose checkpoint it leaves

        def step(self, *args: Any) -> tuple[torch.Tensor, Output]:
            Killing.steps += 1
            if Killing.steps == 13:
                raise Killed
            return super().step(*args)

    splits = make_tiny(("a", "b"), missing=0.2)
    arguments = {**OPTIONS, "epochs": 4}
    whole, again, resumed = (build(splits, dropout=0.3) for _ in range(3))
    rows = fit(whole, splits, OGMGE(**options), **arguments).rows
    with pytest.raises(Killed):
        fit(again, splits, Killing(**options), checkpoint=tmp_path / "run.pt", **arguments)
    more = fit(resumed, splits, OGMGE(**options), checkpoint=tmp_path / "run.pt", resume=True, **arguments).rows
    assert [{**r, "seconds": 0} for r in more] == [{**r, "seconds": 0} for r in rows]
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True))


# --- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -0.1}, "alpha: expected a strength of 0 or more, found -0.1"),
        ({"alpha": math.nan}, "alpha: expected"),
        ({"alpha": math.inf}, "alpha: expected"),
        ({"window": (5, 4)}, r"window: expected .* found \(5, 4\)"),
        ({"window": (-1, 4)}, "window: expected"),
        ({"noise": "loud"}, "noise: unknown 'loud'; known: released, covariance, None"),
        ({"scale": "linear"}, "scale: unknown 'linear'; known: all, conv"),
        ({"form": "steep"}, "form: unknown 'steep'; known: paper, continuous"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OGMGE(**options)


def test_bad_arguments_of_the_functions() -> None:
    with pytest.raises(ValueError, match="alpha: expected a strength of 0 or more, found -1"):
        modulation_coefficients(TWO, ZEROS, -1)
    with pytest.raises(ValueError, match="two modalities or more to compare, found a"):
        modulation_coefficients({"a": TWO["a"]}, ZEROS, 1)
    with pytest.raises(ValueError, match=r"unimodal_logits\['b'\]: expected shape \[2, C\], one row per label, found \[3, 2\]"):
        discrepancy_ratios({"a": TWO["a"], "b": torch.zeros(3, 2)}, ZEROS)


def test_single_modality() -> None:
    splits = make_tiny(("a",))
    with pytest.raises(ValueError, match="model: OGM-GE compares modalities and needs two or more, found a"):
        fit(build(splits), splits, OGMGE(), **OPTIONS)


def test_encoder_without_a_convolution() -> None:
    splits = make_tiny(("a", "b"))
    with pytest.raises(ValueError, match=r"encoders\['a'\]: MLPEncoder has no convolution .* scale='all'"):
        fit(build(splits), splits, OGMGE(scale="conv"), **OPTIONS)


@pytest.mark.parametrize("scale", ["all", "conv"])
def test_encoder_without_any_tensor(scale: Any) -> None:
    class Raw(torch.nn.Flatten):
        dim = 6

    def frozen() -> torch.nn.Module:
        return MLPEncoder(6).requires_grad_(False)

    splits = make_tiny(("a", "b"))
    makers: list[Callable[[], torch.nn.Module]] = [Raw, frozen]
    for make in makers:
        with pytest.raises(ValueError, match=r"encoders\['b'\]: \w+ has no tensor that is trained, nothing to scale"):
            fit(build(splits, encoders={"a": MLPEncoder(6), "b": make()}), splits, OGMGE(), **OPTIONS)


def test_fusion_without_unimodal_logits() -> None:
    class Mute(Fusion):
        def __init__(self, dims: Any, num_classes: int) -> None:
            super().__init__(dims, num_classes)
            self.head = torch.nn.Linear(sum(dims.values()), num_classes)

        def forward(self, features: Any, present: Any = None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            return self.head(torch.cat(list(features.values()), dim=1)), {}

    splits = make_tiny(("a", "b"))
    with pytest.raises(ValueError, match="model: Mute gives no unimodal logits for a, b; OGM-GE needs"):
        fit(build(splits, Mute), splits, OGMGE(), **OPTIONS)
