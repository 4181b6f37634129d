"""Encoders whose features are brought to one scale: `mmlib.model.build(..., normalise=...)`."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlib.encoders import Stage, stages
from mmlib.remembers import Remembers

Kind = Literal["batch", "layer", "l2", "rms", "centre"]
KINDS: tuple[str, ...] = get_args(Kind)
MOMENTUM = 0.1  #: of the running statistics, as in torch's batch normalisation


class NormalisedEncoder(Remembers, nn.Module):
    """An encoder and a normalisation of its features that has no parameters: [B, ...] -> [B, D].

    ========  ===================================================================================================
    kind      features f [B, D] become
    ========  ===================================================================================================
    "batch"   each feature standardised over the batch, divided by sqrt(D) (Ioffe and Szegedy, ICML 2015)
    "layer"   each sample's features standardised, divided by sqrt(D) (Ba et al., 2016): of length 1
    "l2"      f / ||f||, sample by sample: of length 1
    "rms"     f / sqrt(mean over samples of ||f||^2): one number for the whole modality
    "centre"  f minus its mean over the batch: no change of scale
    ========  ===================================================================================================

    "batch", "rms" and "centre" use the statistics of the batch in training and running ones (momentum 0.1) in evaluation
    mode; samples without the modality count in them, with the features that zeros give. All but "centre" make features of a
    length of about 1, whatever the encoder makes.

    Args:
        encoder: any module that makes features [B, dim].

    Raises:
        ValueError: an unknown kind.
    """

    mean: Tensor
    square: Tensor

    def __init__(self, encoder: nn.Module, dim: int, kind: Kind = "batch") -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"normalise: unknown {kind!r}; known: {', '.join(KINDS)}")
        self.encoder, self.dim, self.kind = encoder, dim, kind
        if kind == "batch":
            self.norm = nn.BatchNorm1d(dim, affine=False)
        elif kind == "rms":
            self.register_buffer("square", torch.ones(()))
        elif kind == "centre":
            self.register_buffer("mean", torch.zeros(dim))

    @property
    def needs_two(self) -> bool:
        """Whether a batch in training needs two samples: with one, nothing is left of what is centred."""
        return self.kind in ("batch", "centre")

    def forward(self, x: Tensor) -> Tensor:
        return self._scaled(self.encoder(x))

    def stages(self) -> list[Stage]:
        """`forward` in pieces: those of the encoder, the last one with the normalisation."""
        *hidden, last = stages(self.encoder)
        return [*hidden, lambda x: self._scaled(last(x))]

    def _scaled(self, f: Tensor) -> Tensor:
        """[B, D] -> [B, D]."""
        if self.kind == "batch":
            return self.norm(f) / math.sqrt(self.dim)
        if self.kind == "layer":
            return F.layer_norm(f, (self.dim,)) / math.sqrt(self.dim)
        if self.kind == "l2":
            return F.normalize(f, dim=1)
        if self.kind == "rms":
            square = self._running("square", f.square().sum(1).mean())
            return f / square.clamp(min=1e-12).sqrt()
        return f - self._running("mean", f.mean(0))

    def _running(self, name: str, here: Tensor) -> Tensor:
        """The batch's own statistic in training, and the running one takes it in; the running one otherwise."""
        kept: Tensor = getattr(self, name)
        if not self.training:
            return kept
        with torch.no_grad():
            kept.lerp_(here.to(kept.dtype), MOMENTUM)
        return here
