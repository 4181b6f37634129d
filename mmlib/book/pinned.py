"""Chapter 8's experiment: two modalities standardised about centres whose distance is set by hand."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from mmlib.data.core import MultimodalData
from mmlib.methods.base import Method
from mmlib.model import MultimodalClassifier
from mmlib.normalise import NormalisedEncoder


class PinnedEncoder(NormalisedEncoder):
    """An encoder with its features batch-normalised, to a length of about 1, and then moved: [B, ...] -> [B, D].

    Args:
        encoder: any module that makes features [B, dim]. offset: [dim], added at the end; it is not trained.
    """

    offset: Tensor

    def __init__(self, encoder: nn.Module, dim: int, offset: Tensor) -> None:
        super().__init__(encoder, dim, "batch")
        self.register_buffer("offset", offset)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.offset  # [B, D]


class PinnedGap(Method):
    """Mix-in: training with the distance between two modalities set by hand. ``class PinnedJoint(PinnedGap, Joint)``.

    Standardised features of both have their centre at zero. One is moved by ``distance / 2`` along a direction that is
    drawn once, the other as far the opposite way. So the distance of the centres is ``distance``, in units of the (root
    mean square) length of a standardised feature, whatever the encoders learn.

    Raises:
        ValueError: a negative distance; at setup, a model that has not two modalities of one feature size.
    """

    def __init__(self, distance: float, **options: Any) -> None:
        super().__init__(**options)
        if not 0 <= distance < math.inf:
            raise ValueError(f"distance: expected a finite number of 0 or more, found {distance}")
        self.distance = distance

    def setup(self, model: MultimodalClassifier, data: MultimodalData, seed: int) -> None:
        sizes = list(model.dims.values())
        if len(sizes) != 2 or sizes[0] != sizes[1]:
            raise ValueError(f"model: expected two modalities with features of one size, found {model.dims}")
        way = torch.randn(sizes[0], generator=torch.Generator().manual_seed(seed))
        half = self.distance / 2 * way / way.norm()
        for m, offset in zip(model.modalities, (half, -half), strict=True):
            encoder = model.encoders[m]
            if isinstance(encoder, PinnedEncoder):  # of a fit before this one
                encoder.offset.copy_(offset)
            else:
                model.encoders[m] = PinnedEncoder(encoder, sizes[0], offset)
        super().setup(model, data, seed)
