"""OPM: on-the-fly prediction modulation, which drops features of the leading modality (Wei et al., TPAMI 2024, 2410.11582)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlib.data.core import Batch, MultimodalData
from mmlib.methods.base import Method
from mmlib.methods.modulation import StepMeans, check_several, presence
from mmlib.methods.ogm_ge import discrepancy_ratios
from mmlib.model import MultimodalClassifier, Output
from mmlib.randomness import derive


def drop_probability(ratio: Tensor, base: float = 0.5, strength: float = 0.5) -> Tensor:
    """How likely a modality's features are dropped, by how far it is ahead.

        q = base (1 + strength tanh(rho - 1))  if rho > 1, else 0;  at most 1

    Args:
        ratio: discrepancy ratios rho (`mmlib.methods.ogm_ge.discrepancy_ratios`), any shape. base: the probability just
            above rho = 1, from 0 to 1. strength: how much it grows, 0 or more.

    Returns:
        probabilities, of the shape of ``ratio``.

    Raises:
        ValueError: a base or a strength out of range.

    >>> drop_probability(torch.tensor([0.5, 1.0, 2.0]))
    tensor([0.0000, 0.0000, 0.6904])
    """
    if not 0 <= base <= 1:
        raise ValueError(f"base: expected a probability from 0 to 1, found {base}")
    if not 0 <= strength < math.inf:
        raise ValueError(f"strength: expected 0 or more, found {strength}")
    return torch.where(ratio > 1, base * (1 + strength * torch.tanh(ratio - 1)), 0.0).clamp(max=1)


class OPM(Method):
    """Joint training in which samples lose the features of a modality that is ahead, so that the others have to do.

    In a share of the steps, with the ratios rho_m of the batch as in OGM-GE and q_m their `drop_probability`, each sample
    loses modality m with probability q_m; what is left of the features is multiplied by 1 / (1 - theta)::

        theta = sum_m D_m q_m / sum_m D_m        (D_m: size of the features)

    as in the authors' code (GeWu-Lab/BML_TPAMI2024), whose warm-up lasts one epoch longer than its number says. For more
    than two modalities "ahead" means ahead of the mean of the others, a choice of ours. What a sample loses counts as
    missing; a sample that would lose all it has loses nothing (with all modalities there, that cannot be: somebody is not
    ahead). Prediction is that of joint training.

    Args:
        base, strength: of `drop_probability`. With base 0 this is `Joint`, bit for bit.
        share: of the steps in which features are dropped, 0 to 1.
        warmup: epochs of joint training before that.

    After every epoch the history gets ``ratio_{m}``, the mean over the steps, and ``dropped_{m}``, the mean share of samples.

    Raises:
        ValueError: an argument out of range. At setup: a model with one modality.
    """

    name = "opm"

    def __init__(self, base: float = 0.5, strength: float = 0.5, share: float = 0.7, warmup: int = 5) -> None:
        super().__init__()
        drop_probability(torch.ones(1), base, strength)
        if not 0 <= share <= 1:
            raise ValueError(f"share: expected a share of the steps from 0 to 1, found {share}")
        if warmup < 0:
            raise ValueError(f"warmup: expected 0 epochs or more, found {warmup}")
        self.base, self.strength, self.share, self.warmup = base, strength, share, warmup

    def setup(self, model: MultimodalClassifier, data: MultimodalData, seed: int) -> None:
        check_several(model, "OPM")
        super().setup(model, data, seed)
        self.seed = seed
        self.start_epoch(0, model, data)

    def start_epoch(self, epoch: int, model: MultimodalClassifier, data: MultimodalData) -> None:
        self.active = epoch >= self.warmup and self.base > 0
        # drawn on the CPU: the same on every device. A new generator every epoch: the same for a run that is resumed
        self.draws = torch.Generator().manual_seed(derive(self.seed, "dropped features", epoch))
        self.told = StepMeans(model.modalities, "ratio", "dropped")

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: torch.optim.Optimizer) -> tuple[Tensor, Output]:
        output: Output = model(batch.inputs, batch.present)
        unimodal = {m: output.unimodal[m].detach() for m in model.modalities}
        there = presence(model, batch)  # [M, B]
        ratio = torch.stack(list(discrepancy_ratios(unimodal, batch.labels, dict(zip(unimodal, there, strict=True))).values()))
        dropped = torch.zeros_like(ratio)
        if self.active and torch.rand((), generator=self.draws).item() < self.share:
            kept, scale = self._kept(model, ratio, there)
            dropped = (there & ~kept).sum(1) / there.sum(1).clamp(min=1)
            masks = dict(zip(unimodal, kept[:, :, None].to(scale.dtype), strict=True))  # [B, 1]
            logits = model.fusion.fuse({m: output.features[m] * (masks[m] * scale) for m in masks}, masks)
            output = Output(output.features, output.unimodal, logits)
        self.told.add(ratio, dropped)
        loss = F.cross_entropy(output.logits, batch.labels, self.class_weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, output

    def _kept(self, model: MultimodalClassifier, ratio: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """What each sample keeps of what it has [M, B], and what the features are multiplied by, a scalar."""
        q = drop_probability(ratio, self.base, self.strength)  # [M]
        draw = torch.rand(there.shape, generator=self.draws).to(there.device, non_blocking=True)
        kept = there & (draw >= q[:, None])
        kept = torch.where(kept.any(0), kept, there)
        sizes = list(model.dims.values())
        theta = torch.stack([q_m * d for q_m, d in zip(q.unbind(), sizes, strict=True)]).sum() / sum(sizes)
        return kept, 1 / (1 - theta).clamp(min=1e-6)

    def report(self) -> dict[str, float]:
        return self.told.result()
