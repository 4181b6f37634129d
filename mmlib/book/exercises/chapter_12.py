"""Chapter 12, the verdict."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from mmlib.book import verdict
from mmlib.book.exercises.answers import Exercise, Mistake
from mmlib.book.studies import verdict as study
from mmlib.compare import compare
from mmlib.randomness import seeds

_Q = 3.62  # of 23 rows


@cache
def _stored_joint() -> float:
    return verdict.Table().mean("two_speed", "joint")


def dropped(column: str = "test_accuracy") -> float:
    """Modality dropout with what the search found for joint training, minus joint training, on `two_speed`."""
    base = verdict.searches("two_speed")["joint"].best
    row = base.with_("dropout", method="modality_dropout", method_options={"rate": 0.3})
    found = compare([row], seeds(study.SEEDS))
    return float(np.mean(found.values("dropout", column)) - _stored_joint())


EXERCISES: dict[str, Any] = {
    "12.1": Exercise(
        "a whole number",
        _Q**2 * 23 * 24 / (6 * 9),
        (
            Mistake(_Q * 23 * 24 / (6 * 3), "N stands under a root: square both sides."),
            Mistake(_Q * 23 * 24 / (6 * 9), "q is squared, too."),
            Mistake(_Q**2 * 23 * 24 / (6 * 3), "The three ranks are squared, too."),
            Mistake(_Q**2 * 23 * 24 / 9, "There is a six under the root."),
        ),
        "Seven data sets can tell the ends of the table apart, and little else.",
        "Solve for N.",
        within=3,
    ),
    "12.2": Exercise(
        "points of accuracy",
        1 / math.sqrt(math.pi),
        (
            Mistake(0.0, "Neither is better. But which of the two is looked at?"),
            Mistake(math.sqrt(2 / math.pi), "That is the mean size of one error. The larger of two is asked for, with its sign."),
            Mistake(2 / math.sqrt(math.pi), "That is how far the two lie apart. The larger is half of it above the truth."),
            Mistake(1.0, "One standard deviation would be much: the larger of two is not always high."),
        ),
        "Over half a point from nothing, for two rows. The table has twenty-three.",
        "max(a, b) is the mean of a and b plus half of |a - b|; and a - b has a standard deviation of the root of two.",
    ),
    "12.3": Exercise(
        "a difference of two accuracies, such as -0.002",
        dropped,
        (
            Mistake(lambda: dropped("val_accuracy"), "That is its validation accuracy."),
            Mistake(lambda: dropped("test_accuracy_slow"), "That is what slow says alone."),
        ),
        "And was it fair? It had joint training's search, and no word on its own rate.",
        "verdict.searches('two_speed')['joint'].best with the method changed, rate 0.3, seeds 0 to 9.",
        within=0.002,
    ),
    "12.4": None,
}
