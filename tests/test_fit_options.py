"""What else `fit` takes: a callback, weights of classes, learning rates of groups, batch normalisation; and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import balanced_accuracy_score, f1_score
from torch import nn

from mmlib.arguments import weights_of_classes
from mmlib.book.pinned import PinnedEncoder, PinnedGap
from mmlib.data.core import Splits
from mmlib.history import Meter
from mmlib.methods import MLA, Joint
from mmlib.methods.base import masked_cross_entropy
from mmlib.methods.batches import needs_two, training_batches
from mmlib.metrics import class_scores, confusion_matrix, expected_calibration_error
from mmlib.model import MultimodalClassifier, Output, build
from mmlib.train import evaluate, fit
from tests.conftest import make_tiny

OPTIONS: dict[str, Any] = {"epochs": 3, "batch_size": 16, "lr": 1e-2, "device": "cpu", "progress": False}
TINY = make_tiny(("a", "b"))


@pytest.mark.parametrize(
    ("options", "kind", "why"),
    [
        ({"patience": float("nan")}, TypeError, "patience: expected a whole number of 1 or more, found nan"),
        ({"patience": 0}, ValueError, "patience: expected 1 or more, found 0"),
        ({"epochs": 2.5}, TypeError, "epochs: expected a whole number"),
        ({"epochs": True}, TypeError, "epochs: expected a whole number"),
        ({"batch_size": "16"}, TypeError, "batch_size: expected a whole number of 1 or more, found '16'"),
        ({"lr": "0.1"}, TypeError, "lr: expected a positive number, found '0.1'"),
        ({"lr": True}, TypeError, "lr: expected a positive number"),
        ({"lr": float("nan")}, ValueError, "lr: expected a positive learning rate, found nan"),
        ({"lr": {"encoders": 0.1}}, ValueError, "lr: no learning rate for head"),
        ({"lr": {"a": 0.1, "head": 0.1}}, ValueError, "lr: no learning rate for b; name them, or 'encoders'"),
        ({"lr": {"c": 0.1, "encoders": 0.1, "head": 1.0}}, ValueError, "lr: unknown group 'c'; known: encoders, head, a, b"),
        ({"lr": {"encoders": -1, "head": 1.0}}, ValueError, r"lr\['encoders'\]: expected a positive"),
        ({"weight_decay": "0"}, TypeError, "weight_decay: expected a number of 0 or more, found '0'"),
        ({"class_weights": [1.0, 2.0]}, ValueError, "class_weights: expected 3 positive numbers, one per class"),
        ({"class_weights": [1.0, 2.0, 0.0]}, ValueError, "class_weights: expected 3 positive numbers"),
        ({"class_weights": "even"}, ValueError, "class_weights: unknown 'even'; known: balanced"),
    ],
)
def test_refused_by_name(options: dict[str, Any], kind: type[Exception], why: str) -> None:
    with pytest.raises(kind, match=why):
        fit(build(TINY), TINY, **{**OPTIONS, **options})


@pytest.mark.parametrize("method", [MLA, "mla"])
def test_a_method_that_was_not_made(method: Any) -> None:
    with pytest.raises(TypeError, match="method: expected a method that was made, such as mmlib.methods.MLA()"):
        fit(build(TINY), TINY, method, **OPTIONS)


def test_callback_sees_every_epoch_and_can_stop() -> None:
    seen: list[int] = []

    def callback(row: dict[str, float], model: MultimodalClassifier) -> bool:
        seen.append(int(row["epoch"]))
        assert evaluate(model, TINY.val)["accuracy"] == row["val_accuracy"]  # by the method that trains it
        return len(seen) == 2

    history = fit(build(TINY), TINY, MLA(), callback=callback, **OPTIONS)
    assert seen == [0, 1]
    assert history.stopped_early
    assert len(fit(build(TINY), TINY, callback=lambda row, model: seen.append(9), **OPTIONS)) == 3


def test_an_interrupt_leaves_a_model_that_can_be_used() -> None:
    def callback(row: dict[str, float], model: MultimodalClassifier) -> None:
        raise KeyboardInterrupt

    model = build(TINY, normalise="batch")
    with pytest.raises(KeyboardInterrupt):
        fit(model, TINY, MLA(), callback=callback, **OPTIONS)
    assert not model.training
    assert model.method.name == "mla"
    assert evaluate(model, TINY.test)["accuracy"] > 0.4


def test_learning_rates_stand_in_the_history() -> None:
    history = fit(build(TINY), TINY, MLA(), **{**OPTIONS, "lr": {"a": 1e-3, "encoders": 2e-3, "head": 3e-3}})
    assert history.rows[0] | {"lr": 3e-3, "lr_a": 1e-3, "lr_b": 2e-3, "lr_head": 3e-3} == history.rows[0]


def test_balanced_weights_by_hand() -> None:
    unequal = TINY.train.select([0, 1, 3, 4, 6, 7, 2])
    counts = torch.bincount(unequal.labels, minlength=3)
    weights = weights_of_classes("balanced", unequal, torch.device("cpu"))
    assert weights is not None
    assert weights.tolist() == pytest.approx((7 / (3 * counts)).tolist())
    logits, present = torch.randn(7, 3, generator=torch.Generator().manual_seed(0)), torch.arange(7) % 3 > 0
    expected = F.cross_entropy(logits[present], unequal.labels[present], weights)
    torch.testing.assert_close(masked_cross_entropy(logits, unequal.labels, present, weights), expected)
    assert masked_cross_entropy(logits, unequal.labels, torch.zeros(7, dtype=torch.bool), weights) == 0


def one_too_many(splits: Splits) -> Splits:
    """Seventeen samples to train on: batches of eight leave one."""
    return Splits(splits.train.select(range(17)), splits.val, splits.test)


class WithNorm(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(6, 4), nn.BatchNorm1d(4))
        self.dim = 4


@pytest.mark.parametrize("options", [{"normalise": "batch"}, {"normalise": "centre"}, {"encoders": {"a": WithNorm}}], ids=str)
def test_a_last_batch_of_one_is_left_out_under_batch_normalisation(options: Any) -> None:
    splits = one_too_many(TINY)
    model = build(splits, **options)
    assert needs_two(model)
    sizes = [len(b.labels) for b in training_batches(model, splits.train, 8, torch.Generator().manual_seed(0))]
    assert sizes == [8, 8]
    fit(model, splits, **{**OPTIONS, "batch_size": 8})
    with pytest.raises(ValueError, match="batch_size: batch normalisation needs two samples in a batch, found 1"):
        fit(model, splits, **{**OPTIONS, "batch_size": 1})


@pytest.mark.parametrize("normalise", [None, "layer", "l2", "rms"])
def test_without_it_nobody_is_left_out(normalise: Any) -> None:
    splits = one_too_many(TINY)
    model = build(splits, normalise=normalise)
    sizes = [len(b.labels) for b in training_batches(model, splits.train, 8, torch.Generator().manual_seed(0))]
    assert sizes == [8, 8, 1]
    fit(model, splits, **{**OPTIONS, "batch_size": 1})


def test_a_second_fit_does_not_wrap_twice() -> None:
    class Pinned(PinnedGap, Joint):
        pass

    model = build(TINY)
    for distance in (1.0, 2.0):
        fit(model, TINY, Pinned(distance), **OPTIONS)
    for encoder in model.encoders.values():
        assert isinstance(encoder, PinnedEncoder)
        assert not isinstance(encoder.encoder, PinnedEncoder)
        assert encoder.offset.norm().item() == pytest.approx(1.0)


def test_a_batch_of_one_class_is_read_as_any_other() -> None:
    model = build(TINY, normalise="batch")
    fit(model, TINY, **{**OPTIONS, "epochs": 20})
    one_class = TINY.test.select(TINY.test.labels == 1)
    right = (model(one_class.inputs).logits.argmax(1) == 1).float().mean()
    assert right > 0.9, "after fit a model predicts, it does not train"


def test_measures_are_those_of_scikit_learn() -> None:
    model = build(TINY)
    fit(model, TINY, **{**OPTIONS, "epochs": 1})
    test = TINY.test.select([i for i in range(len(TINY.test)) if TINY.test.labels[i] != 2 or i % 2])
    row, guesses = evaluate(model, test, batch_size=5), model(test.inputs).logits.argmax(1)
    assert row["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(test.labels, guesses))
    assert row["macro_f1"] == pytest.approx(f1_score(test.labels, guesses, average="macro"))
    counts = confusion_matrix(test.labels, guesses, 3)
    assert counts.sum() == len(test)
    assert row["accuracy"] == pytest.approx(counts.trace() / len(test))
    # by hand: class 0 right once in two, class 1 always; class 2 is only guessed
    scores = class_scores(torch.tensor([0, 0, 1]), torch.tensor([0, 2, 1]))
    assert scores == pytest.approx({"balanced_accuracy": 0.75, "macro_f1": (2 / 3 + 1 + 0) / 3})


def test_the_meter_holds_few_logits_and_sums_the_same() -> None:
    logits = torch.randn(50, 8, 3, generator=torch.Generator().manual_seed(0))
    batch = TINY.train.batches(8)
    small, large = Meter(most=100), Meter()
    for one, b in zip(logits, [next(iter(TINY.train.batches(8)))] * 50, strict=True):
        output = Output({}, {"a": one, "b": -one}, 2 * one)
        small.add(output, b), large.add(output, b)
        assert sum(w[0].numel() * 3 for w in small.waiting) <= 100
    assert small.result() == large.result()
    assert next(batch) is not None


def test_no_calibration_of_nan() -> None:
    logits = torch.zeros(3, 2)
    logits[1, 0] = float("nan")
    with pytest.raises(ValueError, match="logits: expected numbers, found NaN in 1 of 3 samples"):
        expected_calibration_error(logits, torch.zeros(3, dtype=torch.long))
