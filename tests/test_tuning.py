"""The search that is the same for every row, and measures of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mmlib
from mmlib.book.studies import verdict
from mmlib.book.verdict import choose, searches
from mmlib.compare import compare
from mmlib.metrics import calibration_error, expected_calibration_error, without_each
from mmlib.setting import Setting, run
from mmlib.tuning import FIRST_SEED, Between, Tuned, changed, points, trials, tune

FEW: dict[str, Any] = {"samples": 64}
BASE = Setting("joint", data="two_speed", data_options=FEW, fit_options={"epochs": 1, "batch_size": 32})
SPACE: dict[str, Any] = {
    "fit_options.lr": Between(1e-3, 0.1, log=True),
    "model_options.normalise": (None, "batch"),
}


def test_points_are_fixed_and_even() -> None:
    assert np.array_equal(points(11, 5), points(11, 5))
    assert np.array_equal(points(11, 5)[:, :3], points(11, 3))  # whoever has fewer arguments tries the same of them
    assert np.array_equal(points(31, 5)[:11], points(11, 5))  # a larger budget begins with the smaller one
    quarters = np.histogram(points(16, 4)[:, 0], bins=4, range=(0, 1))[0]
    assert quarters.tolist() == [4, 4, 4, 4]
    with pytest.raises(ValueError, match="expected 1 or more points"):
        points(0)


def test_between() -> None:
    axis = Between(1e-4, 1e-2, log=True)
    assert [axis.at(s) for s in (0.0, 0.5, 1.0)] == [1e-4, 1e-3, 1e-2]
    assert Between(1, 5, whole=True).at(0.49) == 3


def test_rows_try_the_same_points_and_begin_as_given() -> None:
    mine = trials(BASE, SPACE, 6)
    longer = trials(BASE.with_("mla", method="mla"), {**SPACE, "method_options.ridge": Between(0.1, 1.0)}, 6)
    assert mine[0][0] == BASE.with_("joint, trial 0")
    assert mine[0][1] == {}
    for number in range(1, 6):
        values = mine[number][1]
        assert values == {k: v for k, v in longer[number][1].items() if k in values}
        setting = mine[number][0]
        assert setting.fit_options["lr"] == values["fit_options.lr"]
        assert setting.fit_options["batch_size"] == 32  # what is not searched stays
        assert setting.model_options["normalise"] == values["model_options.normalise"]


def test_tune_chooses_by_validation_on_seeds_of_its_own() -> None:
    found = tune(BASE, SPACE, budget=4, seeds=2, workers=1, progress=False)
    assert isinstance(found, Tuned)
    assert found.seeds == [FIRST_SEED, FIRST_SEED + 1]
    again = compare([t.setting for t in found.trials], found.seeds, workers=1, progress=False)
    means = [np.mean(again.values(t.setting.label, "val_accuracy")) for t in found.trials]
    assert [t.score for t in found.trials] == pytest.approx(means)
    assert found.chosen == int(np.argmax(means))
    assert found.best == found.trials[found.chosen].setting.with_("joint")
    assert found.score == max(trial.score for trial in found.trials)
    assert found.frame["val_accuracy"].is_monotonic_decreasing
    assert found.frame.index[0] == found.chosen
    assert "4 trials x 2 seeds, 8 runs" in str(found)
    assert mmlib.tune is tune


def test_a_trial_that_diverges_counts_as_tried() -> None:
    wild = tune(
        BASE.with_("joint", fit_options={"optimizer": "sgd"}), {"fit_options.lr": (1e20, 1e30)}, 3, [7], workers=1, progress=False
    )
    assert [t.diverged for t in wild.trials] == [0, 1, 1]
    assert wild.trials[1].scores == [0.5]
    assert "2 diverged" in str(wild)


@pytest.mark.parametrize(
    ("space", "error", "message"),
    [
        ({"lr": Between(0, 1)}, ValueError, r"unknown argument 'lr'; known: data_options.NAME"),
        ({"fit_options": (1,)}, ValueError, "unknown argument 'fit_options'"),
        ({"fit_options.lr": Between(1, 1)}, ValueError, r"space\['fit_options.lr'\]: expected low < high"),
        ({"fit_options.lr": Between(0, 1, log=True)}, ValueError, "expected low above 0"),
        ({"fit_options.lr": ()}, ValueError, "expected at least one choice"),
        ({"fit_options.lr": 0.1}, TypeError, "expected Between"),
        ({"fusion": "sum"}, TypeError, "expected Between"),
    ],
)
def test_spaces_that_cannot_be(space: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        trials(BASE, space, 3)


def test_budget_and_methods_with_options() -> None:
    with pytest.raises(ValueError, match="budget: expected 1 trial or more, found 0"):
        trials(BASE, SPACE, 0)
    with pytest.raises(ValueError, match="has its options already"):
        trials(BASE.with_("x", method=mmlib.methods.MLA()), {"method_options.ridge": (0.1,)}, 2)
    assert len(trials(BASE, {}, 5)) == 1  # nothing to search


def test_changed_merges_options() -> None:
    found = changed(BASE, {"fit_options.lr": 0.5, "fusion": "sum", "fit_options.epochs": 2}, "x")
    assert found.fit_options == {"epochs": 2, "batch_size": 32, "lr": 0.5}
    assert found.fusion == "sum"
    assert found.label == "x"


@pytest.mark.parametrize("name", verdict.DATA)
def test_rows_of_the_verdict_have_one_budget(name: str) -> None:
    made = verdict.searched(name)
    assert list(made) == verdict.labels(name)
    assert {len(found) for found in made.values()} == {verdict.BUDGET}
    common = [[found[i][1][k] for i in range(1, verdict.BUDGET) for k in verdict.COMMON] for found in made.values()]
    assert all(row == common[0] for row in common)
    assert not [s.label for found in made.values() for s, _ in found.values() if s.foreign()]


def test_measures_of_a_row() -> None:
    row = run(BASE.with_("x", measures=(calibration_error, without_each)), 0)
    assert {"test_calibration_error", "test_accuracy_without_fast", "test_balanced_accuracy_without_slow"} <= set(row)
    splits = mmlib.load("two_speed", seed=0, **FEW)
    model = mmlib.build(splits, seed=0)
    mmlib.fit(model, splits, epochs=1, batch_size=32, seed=0, progress=False)
    assert row["test_accuracy_without_fast"] == mmlib.evaluate(model, splits.test.drop("fast", 1.0))["accuracy"]
    output = model(splits.test.inputs)
    assert row["test_calibration_error"] == pytest.approx(expected_calibration_error(output.logits, splits.test.labels), abs=1e-6)


def test_measures_where_guessing_is_all_that_is_left() -> None:
    wild = BASE.with_("x", fit_options={"optimizer": "sgd", "lr": 1e30}, measures=(calibration_error, without_each))
    row = run(wild, 0)
    assert row["diverged"]
    assert row["test_calibration_error"] == 0
    assert row["test_accuracy_without_fast"] == 0.5


def test_without_each_leaves_out_who_has_nothing_else() -> None:
    splits = mmlib.load("two_speed", seed=0, **FEW)
    alone = mmlib.load("two_speed", seed=0, modalities=["fast"], **FEW)
    model = mmlib.build(alone, seed=0)
    assert without_each(model, mmlib.methods.Joint(), alone) == {}
    holes = splits.drop("slow", 0.5, seed=1)
    model = mmlib.build(holes, seed=0)
    assert set(without_each(model, mmlib.methods.Joint(), holes)) >= {"test_accuracy_without_fast", "test_accuracy_without_slow"}


def _no_mapping(model: Any, method: Any, splits: Any) -> Any:
    return 3.0


def _taken(model: Any, method: Any, splits: Any) -> dict[str, float]:
    return {"test_accuracy": 1.0}


def _text(model: Any, method: Any, splits: Any) -> dict[str, Any]:
    return {"mine": "high"}


@pytest.mark.parametrize(
    ("measure", "error", "message"),
    [
        (_no_mapping, TypeError, r"measures: expected _no_mapping to return \{column: number\}, found float"),
        (_taken, ValueError, "measures: _taken returned the column 'test_accuracy', which the row has already"),
        (_text, TypeError, "measures: expected _text to return numbers, found str 'high' for 'mine'"),
    ],
)
def test_measures_that_cannot_be(measure: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run(BASE.with_("x", measures=(measure,)), 0)
    with pytest.raises(TypeError, match="measures: expected a tuple of functions"):
        BASE.with_("x", measures=calibration_error)


def test_measures_decide_what_a_kept_run_is_kept_under() -> None:
    plain, more = BASE, BASE.with_("joint", measures=(without_each,))
    assert "measures" not in plain.describe()  # older runs are found again
    assert plain.describe() != more.describe()
    assert "mmlib/metrics/measures.py" in more.code()
    assert more.foreign() == []
    assert BASE.with_("x", measures=(_taken,)).foreign() != []


def test_choices_of_the_verdict_are_those_of_its_trials() -> None:
    assert verdict.choices() == choose()


@pytest.mark.parametrize("name", verdict.RUN)
def test_no_search_of_the_verdict_ends_below_its_defaults(name: str) -> None:
    for label, found in searches(name).items():
        assert len(found.trials) == verdict.BUDGET
        assert found.score >= found.trials[0].score, label
