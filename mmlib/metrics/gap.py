"""Where the features of two modalities lie on the unit sphere: apart, in which direction, and how spread out."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def centroid(features: Tensor) -> Tensor:
    """Mean of the unit-normalised features: [N, D] -> [D]. A feature of zeros stays zeros."""
    if features.ndim != 2 or len(features) == 0:
        raise ValueError(f"features: expected shape [N, D] with N >= 1, found {list(features.shape)}")
    return F.normalize(features.detach().double(), dim=1).mean(0)


def modality_gap(features_a: Tensor, features_b: Tensor) -> float:
    """Distance between the centroids of the unit-normalised features: [N, D], [K, D] -> from 0 to 2.

    0: the clouds share a centre, which two modalities that know nothing of each other can do as well.

    Raises:
        ValueError: features of different size, or none.

    >>> import torch
    >>> modality_gap(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]]))
    1.4142135623730951
    """
    return float(_between(features_a, features_b).norm())


def gap_direction(features_a: Tensor, features_b: Tensor) -> Tensor:
    """Unit vector from the centroid of b to that of a: [N, D], [K, D] -> [D]; zeros where the centroids agree."""
    return F.normalize(_between(features_a, features_b), dim=0).to(features_a.dtype)


def within_spread(features: Tensor) -> float:
    """Root mean square distance of the unit-normalised features from their centroid: [N, D] -> from 0 to 1.

    A gap means little without it: the same distance separates two tight clouds and vanishes in two wide ones.
    """
    unit = F.normalize(features.detach().double(), dim=1)
    return float((unit - centroid(features)).square().sum(1).mean().sqrt())


def shift_along_gap(features_a: Tensor, features_b: Tensor, by: float) -> tuple[Tensor, Tensor]:
    """Move both clouds along the line between their centroids, half of the way each, lengths and all.

    Args:
        features_a: [N, D]. features_b: [K, D].
        by: 0 leaves them, 1 brings the centroids of the features (not normalised) together, 0.5 half way, -1 doubles
            their distance.

    Returns:
        The moved features, [N, D] and [K, D].
    """
    way = features_b.mean(0) - features_a.mean(0)  # [D]
    return features_a + by / 2 * way, features_b - by / 2 * way


def _between(features_a: Tensor, features_b: Tensor) -> Tensor:
    if features_a.shape[1:] != features_b.shape[1:]:
        raise ValueError(f"features: expected one size D for both, found {list(features_a.shape)} and {list(features_b.shape)}")
    return centroid(features_a) - centroid(features_b)
