"""Fusions, by value, by property and by equivalence."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlib.fusion import FUSIONS, Concat, Cosine, FiLM, Fusion, Gated, NonLocal, SqueezeExcitation, Sum

DIMS = {"a": 5, "b": 5, "c": 5}
every_fusion = pytest.mark.parametrize("kind", FUSIONS.values(), ids=FUSIONS.keys())


def made(kind: type[Fusion], dims: dict[str, int] = DIMS, seed: int = 0) -> tuple[Fusion, dict[str, torch.Tensor]]:
    torch.manual_seed(seed)
    return kind(dims, 4), {m: torch.randn(7, d) for m, d in dims.items()}


@every_fusion
@pytest.mark.parametrize("count", [1, 2, 3])
def test_shapes(kind: type[Fusion], count: int) -> None:
    fusion, features = made(kind, dict(list(DIMS.items())[:count]))
    logits, unimodal = fusion(features)
    assert logits.shape == (7, 4)
    assert {m: u.shape for m, u in unimodal.items()} == dict.fromkeys(features, (7, 4))


@pytest.mark.parametrize("kind", [Concat, Sum, Cosine])
@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_additive_fusions_add_up(kind: type[Fusion], seed: int) -> None:
    fusion, features = made(kind, seed=seed)
    logits, unimodal = fusion(features)
    torch.testing.assert_close(sum(unimodal.values()), logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [Concat, Sum, Cosine])
def test_shortcut_is_the_definition(kind: type[Fusion]) -> None:
    """These compute u_m directly; the general definition F({m}) - (1 - 1/M) F({}) must give the same."""
    fusion, features = made(kind)
    present = {"a": torch.ones(7, dtype=torch.bool), "b": torch.arange(7) % 2 == 0, "c": torch.ones(7, dtype=torch.bool)}
    _, quick = fusion(features, present)
    masks = fusion._masks(features, present)
    slow = Fusion.unimodal(fusion, {m: features[m] * masks[m] for m in features}, masks)
    for m in features:
        torch.testing.assert_close(quick[m], slow[m], atol=1e-6, rtol=1e-5)


def test_concat_by_hand() -> None:
    fusion, features = made(Concat, {"a": 2, "b": 3})
    w, b = fusion.head.weight, fusion.head.bias
    _, unimodal = fusion(features)
    torch.testing.assert_close(unimodal["a"], features["a"] @ w[:, :2].T + b / 2)
    torch.testing.assert_close(unimodal["b"], features["b"] @ w[:, 2:].T + b / 2)


def test_cosine_by_hand() -> None:
    fusion, features = made(Cosine, {"a": 2, "b": 3})
    logits, unimodal = fusion(features)
    for m, f in features.items():
        w = fusion.heads[m].weight
        by_hand = 10 * (f @ w.T) / (f.norm(dim=1)[:, None] * w.norm(dim=1))
        torch.testing.assert_close(unimodal[m], by_hand)
    torch.testing.assert_close(logits, unimodal["a"] + unimodal["b"])
    halved = Cosine({"a": 2, "b": 3}, 4, scale=5.0)
    halved.load_state_dict(fusion.state_dict())
    torch.testing.assert_close(halved(features)[0], logits / 2)


@given(of_a=st.floats(1e-3, 1e3), of_heads=st.floats(1e-3, 1e3))
@settings(max_examples=20, deadline=None)
def test_cosine_does_not_see_lengths(of_a: float, of_heads: float) -> None:
    """What the paper is about: neither the norm of features nor that of weights decides how loud a modality speaks."""
    fusion, features = made(Cosine)
    logits, unimodal = fusion(features)
    assert all(float(u.detach().abs().max()) <= 10 + 1e-4 for u in unimodal.values())
    with torch.no_grad():
        fusion.heads["b"].weight.mul_(of_heads)
    torch.testing.assert_close(fusion({**features, "a": of_a * features["a"]})[0], logits, atol=1e-4, rtol=1e-4)


def test_cosine_of_nothing_is_nothing() -> None:
    """A dead encoder (features all zero) leaves the logits to the others, and has a finite gradient."""
    fusion, features = made(Cosine)
    features["a"] = torch.zeros_like(features["a"]).requires_grad_()
    logits, unimodal = fusion(features)
    assert (unimodal["a"] == 0).all()
    logits.logsumexp(1).sum().backward()
    assert bool(torch.isfinite(features["a"].grad).all())


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_cosine_scale_out_of_range(scale: float) -> None:
    with pytest.raises(ValueError, match="scale: expected a number above 0, found"):
        Cosine(DIMS, 4, scale=scale)


def test_film_by_hand() -> None:
    fusion, features = made(FiLM, {"a": 2, "b": 3})
    gamma, beta = (features["b"] @ fusion.film.weight.T + fusion.film.bias).chunk(2, 1)
    logits, _ = fusion(features)
    torch.testing.assert_close(logits, fusion.head((1 + gamma) * features["a"] + beta))
    other = FiLM({"a": 2, "b": 3}, 4, target="b")
    assert other.film.weight.shape == (6, 2)


def test_gated_by_hand() -> None:
    fusion, f = made(Gated, {"a": 2, "b": 3})
    both = torch.cat([f["a"], f["b"]], 1)
    hidden = sum(torch.sigmoid(fusion.gates[m](both)) * torch.tanh(fusion.values[m](f[m])) for m in f)
    torch.testing.assert_close(fusion(f)[0], fusion.head(hidden))


def test_squeeze_excitation_by_hand() -> None:
    fusion, f = made(SqueezeExcitation)
    both = torch.cat(list(f.values()), 1)
    torch.testing.assert_close(fusion(f)[0], fusion.head(both * fusion.gate(both)))


def test_non_local_by_hand() -> None:
    fusion, f = made(NonLocal, {"a": 4, "b": 4})
    out = []
    for m in f:
        scores = torch.stack([(fusion.query(f[m]) * fusion.key(f[k])).sum(1) / 2 for k in f])  # sqrt(4) = 2
        weights = scores.softmax(0)
        out.append(f[m] + fusion.out(sum(w[:, None] * fusion.value(f[k]) for w, k in zip(weights, f, strict=True))))
    torch.testing.assert_close(fusion(f)[0], fusion.head(torch.cat(out, 1)), atol=1e-5, rtol=1e-5)


@every_fusion
def test_what_is_absent_has_no_say(kind: type[Fusion]) -> None:
    fusion, features = made(kind)
    present = {"a": torch.arange(7) < 3, "b": torch.ones(7, dtype=torch.bool), "c": torch.ones(7, dtype=torch.bool)}
    logits, _ = fusion(features, present)
    changed = {**features, "a": torch.where(present["a"][:, None], features["a"], torch.full_like(features["a"], 99.0))}
    torch.testing.assert_close(fusion(changed, present)[0], logits)
    assert not torch.allclose(fusion({**features, "a": features["a"] + 1}, present)[0][:3], logits[:3])


@every_fusion
def test_unimodal_logits_see_one_modality(kind: type[Fusion]) -> None:
    fusion, features = made(kind)
    before = fusion(features)[1]["a"]
    after = fusion({**features, "b": features["b"] * 3, "c": -features["c"]})[1]["a"]
    torch.testing.assert_close(before, after)


@every_fusion
def test_gradient_reaches_every_modality(kind: type[Fusion]) -> None:
    fusion, features = made(kind)
    features = {m: f.requires_grad_() for m, f in features.items()}
    fusion(features)[0].logsumexp(1).sum().backward()
    assert all(f.grad is not None and f.grad.abs().sum() > 0 for f in features.values())


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="at least one modality"):
        Concat({}, 4)
    with pytest.raises(ValueError, match="num_classes: expected 2 or more, found 1"):
        Concat(DIMS, 1)
    with pytest.raises(ValueError, match="target: unknown modality 'x'; known: a, b, c"):
        FiLM(DIMS, 4, target="x")
    with pytest.raises(ValueError, match="features of one size"):
        NonLocal({"a": 2, "b": 3}, 4)


def test_sizes_inside() -> None:
    assert made(Gated, {"a": 2, "b": 3})[0].head.in_features == 3
    assert Gated({"a": 2, "b": 3}, 4, hidden=7).head.in_features == 7
    for dims, squeezed in ((DIMS, 3), ({"a": 2, "b": 1}, 1), ({"a": 3}, 1)):  # a fourth, and at least one
        fusion, features = made(SqueezeExcitation, dims)
        assert fusion.gate[0].weight.shape == (squeezed, sum(dims.values()))
        assert fusion(features)[0].shape == (7, 4)
    gate = made(NonLocal)[0]
    assert all(layer.bias is None for layer in (gate.query, gate.key, gate.value, gate.out))
    assert Concat({"a": 2}, 2).num_classes == 2


def test_a_fusion_that_does_not_fuse_says_so() -> None:
    fusion, features = made(Fusion)
    with pytest.raises(NotImplementedError):
        fusion(features)
