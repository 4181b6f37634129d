"""Encoders whose features are standardised: all modalities speak equally loud, about one centre or about two set by hand."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from mmlib.data.core import MultimodalData
from mmlib.methods.base import Method
from mmlib.model import MultimodalClassifier
from mmlib.normalise import NormalisedEncoder


class StandardisedEncoder(NormalisedEncoder):
    """An encoder with its features standardised, each over the batch, and scaled to a length of about 1: [B, ...] -> [B, D].

    `mmlib.normalise.NormalisedEncoder` of kind "batch", about a centre that can be set.

    Args:
        encoder: any module that makes features [B, dim]. offset: [dim], added at the end; it is not trained.
    """

    offset: Tensor

    def __init__(self, encoder: nn.Module, dim: int, offset: Tensor | None = None) -> None:
        super().__init__(encoder, dim, "batch")
        self.register_buffer("offset", torch.zeros(dim) if offset is None else offset)

    def forward(self, x: Tensor) -> Tensor:
        standard: Tensor = self.norm(self.encoder(x))
        return standard / math.sqrt(self.dim) + self.offset  # [B, D]


class Standardise(Method):
    """Mix-in: the same method on standardised features. ``class StandardisedJoint(Standardise, Joint)``.

    A last batch of one sample, which cannot be standardised, is left out of an epoch (`mmlib.methods.batches.training_batches`).
    """

    def setup(self, model: MultimodalClassifier, data: MultimodalData, seed: int) -> None:
        for m, offset in self.offsets(model, seed).items():
            encoder = model.encoders[m]
            if isinstance(encoder, StandardisedEncoder):  # of a fit before this one
                encoder.offset.copy_(offset)
            else:
                model.encoders[m] = StandardisedEncoder(encoder, model.dims[m], offset)
        super().setup(model, data, seed)

    def offsets(self, model: MultimodalClassifier, seed: int) -> dict[str, Tensor]:
        """Where the centre of each modality is put, {m: [D_m]}."""
        return {m: torch.zeros(d) for m, d in model.dims.items()}


class PinnedGap(Standardise):
    """Mix-in: training with the distance between two modalities set by hand.

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

    def offsets(self, model: MultimodalClassifier, seed: int) -> dict[str, Tensor]:
        sizes = list(model.dims.values())
        if len(sizes) != 2 or sizes[0] != sizes[1]:
            raise ValueError(f"model: expected two modalities with features of one size, found {model.dims}")
        way = torch.randn(sizes[0], generator=torch.Generator().manual_seed(seed))
        half = self.distance / 2 * way / way.norm()
        first, second = model.modalities
        return {first: half, second: -half}
