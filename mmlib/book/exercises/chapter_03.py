"""Chapter 3, scale."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmlib.book.exercises.answers import Exercise, Mistake
from mmlib.book.scaled import DosedJoint
from mmlib.compare import compare
from mmlib.setting import Setting


def dosed(column: str = "test_accuracy") -> float:
    """What a picture ten times as long as the name brings on `emoji`, in accuracy."""
    base = Setting("", "emoji", DosedJoint, fit_options={"epochs": 15})
    found = compare([base.with_(f"{r:g}", method_options={"ratio": r}) for r in (1.0, 10.0)], seeds=3)
    return float(np.mean(found.values("10", column)) - np.mean(found.values("1", column)))


EXERCISES: dict[str, Any] = {
    "3.1": Exercise(
        "three factors: of the contribution, of the gradient, of the change after one step",
        (3.0, 3.0, 9.0),
        (
            Mistake((3.0, 3.0, 3.0), "After a step the larger change of the weights meets the larger features once more."),
            Mistake((3.0, 1.0, 3.0), "The gradient of a weight contains the feature that the weight is multiplied by."),
            Mistake((9.0, 9.0, 81.0), "A logit is linear in the features: where would a square come from?"),
            Mistake((3.0, 9.0, 27.0), "The gradient of a weight contains its feature once."),
            Mistake((3.0, 3.0, 6.0), "Two factors on top of each other are multiplied."),
        ),
        "So a difference in length counts twice: in what is said, and in how fast it is learned.",
        "Write down one logit, its derivative by a weight, and what the logit is after the weight has moved along it.",
    ),
    "3.2": Exercise(
        "a number",
        0.5 + (2 * 3 - 1 * 1),
        (
            Mistake(0.5 - (2 * 3 - 1 * 1), "That bias belongs to the other direction: what is subtracted has to be made up for."),
            Mistake(0.5, "With the old bias every logit of the class would have moved."),
            Mistake(0.5 + 2 * 3 + 1 * 1, "The second weight is negative."),
        ),
        "A fixed shift costs the network nothing that it can represent.",
        "W (f - c) + b' is to be W f + b for every f: solve for b'.",
    ),
    "3.3": Exercise(
        "a difference of two accuracies, such as -0.02",
        dosed,
        (Mistake(lambda: dosed("val_accuracy"), "That is the difference on validation data."),),
        "One ratio and three runs are not a curve: try its other side, 0.1, before you call it flat.",
        "Ratio 10 minus ratio 1, mean test accuracy over seeds 0 to 2, fifteen epochs, else the defaults.",
    ),
    "3.4": None,
}
