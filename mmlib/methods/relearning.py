"""Diagnosing and re-learning: encoders pulled back towards their start, now and then (Wei et al., ECCV 2024, 2407.09705)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmlib.data.core import MultimodalData
from mmlib.methods.blending_estimate import split_holdout
from mmlib.methods.joint import Joint
from mmlib.methods.relearning_purity import purities
from mmlib.model import MultimodalClassifier


def pull(gap: float, strength: float = 3.0) -> float:
    """How far an encoder goes back to its start: w = tanh(strength * gap), of the gap of purity; 0 for none, below 1.

    >>> round(pull(0.1), 3), pull(0.0)
    (0.291, 0.0)
    """
    return math.tanh(strength * gap)


class Relearning(Joint):
    """Joint training in which every encoder is drawn back towards where it began, the more the worse it generalises.

    Every K epochs, for each modality by itself::

        P = purity of k-means clusters of its features     (as many as classes, features scaled to -1 .. 1, one modality alone)
        g = |P(trained on) - P(held out)|                   w = tanh(strength * g)
        encoder <- (1 - w) * encoder + w * encoder at the start

    The head, and the optimiser's memory, stay as they are. The paper (and the authors' code, GeWu-Lab/
    Diagnosing_Relearning_ECCV2024) measures P on a part kept apart from the training data; here a share of the training
    data is held out for it, as Gradient-Blending does, so the control is `Joint` on the rest. Ours: running statistics
    of normalisation layers go back with the weights (there they stay), and the first return is after K epochs (there K + 1).
    For any number of modalities, one included; samples without the modality do not count.

    Args:
        every: K, in epochs. strength: 0 (nothing moves: joint training on the part, bit for bit) or more.
        times: at most so many returns.
        holdout, holdout_fraction: as in `mmlib.methods.blending_estimate.split_holdout`; their values are ours.

    After every epoch the history gets ``gap_{m}`` and ``pull_{m}`` as measured last, 0 before. A kept model is larger by the
    encoders' first weights.

    Raises:
        ValueError: an argument out of range. At setup: a hold-out that cannot be made. TypeError: data not in memory.
    """

    name = "relearning"
    start: Tensor
    gaps: Tensor
    pulls: Tensor

    def __init__(
        self,
        every: int = 20,
        strength: float = 3.0,
        times: int = 3,
        holdout: str | Sequence[str] = "random",
        holdout_fraction: float = 0.2,
    ) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"every: expected 1 epoch or more, found {every}")
        if not 0 <= strength < math.inf:
            raise ValueError(f"strength: expected 0 or more, found {strength}")
        if times < 0:
            raise ValueError(f"times: expected 0 or more, found {times}")
        if not 0 < holdout_fraction < 1:
            raise ValueError(f"holdout_fraction: expected a share between 0 and 1, found {holdout_fraction}")
        self.every, self.strength, self.times = every, strength, times
        self.holdout, self.holdout_fraction = holdout, holdout_fraction

    def make_heads(self, model: MultimodalClassifier, seed: int) -> None:
        # one flat buffer: a run that is resumed needs the start of the run that was killed
        self.register_buffer("start", torch.cat([t.detach().flatten() for m in model.modalities for t in _state(model, m)]))
        self.register_buffer("gaps", torch.zeros(len(model.modalities), device=model.device))
        self.register_buffer("pulls", torch.zeros(len(model.modalities), device=model.device))
        self.names = model.modalities

    def setup(self, model: MultimodalClassifier, data: MultimodalData, seed: int) -> None:
        if not isinstance(data, MultimodalData):
            raise TypeError(
                f"data: re-learning holds samples out and needs MultimodalData, in memory, found {type(data).__name__}"
            )
        super().setup(model, data, seed)
        self.fit_part, self.held_part = split_holdout(data, self.holdout, self.holdout_fraction, seed)

    def samples(self, epoch: int, data: MultimodalData) -> MultimodalData:
        return self.fit_part

    @torch.no_grad()
    def start_epoch(self, epoch: int, model: MultimodalClassifier, data: MultimodalData) -> None:
        if epoch == 0 or epoch % self.every or epoch // self.every > self.times:
            return
        first, second = (purities(model, part) for part in (self.fit_part, self.held_part))
        self.gaps.copy_(torch.tensor([abs(first[m] - second[m]) for m in self.names]))
        self.pulls.copy_(torch.tensor([pull(abs(first[m] - second[m]), self.strength) for m in self.names]))
        tensors = [(t, w) for m, w in zip(self.names, self.pulls.tolist(), strict=True) for t in _state(model, m)]
        for (t, w), begun in zip(tensors, self.start.split([t.numel() for t, _ in tensors]), strict=True):
            t.lerp_(begun.view_as(t).to(t.dtype), w)

    def report(self) -> dict[str, float]:
        values = [*self.gaps.tolist(), *self.pulls.tolist()]
        return dict(zip([f"{what}_{m}" for what in ("gap", "pull") for m in self.names], values, strict=True))


def _state(model: MultimodalClassifier, modality: str) -> list[Tensor]:
    """What an encoder is: its weights and running statistics."""
    encoder = model.encoders[modality]
    return [t for t in [*encoder.parameters(), *encoder.buffers()] if t.is_floating_point()]
