"""Recall of each class: by hand, with missing modalities, against scikit-learn, and as columns of a comparison."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import recall_score

from mmlib import cache
from mmlib.data.core import Splits
from mmlib.methods import LateFusion, Unimodal
from mmlib.metrics import class_recall
from mmlib.model import build
from mmlib.setting import Setting, run
from mmlib.train import evaluate, fit
from tests.conftest import make_tiny

OPTIONS: dict[str, Any] = {"epochs": 2, "batch_size": 16, "lr": 1e-2, "device": "cpu", "progress": False}


def own_data(seed: int) -> Splits:
    return make_tiny(("a", "b"), samples=120, seed=seed)


BASE = Setting("joint", data=own_data, fit_options={k: v for k, v in OPTIONS.items() if k != "progress"})


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_recall_is_that_of_scikit_learn(missing: float) -> None:
    splits = make_tiny(("a", "b"), missing=missing)
    model, method = build(splits), LateFusion()
    fit(model, splits, method, **OPTIONS)
    data = splits.test
    output = method.predict(model, data.inputs, data.present)
    found = class_recall(model, data, batch_size=7)
    assert set(found) == {"a", "b", "fused"}
    for head, logits in {**output.unimodal, "fused": output.logits}.items():
        here = torch.ones(len(data), dtype=torch.bool) if head == "fused" or data.present is None else data.present[head]
        expected = recall_score(data.labels[here], logits.argmax(1)[here], labels=[0, 1, 2], average=None)
        np.testing.assert_allclose(found[head].numpy(), expected, rtol=1e-6)


def test_its_mean_is_balanced_accuracy_and_a_class_that_is_not_there_is_nan() -> None:
    splits = make_tiny(("a", "b"))
    model = build(splits)
    fit(model, splits, **OPTIONS)
    found = class_recall(model, splits.test)["fused"]
    assert found.mean().item() == pytest.approx(evaluate(model, splits.test)["balanced_accuracy"])
    without = splits.test.select(splits.test.labels != 1)
    found = class_recall(model, without)["fused"]
    assert torch.isnan(found).tolist() == [False, True, False]


def test_modes_are_left_as_they_were() -> None:
    splits = make_tiny(("a", "b"))
    model, method = build(splits, dropout=0.5), Unimodal("a")
    fit(model, splits, method, **OPTIONS)
    for mode in (True, False):
        model.train(mode), method.train(mode)
        first = class_recall(model, splits.test, method)
        assert model.training == method.training == mode
        assert all(torch.equal(class_recall(model, splits.test, method)[h], first[h]) for h in first), "no dropout"


def test_columns_of_a_run() -> None:
    plain, more = run(BASE, 0), run(BASE.with_("x", by_class=True), 0)
    columns = {f"recall_{c}{tail}" for c in (0, 1, 2) for tail in ("", "_a", "_b")}
    assert set(more) == set(plain) | columns
    assert {k: v for k, v in more.items() if k not in columns and k != "seconds" and k != "history"} == {
        k: v for k, v in plain.items() if k not in ("seconds", "history")
    }
    assert sum(more[f"recall_{c}"] for c in (0, 1, 2)) / 3 == pytest.approx(more["test_balanced_accuracy"])
    wild = run(BASE.with_("x", by_class=True, fit_options={"optimizer": "sgd", "lr": 1e30}), 0)
    assert wild["diverged"] is True
    assert {k: v for k, v in wild.items() if k in columns} == dict.fromkeys(columns, pytest.approx(1 / 3))


def test_the_description_of_other_settings_is_what_it_was() -> None:
    """Stored results know nothing of the option."""
    digits, more = Setting("x"), Setting("x", by_class=True)
    assert "by_class" not in digits.describe()
    assert more.describe()["by_class"] is True
    assert cache.key(digits) != cache.key(more)
    assert "mmlib/metrics/recall.py" in more.code()
    assert "recall_a" not in run(BASE, 0)
