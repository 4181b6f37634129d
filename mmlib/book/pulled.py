"""Chapter 8's last experiment: training with a loss that draws the centres of two modalities together, or holds them apart."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlib.data.core import Batch, MultimodalData
from mmlib.methods.base import Method
from mmlib.methods.joint import Joint
from mmlib.methods.mla import MLA
from mmlib.model import MultimodalClassifier, Output

Towards = Literal["each other", "start"]


def centre(features: Tensor) -> Tensor:
    """`mmlib.metrics.gap.centroid` of a batch, with its gradient: [B, D] -> [D]."""
    return F.normalize(features, dim=1).mean(0)


class Pulled(Method):
    """Mix-in: ``pull`` times a squared distance of the centres of two modalities' features is added to the loss.

    Args:
        pull: weight of the term, 0 or more; with 0 the training is that of the method without it, bit for bit.
        towards: "each other" is the square of `mmlib.metrics.modality_gap` of the batch: the gap is closed. "start" is the
            control: each centre is held, as firmly, where it was before training, so that a gap stays.

    Raises:
        ValueError: a pull below 0; at setup, a model that has not two modalities.
    """

    anchors: Tensor  # [2, D]

    def __init__(self, pull: float, towards: Towards = "each other", **options: Any) -> None:
        super().__init__(**options)
        if not 0 <= pull < math.inf:
            raise ValueError(f"pull: expected a number of 0 or more, found {pull}")
        if towards not in ("each other", "start"):
            raise ValueError(f"towards: unknown {towards!r}; known: each other, start")
        self.pull, self.towards = pull, towards

    def setup(self, model: MultimodalClassifier, data: MultimodalData, seed: int) -> None:
        if len(model.modalities) != 2:
            raise ValueError(f"model: expected two modalities, found {', '.join(model.modalities)}")
        if self.towards == "start":
            with torch.no_grad():
                made = model.encode({m: x.to(model.device) for m, x in data.inputs.items()})
            self.register_buffer("anchors", torch.stack([centre(f) for f in made.values()]))
        super().setup(model, data, seed)

    def term(self, features: dict[str, Tensor], turn: str | None = None) -> Tensor:
        """What is added to the loss, a scalar; in a turn the modality that rests gets no gradient of it."""
        a, b = (centre(f if turn in (None, m) else f.detach()) for m, f in features.items())
        if self.towards == "each other":
            return self.pull * (a - b).square().sum()
        return self.pull * ((a - self.anchors[0]).square().sum() + (b - self.anchors[1]).square().sum())


class PulledJoint(Pulled, Joint):
    """Joint training with the term of `Pulled`."""

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: torch.optim.Optimizer) -> tuple[Tensor, Output]:
        output: Output = model(batch.inputs, batch.present)
        loss = F.cross_entropy(output.logits, batch.labels, self.class_weights)
        if self.pull:
            loss = loss + self.term(output.features)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, output


class PulledMLA(Pulled, MLA):
    """MLA with the term of `Pulled` in every turn."""

    def take_turn(
        self, modality: str, loss: Tensor, features: dict[str, Tensor], batch: Batch, optimizer: torch.optim.Optimizer
    ) -> None:
        if self.pull:
            loss = loss + self.term(features, modality)
        super().take_turn(modality, loss, features, batch, optimizer)
