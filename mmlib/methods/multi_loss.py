"""Multi-loss: the joint loss plus a loss for every modality, and nothing else. The control for methods that contain it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlib.data.core import Batch
from mmlib.methods.base import Method, masked_cross_entropy, unimodal_heads
from mmlib.methods.mla_fusion import fixed_weights, log_mixture
from mmlib.model import MultimodalClassifier, Output

#: the fused head among the voters; no modality may be called so
JOINT = "joint"


def unimodal_losses(logits: Mapping[str, Tensor], batch: Batch, weight: Tensor | None = None) -> dict[str, Tensor]:
    """The cross-entropy of every modality in the batch, over the samples that have it: {m: [B, C]} -> {m: scalar}, in nats.

    A modality that was not passed at all has no loss; one that every sample lacks has a loss of 0.

    Args:
        weight: [C], one per class.
    """
    present = batch.present or {}
    return {m: masked_cross_entropy(u, batch.labels, present.get(m), weight) for m, u in logits.items() if m in batch.inputs}


class MultiLoss(Method):
    """Joint training with a loss of its own for every modality as well, in one backward pass::

        L = CE(fused) + weight * sum_m CE_m

    The answer to "why not simply add unimodal losses?", and what several published methods come down to. CE_m is the
    cross-entropy of modality m alone over the samples that have it. Any number of modalities, any fusion.

    Args:
        weight: of the unimodal losses, 0 or more; with 0 and the fused head this is `Joint`, bit for bit.
        heads: "own", a linear head for each modality; or "fusion", what the fusion says of each modality alone
            (`mmlib.fusion.Fusion.unimodal`): for concatenation its own columns of the head.
        predict: "fused", the fused head's word; or "vote", the mean of the probabilities of the fused head and of the
            heads of all modalities that a sample has, each counting the same.

    Raises:
        ValueError: an argument out of range.
    """

    name = "multi_loss"

    def __init__(
        self, weight: float = 1.0, heads: Literal["own", "fusion"] = "own", predict: Literal["fused", "vote"] = "fused"
    ) -> None:
        super().__init__()
        if not 0 <= weight < math.inf:
            raise ValueError(f"weight: expected a number of 0 or more, found {weight}")
        if heads not in ("own", "fusion"):
            raise ValueError(f"heads: unknown {heads!r}; known: own, fusion")
        if predict not in ("fused", "vote"):
            raise ValueError(f"predict: unknown {predict!r}; known: fused, vote")
        self.weight, self.own, self.vote = weight, heads == "own", predict == "vote"

    def make_heads(self, model: MultimodalClassifier, seed: int) -> None:
        if self.own:
            self.heads = unimodal_heads(model, seed)

    def predict(
        self, model: MultimodalClassifier, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None
    ) -> Output:
        output: Output = model(inputs, present)
        unimodal = {m: head(output.features[m]) for m, head in self.heads.items()} if self.own else output.unimodal
        if not self.vote:
            return Output(output.features, unimodal, output.logits)
        everybody = {**unimodal, JOINT: output.logits}
        nobody = torch.zeros(len(output.logits), dtype=torch.bool, device=output.logits.device)
        there = {**(present or {}), **{m: nobody for m in unimodal if m not in inputs}}
        return Output(output.features, unimodal, log_mixture(everybody, fixed_weights(everybody, there)))

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: torch.optim.Optimizer) -> tuple[Tensor, Output]:
        output: Output = model(batch.inputs, batch.present)
        unimodal = {m: head(output.features[m]) for m, head in self.heads.items()} if self.own else output.unimodal
        loss = F.cross_entropy(output.logits, batch.labels, self.class_weights)
        if self.weight:
            losses = unimodal_losses(unimodal, batch, self.class_weights)
            loss = loss + self.weight * torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, Output(output.features, unimodal, output.logits)
