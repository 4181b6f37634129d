"""Chapter 13, diagnose your own."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from mmlib.book.exercises.answers import Exercise, Mistake
from mmlib.compare import compare
from mmlib.data import Splits, from_arrays
from mmlib.setting import Setting

METHODS = ("joint", "late_fusion", "modality_dropout")


def lacking(seed: int) -> Splits:
    """The chapter's tumours, of which one in five comes without its shape."""
    from sklearn.datasets import load_breast_cancer

    table, labels = load_breast_cancer(return_X_y=True, as_frame=True)
    size = [column for column in table if any(word in column for word in ("radius", "perimeter", "area"))]
    inputs = {"size": table[size], "shape": table.drop(columns=size)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = from_arrays(inputs, labels.to_numpy(), scale="standard", seed=seed)
    return data.drop("shape", 0.2, seed=seed, splits=["val", "test"])


def shipped(column: str = "val_accuracy") -> str:
    """The method that is best by a column."""
    found = compare([Setting(m, lacking, m) for m in METHODS], seeds=5)
    return max(METHODS, key=lambda m: float(np.mean(found.values(m, column))))


EXERCISES: dict[str, Any] = {
    "13.1": Exercise(
        "two numbers: the highest accuracy, the balanced accuracy",
        (0.7, 1 / 3),
        (
            Mistake((0.7, 0.7), "Balanced accuracy is a mean over the classes."),
            Mistake(
                (0.49 + 0.04 + 0.01, 1 / 3), "That guesses in proportion. Always saying the most frequent class does better."
            ),
            Mistake((1 / 3, 1 / 3), "That guesses evenly. Always saying the most frequent class does better."),
            Mistake((0.7, 0.7 / 3), "Of the class that it always says, all samples are right."),
        ),
        "Whatever the shares, nobody who looks at nothing has more than one over C.",
        "The first: always the most frequent class. The second: all of one class right, none of the others.",
    ),
    "13.2": Exercise(
        "two numbers: by the training samples alone, by all five",
        (-1.0, -3 / np.sqrt(84 / 5)),
        (
            Mistake((-1 / np.sqrt(4 / 3), -3 / np.sqrt(84 / 4)), "That divides by n - 1; the library divides by n."),
            Mistake((-1.0, -3.0), "Divide by the deviation of all five, too."),
            Mistake((-1.0, -1.0), "With the fifth value the mean and the deviation are others."),
            Mistake((1.0, 3 / np.sqrt(84 / 5)), "The sample lies below the mean."),
        ),
        "The training data have changed though only a test sample was added: something has leaked.",
        "Mean and standard deviation (divided by n) of four values, then of five.",
    ),
    "13.3": Exercise(
        "the name of a method",
        shipped,
        (Mistake(lambda: shipped("test_accuracy"), "That is the best one on the test data, which a choice may not see."),),
        "Now look at the paired differences: does it show beyond chance on so few samples?",
        "Mean val_accuracy over five seeds, with the shape missing in a fifth of validation and test.",
        words=METHODS,
    ),
    "13.4": None,
}
