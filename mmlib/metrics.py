"""Measures: intervals over seeds, linear probes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmlib.data.core import MultimodalData
from mmlib.model import MultimodalClassifier


class Interval(NamedTuple):
    """A mean with a confidence interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"

    @property
    def points(self) -> str:
        """A difference of shares, in percentage points."""
        return f"{100 * self.mean:+.1f} points ({100 * self.low:.1f} to {100 * self.high:.1f})"


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Mean of independent runs with Student's t interval (Student, 1908): mean +- t s / sqrt(n).

    With one value the interval is unknown, and its ends are NaN.

    Raises:
        ValueError: no value, or a level outside (0, 1).
    """
    from scipy import stats

    x = np.asarray(values, dtype=float)
    if x.ndim != 1 or len(x) == 0:
        raise ValueError(f"values: expected a list of at least one number, found shape {list(x.shape)}")
    if not 0 < level < 1:
        raise ValueError(f"level: expected a share between 0 and 1, found {level}")
    mean = float(x.mean())
    if len(x) == 1:
        return Interval(mean, float("nan"), float("nan"))
    half = float(stats.t.ppf((1 + level) / 2, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    return Interval(mean, mean - half, mean + half)


@torch.no_grad()
def features(model: MultimodalClassifier, data: MultimodalData, batch_size: int = 1024) -> dict[str, Tensor]:
    """Features of every sample, {m: [N, D_m]}, on the CPU; the encoders are not changed."""
    training = model.training
    model.eval()
    parts = [model.encode(batch.inputs) for batch in data.to(model.device).batches(batch_size)]
    model.train(training)
    return {m: torch.cat([part[m] for part in parts]).cpu() for m in data.modalities}


def linear_probe(
    model: MultimodalClassifier, fit_on: MultimodalData, score_on: MultimodalData, strength: float = 1.0
) -> dict[str, float]:
    """How much a frozen encoder knows: accuracy of a logistic regression on its features (Alain and Bengio, 2016).

    The probe is fitted on ``fit_on`` (samples that have the modality), the features standardised there, and scored on
    ``score_on``. An encoder that learned nothing still scores as random features do, which is far above chance:
    compare probes with each other, and with one of an untrained encoder.

    Args:
        strength: inverse of the L2 penalty, scikit-learn's ``C``.

    Returns:
        modality -> accuracy.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scores = {}
    known, asked = features(model, fit_on), features(model, score_on)
    for m in model.modalities:
        here = slice(None) if fit_on.present is None else fit_on.present[m].cpu().numpy()
        there = slice(None) if score_on.present is None else score_on.present[m].cpu().numpy()
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
        probe.fit(known[m].numpy()[here], fit_on.labels.cpu().numpy()[here])
        scores[m] = float(probe.score(asked[m].numpy()[there], score_on.labels.cpu().numpy()[there]))
    return scores


def separable(higher: Sequence[float], lower: Sequence[float]) -> bool:
    """Whether the mean of ``higher`` is above that of ``lower`` with 95 % intervals that do not overlap."""
    return mean_interval(higher).low > mean_interval(lower).high
