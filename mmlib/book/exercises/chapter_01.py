"""Chapter 1, the data."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from scipy.stats import norm

from mmlib.book.exercises.answers import Exercise, Mistake
from mmlib.book.studies.base import DIGITS, alone
from mmlib.compare import compare
from mmlib.data import load


@cache
def _audio() -> dict[str, int]:
    splits = load("digits", ["audio"], seed=0)
    different = len(np.unique(splits.train.raw["waveform"], axis=0))
    return {"samples": len(splits.train), "different": different, **splits.settings}


def noisier(column: str = "test_accuracy") -> float:
    """What noise of 1 adds to the audio alone, in accuracy."""
    found = compare([alone(DIGITS, "audio", f"noise {n:g}", audio_noise=n) for n in (0.0, 1.0)], seeds=3)
    return float(np.mean(found.values("noise 1", column)) - np.mean(found.values("noise 0", column)))


EXERCISES: dict[str, Any] = {
    "1.1": Exercise(
        "a whole number",
        lambda: _audio()["different"],
        (
            Mistake(lambda: _audio()["samples"], "That is how many samples there are. Many of them share a recording."),
            Mistake(lambda: _audio()["train_voices"] * 10, "That is one take of each. How often does each voice say a digit?"),
            Mistake(lambda: 10 * _audio()["train_takes"], "That is one voice. How many are there to train on?"),
        ),
        "Few, next to the samples: every recording is met again and again, each time with another image.",
        "What tells two recordings apart: who speaks, what is said, and which take it is.",
        within=0.4,
    ),
    "1.2": Exercise(
        "a number above 0",
        lambda: 1 / norm.ppf(0.9),
        (
            Mistake(lambda: norm.ppf(0.9), "Noise that lets less through is larger. Solve the ceiling for the noise once more."),
            Mistake(lambda: 1 / norm.ppf(0.95), "Only one side of the bell is on the wrong side of the border."),
            Mistake(lambda: 1 / (0.9 - 0.5), "The accuracy is the normal distribution function of one over the noise, no line."),
        ),
        "The quick modality cannot be better than this, however long one trains.",
        "The ceiling stands in the text on two_speed: which noise makes it 0.9?",
    ),
    "1.3": Exercise(
        "a share, from 0 to 1",
        lambda: norm.cdf(1 / 2),
        (
            Mistake(lambda: norm.cdf(3 / 2), "That grows with the number of dimensions. How many of them point along u?"),
            Mistake(lambda: norm.cdf(1 / 6), "That adds the noise of all dimensions. Which of it does the rule see?"),
            Mistake(lambda: norm.cdf(2), "That is what little noise would give. Which way does it enter?"),
            Mistake(lambda: norm.cdf(1), "That is the accuracy at a noise of 1."),
        ),
        "The dimensions that hold nothing but noise cost the best rule nothing. They do cost somebody who has to learn it.",
        "Project on u first: what is left of the noise, and in how many dimensions?",
    ),
    "1.4": Exercise(
        "a difference of two accuracies, such as -0.02",
        noisier,
        (Mistake(lambda: noisier("val_accuracy"), "That is the difference on validation data. New voices are in the test."),),
        "Three runs a row are few: look at the interval of the difference before you believe in it.",
        "The mean over seeds 0 to 2 with noise, minus that without: test_accuracy, 20 epochs, learning rate 3e-3.",
    ),
    "1.5": None,
}
