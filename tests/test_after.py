"""The study of the methods after MLA: everybody tries six things, and validation data alone decides."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from mmlib.book import results
from mmlib.book.cosines import cosine_5, cosine_20
from mmlib.book.studies import STUDIES, after
from mmlib.book.studies.after_choices import CHOICES
from mmlib.fusion import Cosine
from mmlib.methods import METHODS

NAMES = tuple(after.DATA)


@pytest.mark.parametrize("name", NAMES)
def test_the_choices_are_those_that_validation_made(name: str) -> None:
    first, second = results.load("after_rates"), results.load("after_constants")
    grid, more = after.at_rates(name), after.others(name)
    assert set(CHOICES[name]) == set(after.rows(name))
    for label, (rate, other) in CHOICES[name].items():
        at = [first.interval(s.label, "val_accuracy").mean for s in grid[label]]
        assert at[rate] == max(at), label
        assert rate == at.index(max(at)), "of two that are equal, the smaller rate"
        beside = [second.interval(s.label, "val_accuracy").mean for s in more[label]]
        best = None if max(beside) <= at[rate] else beside.index(max(beside))
        assert other == best, label


@pytest.mark.parametrize("name", NAMES)
def test_everybody_tries_six_things(name: str) -> None:
    tried = Counter[str]()
    for study in ("after_rates", "after_constants"):
        settings = [s for s in STUDIES[study].settings() if f", {name}, " in s.label]
        assert len({json.dumps(s.describe()) for s in settings}) == len(settings), "no setting twice"
        tried.update(s.label.partition(f", {name}, ")[0] for s in settings)
    assert set(tried.values()) == {6}
    assert set(tried) == set(after.rows(name))
    assert STUDIES["after_rates"].seeds == STUDIES["after_constants"].seeds == 3
    assert STUDIES["after"].seeds == 10


@pytest.mark.parametrize("name", NAMES)
def test_what_is_tried_differs_from_the_default_in_one_constant(name: str) -> None:
    rates = after.DATA[name][2]
    for label, beside in after.others(name).items():
        default = after.rows(name)[label].with_("", fit_options={"lr": rates[CHOICES[name][label][0]]})
        for other in beside:
            changed = {k for k in default.describe() if default.describe()[k] != other.describe()[k]}
            has_constants = label in after.ROWS and after.ROWS[label].others
            allowed = {"method_options", "fusion"} if has_constants else {"fit_options"}
            assert len(changed) == 1, label
            assert changed <= allowed, label


def test_every_method_is_in_the_table_or_has_its_own_chapter() -> None:
    there = {row.changes.get("method", "joint") for row in after.ROWS.values()} | {"unimodal"}
    assert set(METHODS) - there == {"gradient_blending", "modality_dropout"}


def test_the_table_has_every_row_twice() -> None:
    labels = [s.label for s in after.after()]
    assert len(labels) == len(set(labels)) == 2 * sum(len(after.rows(name)) for name in NAMES)


def test_cosines_have_the_scale_that_their_name_says() -> None:
    for make, scale in ((cosine_5, 5.0), (cosine_20, 20.0)):
        fusion = make({"a": 3, "b": 2}, 4)
        assert isinstance(fusion, Cosine)
        assert fusion.scale == scale
