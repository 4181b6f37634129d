"""Chapter 11, real recordings and real people."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from mmlib.book.exercises.answers import Exercise, Mistake
from mmlib.book.studies import natural as study
from mmlib.compare import compare


def restyled(label: str = "joint", column: str = "test_accuracy") -> float:
    """Accuracy of a row on emoji drawn in another style."""
    row = next(s for s in study.emoji() if s.label == f"{label}, as they are")
    found = compare([row.with_("shifted", data_options={"test_style": "twemoji"})], seeds=3)
    return float(np.mean(found.values("shifted", column)))


EXERCISES: dict[str, Any] = {
    "11.1": Exercise(
        "two numbers: accuracy, balanced accuracy",
        (0.57, 0.2),
        (
            Mistake((0.57, 0.57), "Balanced accuracy is a mean over the classes, not over the windows."),
            Mistake((0.2, 0.2), "Accuracy counts windows, and more than half are of walking."),
            Mistake((0.57, 1.0), "All of walking is right. And the other four?"),
            Mistake((0.57, 0.57 / 5), "Of the windows of walking all are right, not 57 %."),
        ),
        "A plain accuracy of 57 % may mean that nothing was learned.",
        "Balanced accuracy: the share that is right in each class, then the mean over the five.",
    ),
    "11.2": Exercise(
        "a standard error, in points",
        lambda: 1 / stats.t.ppf(0.95, 9),
        (
            Mistake(
                lambda: 1 / stats.t.ppf(0.975, 9), "That is the 95 % interval. Two one-sided tests at 5 % take the 90 % one."
            ),
            Mistake(lambda: 1 / (2 * stats.t.ppf(0.95, 9)), "The interval may reach from -1 to 1, not over one point in all."),
            Mistake(lambda: stats.t.ppf(0.95, 9), "Solve t s < 1 for s."),
            Mistake(lambda: 1 / stats.norm.ppf(0.95), "With ten pairs t is larger than the normal's 1.64."),
        ),
        "Beyond that no outcome whatever can show two rows to be level.",
        "The whole interval must fit between -1 and 1, with a mean of zero in its middle.",
        within=0.004,
    ),
    "11.3": Exercise(
        "an accuracy, from 0 to 1",
        restyled,
        (
            Mistake(lambda: restyled("late fusion"), "That is late fusion."),
            Mistake(lambda: restyled(column="test_accuracy_text"), "That is what the names say alone."),
            Mistake(lambda: restyled(column="test_accuracy_image"), "That is what the pictures say alone."),
            Mistake(lambda: restyled(column="test_balanced_accuracy"), "That is the balanced accuracy."),
        ),
        "The names are the same in both styles: only the picture can be to blame.",
        "Mean test accuracy over three seeds of the row called 'joint, as they are', with test_style='twemoji'.",
    ),
    "11.4": None,
}
