"""What every method must do. A new method is added to CASES, nothing else; "name: variant" for a second one of it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmlib.fusion import FUSIONS
from mmlib.methods import METHODS, MLA, OGMGE, GradientBlending, Joint, LateFusion, Method, ModalityDropout, Unimodal
from mmlib.model import build
from mmlib.train import evaluate, fit
from tests.conftest import make_tiny

CASES: dict[str, Callable[[], Method]] = {
    "joint": Joint,
    "unimodal": lambda: Unimodal("a"),
    "late_fusion": LateFusion,
    "gradient_blending": lambda: GradientBlending(super_epoch=2),
    "gradient_blending: online": lambda: GradientBlending(mode="online", super_epoch=1),
    "gradient_blending: shared": lambda: GradientBlending(
        mode="online", estimate="shared", super_epoch=2, heads="weighted", predict="blend"
    ),
    "mla": MLA,
    "modality_dropout": ModalityDropout,
    "ogm_ge": OGMGE,  # as released, but for the tensors it scales: the encoders here have no convolutions
}
NEEDS_TWO = {"ogm_ge"}  # these compare modalities, and say so where there is only one
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


class Killed(BaseException):
    pass


@every_method
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_killed_and_resumed_is_never_killed(make: Callable[[], Method], optimizer: str, tmp_path: Path) -> None:
    splits = make_tiny(("a", "b"), missing=0.2)
    options = {**OPTIONS, "optimizer": optimizer, "epochs": 4, "scheduler": "cosine"}

    model, method = build(splits, dropout=0.3), make()
    whole = fit(model, splits, method, **options)

    class Killing(type(make())):  # type: ignore[misc]
        steps = 0

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
