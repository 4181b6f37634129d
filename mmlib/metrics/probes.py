"""What a frozen encoder knows."""

from __future__ import annotations

import torch
from torch import Tensor

from mmlib.data.core import MultimodalData
from mmlib.model import MultimodalClassifier


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
