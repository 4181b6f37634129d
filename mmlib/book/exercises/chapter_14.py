"""Chapter 14, scale up."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmlib.book.exercises.answers import Exercise, Mistake
from mmlib.book.scaling_up import PARTS, WatchedParts
from mmlib.compare import compare
from mmlib.setting import Setting


def largest(column: str = "mean", bound: float = 0.1) -> float:
    """The largest part of `emoji` in which more than one in ten names another leader than the whole batch, over five seeds."""
    runs = compare([Setting("parts", "emoji", WatchedParts)], 5).runs
    share = {}
    for n in PARTS:
        epochs = np.array([[row[f"other_{n}"] for row in run["history"]] for run in runs])  # [seeds, epochs]
        share[n] = {"mean": epochs.mean(), "first": epochs[:, 0].mean(), "last": epochs[:, -1].mean()}[column]
    return float(max((n for n in PARTS if share[n] > bound), default=0))


EXERCISES: dict[str, Any] = {
    "14.1": Exercise(
        "two numbers: the smallest factor, the largest factor",
        (16.0, 65536.0),
        (
            Mistake((32.0, 65536.0), "With half of that the gradient is 4.8e-8, and what is it rounded to?"),
            Mistake((8.0, 65536.0), "With that the gradient is 2.4e-8: which of the two neighbours is nearer, zero or 6e-8?"),
            Mistake((16.0, 131072.0), "With that the largest gradient is 91,750."),
            Mistake((16.0, 32768.0), "Twice as much still fits."),
        ),
        "Between the two lies the room in which a factor may move: here twelve doublings.",
        "float16 has nothing between 0 and 2^-24, and rounds to the nearer of two numbers; its largest number is 65,504.",
    ),
    "14.2": Exercise(
        "two numbers: the weight of a sample in a part of three, in a part of two",
        (1 / 12, 1 / 8),
        (
            Mistake((0.1, 0.1), "That is the weight in the whole batch. What does the average of four means give?"),
            Mistake((1 / 3, 1 / 2), "That is the weight within the part; there are four parts."),
            Mistake((1 / 8, 1 / 12), "In which part does a sample share its mean with more others?"),
        ),
        "So parts of unequal size change the objective; sums over all processes do not.",
        "The gradient of a part is a mean over its samples. Then four of these are averaged.",
    ),
    "14.3": Exercise(
        "a number of samples: 1, 2, 4, 8, 16 or 32",
        largest,
        (
            Mistake(lambda: largest("last"), "That is the last epoch alone; take the mean over all epochs."),
            Mistake(lambda: largest(bound=0.01), "That is one part in a hundred; the question is one in ten."),
        ),
        "With parts of that size a rule that asks who leads would often get another answer than the batch gives.",
        "The mean over epochs and seeds of the columns `other_1` to `other_32`.",
    ),
    "14.4": None,
}
