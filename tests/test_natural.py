"""The study of natural data: everybody has the same choice, made on validation data alone."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from mmlib.book import results
from mmlib.book.studies import STUDIES, natural
from mmlib.book.studies.natural_rates import RATES

NAMES = tuple(natural.DATA)


@pytest.mark.parametrize("name", NAMES)
def test_the_rates_are_those_that_validation_chose(name: str) -> None:
    stored = results.load(f"{name}_rates")
    assert set(RATES[name]) == set(natural.rows(name))
    for label, rate in RATES[name].items():
        means = {r: stored.interval(f"{label}, lr {r:g}", "val_accuracy").mean for r in natural.LEARNING_RATES}
        assert rate == max(means, key=lambda r: means[r]), label


@pytest.mark.parametrize("name", NAMES)
def test_everybody_has_the_same_budget(name: str) -> None:
    tried = STUDIES[f"{name}_rates"].settings()
    rows = natural.rows(name)
    assert Counter(json.dumps(s.fit_options) for s in tried) == {
        json.dumps({"epochs": 15, "lr": rate}): len(rows) for rate in natural.LEARNING_RATES
    }
    for label, row in rows.items():
        for rate in natural.LEARNING_RATES:
            [one] = [s for s in tried if s.label == f"{label}, lr {rate:g}"]
            assert {**one.describe(), "fit_options": 0} == {
                **row.describe(),
                "fit_options": 0,
                "data_options": one.describe()["data_options"],
            }


def test_the_issue_s_rows_are_there() -> None:
    modalities = {"motion": 4, "emoji": 2}
    for name in NAMES:
        made = natural.rows(name)
        assert len(made) == 4 * (modalities[name] + len(natural.METHODS))
        kinds = Counter(s.model_options.get("normalise") for s in made.values())
        assert set(kinds) == {None, "batch", "layer", "l2"}
        assert len(set(kinds.values())) == 1
    labels = [s.label for s in natural.motion()]
    assert len(labels) == len(set(labels)) == 3 * len(natural.rows("motion"))
    assert STUDIES["motion"].seeds == STUDIES["emoji"].seeds == 10
    blends = [s for s in natural.motion() + natural.emoji() if s.method == "gradient_blending"]
    assert {s.method_options["holdout"] for s in blends} == {"person", "emoji"}
    assert all("weights_on" not in s.method_options for s in blends), "the formula to the letter"


def test_only_what_is_asked_differs_between_numbers_of_people() -> None:
    made = {s.label: s.describe() for s in natural.motion()}
    for label, told in made.items():
        if label.endswith("8 people"):
            other = made[label.replace("8 people", "12 people")]
            assert {**other, "data_options": {**other["data_options"], "train_people": 8}} == told


def test_the_smaller_studies_take_rows_of_the_large_one() -> None:
    large = {s.label: s.describe() for s in natural.motion()}
    joint = large["joint, as they are, 8 people"]
    curves = {s.label: s.describe() for s in natural.natural_curves()}
    assert set(curves) == {f"{m}, {d}" for m in ("late fusion", "joint") for d in ("motion", "emoji", "avmnist")}
    told = curves["joint, motion"]
    assert told["by_class"] is True
    assert {**told, "by_class": 0, "fit_options": {}} == {**joint, "by_class": 0, "fit_options": {}}
    assert told["fit_options"] == {**joint["fit_options"], "train_metrics": "evaluated"}
    lacking = {s.label: s for s in natural.natural_missing()}
    assert lacking["joint, motion"].data_options == {"train_people": 8, "missing": 0.5}
    assert lacking["MLA, emoji"].data_options == {"name": "emoji", "rate": 0.5}
    assert lacking["modality dropout, motion"].fit_options == lacking["joint, motion"].fit_options
    few = {s.label for s in natural.natural_people()}
    assert {f"{m} alone, as they are, 1 people" for m in natural.SENSORS} < few
    assert len(few) == 14
