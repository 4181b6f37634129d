"""Chapter 6's measurement of forgetting: MLA in which one modality rests, while the others go on using the shared head."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmlib.data.core import Batch, MultimodalData
from mmlib.methods.mla import MLA
from mmlib.model import MultimodalClassifier


class RestingMLA(MLA):
    """`MLA`, in which ``resting`` takes no turn from epoch ``after`` on.

    Its encoder stands still then, so that what changes in its loss on new data comes from the shared head alone.

    Args:
        resting: a modality. after: epochs in which it takes its turns like the others, 1 or more.

    Raises:
        ValueError: separate heads or one backward pass, as then nobody can spoil anything; at setup, an unknown modality.
    """

    def __init__(self, resting: str, after: int, **options: Any) -> None:
        super().__init__(**options)
        if self.sharing == "separate" or self.turns == "together":
            raise ValueError("RestingMLA: expected a shared head and alternating turns; otherwise no turn can spoil another")
        if after < 1:
            raise ValueError(f"after: expected 1 epoch or more, found {after}")
        self.resting, self.after = resting, after

    def setup(self, model: MultimodalClassifier, data: MultimodalData, seed: int) -> None:
        if self.resting not in model.modalities:
            raise ValueError(f"resting: unknown modality {self.resting!r}; the model has {', '.join(model.modalities)}")
        super().setup(model, data, seed)

    def take_turn(
        self, modality: str, loss: Tensor, features: dict[str, Tensor], batch: Batch, optimizer: torch.optim.Optimizer
    ) -> None:
        if modality != self.resting or self._epoch < self.after:
            super().take_turn(modality, loss, features, batch, optimizer)
