"""The projection of MLA: it keeps updates of the shared head off the features that the head has already seen."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

#: a positive number, or a function of the time in epochs (0, 0.0625, ...) that returns one
Ridge = float | Callable[[float], float]


def update_projection(projection: Tensor, mean_feature: Tensor, ridge: float) -> Tensor:
    """Take one more feature out of the directions in which the head may still move (Zhang et al., CVPR 2024).

    One step of recursive least squares: q = P h / (ridge + h^T P h), P <- P - q h^T P, with a scalar denominator.
    Started at P = I and with a constant ridge, P after the features H = [h_1 .. h_n] is (I + H^T H / ridge)^-1:
    symmetric, with eigenvalues in (0, 1] that never grow. A small ridge forgets little and learns little.

    It is written as P - s s^T with s = P h / sqrt(ridge + h^T P h), so that rounding cannot break the symmetry.
    A ridge that rounding would lose beside h^T h (8 machine epsilons of it) counts as that much; otherwise P would in
    the end turn indefinite.

    Args:
        projection: P, [D, D], symmetric. Not changed.
        mean_feature: h, [D]: the mean over a batch of the features of one modality. Zeros leave P as it is.
        ridge: larger than zero, in squared units of the features.

    Returns:
        The next P, [D, D].

    Raises:
        ValueError: a ridge of zero or less, or shapes that do not fit.

    >>> update_projection(torch.eye(2), torch.tensor([1.0, 0.0]), ridge=1.0)
    tensor([[0.5000, 0.0000],
            [0.0000, 1.0000]])
    """
    check_ridge(ridge)
    if projection.ndim != 2 or mean_feature.ndim != 1 or projection.shape != (len(mean_feature), len(mean_feature)):
        shapes = f"{list(projection.shape)} and {list(mean_feature.shape)}"
        raise ValueError(f"projection, mean_feature: expected shapes [D, D] and [D], found {shapes}")
    h = mean_feature.detach()  # a graph kept here would grow with every step
    q = projection @ h  # [D]
    floor = 8 * torch.finfo(q.dtype).eps * (h @ h)
    s = q * torch.rsqrt((h @ q).clamp(min=0) + floor.clamp(min=ridge))  # [D]
    return torch.addr(projection, s, s, alpha=-1)  # P - s s^T, [D, D], in one pass over the memory


def project_gradient(gradient: Tensor, projection: Tensor) -> Tensor:
    """The part of the head's gradient that P lets through: G P, [C, D] x [D, D] -> [C, D]; a row of it is a class."""
    return gradient @ projection


def mean_feature(features: Tensor, present: Tensor | None = None) -> Tensor:
    """Mean over the samples that are present: [B, D], [B] booleans -> [D], without a graph; zeros if none is."""
    if present is None:
        return features.detach().mean(0)
    return (features.detach() * present[:, None]).sum(0) / present.sum().clamp(min=1)


def check_ridge(ridge: object) -> float:
    """Raise ValueError unless ``ridge`` is a finite number above zero."""
    if isinstance(ridge, bool) or not isinstance(ridge, int | float) or not 0 < ridge < math.inf:
        raise ValueError(f"ridge: expected a finite number larger than 0, found {ridge!r}")
    return float(ridge)


def ridge_at(ridge: Ridge, epochs: float) -> float:
    """The value of a constant or of a schedule after so many epochs.

    Raises:
        ValueError: it is zero or less, or not a number.
    """
    return check_ridge(ridge(epochs) if callable(ridge) else ridge)
