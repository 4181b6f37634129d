"""MLA: the projection, the fusion, the turns."""

from __future__ import annotations

import copy
import math
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mmlib.data.core import Batch
from mmlib.encoders import MLPEncoder
from mmlib.methods import MLA, LateFusion
from mmlib.methods.mla import fuse_by_uncertainty, predictive_entropy, step_where_any, update_projection
from mmlib.methods.mla_fusion import fixed_weights, log_mixture, uncertainty_weights
from mmlib.methods.mla_projection import mean_feature, project_gradient, ridge_at
from mmlib.model import MultimodalClassifier, build
from mmlib.randomness import derive
from mmlib.train import evaluate, fit, make_optimizer
from tests.conftest import make_tiny

OPTIONS: dict[str, Any] = {"epochs": 3, "batch_size": 16, "lr": 1e-2, "device": "cpu", "progress": False}
HGMS = ["off", "paper", "project_before", "update_before", "others"]


def project_many(features: Tensor, ridge: float) -> Tensor:
    p = torch.eye(features.shape[1], dtype=features.dtype)
    for h in features:
        p = update_projection(p, h, ridge)
    return p


# The projection


@given(st.integers(1, 12), st.integers(1, 40), st.floats(0.01, 100), st.floats(0.01, 30), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_projection_is_the_closed_form(dim: int, steps: int, ridge: float, scale: float, seed: int) -> None:
    h = scale * torch.randn(steps, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = torch.linalg.inv(torch.eye(dim, dtype=torch.float64) + h.T @ h / ridge)
    torch.testing.assert_close(project_many(h, ridge), expected, rtol=1e-6, atol=1e-9)


@given(st.integers(1, 16), st.floats(1e-12, 1e6), st.floats(1e-3, 1e3), st.integers(0, 1000), st.booleans())
@settings(max_examples=40, deadline=None)
def test_projection_is_symmetric_positive_and_never_grows(dim: int, ridge: float, scale: float, seed: int, relu: bool) -> None:
    """In single precision, for any ridge: exactly symmetric, eigenvalues in (0, 1] but for rounding, none ever larger."""
    g = torch.Generator().manual_seed(seed)
    p, last = torch.eye(dim), torch.ones(dim, dtype=torch.float64)
    for _ in range(60):
        h = scale * (torch.randn(dim, generator=g) + 0.5)
        p = update_projection(p, h.relu() if relu else h, ridge)
        eigenvalues = torch.linalg.eigvalsh(p.double())
        assert torch.equal(p, p.T)
        assert eigenvalues[0] > -1e-6
        assert (eigenvalues <= last + 1e-6).all()
        last = eigenvalues
    assert last[-1] <= 1 + 1e-6


@pytest.mark.parametrize(("ridge", "scale"), [(1e-9, 30.0), (1e-3, 30.0), (1.0, 1.0)])
def test_ten_thousand_updates_stay_sound(ridge: float, scale: float) -> None:
    g = torch.Generator().manual_seed(0)
    base, p = scale * torch.rand(32, generator=g), torch.eye(32)
    for _ in range(10_000):
        p = update_projection(p, (base + 0.2 * scale * torch.randn(32, generator=g)).relu(), ridge)
    eigenvalues = torch.linalg.eigvalsh(p.double())
    assert torch.equal(p, p.T)
    assert eigenvalues[0] > -1e-6
    assert eigenvalues[-1] < 0.01


def test_memory_is_flat_over_ten_thousand_updates() -> None:
    """The feature carries a graph of 4 MB, so that 10,000 of them, or a few hundred, could not go unseen."""
    weight, p = torch.randn(16, 16, requires_grad=True), torch.eye(16)

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # MB

    for step in range(10_100):
        x = torch.empty(65_536, 16) if step % 100 == 0 else torch.ones(4, 16)
        p = update_projection(p, (x @ weight).mean(0) if step % 100 else torch.relu(x.zero_() @ weight).mean(0) + 0.1, 1.0)
        if step == 300:
            before = peak()
    assert not p.requires_grad
    assert peak() - before < 50, "100 graphs of 4 MB would be 400"


def test_memory_of_training_is_flat() -> None:
    """No tensor more after 300 steps than after 50; gc sees those that Python holds."""
    import gc

    splits = make_tiny(("a", "b"), samples=40)
    model, method = build(splits, dim=4), MLA()
    method.setup(model, splits.train, 0)
    optimizer = torch.optim.SGD([*model.parameters(), *method.parameters()], lr=1e-3)
    batch = next(iter(splits.train.batches(4)))

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(x), Tensor) for x in gc.get_objects())

    for _ in range(50):
        method.step(model, batch, optimizer)
    before = tensors()
    for _ in range(250):
        method.step(model, batch, optimizer)
    assert tensors() <= before
    assert method.projections.grad_fn is None


def test_projection_leaves_what_is_orthogonal() -> None:
    p = project_many(torch.tensor([[3.0, 0.0, 0.0], [0.0, 2.0, 0.0]]), 1e-3)
    gradient = torch.tensor([[1.0, 1.0, 1.0]])
    torch.testing.assert_close(project_gradient(gradient, p), torch.tensor([[0.0, 0.0, 1.0]]), atol=1e-3, rtol=0)
    assert torch.equal(update_projection(p, torch.zeros(3), 1.0), p), "a modality without a sample changes nothing"


@pytest.mark.parametrize("size", [2.0**-10, 1.0, 64.0])
def test_a_ridge_that_rounding_would_lose_counts_as_eight_epsilons(size: float) -> None:
    eps = torch.finfo(torch.float32).eps
    left = update_projection(torch.eye(1), torch.tensor([size]), ridge=1e-30)
    assert left.item() == pytest.approx(8 * eps, rel=0.07)  # 1 - h^2 / (h^2 + 8 eps h^2)


def test_mean_feature_counts_who_is_there() -> None:
    f = torch.tensor([[1.0, 2.0], [3.0, 4.0], [50.0, 60.0]], requires_grad=True)
    there = torch.tensor([True, True, False])
    assert mean_feature(f, there).tolist() == [2.0, 3.0]
    assert mean_feature(f, ~there).tolist() == [50.0, 60.0]
    assert mean_feature(f, there & ~there).tolist() == [0.0, 0.0]
    assert not mean_feature(f).requires_grad


@pytest.mark.parametrize("ridge", [0, 0.0, -1.0, math.nan, math.inf, "1", True])
def test_bad_ridge(ridge: Any) -> None:
    with pytest.raises(ValueError, match="ridge: expected a finite number larger than 0"):
        update_projection(torch.eye(2), torch.ones(2), ridge)
    with pytest.raises(ValueError, match="ridge"):
        MLA(ridge=ridge)


def test_ridge_schedule() -> None:
    seen: list[float] = []

    def falling(epochs: float) -> float:
        seen.append(epochs)
        return float(0.1**epochs)

    assert ridge_at(falling, 2) == pytest.approx(0.01)
    splits = make_tiny(("a", "b"))
    fit(build(splits), splits, MLA(ridge=falling), **{**OPTIONS, "epochs": 2})
    n = len(splits.train)
    assert seen[1:5] == [0, 0, 16 / n, 16 / n], "both turns of a batch at one time"
    assert max(seen[1:]) < 2
    with pytest.raises(ValueError, match="ridge"):
        fit(build(splits), splits, MLA(ridge=lambda t: 0.05 - t), **OPTIONS)


@pytest.mark.parametrize("shapes", [((2, 3), (3,)), ((2, 2), (3,)), ((2, 2), (1, 2))])
def test_projection_shapes(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="expected shapes"):
        update_projection(torch.ones(shapes[0]), torch.ones(shapes[1]), 1.0)


# Entropy and fusion

finite = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(st.lists(finite, min_size=2, max_size=8))
def test_entropy_is_finite_for_any_finite_logits(values: list[float]) -> None:
    e = predictive_entropy(torch.tensor(values))
    assert -1e-6 <= float(e) <= math.log(len(values)) + 1e-5


def test_entropy_of_certainty_and_of_ignorance() -> None:
    assert predictive_entropy(torch.tensor([3e38, -3e38, 0.0])) == 0
    for c in (2, 3, 10, 100):
        assert float(predictive_entropy(torch.full((c,), 7.0))) == pytest.approx(math.log(c), abs=1e-5)
    assert predictive_entropy(torch.randn(4, 5, 3)).shape == (4, 5)


@given(st.integers(1, 4), st.integers(1, 6), st.integers(2, 5), st.floats(0.01, 1e4), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_fusion_per_sample(modalities: int, batch: int, classes: int, scale: float, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    logits = {f"m{i}": scale * torch.randn(batch, classes, generator=g) for i in range(modalities)}
    present = {m: torch.rand(batch, generator=g) > 0.4 for m in logits}
    present["m0"] = present["m0"] | ~torch.stack(list(present.values())).any(0)
    p, weights = fuse_by_uncertainty(logits, present)
    torch.testing.assert_close(torch.stack(list(weights.values())).sum(0), torch.ones(batch))
    torch.testing.assert_close(p.sum(1), torch.ones(batch), rtol=1e-4, atol=1e-5)
    assert all((weights[m][~present[m]] == 0).all() for m in logits)
    for i in range(batch):  # whoever else is in the batch
        one, own = fuse_by_uncertainty(
            {m: u[i : i + 1] for m, u in logits.items()}, {m: b[i : i + 1] for m, b in present.items()}
        )
        torch.testing.assert_close(one[0], p[i])
        assert all(float(own[m]) == pytest.approx(float(weights[m][i]), abs=1e-6) for m in logits)


def test_weights_by_hand() -> None:
    logits = {"a": torch.tensor([[2.0, 0.0], [0.0, 0.0]]), "b": torch.tensor([[0.0, 0.0], [5.0, 0.0]])}
    e = {m: [-sum(p * math.log(p) for p in torch.softmax(row, 0).tolist()) for row in u] for m, u in logits.items()}
    p, weights = fuse_by_uncertainty(logits)
    for i in range(2):
        top = max(e["a"][i], e["b"][i])
        raw = {m: math.exp(top - e[m][i]) for m in logits}
        wa = raw["a"] / sum(raw.values())
        assert float(weights["a"][i]) == pytest.approx(wa, abs=1e-6)
        expected = wa * torch.softmax(logits["a"][i], 0) + (1 - wa) * torch.softmax(logits["b"][i], 0)
        torch.testing.assert_close(p[i], expected)


def test_mixture_never_underflows() -> None:
    logits = {"a": torch.tensor([[500.0, 0.0]]), "b": torch.tensor([[900.0, 0.0]])}
    assert torch.isfinite(log_mixture(logits, uncertainty_weights(logits))).all()


def test_fixed_weights() -> None:
    logits = {"a": torch.zeros(2, 3), "b": torch.zeros(2, 3)}
    there = {"b": torch.tensor([True, False])}
    assert fixed_weights(logits, there)["a"].tolist() == [0.5, 1.0]
    assert fixed_weights(logits, there, {"a": 1, "b": 3})["b"].tolist() == [0.75, 0.0]


def test_nothing_to_fuse() -> None:
    u = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="at least one modality, found none"):
        fuse_by_uncertainty({})
    with pytest.raises(ValueError, match="1 of 3 have none .the first is sample 1"):
        fuse_by_uncertainty({"a": u, "b": u}, {"a": torch.tensor([True, False, False]), "b": torch.tensor([True, False, True])})
    twice = torch.tensor([True, False, False, True])
    with pytest.raises(ValueError, match="2 of 4 have none .the first is sample 1"):
        fuse_by_uncertainty(dict.fromkeys("ab", torch.zeros(4, 2)), {"a": twice, "b": twice})
    with pytest.raises(ValueError, match="one shape"):
        fuse_by_uncertainty({"a": u, "b": torch.zeros(3, 4)})
    with pytest.raises(ValueError, match=r"present\['b'\]: expected shape \[3\], found \[2\]"):
        fuse_by_uncertainty({"a": u, "b": u}, {"b": torch.tensor([True, False])})
    splits = make_tiny(("a", "b"))
    model, method = build(splits), MLA()
    method.setup(model, splits.train, 0)
    with pytest.raises(ValueError, match="5 of 5 have none"):
        method.predict(model, {"a": torch.zeros(5, 6)}, {"a": torch.zeros(5, dtype=torch.bool)})


# The turns


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adamw"])
def test_without_projection_it_is_alternating_training_by_hand(optimizer: str) -> None:
    splits = make_tiny(("a", "b", "c"))
    ours, method = build(splits), MLA(hgm="off", fusion="mean")
    fit(ours, splits, method, optimizer=optimizer, weight_decay=0.01, keep="last", **OPTIONS)

    model, again = build(splits), MLA(hgm="off")
    again.setup(model, splits.train, 0)  # only for the start of the head
    head, x, y = again.head, splits.train.inputs, splits.train.labels
    everything = [*model.parameters(), *head.parameters()]
    opt = make_optimizer(optimizer, everything, lr=1e-2, weight_decay=0.01)
    for epoch in range(3):
        for at in torch.randperm(len(y), generator=torch.Generator().manual_seed(derive(0, "batches", epoch))).split(16):
            for m in ("a", "b", "c"):
                loss = F.cross_entropy(head(model.encoders[m](x[m][at])), y[at])
                opt.zero_grad()
                loss.backward()
                opt.step()
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in ours.state_dict().items())
    assert torch.equal(method.head.weight, head.weight)
    test = splits.test.inputs
    by_hand = torch.stack([torch.softmax(head(model.encoders[m](test[m])), 1) for m in ("a", "b", "c")]).mean(0)
    torch.testing.assert_close(method.predict(ours, test).logits.exp(), by_hand)


@pytest.mark.parametrize("turns", ["alternating", "together"])
def test_separate_heads_are_an_ensemble_of_networks_that_never_met(turns: Any) -> None:
    splits = make_tiny(("a", "b"), missing=0.2)
    one, two = build(splits), build(splits)
    method, late = MLA(hgm="off", head="separate", fusion="mean", turns=turns), LateFusion()
    fit(one, splits, method, **OPTIONS)
    fit(two, splits, late, **OPTIONS)
    assert all(torch.equal(v, two.state_dict()[k]) for k, v in one.state_dict().items())
    assert evaluate(one, splits.test, method) == pytest.approx(evaluate(two, splits.test, late), abs=1e-6)


def one_turn(hgm: Any, modalities: tuple[str, ...] = ("a", "b"), **options: Any) -> tuple[MultimodalClassifier, MLA, Batch]:
    splits = make_tiny(modalities)
    model, method = build(splits), MLA(hgm=hgm, **options)
    method.setup(model, splits.train, 0)
    return model, method, next(iter(splits.train.batches(32)))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_idle_encoders_do_not_move(optimizer: str) -> None:
    model, method, batch = one_turn("paper")
    parameters = [*model.parameters(), *method.parameters()]
    opt: torch.optim.Optimizer = torch.optim.Adam(parameters, weight_decay=0.1)
    if optimizer == "sgd":
        opt = torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.1)
    method.step(model, batch, opt)  # now there is momentum
    features = model.encode(batch.inputs)
    before = copy.deepcopy(model.state_dict())
    loss = F.cross_entropy(method.head(features["a"]), batch.labels)
    method.take_turn("a", loss, features, batch, opt)
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert moved
    assert all(k.startswith("encoders.a.") for k in moved), "not the other encoder, and not the model's own fusion"


def test_the_projection_remembers_the_turns_before() -> None:
    """By hand, with SGD: what P is, and what the head's update is, under every variant."""
    found = {}
    for hgm in HGMS:
        model, method, batch = one_turn(hgm, ridge=0.5)
        start = copy.deepcopy((model, method.head))
        h = {m: f.detach().mean(0) for m, f in model.encode(batch.inputs).items()}
        method.step(model, batch, torch.optim.SGD([*model.parameters(), *method.parameters()], lr=0.1))
        eye = torch.eye(64)
        p = {m: update_projection(eye, v, 0.5) for m, v in h.items()}
        both = update_projection(p["a"], h["b"], 0.5)
        use = {
            "off": (eye, eye), "paper": (eye, p["a"]), "project_before": (eye, p["a"]),
            "update_before": (p["a"], both), "others": (eye, p["a"]),
        }[hgm]  # fmt: skip
        old, head = start
        for m, through in zip(("a", "b"), use, strict=True):
            head.zero_grad()
            F.cross_entropy(head(old.encoders[m](batch.inputs[m])), batch.labels).backward()
            with torch.no_grad():
                head.weight -= 0.1 * head.weight.grad @ through
                head.bias -= 0.1 * head.bias.grad
        torch.testing.assert_close(method.head.weight, head.weight)
        torch.testing.assert_close(method.head.bias, head.bias)
        if hgm == "others":
            torch.testing.assert_close(method.projections, torch.stack([p["b"], p["a"]]))
        elif hgm != "off":
            torch.testing.assert_close(method.projections[0], both)
        found[hgm] = method.head.weight
    assert torch.equal(found["paper"], found["project_before"])
    assert not torch.equal(found["paper"], found["update_before"])


def test_with_one_modality_the_paper_has_nothing_to_remember() -> None:
    splits = make_tiny(("a",))
    heads = {}
    for hgm in ("off", "paper", "others", "project_before"):
        method = MLA(hgm=hgm)
        fit(build(splits), splits, method, **OPTIONS)
        heads[hgm] = method.head.weight
    assert torch.equal(heads["off"], heads["paper"])
    assert torch.equal(heads["off"], heads["others"])
    assert not torch.equal(heads["off"], heads["project_before"])


def test_before_the_first_epoch_it_is_epoch_zero() -> None:
    seen: list[float] = []

    def ridge(epochs: float) -> float:
        seen.append(epochs)
        return 1.0

    splits = make_tiny(("a", "b", "c"))
    model, batch = build(splits), next(splits.train.batches(16))
    for hgm, size in (("paper", 1), ("others", 3)):
        method = MLA(hgm=hgm, ridge=ridge)  # type: ignore[arg-type]
        method.setup(model, splits.train, 0)
        assert method.projections.shape == (size, 64, 64)
        method.step(model, batch, torch.optim.SGD([*model.parameters(), *method.parameters()], lr=0.1))
        assert seen[0] == 0
        seen.clear()
    shuffled = MLA(order="shuffled")
    shuffled.setup(model, splits.train, 0)
    first = [shuffled._turns() for _ in range(20)]
    shuffled.start_epoch(0, model, splits.train)
    assert [shuffled._turns() for _ in range(20)] == first


def test_orders() -> None:
    def turns(order: Any, batches: int = 1) -> list[list[str]]:
        method = MLA(order=order)
        splits = make_tiny(("a", "b", "c"))
        method.setup(build(splits), splits.train, 0)
        return [method._turns() for _ in range(batches)]

    assert turns("fixed") == [["a", "b", "c"]]
    assert turns("reversed") == [["c", "b", "a"]]
    assert turns(["b", "c", "a"]) == [["b", "c", "a"]]
    shuffled = turns("shuffled", 60)
    assert {tuple(t) for t in shuffled} == {(x, y, z) for x in "abc" for y in "abc" for z in "abc" if len({x, y, z}) == 3}
    assert shuffled == turns("shuffled", 60)


@pytest.mark.parametrize(
    "options",
    [
        {"order": "shuffled"},
        {"hgm": "others", "ridge": lambda t: 0.1**t},
        {"missing": "zero"},
        {"turns": "together", "hgm": "off"},
    ],
    ids=["shuffled", "schedule", "zero", "together"],
)
def test_killed_and_resumed(options: dict[str, Any], tmp_path: Path) -> None:
    splits = make_tiny(("a", "b", "c"), missing=0.3)

    class Killing(MLA):
        steps = 0
        __module__, __qualname__ = MLA.__module__, MLA.__qualname__  # whose checkpoint it leaves

        def step(self, *args: Any) -> Any:
            Killing.steps += 1
            if Killing.steps == 12:  # in the middle of the third epoch
                raise KeyboardInterrupt
            return super().step(*args)

    model, method = build(splits, dropout=0.3), MLA(**options)
    long = {**OPTIONS, "epochs": 4}
    whole = fit(model, splits, method, **long)
    with pytest.raises(KeyboardInterrupt):
        fit(build(splits, dropout=0.3), splits, Killing(**options), checkpoint=tmp_path / "run.pt", **long)
    fresh, again = build(splits, dropout=0.3, seed=9), MLA(**options)
    resumed = fit(fresh, splits, again, checkpoint=tmp_path / "run.pt", resume=True, **long)
    assert [{**r, "seconds": 0} for r in resumed.rows] == [{**r, "seconds": 0} for r in whole.rows]
    for part, other in ((model, fresh), (method, again)):
        assert all(torch.equal(v, other.state_dict()[k]) for k, v in part.state_dict().items())


# Missing modalities


def without(batch: Batch, modality: str, rows: slice = slice(None)) -> Batch:
    present = {m: torch.ones(len(batch.labels), dtype=torch.bool) for m in batch.inputs}
    present[modality][rows] = False
    x = {m: torch.where(present[m][:, None], v, 0.0) for m, v in batch.inputs.items()}
    return Batch(x, batch.labels, present)


@pytest.mark.parametrize("fused", [False, True], ids=["asked on the host", "told on the device"])
@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_a_batch_without_a_modality_moves_nothing_of_it(kind: str, fused: bool) -> None:
    model, method, batch = one_turn("paper", ("a", "b", "c"))
    parameters = [*model.parameters(), *method.parameters()]
    opt: torch.optim.Optimizer = torch.optim.Adam(parameters, lr=0.1, weight_decay=0.1, fused=fused)
    if kind == "sgd":
        opt = torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.1, fused=fused)
    for known in (without(batch, "b"), batch, without(batch, "b")):  # before it ever moved, and with momentum
        before, projections = copy.deepcopy(model.state_dict()), method.projections.clone()
        loss, output = method.step(model, known, opt)
        moved = {k.split(".")[1] for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
        assert moved == ({"a", "c"} if known.present else {"a", "b", "c"})
        assert torch.isfinite(loss)
        assert torch.isfinite(output.logits).all()
        assert not torch.equal(method.projections, projections)

    assert all(torch.isfinite(v).all() for v in [*model.state_dict().values(), *method.state_dict().values()])


@pytest.mark.parametrize("fused", [False, True])
def test_after_a_step_left_out_the_next_is_taken(fused: bool) -> None:
    p = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([p], lr=0.1, fused=fused)
    for present, moves in ((torch.zeros(2, dtype=torch.bool), False), (torch.tensor([False, True]), True), (None, True)):
        before, p.grad = p.detach().clone(), torch.ones(3)
        step_where_any(optimizer, present)
        assert torch.equal(p, before) is not moves
        step_where_any(optimizer, present)
        assert not hasattr(optimizer, "found_inf"), "left as it was"
    before = p.detach().clone()
    optimizer.step()
    assert not torch.equal(p, before)


def test_fused_and_plain_optimisers_agree_where_a_modality_is_missing() -> None:
    heads = []
    for fused in (False, True):
        model, method, batch = one_turn("paper", ("a", "b", "c"))
        opt = torch.optim.SGD([*model.parameters(), *method.parameters()], lr=0.05, momentum=0.9, fused=fused)
        for known in (without(batch, "b"), batch, without(batch, "b", slice(9)), without(batch, "a")):
            method.step(model, known, opt)
        heads.append(method.head.weight.detach())
    torch.testing.assert_close(*heads)


def test_samples_without_the_modality_do_not_count() -> None:
    """A turn on a batch in which 9 samples lack b is b's turn on the other 23."""
    heads = []
    for cut in (False, True):
        model, method, batch = one_turn("paper", ("b",))
        known = Batch({"b": batch.inputs["b"][9:]}, batch.labels[9:]) if cut else without(batch, "b", slice(9))
        for _ in range(3):
            method.step(model, known, torch.optim.SGD([*model.parameters(), *method.parameters()], lr=0.1))
        heads.append(method.head.weight.detach())
    torch.testing.assert_close(*heads)


def test_prediction_without_a_modality() -> None:
    splits = make_tiny(("a", "b"))
    model, method = build(splits), MLA()
    fit(model, splits, method, **OPTIONS)
    x = splits.test.inputs
    alone = torch.log_softmax(method.head(model.encoders["a"](x["a"])), 1)
    torch.testing.assert_close(method.predict(model, {"a": x["a"]}).logits, alone)
    masks = {"a": torch.ones(len(x["a"]), dtype=torch.bool), "b": torch.zeros(len(x["a"]), dtype=torch.bool)}
    torch.testing.assert_close(method.predict(model, x, masks).logits, alone)


def test_zero_filling_gives_zeros_a_turn_and_a_vote() -> None:
    splits = make_tiny(("a", "b"), missing=0.4)
    model, method = build(splits), MLA(missing="zero", fusion="mean")
    fit(model, splits, method, **OPTIONS)
    x = splits.test.inputs
    votes = [torch.softmax(method.head(model.encoders[m](x[m])), 1) for m in x]
    torch.testing.assert_close(method.predict(model, x, splits.test.present).logits.exp(), torch.stack(votes).mean(0))


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hgm": "on"}, "hgm: unknown 'on'; known: off, paper, project_before, update_before, others"),
        ({"fusion": "entropy"}, "fusion: unknown 'entropy'; known: uncertainty, mean"),
        ({"order": "random"}, "order: unknown 'random'; known: fixed, reversed, shuffled"),
        ({"missing": "drop"}, "missing: unknown 'drop'"),
        ({"head": "own"}, "head: unknown 'own'"),
        ({"turns": "both"}, "turns: unknown 'both'"),
        ({"turns": "together"}, "hgm: expected 'off' with turns='together'"),
        ({"head": "separate"}, "hgm: expected 'off' with head='separate'"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MLA(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": ["a", "x"]}, "order: expected each of a, b once, found a, x"),
        ({"order": ["a"]}, "order: expected each of a, b once, found a"),
        ({"order": []}, "order: expected each of a, b once, found nothing"),
        ({"fusion": {}}, "fusion: expected a weight for each of a, b, found none"),
        ({"fusion": {"a": 1.0, "b": True}}, r"fusion\['b'\]: expected a finite weight larger than 0, found True"),
        ({"fusion": {"a": 1.0, "b": "2"}}, r"fusion\['b'\]: expected a finite weight larger than 0, found '2'"),
        ({"fusion": {"a": -0.5, "b": 1.0}}, r"fusion\['a'\]: expected a finite weight larger than 0, found -0.5"),
        ({"fusion": {"a": math.inf, "b": 1.0}}, r"fusion\['a'\]: expected a finite weight larger than 0, found inf"),
        ({"order": ["a", "a", "b"]}, "order: expected each of a, b once, found a, a, b"),
        ({"fusion": {"a": 1.0}}, "fusion: expected a weight for each of a, b, found a"),
        ({"fusion": {"a": 1.0, "b": 0.0}}, r"fusion\['b'\]: expected a finite weight larger than 0, found 0.0"),
        ({"head": nn.Linear(5, 3)}, r"head: expected Linear\(64, 3\), features to classes, found Linear\(5, 3\)"),
    ],
)
def test_arguments_that_do_not_fit_the_model(options: dict[str, Any], message: str) -> None:
    splits = make_tiny(("a", "b"))
    with pytest.raises(ValueError, match=message):
        MLA(**options).setup(build(splits), splits.train, 0)


def test_a_head_that_is_not_linear() -> None:
    with pytest.raises(TypeError, match="head: expected torch.nn.Linear, 'shared' or 'separate', found Sequential"):
        MLA(head=nn.Sequential(nn.Linear(64, 3)))  # type: ignore[arg-type]


def test_a_head_of_ones_own() -> None:
    splits = make_tiny(("a", "b"))
    head = nn.Linear(64, 3, bias=False)
    before = head.weight.detach().clone()
    method = MLA(head=head)
    history = fit(build(splits), splits, method, **OPTIONS)
    assert method.head is head
    assert not torch.equal(head.weight, before)
    assert history.rows[-1]["train_loss"] < history.rows[0]["train_loss"]


def test_features_of_different_size() -> None:
    splits = make_tiny(("a", "b"))
    model = MultimodalClassifier({"a": MLPEncoder(6, 8), "b": MLPEncoder(6, 16)}, num_classes=3)
    with pytest.raises(ValueError, match="encoders: a shared head needs features of one size.*'a': 8, 'b': 16"):
        MLA().setup(model, splits.train, 0)
    fit(model, splits, MLA(hgm="off", head="separate"), **OPTIONS)  # which do not share


@pytest.mark.parametrize("hgm", HGMS)
@pytest.mark.parametrize("fusion", ["uncertainty", "mean", {"a": 1.0, "b": 2.0}])
def test_every_variant_learns(hgm: Any, fusion: Any) -> None:
    splits = make_tiny(("a", "b"), samples=300, missing=0.2)
    model, method = build(splits), MLA(hgm=hgm, fusion=fusion)
    fit(model, splits, method, **{**OPTIONS, "epochs": 8})
    assert evaluate(model, splits.test, method)["accuracy"] > 0.6


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("fusion", ["uncertainty", "mean"])
def test_no_host_synchronisation_inside_a_step(missing: float, optimizer: str, fusion: Any) -> None:
    splits = make_tiny(("a", "b", "c"), missing=missing).to("cuda")
    model, method = build(splits).to("cuda"), MLA(order="shuffled", fusion=fusion)
    method.setup(model, splits.train, 0)
    method.to("cuda")
    parameters = [*model.parameters(), *method.parameters()]
    opt: torch.optim.Optimizer = torch.optim.Adam(parameters, fused=True)
    if optimizer == "sgd":
        opt = torch.optim.SGD(parameters, lr=0.1, momentum=0.9, fused=True)
    batches = list(splits.train.batches(16))
    method.step(model, batches[0], opt)  # the first step allocates
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches[1:]:
            method.step(model, batch, opt)
    finally:
        torch.cuda.set_sync_debug_mode("default")
