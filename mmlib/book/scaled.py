"""Chapter 3's experiments: joint training with the scale of the features set by hand, or with normalisation taken apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from mmlib.data.core import MultimodalData
from mmlib.encoders import stages
from mmlib.intermediate import hidden_sizes
from mmlib.methods.joint import Joint
from mmlib.model import MultimodalClassifier
from mmlib.normalise import MOMENTUM, NormalisedEncoder

Part = Literal["divide", "running", "parameters"]


class PartlyNormalised(nn.Module):
    """An encoder and a part of batch normalisation: [B, ...] -> [B, D].

    ============  ===============================================================================================
    part          features f [B, D] become
    ============  ===============================================================================================
    "divide"      f / sqrt(D): a constant, and no statistics at all
    "running"     standardised by *running* statistics in training, too, and divided by sqrt(D): nothing depends on
                  who else is in the batch, and no gradient passes through the statistics
    "parameters"  batch-normalised with a factor and an offset for each feature, which are learned, divided by sqrt(D)
    ============  ===============================================================================================
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, encoder: nn.Module, dim: int, part: Part) -> None:
        super().__init__()
        self.encoder, self.dim, self.part = encoder, dim, part
        if part == "parameters":
            self.norm = nn.BatchNorm1d(dim)
        if part == "running":
            self.register_buffer("mean", torch.zeros(dim))
            self.register_buffer("variance", torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        f: Tensor = self.encoder(x)
        if self.part == "parameters":
            f = self.norm(f)
        elif self.part == "running":
            if self.training:
                with torch.no_grad():
                    self.mean.lerp_(f.mean(0), MOMENTUM)
                    self.variance.lerp_(f.var(0, unbiased=False), MOMENTUM)
            f = (f - self.mean) / (self.variance + 1e-5).sqrt()
        return f / math.sqrt(self.dim)


class DosedEncoder(NormalisedEncoder):
    """An encoder whose features have a mean length that is set by hand: [B, ...] -> [B, D].

    Args:
        encoder: any module that makes features [B, dim]. factor: the length, as a root mean square over the samples.
    """

    def __init__(self, encoder: nn.Module, dim: int, factor: float) -> None:
        super().__init__(encoder, dim, "rms")
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * super().forward(x)


class NormalisedInside(nn.Module):
    """An encoder with batch normalisation, as usual with learned parameters, after every hidden layer: [B, ...] -> [B, D].

    The features themselves are left as they are.

    Args:
        encoder: one with ``stages`` (`mmlib.encoders`). channels: of its hidden layers, in order.
    """

    def __init__(self, encoder: nn.Module, channels: Sequence[int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.norms = nn.ModuleList(map(nn.BatchNorm1d, channels))

    def forward(self, x: Tensor) -> Tensor:
        *hidden, last = stages(self.encoder)
        for stage, norm in zip(hidden, self.norms, strict=True):
            x = stage(x)
            # channels are the second of four axes, and otherwise the last
            x = norm(x.flatten(2)).view_as(x) if x.ndim == 4 else norm(x.flatten(0, -2)).view_as(x)
        return last(x)


class InsideJoint(Joint):
    """Joint training with every encoder a `NormalisedInside` one."""

    def setup(self, model: MultimodalClassifier, data: MultimodalData, seed: int) -> None:
        for m in model.modalities:
            outer = model.encoders[m]
            encoder = outer.encoder if isinstance(outer, NormalisedEncoder) else outer
            if isinstance(encoder, NormalisedInside):  # of a fit before this one
                continue
            made = NormalisedInside(encoder, hidden_sizes({m: encoder}, data.example)[m]).to(model.device)
            if isinstance(outer, NormalisedEncoder):  # that of the features stays outside
                outer.encoder = made
            else:
                model.encoders[m] = made
        super().setup(model, data, seed)


class PartlyNormalisedJoint(Joint):
    """Joint training with every encoder a `PartlyNormalised` one.

    Raises:
        ValueError: an unknown part.
    """

    def __init__(self, part: Part) -> None:
        super().__init__()
        if part not in get_args(Part):
            raise ValueError(f"part: unknown {part!r}; known: {', '.join(get_args(Part))}")
        self.part: Part = part

    def setup(self, model: MultimodalClassifier, data: MultimodalData, seed: int) -> None:
        for m in model.modalities:
            if not isinstance(model.encoders[m], PartlyNormalised):  # of a fit before this one
                model.encoders[m] = PartlyNormalised(model.encoders[m], model.dims[m], self.part).to(model.device)
        super().setup(model, data, seed)


class DosedJoint(Joint):
    """Joint training of two modalities whose features have lengths in a ratio set by hand.

    The first has features of length sqrt(ratio), the second of 1 / sqrt(ratio), whatever the encoders learn: one running
    number for each modality (``normalise="rms"``), and a constant.

    Raises:
        ValueError: a ratio that is not positive; at setup, a model that has not two modalities.
    """

    def __init__(self, ratio: float) -> None:
        super().__init__()
        if not 0 < ratio < math.inf:
            raise ValueError(f"ratio: expected a positive number, found {ratio}")
        self.ratio = ratio

    def setup(self, model: MultimodalClassifier, data: MultimodalData, seed: int) -> None:
        if len(model.modalities) != 2:
            raise ValueError(f"model: expected two modalities, found {', '.join(model.modalities)}")
        for m, factor in zip(model.modalities, (math.sqrt(self.ratio), 1 / math.sqrt(self.ratio)), strict=True):
            encoder = model.encoders[m]
            if isinstance(encoder, DosedEncoder):  # of a fit before this one
                encoder.factor = factor
            else:
                model.encoders[m] = DosedEncoder(encoder, model.dims[m], factor).to(model.device)
        super().setup(model, data, seed)
