"""Chapter 7, missing modalities."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmlib.book.exercises.answers import Exercise, Mistake
from mmlib.book.studies import missing as study
from mmlib.compare import compare

RATES = (0.1, 0.4, 0.7)


def practised(column: str = "val_accuracy") -> float:
    """The rate of modality dropout that is best by a column, where validation and test have lost most of their entries."""
    holes = {"modalities": ["image", "audio"], "rate": 0.8, "splits": ["val", "test"]}
    base = study.INCOMPLETE.with_("", method="modality_dropout", data_options=holes)
    found = compare([base.with_(f"{r:g}", method_options={"rate": r}) for r in RATES], seeds=3)
    return max(RATES, key=lambda r: float(np.mean(found.values(f"{r:g}", column))))


EXERCISES: dict[str, Any] = {
    "7.1": Exercise(
        "a share, from 0 to 1",
        0.5 - 0.25 / 2,
        (
            Mistake(0.5, "Nobody is left without anything: some get one back."),
            Mistake(0.25, "A quarter of the samples would lose both; each of them gets back one of its two entries."),
            Mistake(0.625, "That is what is there, not what is missing."),
        ),
        "A rate of one half makes three eighths.",
        "Count entries, not samples: how many are lost on average, and how many come back?",
        within=0.004,
    ),
    "7.2": Exercise(
        "a share, from 0 to 1",
        0.6 - 0.6**3 / 3,
        (
            Mistake(0.6, "Who would lose all gets one back."),
            Mistake(0.6 - 0.6**3, "One entry comes back, out of three."),
            Mistake(0.6 - 0.6**2 / 2, "That is two modalities."),
            Mistake(0.6**3, "That is the share of samples that would lose all."),
        ),
        "With three modalities the correction is small already.",
        "The formula that you have shown, with M = 3.",
        within=0.003,
    ),
    "7.3": Exercise(
        f"one of the rates: {', '.join(map(str, RATES))}",
        practised,
        (Mistake(lambda: practised("test_accuracy"), "That is the best rate of the test, which a choice may not see."),),
        "Validation data had the same holes as the test: otherwise this choice would have answered another question.",
        "Mean val_accuracy over seeds 0 to 2, image and audio, rate 0.8 in validation and test.",
        within=0.001,
    ),
    "7.4": None,
}
