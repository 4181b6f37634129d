"""Data Remixing: each sample keeps its weakest modality, each batch has one modality (Ma et al., ICML 2025, 2506.11550)."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlib.data.core import Batch, MultimodalData
from mmlib.methods.mla_fusion import predictive_entropy
from mmlib.methods.modulation import check_several, presence
from mmlib.methods.own_heads import OwnHeads
from mmlib.methods.remix_data import Remixed
from mmlib.model import MultimodalClassifier, Output

SCORED_AT_ONCE = 1024  #: samples


def separability(logits: Tensor) -> Tensor:
    """How far a prediction is from knowing nothing: KL(p || uniform) = ln C - entropy of p = softmax(logits), in nats;
    [..., C] -> [...], from 0 to ln C.

    >>> separability(torch.tensor([[0.0, 0.0], [1000.0, 0.0]]))
    tensor([0.0000, 0.6931])
    """
    return math.log(logits.shape[-1]) - predictive_entropy(logits)


class Remix(OwnHeads):
    """Training in which, after a warm-up, a sample is seen through one modality in every epoch: the one that says least.

        warm-up:     L = CE_fused + unimodal * sum_m CE_m,  all modalities
        afterwards:  L = CE_fused + gamma * CE_m,           batches of samples that keep m, the features of the others zero

    Before every epoch a sample keeps the modality whose own head is closest to the uniform distribution (`separability`), so
    that modalities which lag behind get more samples. The order of the epoch: all batches of the first modality, then of the
    next. Followed is the authors' code (MatthewMaxy/Remix_ICML2025); of the paper no more than abstract and summaries were at
    hand. For any number of modalities; a sample keeps one of those that it has. Prediction is that of the fused head.

    Args:
        warmup: epochs with all modalities; the authors' code has 10 of 60. As long as the run, and with unimodal 1, this
            is the sum of all losses, bit for bit.
        unimodal, gamma: weights of the modalities' own losses, 0 or more.

    After every epoch the history gets ``kept_{m}``, the share of the samples that kept m.

    Raises:
        ValueError: an argument out of range. At setup: a model with one modality.
    """

    name = "remix"

    def __init__(self, warmup: int = 10, unimodal: float = 0.5, gamma: float = 1.0) -> None:
        super().__init__()
        if warmup < 0:
            raise ValueError(f"warmup: expected 0 epochs or more, found {warmup}")
        for name, weight in (("unimodal", unimodal), ("gamma", gamma)):
            if not 0 <= weight < math.inf:
                raise ValueError(f"{name}: expected a weight of 0 or more, found {weight}")
        self.warmup, self.unimodal, self.gamma = warmup, unimodal, gamma

    def setup(self, model: MultimodalClassifier, data: MultimodalData, seed: int) -> None:
        check_several(model, "Data Remixing")
        super().setup(model, data, seed)
        self.remixed: Remixed | None = None
        self.shares = dict.fromkeys(model.modalities, 1.0)

    def start_epoch(self, epoch: int, model: MultimodalClassifier, data: MultimodalData) -> None:
        self.remixed = None
        self.shares = dict.fromkeys(model.modalities, 1.0)
        if epoch >= self.warmup:
            kept = self.weakest(model, data)
            self.remixed = Remixed(data, kept, model.modalities)
            self.shares = {m: (kept == i).float().mean().item() for i, m in enumerate(model.modalities)}

    def samples(self, epoch: int, data: MultimodalData) -> MultimodalData:
        return data if self.remixed is None else cast(MultimodalData, self.remixed)

    @torch.no_grad()
    def weakest(self, model: MultimodalClassifier, data: MultimodalData) -> Tensor:
        """Which of its modalities each sample keeps: positions in the order of the model, [N] on the CPU."""
        training = model.training, self.training
        model.eval(), self.eval()
        found = []
        for batch in data.batches(SCORED_AT_ONCE):
            z = torch.stack(list(self.predict(model, batch.inputs, batch.present).unimodal.values()))  # [M, B, C]
            found.append(separability(z).masked_fill(~presence(model, batch), torch.inf).argmin(0))
        model.train(training[0]), self.train(training[1])
        return torch.cat(found).cpu()

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: torch.optim.Optimizer) -> tuple[Tensor, Output]:
        output = self.predict(model, batch.inputs, batch.present)
        fused = F.cross_entropy(output.logits, batch.labels, self.class_weights)
        own, kept = self.own_losses(output, batch), self.remixed.modality if self.remixed is not None else None
        beside = self.unimodal * torch.stack(list(own.values())).sum() if kept is None else self.gamma * own[kept]
        loss = fused + beside
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, output

    def report(self) -> dict[str, float]:
        return {f"kept_{m}": share for m, share in self.shares.items()}
