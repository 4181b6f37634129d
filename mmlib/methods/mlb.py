"""MLB: unimodal losses beside the fused one, and gradients balanced both ways (Kontras et al., BMVC 2024, 2405.07930)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlib.data.core import Batch, MultimodalData
from mmlib.methods.modulation import StepMeans, check_several, presence, scale_gradients, trained_tensors
from mmlib.methods.ogm_ge import discrepancy_ratios
from mmlib.methods.own_heads import OwnHeads
from mmlib.model import MultimodalClassifier, Output


def balancing_coefficients(ratios: Mapping[str, Tensor | float], alpha: float = 0.8) -> dict[str, Tensor]:
    """What each encoder's gradient is multiplied by: more for those behind, less for those ahead.

        k_m = 1 + tanh(alpha (1 / rho_m - 1))

    The paper writes the ratio the other way up, the others' score over the modality's own: 1 / rho_m.

    Args:
        ratios: {m: rho_m}, how far m is ahead, own score over the others' (`mmlib.methods.ogm_ge.discrepancy_ratios`);
            scalars, 0 or more. alpha: strength, 0 or more.

    Returns:
        for each modality a scalar in (0, 2), which is 1 where rho_m = 1, above for rho_m < 1, below for rho_m > 1.

    Raises:
        ValueError: a strength out of range.

    >>> {m: round(k.item(), 3) for m, k in balancing_coefficients({"ahead": 2.0, "behind": 0.5, "level": 1.0}).items()}
    {'ahead': 0.62, 'behind': 1.664, 'level': 1.0}
    """
    if not 0 <= alpha < math.inf:
        raise ValueError(f"alpha: expected a strength of 0 or more, found {alpha}")
    return {m: 1 + torch.tanh(alpha * (1 / torch.as_tensor(rho).clamp(min=1e-30) - 1)) for m, rho in ratios.items()}


class MLB(OwnHeads):
    """The loss of the fused head and those of a linear head per modality, added; the gradients of the encoders balanced.

        L = CE_fused + sum_m CE_m        gradient of encoder m <- k_m * gradient,  k_m as in `balancing_coefficients`

    rho_m compares the mean probability that the heads of their own give to the true classes. For more than two modalities
    it is against the mean of the others', as in the authors' code (kkontras/MLB); a modality that no sample of the batch
    has is neither compared nor scaled. Here the heads keep their gradients; the authors' code also scales the fused head's
    weights for a modality, and can speed up one that is behind by more than 2 (``tanh_mode_beta``).

    Args:
        alpha: strength; with 0 nothing is scaled, and this is the sum of the losses alone, bit for bit.

    After every epoch the history gets ``ratio_{m}`` and ``coefficient_{m}``, means over the steps.

    Raises:
        ValueError: a strength out of range. At setup: a model with one modality.
    """

    name = "mlb"

    def __init__(self, alpha: float = 0.8) -> None:
        super().__init__()
        balancing_coefficients({}, alpha)
        self.alpha = alpha

    def setup(self, model: MultimodalClassifier, data: MultimodalData, seed: int) -> None:
        check_several(model, "MLB")
        super().setup(model, data, seed)
        self.tensors = trained_tensors(model)
        self.start_epoch(0, model, data)

    def start_epoch(self, epoch: int, model: MultimodalClassifier, data: MultimodalData) -> None:
        self.told = StepMeans(model.modalities, "ratio", "coefficient")

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: torch.optim.Optimizer) -> tuple[Tensor, Output]:
        output = self.predict(model, batch.inputs, batch.present)
        fused = F.cross_entropy(output.logits, batch.labels, self.class_weights)
        loss = torch.stack([fused, *self.own_losses(output, batch).values()]).sum()
        optimizer.zero_grad()
        loss.backward()
        scale_gradients(self.tensors, self._coefficients(model, output, batch))
        optimizer.step()
        return loss, output

    @torch.no_grad()
    def _coefficients(self, model: MultimodalClassifier, output: Output, batch: Batch) -> Tensor:
        """[M], in the order of the model."""
        there = dict(zip(model.modalities, presence(model, batch), strict=True))
        ratios = discrepancy_ratios({m: output.unimodal[m] for m in there}, batch.labels, there)
        k = torch.stack(list(balancing_coefficients(ratios, self.alpha).values()))
        self.told.add(torch.stack(list(ratios.values())), k)
        return k

    def report(self) -> dict[str, float]:
        return self.told.result()
