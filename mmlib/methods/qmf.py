"""QMF: quality-aware multimodal fusion, which weighs votes by their energy (Zhang et al., ICML 2023, 2306.02050)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlib.data.core import Batch, MultimodalData
from mmlib.methods.base import Method, masked_cross_entropy, unimodal_heads
from mmlib.methods.modulation import presence
from mmlib.methods.numbered import Numbered
from mmlib.model import MultimodalClassifier, Output


def energy_confidence(logits: Tensor, temperature: float = 10.0) -> Tensor:
    """How much a vote counts: the negative energy of its logits, w = logsumexp_c z_c / T; [..., C] -> [...].

    It can be negative, where all logits are, and is not normalised over the modalities.

    Raises:
        ValueError: a temperature that is not positive.

    >>> energy_confidence(torch.tensor([[0.0, 0.0], [20.0, 0.0]]))
    tensor([0.0693, 2.0000])
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature: expected a positive number, found {temperature}")
    return torch.logsumexp(logits, dim=-1) / temperature


def ranking_loss(confidence: Tensor, past: Tensor, known: Tensor) -> Tensor:
    """What is said against samples that were hard and are sure: the mean over pairs of neighbours in the batch of::

        max(0, sign(kappa_i - kappa_j) (w_i - w_j) + |kappa_i - kappa_j|)        (0 where kappa_i = kappa_j)

    Args:
        confidence: w [B]. past: kappa [B], the losses that the samples had so far, scaled to 0 to 1.
        known: [B] booleans; pairs with a sample that is not known do not count.

    Returns:
        a scalar; 0 where there is no pair. The gradient is that of the confidences.

    >>> ranking_loss(torch.tensor([0.5, 0.2]), torch.tensor([1.0, 0.0]), torch.tensor([True, True]))
    tensor(1.3000)
    """
    gap, pairs = past - past.roll(-1), known & known.roll(-1)
    losses = F.relu(gap.sign() * (confidence - confidence.roll(-1)) + gap.abs()) * (gap != 0)
    return (losses * pairs).sum() / pairs.sum().clamp(min=1)


class QMF(Method):
    """An ensemble of unimodal networks whose logits z_m are added by weights that are made from them, sample by sample.

        z = sum_m w_m z_m  over the modalities present,   w_m = `energy_confidence` of z_m, detached
        L = CE(z) + sum_m (CE(z_m) + rank * `ranking_loss` of w_m)

    kappa_i is the mean of a sample's own losses of a modality in the epochs before, scaled to 0 to 1 over the training
    data: a sample that was harder should count less. The model's own fusion is not used. Any number of modalities; for
    more than two the sums run over all, as the paper writes them.

    The ranking is that of Moon et al. (ICML 2020), which the paper takes over, with losses in the place of correctness. The
    authors' code (QingyangZhang/QMF) subtracts the distance of the two kappa instead of adding it, so that a harder sample may be
    surer by that much. Its two halves differ, too: rank 1 or 0.1, kappa with or without the present epoch.

    Args:
        temperature: T; the authors' code has 10.
        rank: weight of the ranking, 0 (nothing is remembered) or more. A step outside of `mmlib.train.fit` does not know
            which samples it sees, and does not rank them.

    Raises:
        ValueError: an argument out of range.
    """

    name = "qmf"
    past: Tensor

    def __init__(self, temperature: float = 10.0, rank: float = 0.1) -> None:
        super().__init__()
        energy_confidence(torch.zeros(1), temperature)
        if not 0 <= rank < math.inf:
            raise ValueError(f"rank: expected a weight of 0 or more, found {rank}")
        self.temperature, self.rank = temperature, rank
        self.numbered: Numbered | None = None
        self.register_buffer("past", torch.zeros(0), persistent=False)

    def make_heads(self, model: MultimodalClassifier, seed: int) -> None:
        self.heads = unimodal_heads(model, seed)

    def setup(self, model: MultimodalClassifier, data: MultimodalData, seed: int) -> None:
        super().setup(model, data, seed)
        # of each modality and sample: the sum of its losses so far, and how many these are
        self.past = torch.zeros(2, len(model.modalities), len(data) if self.rank else 0, device=model.device)

    def get_extra_state(self) -> Tensor:
        return self.past  # not a buffer of the state: a model that is loaded does not know the training data

    def set_extra_state(self, state: Tensor) -> None:
        self.past = state.to(self.past.device).clone()

    def samples(self, epoch: int, data: MultimodalData) -> MultimodalData:
        self.numbered = Numbered(data) if self.rank else None
        return data if self.numbered is None else self.numbered.as_data()

    def predict(
        self, model: MultimodalClassifier, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None
    ) -> Output:
        features = model.encode(inputs)
        unimodal = {m: self.heads[m](f) for m, f in features.items()}
        z = torch.stack(list(unimodal.values()))  # [M, B, C]
        there = presence(model, Batch(dict(inputs), z.new_zeros(z.shape[1]), dict(present) if present else None))  # [M, B]
        weight = energy_confidence(z, self.temperature).detach() * there
        return Output(features, unimodal, (weight[:, :, None] * z).sum(0))

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: torch.optim.Optimizer) -> tuple[Tensor, Output]:
        output = self.predict(model, batch.inputs, batch.present)
        losses = [F.cross_entropy(output.logits, batch.labels, self.class_weights)]
        there = presence(model, batch)
        losses += [
            masked_cross_entropy(u, batch.labels, None if batch.present is None and m in batch.inputs else p, self.class_weights)
            for (m, u), p in zip(output.unimodal.items(), there, strict=True)
        ]
        index = self.numbered.index if self.numbered is not None else None
        if index is not None:
            losses.append(self.rank * self._ranking(output, batch.labels, there, index))
        loss = torch.stack(losses).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, output

    def _ranking(self, output: Output, labels: Tensor, there: Tensor, index: Tensor) -> Tensor:
        """Of all modalities, by the past of the samples [B] of this batch, which then takes in their losses."""
        z = torch.stack(list(output.unimodal.values()))  # [M, B, C]
        total, count = self.past
        mean, seen = total / count.clamp(min=1), count > 0  # [M, N]
        low = mean.masked_fill(~seen, torch.inf).amin(1, keepdim=True)
        high = mean.masked_fill(~seen, -torch.inf).amax(1, keepdim=True)
        known = seen[:, index] & there  # [M, B]
        past = torch.where(known, ((mean - low) / (high - low).clamp(min=1e-12))[:, index], 0.0)
        ranks = map(ranking_loss, energy_confidence(z, self.temperature).unbind(), past.unbind(), known.unbind())
        ranking = torch.stack(list(ranks)).sum()
        with torch.no_grad():
            own = F.cross_entropy(z.flatten(0, 1), labels.repeat(len(z)), reduction="none").view(there.shape)
            self.past[0, :, index] += own * there
            self.past[1, :, index] += there
        return ranking
