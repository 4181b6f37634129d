"""Comparisons: tables, cache, resuming, one's own data and methods, wrong input."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import pytest
import torch

from mmlib import cache, fingerprint
from mmlib.compare import RunsFailedError, cache_folder, compare, methods_table
from mmlib.comparison import Comparison
from mmlib.data import incomplete
from mmlib.data.core import Splits
from mmlib.methods import Joint
from mmlib.metrics import mean_interval
from mmlib.randomness import derive, seeds
from mmlib.setting import Setting, run
from tests.conftest import Bar, make_tiny

FIT = {"epochs": 2, "batch_size": 16, "device": "cpu"}


def own_data(seed: int, samples: int = 120) -> Splits:
    return make_tiny(("a", "b"), samples=samples, seed=seed)


BASE = Setting("joint", data=own_data, fit_options=FIT)


def test_table_by_value() -> None:
    settings = [BASE, BASE.with_("a", method="unimodal", method_options={"modality": "a"})]
    outcome = compare(settings, seeds=3, workers=1, progress=False)
    frame = outcome.frame
    assert list(frame["label"]) == ["joint"] * 3 + ["a"] * 3
    assert list(frame["seed"]) == [0, 1, 2] * 2
    accuracies = outcome.values("joint")
    assert accuracies == [run(BASE, s)["test_accuracy"] for s in (0, 1, 2)]
    table = outcome.table()
    interval = mean_interval(accuracies)
    assert tuple(table.loc["joint", ["accuracy", "low", "high"]]) == pytest.approx(interval)
    assert table.loc["joint", "test_accuracy_a"] == pytest.approx(sum(outcome.values("joint", "test_accuracy_a")) / 3)
    assert {"seconds", "test_accuracy_a", "test_accuracy_b", "seeds"} <= set(table.columns)
    assert len(outcome.history) == 2 * 3 * 2
    assert "joint" in str(outcome)


class Where(Joint):
    """Notes who runs it, and with how many threads."""

    def report(self) -> dict[str, float]:
        told = float(os.environ.get("OMP_NUM_THREADS", "nan"))  # what NumPy and scikit-learn go by
        return {"process": os.getpid(), "threads": torch.get_num_threads(), "told": told}


def test_processes_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = BASE.with_("joint", method=Where)
    torch.set_num_threads(2)
    try:
        alone = compare([setting], seeds=2, workers=1, cache=False, progress=False)
        assert torch.get_num_threads() == 2, "as it was before"
    finally:
        torch.set_num_threads(1)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)  # one process for each, where nobody says how many
    pool = compare([setting], seeds=2, cache=False, progress=False)
    assert alone.values("joint", "test_loss") == pool.values("joint", "test_loss")
    assert set(alone.history["process"]) == {os.getpid()}
    assert os.getpid() not in set(pool.history["process"])
    assert set(alone.history["threads"]) == set(pool.history["threads"]) == set(pool.history["told"]) == {1}
    assert 0 < alone.runs[0]["seconds"] < alone.seconds < 600


def test_the_code_of_ones_own_data() -> None:
    assert BASE.code()["mmlib/setting.py: run"] == fingerprint.source_hash(run)
    ours = BASE.with_("ours", data=incomplete).code()  # may load any of ours
    assert {"mmlib/data/incomplete.py", "mmlib/data/digits.py"} <= set(ours)
    assert any(f.startswith("mmlib/data/assets/") for f in ours)
    for data in (own_data, make_tiny(("a",))):
        assert not any(f.startswith("mmlib/data/assets/") or "digits" in f for f in BASE.with_("x", data=data).code())
    plain, probed, warm = (set(BASE.with_("x", **c).code()) for c in ({}, {"probe": True}, {"pretrain_epochs": 1}))
    assert probed - plain >= {"mmlib/metrics/probes.py"}
    assert warm - plain == {"mmlib/methods/late_fusion.py"}


def slow_sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=1e-3)


def test_functions_are_options_by_their_source_and_order_does_not_matter() -> None:
    setting = BASE.with_("x", fit_options={"optimizer": slow_sgd})
    assert setting.describe()["fit_options"]["optimizer"] == f"{__name__}.slow_sgd {fingerprint.source_hash(slow_sgd)}"
    assert BASE.describe()["data"] == f"{__name__}.own_data {fingerprint.source_hash(own_data)}"
    orders = [Setting("x", fit_options=dict(pairs)) for pairs in ((("lr", 0.1), ("epochs", 2)), (("epochs", 2), ("lr", 0.1)))]
    assert cache.key(orders[0]) == cache.key(orders[1]) is not None
    with pytest.raises(dataclasses.FrozenInstanceError):
        setting.label = "y"  # type: ignore[misc]


class Quiet(Joint):
    """A method written by a reader."""


def test_own_method() -> None:
    outcome = compare([BASE, BASE.with_("own", method=Quiet)], seeds=2, workers=1, progress=False)
    assert outcome.values("own") == outcome.values("joint")


def test_pretraining_and_probe() -> None:
    plain = run(BASE.with_("x", probe=True), 0)
    warm = run(BASE.with_("x", probe=True, pretrain_epochs=20), 0)
    assert {"probe_a", "probe_b"} <= set(plain)
    assert warm["history"][0]["val_loss"] != plain["history"][0]["val_loss"]


def test_seed_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seeds(3) == [0, 1, 2]
    monkeypatch.setenv("MMLIB_SEED_OFFSET", "100")
    assert seeds(3) == [100, 101, 102]
    outcome = compare([BASE], seeds=1, workers=1, progress=False)
    assert outcome.seeds == [100]
    assert outcome.values("joint") == [run(BASE, 100)["test_accuracy"]]
    for bad in ("-1", "one", "1.5"):
        monkeypatch.setenv("MMLIB_SEED_OFFSET", bad)
        with pytest.raises(ValueError, match=f"MMLIB_SEED_OFFSET: expected a whole number of 0 or more, found '{bad}'"):
            seeds(1)


def test_derived_seeds() -> None:
    assert derive(0, "a") == derive(0, "a") < 2**63
    assert len({derive(s, k) for s in range(20) for k in ("a", "b", "batches")}) == 60


def test_errors() -> None:
    with pytest.raises(ValueError, match="unknown 'digit'; known: two_speed, digits"):
        Setting("x", data="digit")
    with pytest.raises(ValueError, match="method: unknown 'ogm'; known: joint, unimodal, late_fusion"):
        Setting("x", method="ogm")
    with pytest.raises(ValueError, match="fusion: unknown 'cat'; known: concat"):
        Setting("x", fusion="cat")
    with pytest.raises(ValueError, match="labels that differ"):
        compare([BASE, BASE])
    with pytest.raises(ValueError, match="at least one setting"):
        compare([])
    with pytest.raises(ValueError, match="at least one setting and one seed"):
        compare([BASE], seeds=[])
    with pytest.raises(ValueError, match="workers: expected 1 or more"):
        compare([BASE], workers=0)
    with pytest.raises(TypeError, match="setting: expected numbers, texts and lists"):
        BASE.with_("x", data_options={"seedling": torch.zeros(2)}).describe()
    outcome = Comparison([BASE], [0], [{"label": "joint", "seed": 0, "test_accuracy": 0.5}])
    with pytest.raises(KeyError, match="unknown 'x'; known: joint"):
        outcome.values("x")
    with pytest.raises(KeyError, match="unknown 'y'; known: "):
        outcome.values("joint", "y")


@pytest.mark.parametrize("workers", [1, 2])
def test_failing_runs_name_themselves_and_stop_nobody(workers: int) -> None:
    broken = BASE.with_("broken", fit_options={"lr": -1.0})
    odd = BASE.with_("odd", model_options={"nonsense": 1})
    with pytest.raises(RunsFailedError) as caught:
        compare([broken, odd, BASE], seeds=2, workers=workers, progress=False)
    first, *lines = str(caught.value).splitlines()
    assert first == "4 of 6 runs failed, the others are kept:"
    assert lines[0].startswith("  setting 'broken', seeds 0, 1: ValueError: lr: expected a positive")
    assert lines[1].startswith("  setting 'odd', seeds 0, 1: TypeError: build() got an unexpected keyword argument")
    assert [(r["label"], r["seed"]) for r in caught.value.finished] == [("joint", 0), ("joint", 1)]
    assert len(list(cache_folder().glob("*.json"))) == 2


#: every weight overflows in the second step
WILD = BASE.with_("wild", fit_options={"optimizer": "sgd", "lr": 1e30})


@pytest.mark.parametrize("workers", [1, 2])
def test_a_diverged_run_is_a_row_like_any_other(workers: int) -> None:
    outcome = compare([BASE, WILD], seeds=2, workers=workers, progress=False)
    assert outcome.diverged("joint") == 0
    assert outcome.diverged("wild") == 2
    for row in outcome.runs[2:]:
        assert row["diverged"] is True
        assert row["diverged_epoch"] == 0
        assert row["best_epoch"] == -1
        assert all(v == pytest.approx(1 / 3) for k, v in row.items() if "accuracy" in k)
        assert all(v == pytest.approx(1.0986, abs=1e-4) for k, v in row.items() if "loss" in k)
    assert set(outcome.runs[2]) == {*outcome.runs[0], "diverged_epoch"}
    table = outcome.table()
    assert list(table["diverged"]) == [0, 2]
    assert table.loc["wild", "accuracy"] == pytest.approx(1 / 3)
    assert "diverged" not in compare([BASE], seeds=2, workers=1, progress=False).table()
    assert outcome.marked("wild") == "wild (2 of 2 diverged)"
    assert outcome.marked("wild", "SGD") == "SGD (2 of 2 diverged)"
    assert outcome.marked("joint") == "joint"
    assert outcome.difference("joint", "wild").mean == pytest.approx(outcome.interval("joint").mean - 1 / 3)
    assert outcome.best(["wild", "joint"]) == "joint"
    with pytest.raises(ValueError, match="'wild' has no curve, as 2 of 2 runs diverged"):
        outcome.curve("wild", "val_loss")


def test_a_run_that_diverges_late_keeps_the_epochs_before(monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(Joint):
        """Goes wrong in its third epoch."""

        def start_epoch(self, epoch: int, model: Any, data: Any) -> None:
            if epoch == 2:
                with torch.no_grad():
                    next(model.parameters()).fill_(float("inf"))

    late = BASE.with_("late", method=Late, fit_options={"epochs": 5})
    outcome = compare([late], seeds=1, workers=1, cache=False, progress=False)
    [row] = outcome.runs
    assert row["diverged_epoch"] == 2
    assert [r["epoch"] for r in row["history"]] == [0, 1]
    # one that survives beside it: the curve is that of the survivor alone
    other = {**row, "seed": 1, "diverged": False, "history": [{"val_loss": 1.0}, {"val_loss": 2.0}]}
    both = Comparison([late], [0, 1], [row, other])
    assert both.curve("late", "val_loss")[1].tolist() == [1.0, 2.0]
    assert both.marked("late") == "late (1 of 2 diverged)"


def test_diverged_pretraining_and_probes_are_rows_too() -> None:
    row = run(WILD.with_("x", pretrain_epochs=2, probe=True), 0)
    assert row["diverged"] is True
    assert row["probe_a"] == row["test_accuracy_b"] == row["val_accuracy"] == pytest.approx(1 / 3)


def test_a_method_without_a_column_has_none_when_it_diverges() -> None:
    alone = BASE.with_("a", method="unimodal", method_options={"modality": "a"})
    whole = run(alone, 0)
    wild = run(alone.with_("b", fit_options={"optimizer": "sgd", "lr": 1e30}), 0)
    assert "test_accuracy_b" not in whole
    assert {k for k in wild if k.startswith("test_")} == {k for k in whole if k.startswith("test_")}


def made(accuracies: dict[str, list[tuple[float, float]]]) -> Comparison:
    """A comparison with these accuracies on test and validation data, by label and seed."""
    runs = [
        {"label": label, "seed": seed, "test_accuracy": test, "test_loss": 1 - test, "val_accuracy": val,
         "history": [{"epoch": e, "val_loss": val + e} for e in range(3)]}
        for label, pairs in accuracies.items() for seed, (test, val) in enumerate(pairs)
    ]  # fmt: skip
    return Comparison([Setting(label) for label in accuracies], [0, 1], runs)


def test_what_a_comparison_says_by_hand() -> None:
    outcome = made({"x": [(0.5, 0.9), (0.7, 0.7)], "y": [(0.8, 0.6), (0.9, 0.8)]})
    assert outcome.difference("y", "x") == pytest.approx(mean_interval([0.3, 0.2]))
    assert outcome.interval("x", "val_accuracy") == pytest.approx(mean_interval([0.9, 0.7]))
    assert outcome.best(["x", "y"]) == "x", "by validation, not by test"
    epochs, mean, low, high = outcome.curve("y", "val_loss")
    assert epochs.tolist() == [0, 1, 2]
    assert mean.tolist() == pytest.approx([0.7, 1.7, 2.7])
    assert (low[1], high[1]) == pytest.approx(mean_interval([1.6, 1.8])[1:])
    assert list(outcome.frame.columns) == ["label", "seed", "test_accuracy", "test_loss", "val_accuracy"]
    table = outcome.table()
    assert list(table.columns) == ["accuracy", "low", "high", "seeds", "val_accuracy"], "no losses, and no accuracy twice"
    assert list(table["accuracy"]) == pytest.approx([0.6, 0.85])
    chosen = outcome.table(columns=["test_loss", "probe_a"])
    assert list(chosen.columns) == ["accuracy", "low", "high", "seeds", "test_loss", "probe_a"]
    assert chosen["probe_a"].isna().all()
    with pytest.raises(KeyError, match="known: label, seed, test_accuracy, test_loss, val_accuracy.$"):
        outcome.values("x", "history_")
    outcome.runs.pop()
    with pytest.raises(ValueError, match="shorter"):  # no pair is left out in silence
        outcome.difference("x", "y")


def test_progress_is_shown(bars: list[Bar]) -> None:
    for progress in (True, False):
        compare([BASE], seeds=2, workers=1, progress=progress)
    runs, *epochs, again = bars
    assert (runs.total, runs.count, runs.closed, runs.shown) == (2, 2, True, True)
    assert (again.total, again.count, again.closed, again.shown) == (2, 2, True, False)  # found in the cache
    assert [bar.shown for bar in epochs] == [False, False]


def test_methods_table() -> None:
    settings = methods_table("digits", ["joint", "late_fusion"], ["image", "audio"], base={"fit_options": FIT})
    assert [s.label for s in settings] == ["image alone", "audio alone", "joint", "late_fusion"]
    assert settings[1].method_options == {"modality": "audio"}
    assert settings[1].fit_options == FIT


def test_of_many_labels_the_nearest_are_named() -> None:
    settings = [BASE.with_(f"row {i:02}") for i in range(30)]
    with pytest.raises(KeyError, match=r"label: unknown 'row 7'; known: 30, the nearest are .*row 07") as error:
        Comparison(settings, [0], []).values("row 7")
    assert len(str(error.value)) < 200
