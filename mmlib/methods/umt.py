"""UMT: unimodal teachers. Each encoder learns jointly, and to make the features that it would make on its own."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlib.data.core import Batch, MultimodalData
from mmlib.methods.base import Method, unimodal_heads
from mmlib.methods.blending_estimate import JOINT, train_aside
from mmlib.model import MultimodalClassifier, Output
from mmlib.randomness import derive


def distillation_loss(
    features: Mapping[str, Tensor], teacher: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """How far features are from the teacher's: the mean over samples and features of (f_m - t_m)^2, a scalar for each modality.

    Args:
        features, teacher: {m: [B, D_m]}. present: {m: [B]} booleans; samples without the modality do not count, and where
            no sample has it the loss is 0.

    >>> distillation_loss({"a": torch.tensor([[1.0, 2.0]])}, {"a": torch.tensor([[1.0, 5.0]])})
    {'a': tensor(4.5000)}
    """
    losses = {}
    for m, f in features.items():
        each = ((f - teacher[m]) ** 2).mean(1)  # [B]
        there = None if present is None else present.get(m)
        losses[m] = each.mean() if there is None else (each * there).sum() / there.sum().clamp(min=1)
    return losses


class UMT(Method):
    """Unimodal teachers (Du et al., ICML 2023, arXiv 2305.01233; first 2106.11059): joint training, in which the features of
    each modality also follow those of an encoder that was trained on that modality alone, and is frozen::

        L = CE(fused) + strength * sum_m MSE(f_m, t_m)

    **The teachers** are made here, before the first epoch: a copy of each encoder as it is then, with a linear head and a
    loss of its own, trained on the training data for as many epochs as the run (or ``epochs``), with its batch size and an
    optimiser like its own (without a scheduler), under a seed derived from the run's; the last epoch counts. The paper's
    student starts from other weights than its teachers; here they start alike, as an encoder that was passed in cannot be
    drawn again.
    Teachers speak in evaluation mode. They are part of checkpoints, so that a run that goes on does not train them again,
    and of kept models. Training takes about twice as long. Any number of modalities (the paper has two; the sum is the same
    for more), any fusion.

    Args:
        strength: of the features' loss, 0 or more; with 0 this is `Joint`, bit for bit, and no teacher is trained. It depends
            on the scale of the features and has to be tuned; the default is ours.
        epochs: of the teachers; by default as many as the run has. A run that is prolonged keeps the teachers it had: only
            with a number here is it the same as one that was asked for all its epochs at once.

    Raises:
        ValueError: a strength or a number of epochs out of range.
    """

    name = "umt"

    def __init__(self, strength: float = 1.0, epochs: int | None = None) -> None:
        super().__init__()
        if epochs is not None and epochs < 1:
            raise ValueError(f"epochs: expected 1 or more, found {epochs}")
        if not 0 <= strength < math.inf:
            raise ValueError(f"strength: expected a number of 0 or more, found {strength}")
        self.strength, self.epochs = strength, epochs

    def make_heads(self, model: MultimodalClassifier, seed: int) -> None:
        if self.strength:
            lone = copy.copy(model)
            lone.trained_by(None)  # the method of an earlier training is not copied along
            self.teacher = copy.deepcopy(lone).requires_grad_(False).eval()

    def setup(self, model: MultimodalClassifier, data: MultimodalData, seed: int) -> None:
        super().setup(model, data, seed)
        self._seed = seed

    def start_epoch(self, epoch: int, model: MultimodalClassifier, data: MultimodalData) -> None:
        if epoch == 0 and self.strength:
            self._train_teachers(model, data)

    def _train_teachers(self, model: MultimodalClassifier, data: MultimodalData) -> None:
        heads = unimodal_heads(self.teacher, self._seed)
        alone = {**dict.fromkeys(self.teacher.modalities, 1.0), JOINT: 0.0}
        for p, own in zip(self.teacher.parameters(), model.parameters(), strict=True):
            p.requires_grad_(own.requires_grad)  # what is frozen in the model is so in its teachers
        self.teacher.train()
        nets = [(self.teacher, heads, alone)]
        seed = derive(self._seed, "teachers")
        train_aside(nets, data, self.epochs or self.recipe.epochs, self.recipe, seed, weight=self.class_weights)
        self.teacher.zero_grad()
        self.teacher.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.strength and hasattr(self, "teacher"):
            self.teacher.eval()
        return self

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: torch.optim.Optimizer) -> tuple[Tensor, Output]:
        output: Output = model(batch.inputs, batch.present)
        loss = F.cross_entropy(output.logits, batch.labels, self.class_weights)
        if self.strength:
            with torch.no_grad():
                teacher = self.teacher.encode(batch.inputs)
            here = {m: f for m, f in output.features.items() if m in batch.inputs}
            losses = distillation_loss(here, teacher, batch.present)
            loss = loss + self.strength * torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, output
