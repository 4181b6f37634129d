"""What every method must do. A new method is added to CASES, nothing else; "name: variant" for a second one of it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmlib.fusion import FUSIONS
from mmlib.keep import load_trained, predict, save
from mmlib.methods import (
    AGM,
    DGL,
    METHODS,
    MLA,
    MLB,
    OGMGE,
    OPM,
    QMF,
    RNA,
    UMT,
    GradientBlending,
    Joint,
    LateFusion,
    Method,
    MMPareto,
    ModalityDropout,
    MultiLoss,
    Relearning,
    Remix,
    Unimodal,
)
from mmlib.model import MultimodalClassifier, build
from mmlib.train import evaluate, fit
from tests.conftest import make_tiny

CASES: dict[str, Callable[[], Method]] = {
    "joint": Joint,
    "unimodal": lambda: Unimodal("a"),
    "rna": lambda: RNA(strength=0.1),
    "dgl": DGL,
    "umt": lambda: UMT(epochs=3),  # a number, as some tests prolong a run
    "mmpareto": MMPareto,
    "late_fusion": LateFusion,
    "late_fusion: logits": lambda: LateFusion(average="logits"),
    "multi_loss": MultiLoss,
    "multi_loss: vote": lambda: MultiLoss(heads="fusion", predict="vote"),
    "gradient_blending": lambda: GradientBlending(super_epoch=2),
    "gradient_blending: online": lambda: GradientBlending(mode="online", super_epoch=1),
    "gradient_blending: shared": lambda: GradientBlending(
        mode="online", estimate="shared", super_epoch=2, weights_on="encoders", predict="vote"
    ),
    "mla": MLA,
    "modality_dropout": ModalityDropout,
    "ogm_ge": OGMGE,  # as released, but for the tensors it scales: the encoders here have no convolutions
    "agm": AGM,
    "opm": lambda: OPM(warmup=0),
    "mlb": MLB,
    "qmf": lambda: QMF(rank=1.0),
    "remix": lambda: Remix(warmup=0),
    "relearning": lambda: Relearning(every=2, times=1),
}
NEEDS_TWO = {"ogm_ge", "agm", "opm", "mlb", "remix", "rna"}  # these compare modalities, and say so where there is only one
OPTIONS = {"epochs": 3, "batch_size": 16, "lr": 1e-2, "device": "cpu", "progress": False}

every_method = pytest.mark.parametrize("make", CASES.values(), ids=CASES.keys())


def test_every_method_is_here() -> None:
    assert {name.partition(":")[0] for name in CASES} == set(METHODS)
    assert all(make().name == name.partition(":")[0] for name, make in CASES.items())


@every_method
@pytest.mark.parametrize("modalities", [("a",), ("a", "b"), ("b", "a", "c")], ids=len)
@pytest.mark.parametrize("missing", [0.0, 0.3], ids=["complete", "missing"])
def test_learns_with_any_number_of_modalities(make: Callable[[], Method], modalities: tuple[str, ...], missing: float) -> None:
    splits = make_tiny(modalities, samples=300, missing=missing if len(modalities) > 1 else 0.0)
    model, method = build(splits), make()
    if len(modalities) == 1 and method.name in NEEDS_TWO:
        with pytest.raises(ValueError, match="needs two or more"):
            fit(model, splits, method, **OPTIONS)
        return
    history = fit(model, splits, method, **{**OPTIONS, "epochs": 12})
    scores = evaluate(model, splits.test, method)
    # 'a' alone has 70 % of its samples where modalities are missing; chance is 1/3
    assert scores["accuracy"] > 0.6
    assert history.rows[-1]["train_loss"] < history.rows[0]["train_loss"]
    assert all(math.isfinite(v) for row in history.rows for v in row.values())


@every_method
@pytest.mark.parametrize("fusion", FUSIONS)
def test_works_with_every_fusion(make: Callable[[], Method], fusion: str) -> None:
    splits = make_tiny(("a", "b", "c"), missing=0.2)
    model, method = build(splits, fusion), make()
    history = fit(model, splits, method, **OPTIONS)
    assert history.rows[-1]["train_loss"] < history.rows[0]["train_loss"]


@every_method
def test_step_returns_a_scalar_and_what_the_model_said(make: Callable[[], Method]) -> None:
    splits = make_tiny(("a", "b"), missing=0.2)
    model, method = build(splits), make()
    method.setup(model, splits.train, 0)
    batch = next(iter(splits.train.batches(16)))
    optimizer = torch.optim.SGD([*model.parameters(), *method.parameters()], lr=0.1)
    loss, output = method.step(model, batch, optimizer)
    assert loss.shape == ()
    assert output.logits.shape == (16, 3)
    assert set(output.unimodal) <= {"a", "b"}
    assert all(u.shape == (16, 3) for u in output.unimodal.values())


@every_method
def test_prediction_changes_nothing_and_does_not_depend_on_the_batch(make: Callable[[], Method]) -> None:
    splits = make_tiny(("a", "b"), missing=0.2)
    model, method = build(splits), make()
    fit(model, splits, method, **OPTIONS)
    before = copy.deepcopy([*model.state_dict().values(), *method.state_dict().values()])
    whole = evaluate(model, splits.test, method, batch_size=1000)
    single = evaluate(model, splits.test, method, batch_size=1)
    assert whole == pytest.approx(single, abs=1e-5)
    assert all(
        torch.equal(a, b) for a, b in zip(before, [*model.state_dict().values(), *method.state_dict().values()], strict=True)
    )


@every_method
def test_same_seed_same_numbers(make: Callable[[], Method]) -> None:
    def train(seed: int) -> list[dict[str, float]]:
        splits = make_tiny(("a", "b"))
        model = build(splits, dropout=0.3, seed=seed)
        return [{k: v for k, v in r.items() if k != "seconds"} for r in fit(model, splits, make(), seed=seed, **OPTIONS).rows]

    torch.manual_seed(1)
    first = train(0)
    torch.manual_seed(2)  # whatever the state of the global generator
    assert train(0) == first
    assert train(1) != first


@every_method
@pytest.mark.parametrize("normalise", [None, "batch", "l2"])
def test_a_trained_model_knows_how_it_predicts(make: Callable[[], Method], normalise: Any) -> None:
    splits = make_tiny(("a", "b"), missing=0.2)
    model, method = build(splits, normalise=normalise, dropout=0.2), make()
    assert model.method is None
    fit(model, splits, method, **OPTIONS)
    assert model.method is method
    assert not any(part.training for part in [*model.modules(), *method.modules()]), "in evaluation mode afterwards"
    assert not any(name.startswith("_method") for name in model.state_dict()), "the method's heads are no part of the model"
    assert evaluate(model, splits.test) == evaluate(model, splits.test, method)
    assert evaluate(model, splits.test)["accuracy"] > 0.5


@every_method
@pytest.mark.parametrize("normalise", [None, "batch", "rms"])
def test_kept_and_loaded_it_says_the_same(make: Callable[[], Method], normalise: Any, tmp_path: Path) -> None:
    splits = make_tiny(("a", "b"), missing=0.2)
    model, method = build(splits, normalise=normalise), make()
    fit(model, splits, method, **OPTIONS)
    loaded = load_trained(save(tmp_path / "model.safetensors", model))
    assert type(loaded.method) is type(method)
    assert loaded.method.options() == method.options()
    raw = {m: x.numpy() for m, x in splits.test.inputs.items()}
    masks = {m: p.numpy() for m, p in (splits.test.present or {}).items()}
    first, second = predict(model, raw, masks), predict(loaded, raw, masks)
    assert (first == second).all()
    assert first.shape == (len(splits.test), 3)
    assert first.sum(1) == pytest.approx(1, abs=1e-5)
    accuracy = (first.argmax(1) == splits.test.labels.numpy()).mean()
    assert accuracy == pytest.approx(evaluate(model, splits.test)["accuracy"])
    for m in ("a", "b"):  # a modality that is not passed, in batches of another size
        alone = predict(loaded, {m: raw[m]}, batch_size=7)
        there = {"a": np.full(len(splits.test), m == "a"), "b": np.full(len(splits.test), m == "b")}
        # (a method of one modality has nothing to say where its own is missing, and guesses)
        assert alone == pytest.approx(predict(loaded, raw, there), abs=1e-6)


@every_method
def test_class_weights_reach_every_loss(make: Callable[[], Method]) -> None:
    splits = make_tiny(("a", "b"))

    def weights(class_weights: Any) -> list[torch.Tensor]:
        model, method = build(splits), make()
        fit(model, splits, method, class_weights=class_weights, **{**OPTIONS, "epochs": 2, "optimizer": "sgd"})
        return [*model.state_dict().values(), *method.state_dict().values()]

    def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
        return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(one, other, strict=True))

    plain = weights(None)
    assert same(weights([1.0, 1.0, 1.0]), plain)
    assert same(weights([2.0, 2.0, 2.0]), plain), "of a weighted mean only their ratios count"
    assert not same(weights([1.0, 1.0, 9.0]), plain)


@every_method
def test_learning_rates_by_group(make: Callable[[], Method]) -> None:
    splits = make_tiny(("a", "b"))

    def trained(lr: Any) -> MultimodalClassifier:
        model = build(splits)
        fit(model, splits, make(), **{**OPTIONS, "epochs": 2, "lr": lr})
        return model

    one, split = trained(1e-2), trained({"encoders": 1e-2, "head": 1e-2})
    assert all(torch.equal(v, split.state_dict()[k]) for k, v in one.state_dict().items())
    start, still = build(splits), trained({"a": 1e-2, "b": 1e-30, "head": 1e-2})
    moved = {m: not torch.allclose(still.encoders[m].layers[1].weight, start.encoders[m].layers[1].weight) for m in ("a", "b")}
    assert moved == {"a": True, "b": False}


class Killed(BaseException):
    pass


@every_method
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_killed_and_resumed_is_never_killed(make: Callable[[], Method], optimizer: str, tmp_path: Path) -> None:
    splits = make_tiny(("a", "b"), missing=0.2)
    options = {**OPTIONS, "optimizer": optimizer, "epochs": 4, "scheduler": "cosine"}

    model, method = build(splits, dropout=0.3), make()
    whole = fit(model, splits, method, **options)

    kind = type(make())

    class Killing(kind):  # type: ignore[misc,valid-type]
        steps = 0
        __module__, __qualname__ = kind.__module__, kind.__qualname__  # whose checkpoint it leaves

        def step(self, *args: object) -> object:
            Killing.steps += 1
            if Killing.steps == 12:  # in the middle of the third epoch: 5 steps each
                raise Killed
            return super().step(*args)

    broken = make()
    broken.__class__ = Killing
    again = build(splits, dropout=0.3)
    with pytest.raises(Killed):
        fit(again, splits, broken, checkpoint=tmp_path / "run.pt", **options)
    fresh, method2 = build(splits, dropout=0.3, seed=9), make()  # its own start must not matter
    resumed = fit(fresh, splits, method2, checkpoint=tmp_path / "run.pt", resume=True, **options)

    assert [{**r, "seconds": 0} for r in resumed.rows] == [{**r, "seconds": 0} for r in whole.rows]
    assert resumed.best_epoch == whole.best_epoch
    for part, other in ((model, fresh), (method, method2)):
        assert all(torch.equal(v, other.state_dict()[k]) for k, v in part.state_dict().items())
