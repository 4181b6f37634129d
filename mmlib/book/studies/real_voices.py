"""Chapter 10: six people, each rotation of who is heard in training and who in the test, three times."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmlib.book.studies.base import alone
from mmlib.book.studies.blending import VARIANT
from mmlib.comparison import Comparison
from mmlib.setting import Setting

ROTATIONS, ROUNDS = 6, 3
SEEDS = ROTATIONS * ROUNDS  #: in a row: a seed's rotation is its remainder divided by six
#: `avmnist` with its default knobs; training losses of the network as it is at the end of an epoch, like the others
REAL = Setting("joint", data="avmnist", fit_options={"epochs": 10, "lr": 3e-3, "train_metrics": "evaluated"})
SHARED: dict[str, Any] = {"speakers": "shared"}  #: the same training data; the test has other recordings of the same voices

SHARED_VOICES = ", shared voices"  #: ends the label of such a setting
BASELINES = ("image alone", "audio alone", "late fusion", "joint")

#: every method with its defaults; Gradient-Blending holds out one of the two training voices, as a user would who has read
#: chapter 4. Nothing is tuned for anybody.
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "late fusion": ("late_fusion", {}),
    "joint": ("joint", {}),
    "Gradient-Blending": ("gradient_blending", {**VARIANT, "holdout": "voice", "holdout_fraction": 0.5}),
    "Gradient-Blending, vote": (
        "gradient_blending",
        {**VARIANT, "holdout": "voice", "holdout_fraction": 0.5, "predict": "vote"},
    ),
    "Gradient-Blending, to the letter": ("gradient_blending", {"holdout": "voice", "holdout_fraction": 0.5}),
    "Gradient-Blending, same-voice hold-out": ("gradient_blending", {**VARIANT, "holdout": "random", "holdout_fraction": 0.5}),
    "OGM-GE": ("ogm_ge", {}),
    "MLA": ("mla", {}),
}


def baselines() -> list[Setting]:
    """Each modality alone, late fusion and naive joint training, with unseen and with shared voices."""
    return [s for s in real_voices() if s.label.removesuffix(SHARED_VOICES) in BASELINES]


def real_voices() -> list[Setting]:
    """Every method with unseen voices; each modality alone, late fusion and joint training with shared ones."""
    rows = [alone(REAL, m) for m in ("image", "audio")]
    rows += [REAL.with_(label, method=name, method_options=options) for label, (name, options) in METHODS.items()]
    shared = [r.with_(r.label + SHARED_VOICES, data_options=SHARED) for r in rows if r.label in BASELINES[1:]]
    return rows + shared  # the image alone knows nothing of voices: it is the same in both


def by_rotation(outcome: Comparison, label: str, column: str = "test_accuracy") -> list[float]:
    """The mean over the seeds of each rotation, [6] where all are there.

    Runs of one rotation have the same people in the test. To ask what would happen with other people, the rotations are what
    one has several of, not the runs.
    """
    rotations = np.array(outcome.seeds) % ROTATIONS
    values = np.array(outcome.values(label, column))
    return [float(values[rotations == r].mean()) for r in sorted(set(rotations.tolist()))]
