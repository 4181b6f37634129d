"""Late fusion: modalities trained apart, their opinions averaged at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from mmlib.data.core import Batch
from mmlib.methods.base import Method, masked_cross_entropy, unimodal_heads
from mmlib.model import MultimodalClassifier, Output


class LateFusion(Method):
    """An ensemble of unimodal networks: each encoder has a head and a loss of its own, nothing is shared.

    The losses are added, but as no parameter occurs in two of them, each modality learns exactly as it would alone.
    The prediction is a mean over the modalities that are present. The model's own fusion is not used.

    Args:
        average: "probabilities", the mean of the softmax probabilities; or "logits", the mean of the logits, which is UME,
            the unimodal ensemble of Du et al. (ICML 2023, arXiv 2305.01233). Training is the same for both.

    Raises:
        ValueError: an unknown average.
    """

    name = "late_fusion"

    def __init__(self, average: Literal["probabilities", "logits"] = "probabilities") -> None:
        super().__init__()
        if average not in ("probabilities", "logits"):
            raise ValueError(f"average: unknown {average!r}; known: probabilities, logits")
        self.average = average

    def make_heads(self, model: MultimodalClassifier, seed: int) -> None:
        self.heads = unimodal_heads(model, seed)

    def predict(
        self, model: MultimodalClassifier, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None
    ) -> Output:
        features = model.encode(inputs)
        unimodal = {m: self.heads[m](f) for m, f in features.items()}
        says = torch.stack(list(unimodal.values()))  # [M, B, C]
        there = torch.ones(says.shape[:2], dtype=torch.bool, device=says.device)  # [M, B]
        for row, m in enumerate(unimodal):
            if m not in inputs:
                there[row] = False
            elif present is not None:
                there[row] = present[m]
        absent, count = ~there[:, :, None], there.sum(0)[:, None]  # [M, B, 1], [B, 1]
        if self.average == "logits":
            return Output(features, unimodal, says.masked_fill(absent, 0).sum(0) / count)
        votes = says.log_softmax(2).masked_fill(absent, -torch.inf)
        return Output(features, unimodal, torch.logsumexp(votes, dim=0) - count.log())  # log of the mean

    def step(
        self,
        model: MultimodalClassifier,
        batch: Batch,
        optimizer: torch.optim.Optimizer,
    ) -> tuple[Tensor, Output]:
        output = self.predict(model, batch.inputs, batch.present)
        losses = [
            masked_cross_entropy(  # a sample without the modality does not count
                u, batch.labels, batch.present[m] if batch.present else None, self.class_weights
            )
            for m, u in output.unimodal.items()
        ]
        loss = torch.stack(losses).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, output
