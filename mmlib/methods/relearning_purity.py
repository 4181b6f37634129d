"""How well a modality's features fall into clusters of one class each."""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlib.data.core import MultimodalData
from mmlib.model import MultimodalClassifier

ENCODED_AT_ONCE = 1024  #: samples


def purity(labels: Tensor, clusters: Tensor) -> float:
    """The share of samples that have the label which is most frequent in their cluster; [N], [N] whole numbers -> 0 to 1.

    >>> purity(torch.tensor([0, 0, 1, 1, 1]), torch.tensor([4, 4, 4, 7, 7]))
    0.8
    """
    table = F.one_hot(clusters).T @ F.one_hot(labels)  # [clusters, C]
    return float(table.amax(1).sum()) / len(labels)


@torch.no_grad()
def purities(model: MultimodalClassifier, data: MultimodalData) -> dict[str, float]:
    """{m: purity of the clusters of its features}, of the samples that have the modality, in evaluation mode."""
    training = model.training
    model.eval()
    parts = [model.encode(batch.inputs) for batch in data.batches(ENCODED_AT_ONCE)]
    model.train(training)
    there = {m: torch.ones(len(data), dtype=torch.bool) for m in model.modalities}
    there |= {m: p.cpu() for m, p in (data.present or {}).items()}
    labels = data.labels.cpu()
    return {
        m: purity(labels[p], _clusters(torch.cat([part[m] for part in parts]).cpu()[p], data.num_classes))
        for m, p in there.items()
    }


def _clusters(features: Tensor, count: int) -> Tensor:
    """The clusters that k-means finds, [N, D] -> [N], always the same ones."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    low, high = features.amin(0), features.amax(0)
    scaled = 2 * (features - low) / (high - low).clamp(min=1e-12) - 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different samples than clusters
        found = KMeans(min(count, len(features)), n_init=1, random_state=0).fit_predict(scaled.double().numpy())
    return torch.as_tensor(found).long()
