"""Modality dropout: joint training that has to manage without some of its modalities, now and then."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlib.data.core import Batch
from mmlib.methods.base import Method
from mmlib.model import MultimodalClassifier, Output


class ModalityDropout(Method):
    """Joint training in which every sample loses each modality with probability ``rate``, anew for every batch.

    The idea of ModDrop (Neverova et al., TPAMI 2016); the default rate is ours. Features of what is dropped are zero, as
    those of what is missing. A sample that would lose all it has loses nothing. Prediction is that of joint training:
    with all that is there.

    Args:
        rate: probability of losing a modality, 0 (which is joint training, bit for bit) to below 1.

    Raises:
        ValueError: a rate outside that range.
    """

    name = "modality_dropout"

    def __init__(self, rate: float = 0.3) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"rate: expected a share from 0 to below 1, found {rate}")
        self.rate = rate

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: torch.optim.Optimizer) -> tuple[Tensor, Output]:
        output: Output = model(batch.inputs, self._kept(batch) if self.rate else batch.present)
        loss = F.cross_entropy(output.logits, batch.labels, self.class_weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, output

    def _kept(self, batch: Batch) -> dict[str, Tensor]:
        """Masks {m: [B]}: what each sample keeps of what it has."""
        everything = torch.ones_like(batch.labels, dtype=torch.bool)
        present = batch.present or {}
        there = torch.stack([present.get(m, everything) for m in batch.inputs])  # [M, B]
        kept = there & (torch.rand(there.shape, device=there.device) >= self.rate)
        kept = torch.where(kept.any(0), kept, there)  # who would lose all loses nothing
        return dict(zip(batch.inputs, kept, strict=True))
