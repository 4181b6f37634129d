"""One modality alone: the bar that a network with more modalities has to clear."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mmlib.data.checks import check_modalities
from mmlib.data.core import Batch
from mmlib.methods.base import Method, masked_cross_entropy, unimodal_heads
from mmlib.model import MultimodalClassifier, Output


class Unimodal(Method):
    """Train one encoder and a linear head of its own on one modality; the others are not touched (Wang et al., CVPR 2020).

    Samples that lack the modality are skipped in training; at prediction they get the head's bias.

    Args:
        modality: the one to train.

    Raises:
        ValueError: at setup, for a modality that the model does not have.
    """

    name = "unimodal"

    def __init__(self, modality: str) -> None:
        super().__init__()
        self.modality = modality

    def make_heads(self, model: MultimodalClassifier, seed: int) -> None:
        check_modalities([self.modality], model.modalities)
        self.head = unimodal_heads(model, seed)[self.modality]

    def predict(
        self, model: MultimodalClassifier, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None
    ) -> Output:
        m = self.modality
        if m in inputs:
            features = model.encode({m: inputs[m]})[m]
        else:  # not passed at all
            features = torch.zeros(len(next(iter(inputs.values()))), model.dims[m], device=model.device)
        if present is not None and m in present:
            features = features * present[self.modality][:, None]
        logits = self.head(features)
        return Output({self.modality: features}, {self.modality: logits}, logits)

    def step(
        self,
        model: MultimodalClassifier,
        batch: Batch,
        optimizer: torch.optim.Optimizer,
    ) -> tuple[Tensor, Output]:
        output = self.predict(model, batch.inputs, batch.present)
        present = batch.present[self.modality] if batch.present else None
        loss = masked_cross_entropy(output.logits, batch.labels, present, self.class_weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, output
