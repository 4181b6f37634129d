"""Chapter 10, real voices."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmlib.book import results
from mmlib.book.exercises.answers import Exercise, Mistake
from mmlib.book.studies import real_voices as study
from mmlib.compare import compare
from mmlib.data.avmnist_files import SPEAKERS

APART = (0, 2, 4)  #: seeds whose test voices nobody shares


def hardest(best: bool = False, other: int = 0) -> str:
    """The first of the two test speakers whom the audio network understands least, or best."""
    heard = study.by_rotation(results.load("real_voices"), "audio alone")
    at = int(np.argmax(heard) if best else np.argmin(heard))
    return SPEAKERS[(at + other) % len(SPEAKERS)]


def third_voice(column: str = "test_accuracy") -> float:
    """Joint training with three voices minus the image alone, in accuracy, over rotations that share nobody."""
    image = next(row for row in study.baselines() if row.label == "image alone")
    found = compare([study.REAL.with_("three", data_options={"train_speakers": 3}), image], seeds=list(APART))
    return float(np.mean(found.values("three", column)) - np.mean(found.values("image alone", column)))


EXERCISES: dict[str, Any] = {
    "10.1": Exercise(
        "a name, such as 'george'",
        hardest,
        (
            Mistake(lambda: hardest(best=True), "That pair is understood best."),
            Mistake(lambda: hardest(other=1), "That is the second of the pair."),
        ),
        "It is no ranking of people: two stand behind each number.",
        "In rotation r, speakers r and r + 1 are in the test; look for the lowest of the six.",
        words=tuple(SPEAKERS),
    ),
    "10.2": Exercise(
        "a factor, above 1",
        2.5,
        (
            Mistake(lambda: 2.5**0.5, "That is the factor of the interval's width. The variance's is asked for."),
            Mistake(1 / 2.5, "By which factor is it too small: above one."),
            Mistake(2.0, "Each rotation shares a person with two others. What does one expect of the sample variance then?"),
            Mistake(3.0, "That takes 1/2 over 1/6. The sample variance is smaller than 1/2: the rotations are correlated."),
        ),
        "Intervals over the six would be 1.6 times too narrow.",
        "Variance of the mean: 1/6. What does one expect of the sample variance over six, divided by six?",
        within=0.02,
    ),
    "10.3": Exercise(
        "a difference of two accuracies, such as -0.05",
        third_voice,
        (Mistake(lambda: third_voice("val_accuracy"), "That is on validation data."),),
        "Three runs that share nobody: look at their spread before you call it catching up.",
        "Joint training with train_speakers=3 minus the image alone, seeds 0, 2 and 4, test accuracy.",
    ),
    "10.4": None,
}
