"""RNA: relative norm alignment, a loss that pulls the mean feature norms of the modalities together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlib.data.core import Batch, MultimodalData
from mmlib.methods.base import Method
from mmlib.model import MultimodalClassifier, Output


def relative_norm_loss(features: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> Tensor:
    """How far the mean feature norms of the modalities are apart (Planamente et al., 2021, arXiv 2106.01689 and 2110.10101)::

        L = sum over pairs (i before j) of (n_i / n_j - 1)^2,   n_m = mean over the samples of |f_m|

    The paper has audio over video; more than two modalities are the sum over all pairs, each in the order of ``features``.
    As the paper's term, it is not symmetric: twice as long costs 1, half as long costs 1/4.

    Args:
        features: {m: [B, D_m]}. present: {m: [B]} booleans; the mean is over the samples that have the modality. One that
            no sample has, or whose features are all zero, is in no pair.

    Returns:
        a scalar of 0 or more, 0 for a single modality; it does not change when all features are scaled alike.

    >>> relative_norm_loss({"a": torch.tensor([[3.0, 4.0]]), "b": torch.tensor([[0.0, 2.0]])})
    tensor(2.2500)
    """
    norms = {}
    for m, f in features.items():
        length = torch.linalg.vector_norm(f, dim=1)  # [B]
        if present is not None and m in present:
            norms[m] = (length * present[m]).sum() / present[m].sum().clamp(min=1)
        else:
            norms[m] = length.mean()
    total = next(iter(features.values())).new_zeros(())
    for i, j in combinations(norms, 2):
        both = (norms[i] > 0) & (norms[j] > 0)
        # where there is nothing to compare both are replaced, so that no division by zero gets into a gradient
        ratio = torch.where(both, norms[i], 1.0) / torch.where(both, norms[j], 1.0)
        total = total + (ratio - 1) ** 2
    return total


class RNA(Method):
    """Joint training with `relative_norm_loss` of the features added (Planamente et al., WACV 2022, arXiv 2110.10101)::

        L = CE(fused) + strength * L_RNA

    The modality whose features are longer is privileged, the paper holds; this takes the privilege away by a loss, where
    ``build(..., normalise="rms")`` does it by construction. Any fusion, two modalities or more.

    Args:
        strength: weight of the term, 0 or more; with 0 this is `Joint`, bit for bit. It has to be tuned; the default is ours.

    Raises:
        ValueError: a strength out of range. At setup: a model with one modality.
    """

    name = "rna"

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()
        if not 0 <= strength < math.inf:
            raise ValueError(f"strength: expected a number of 0 or more, found {strength}")
        self.strength = strength

    def setup(self, model: MultimodalClassifier, data: MultimodalData, seed: int) -> None:
        if len(model.modalities) < 2:
            raise ValueError(f"model: RNA compares modalities and needs two or more, found {', '.join(model.modalities)}")
        super().setup(model, data, seed)

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: torch.optim.Optimizer) -> tuple[Tensor, Output]:
        output: Output = model(batch.inputs, batch.present)
        loss = F.cross_entropy(output.logits, batch.labels, self.class_weights)
        if self.strength:
            here = {m: f for m, f in output.features.items() if m in batch.inputs}
            loss = loss + self.strength * relative_norm_loss(here, batch.present)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, output
