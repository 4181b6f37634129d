"""Naive joint training: one loss on the fused logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlib.data.core import Batch
from mmlib.methods.base import Method
from mmlib.model import MultimodalClassifier, Output


class Joint(Method):
    """Minimise the cross-entropy of the fused logits; every encoder gets its gradient through the shared loss.

    The baseline that the papers call naive or vanilla joint training (Wang et al., CVPR 2020).
    A modality missing in a sample contributes no features to it.
    """

    name = "joint"

    def step(
        self,
        model: MultimodalClassifier,
        batch: Batch,
        optimizer: torch.optim.Optimizer,
    ) -> tuple[Tensor, Output]:
        output: Output = model(batch.inputs, batch.present)
        loss = F.cross_entropy(output.logits, batch.labels, self.class_weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, output
