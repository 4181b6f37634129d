"""Chapter 5, OGM-GE."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from mmlib.book.exercises.answers import Exercise, Mistake
from mmlib.book.studies import ogm
from mmlib.compare import compare
from mmlib.methods.ogm_ge import coefficient


def held_back(column: str = "test_accuracy") -> float:
    """What OGM of strength 1 adds to joint training under SGD, where slow is as loud as fast."""
    loud = ogm.SPEED_SGD.with_("", data_options={"slow_gain": 1.0})
    found = compare([ogm.ogm(loud, 0.0, "joint"), ogm.ogm(loud, 1.0)], seeds=5)
    return float(np.mean(found.values("OGM 1", column)) - np.mean(found.values("joint", column)))


def _ahead(ratio: float, strength: float = 0.5) -> tuple[float, float, float]:
    return (1 - math.tanh(strength * ratio), 1.0, 1.0)


EXERCISES: dict[str, Any] = {
    "5.1": Exercise(
        "three coefficients, in the order of the scores",
        lambda: coefficient(torch.tensor([6 / 3, 3 / 4.5, 3 / 4.5]), 0.5),
        (
            Mistake(_ahead(6 / 4), "That compares with the mean of all three: a modality is compared with the others."),
            Mistake(_ahead(6 / 6), "That compares with the sum of the others, not their mean."),
            Mistake((math.tanh(1.0), 1.0, 1.0), "That is what is taken away, not what is left."),
            Mistake(tuple(1 - math.tanh(0.5 * r) for r in (2, 2 / 3, 2 / 3)), "Who is behind is left alone: a coefficient of 1."),
            Mistake(_ahead(2, 1.0), "That is a strength of 1."),
        ),
        "Whoever leads keeps less than a quarter of the gradient; nobody else is touched.",
        "Divide each score by the mean of the other two, and leave alone who is behind.",
    ),
    "5.2": Exercise(
        "two shares of the variance: scaled, and with the noise added",
        (0.2**2, 0.2**2 + 1),
        (
            Mistake((0.2, 1.2), "A factor on the gradient is squared in its variance."),
            Mistake((0.04, 1.0), "Variances of independent noises add up."),
            Mistake((0.04, 1.44), "Deviations do not add up. Variances do."),
            Mistake((0.04, 0.08), "The noise that is added is as large as the gradient's was before it was scaled."),
        ),
        "It does not restore what was there: it adds a whole helping, also to an encoder that was not scaled.",
        "What does a factor do to a variance, and what a sum of independent noises?",
    ),
    "5.3": Exercise(
        "a number",
        1 / 0.25,
        (
            Mistake(2.0, "The bound does not hold here: what would the other modality have to reach for it?"),
            Mistake(1 / 0.75, "That is the probability which it gives the wrong class."),
            Mistake(0.5, "What would the other modality have to reach, and which of the two is divided by which?"),
        ),
        "Two classes do not bound the ratio by 2 where somebody is confidently wrong.",
        "Both scores are sums of the probability of the true class, over the same samples.",
    ),
    "5.4": Exercise(
        "a difference of two accuracies, such as -0.02",
        held_back,
        (
            Mistake(lambda: held_back("val_accuracy"), "That is the difference on validation data."),
            Mistake(
                lambda: held_back("test_accuracy_slow"), "That is what slow says alone. The network as a whole is asked for."
            ),
            Mistake(
                lambda: held_back("test_accuracy_fast"), "That is what fast says alone. The network as a whole is asked for."
            ),
        ),
        "Compare it with where slow is quiet: a method that finds nobody to hold back has little to do.",
        "OGM of strength 1 minus joint training, five seeds, SGD with 0.1, slow_gain 1.",
    ),
    "5.5": None,
}
