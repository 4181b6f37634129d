"""What the methods share that multiply the gradients of encoders, and what they tell about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from mmlib.data.core import Batch
from mmlib.model import MultimodalClassifier


def check_several(model: MultimodalClassifier, method: str) -> None:
    """Raise ValueError for a model with one modality, where there is nothing to compare."""
    if len(model.modalities) < 2:
        raise ValueError(f"model: {method} compares modalities and needs two or more, found {', '.join(model.modalities)}")


def trained_tensors(model: MultimodalClassifier) -> dict[str, list[Tensor]]:
    """modality -> the tensors of its encoder that are trained: what counts as the modality's own parameters.

    Raises:
        ValueError: an encoder without any.
    """
    found: dict[str, list[Tensor]] = {m: [p for p in model.encoders[m].parameters() if p.requires_grad] for m in model.modalities}
    for m, tensors in found.items():
        if not tensors:
            kind = type(model.encoders[m]).__name__
            raise ValueError(f"encoders[{m!r}]: {kind} has no tensor that is trained, nothing to scale")
    return found


def presence(model: MultimodalClassifier, batch: Batch) -> Tensor:
    """Which sample has which modality, [M, B] booleans in the order of the model; a modality that was not passed, nobody."""
    masks = batch.present or {}
    return torch.stack(
        [
            masks[m] if m in masks and m in batch.inputs else torch.full_like(batch.labels, m in batch.inputs, dtype=torch.bool)
            for m in model.modalities
        ]
    )


@torch.no_grad()
def scale_gradients(tensors: Mapping[str, Iterable[Tensor]], coefficients: Tensor) -> None:
    """Multiply each modality's gradients in place by its coefficient, [M] in the order of ``tensors``."""
    for own, k in zip(tensors.values(), coefficients.unbind(), strict=True):
        gradients = [p.grad for p in own if p.grad is not None]
        if gradients:  # none where a modality was not passed at all
            torch._foreach_mul_(gradients, k)


class StepMeans:
    """Means over the steps of an epoch, of numbers that every modality has; kept on the device until they are asked for."""

    def __init__(self, modalities: Iterable[str], *names: str) -> None:
        self.columns = [f"{name}_{m}" for ms in [list(modalities)] for name in names for m in ms]
        self.seen: list[Tensor] = []

    def add(self, *values: Tensor) -> None:
        """One step: [M] for each of the names."""
        self.seen.append(torch.cat([v.detach() for v in values]))

    def result(self) -> dict[str, float]:
        """``{name}_{modality}`` -> mean over the steps."""
        return dict(zip(self.columns, torch.stack(self.seen).mean(0).tolist(), strict=True))
