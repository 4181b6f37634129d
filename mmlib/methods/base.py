"""What a method is: one training step, and optionally setup, epoch start and prediction.

To add a method, write one small file: subclass `Method`, implement `step`, add the class to ``mmlib.methods.METHODS``.
The contract test (tests/test_contract.py) then checks it with one, two and three modalities, with missing ones,
with every fusion, and for resuming.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlib.data.by_modality import ByModality
from mmlib.data.core import Batch, MultimodalData
from mmlib.model import MultimodalClassifier, Output
from mmlib.randomness import derive, seeded
from mmlib.remembers import Remembers

#: networks that one optimiser trains: a model, and the module that has its heads (a method, or a dict of heads)
Net = tuple[MultimodalClassifier, nn.Module]


@dataclass(frozen=True)
class Recipe:
    """What `mmlib.train.fit` was asked for, for methods that train networks of their own on the side."""

    epochs: int
    batch_size: int
    make_optimizer: Callable[[Sequence[Net]], torch.optim.Optimizer]  #: networks -> an optimiser like that of the run


class Method(Remembers, nn.Module):
    """A way to train a `MultimodalClassifier`.

    A method is a module, so that heads and buffers of its own move to the device, are optimised with the model and
    are saved in the checkpoint. Anything else that must survive a restart goes into ``get_extra_state``.
    Hyper-parameters are constructor arguments; their docstring gives the paper's value. `options` has them.
    """

    name: ClassVar[str]
    recipe: Recipe  #: set by ``fit`` before ``setup``
    class_weights: Tensor | None = None  #: [C], set by ``fit`` before ``setup``; every cross-entropy of a step takes them

    def make_heads(self, model: MultimodalClassifier, seed: int) -> None:
        """Make heads and buffers of the method's own. Without any data, so that a kept model can be made again
        (`mmlib.keep.load_trained`); called by `setup`."""

    def setup(self, model: MultimodalClassifier, data: MultimodalData, seed: int) -> None:
        """Called once before training: check that model and data will do, make what training needs."""
        self.make_heads(model, seed)

    def start_epoch(self, epoch: int, model: MultimodalClassifier, data: MultimodalData) -> None:
        """Called at the start of every epoch (0, 1, ...), with the training data."""

    def samples(self, epoch: int, data: MultimodalData) -> MultimodalData:
        """The training data of this epoch: all, unless the method holds some out."""
        return data

    def report(self) -> dict[str, float]:
        """Numbers for the history, asked for at the end of every epoch: column -> value. No column may start with
        ``train_`` or ``val_``, and all epochs have the same ones."""
        return {}

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: torch.optim.Optimizer) -> tuple[Tensor, Output]:
        """One update of the parameters. Returns the loss (scalar) and what the model said, for the history.

        No host synchronisation here: no ``.item()``, no Python loop over samples.
        """
        raise NotImplementedError

    def predict(
        self, model: MultimodalClassifier, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None
    ) -> Output:
        """What the trained model says: fused logits (or log-probabilities) [B, C] and unimodal logits."""
        output: Output = model(inputs, present)
        return output


def masked_cross_entropy(logits: Tensor, labels: Tensor, present: Tensor | None = None, weight: Tensor | None = None) -> Tensor:
    """Mean cross-entropy in nats over the samples that are present: [B, C], [B], [B] booleans -> scalar; 0 if none is.

    Args:
        weight: [C], one per class; the mean is then weighted, as `torch.nn.functional.cross_entropy` does it.
    """
    if present is None:
        return F.cross_entropy(logits, labels, weight)
    losses = F.cross_entropy(logits, labels, weight, reduction="none")  # [B], times their weights
    if weight is None:
        return (losses * present).sum() / present.sum().clamp(min=1)
    return (losses * present).sum() / (weight[labels] * present).sum().clamp(min=torch.finfo(losses.dtype).tiny)


def unimodal_heads(model: MultimodalClassifier, seed: int) -> nn.ModuleDict:
    """A linear head per modality, on the model's device. The draw depends on the seed and the modality's name only,
    so that a modality starts from the same head whichever others are trained beside it."""
    heads = ByModality()
    for m in model.modalities:
        with seeded(derive(seed, "head", m)):
            heads[m] = model.fusion.own_head(m)
    return heads.to(model.device)
