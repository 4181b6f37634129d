"""Chapter 8's last experiment: training with a loss that draws the centres of two modalities together."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlib.data.core import Batch
from mmlib.methods.joint import Joint
from mmlib.methods.mla import MLA
from mmlib.model import MultimodalClassifier, Output


def squared_gap(a: Tensor, b: Tensor) -> Tensor:
    """Square of `mmlib.metrics.modality_gap` of a batch, with its gradient: [B, D], [B, D] -> scalar from 0 to 4."""
    return (F.normalize(a, dim=1).mean(0) - F.normalize(b, dim=1).mean(0)).square().sum()


def _checked(pull: float) -> float:
    if not 0 <= pull < math.inf:
        raise ValueError(f"pull: expected a number of 0 or more, found {pull}")
    return pull


class PullsJoint(Joint):
    """Joint training of two modalities, with ``pull`` times `squared_gap` added to the loss; 0 is `Joint`, bit for bit.

    Raises:
        ValueError: a pull below 0.
    """

    def __init__(self, pull: float) -> None:
        super().__init__()
        self.pull = _checked(pull)

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: torch.optim.Optimizer) -> tuple[Tensor, Output]:
        output: Output = model(batch.inputs, batch.present)
        loss = F.cross_entropy(output.logits, batch.labels, self.class_weights)
        if self.pull:
            a, b = output.features.values()
            loss = loss + self.pull * squared_gap(a, b)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, output


class PullsMLA(MLA):
    """MLA of two modalities, with ``pull`` times `squared_gap` added to each turn's loss; 0 is `MLA`, bit for bit.

    In a turn the encoder that rests gets no gradient of it.

    Raises:
        ValueError: a pull below 0.
    """

    def __init__(self, pull: float, **options: Any) -> None:
        super().__init__(**options)
        self.pull = _checked(pull)

    def take_turn(
        self, modality: str, loss: Tensor, features: dict[str, Tensor], batch: Batch, optimizer: torch.optim.Optimizer
    ) -> None:
        if self.pull:
            (other,) = (f.detach() for m, f in features.items() if m != modality)
            loss = loss + self.pull * squared_gap(features[modality], other)
        super().take_turn(modality, loss, features, batch, optimizer)
