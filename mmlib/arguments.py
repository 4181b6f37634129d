"""What `mmlib.train.fit` is asked for, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Literal

import torch
from torch import Tensor

from mmlib.data.core import MultimodalData, Splits
from mmlib.methods.base import Method
from mmlib.model import MultimodalClassifier

ClassWeights = Literal["balanced"] | Sequence[float] | None
Precision = Literal["fp32", "bf16", "fp16"]
AUTOCAST: dict[str, torch.dtype | None] = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(device: str | torch.device | None = None) -> torch.device:
    """The device asked for; without one CUDA, then Apple's MPS, then the CPU."""
    if device is not None:
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def weights_of_classes(asked: ClassWeights, data: MultimodalData, device: torch.device) -> Tensor | None:
    """[C] weights on ``device``; None where all count the same.

    Raises:
        TypeError: "balanced" for streamed data that does not know its labels. ValueError: another length than C, or a weight
            that is not positive.
    """
    if asked is None:
        return None
    if isinstance(asked, str):
        if asked != "balanced":
            raise ValueError(f"class_weights: unknown {asked!r}; known: balanced, or one positive number per class")
        labels: Tensor | None = data.labels  # None: streamed, of a dataset without the attribute
        if labels is None:
            raise TypeError("class_weights: 'balanced' needs all labels, and the streamed dataset has no attribute labels")
        counts = torch.bincount(labels.cpu(), minlength=data.num_classes).clamp(min=1)
        return (len(data) / (data.num_classes * counts)).float().to(device)
    weights = torch.as_tensor(asked, dtype=torch.float32).flatten()
    if len(weights) != data.num_classes or not bool((weights > 0).all() and weights.isfinite().all()):
        raise ValueError(f"class_weights: expected {data.num_classes} positive numbers, one per class, found {list(asked)}")
    return weights.to(device)


def check_fit(
    model: MultimodalClassifier, splits: Splits, method: Method, epochs: int, batch_size: int, weight_decay: float,
    monitor: str, keep: str, patience: int | None, train_metrics: str, precision: str,
) -> None:  # fmt: skip
    if not isinstance(method, Method):
        found = f"the class {method.__name__}" if isinstance(method, type) else repr(method)
        raise TypeError(f"method: expected a method that was made, such as mmlib.methods.MLA(), found {found}")
    for name, count in (("epochs", epochs), ("batch_size", batch_size), ("patience", 1 if patience is None else patience)):
        if isinstance(count, bool) or not isinstance(count, Integral):
            raise TypeError(f"{name}: expected a whole number of 1 or more, found {count!r}")
        if count < 1:
            raise ValueError(f"{name}: expected 1 or more, found {count}")
    if isinstance(weight_decay, bool) or not isinstance(weight_decay, Real):
        raise TypeError(f"weight_decay: expected a number of 0 or more, found {weight_decay!r}")
    if not 0 <= weight_decay < float("inf"):
        raise ValueError(f"weight_decay: expected 0 or more, found {weight_decay}")
    for name, value, known in (
        ("monitor", monitor, ("val_accuracy", "val_loss")),
        ("keep", keep, ("best", "last")),
        ("train_metrics", train_metrics, ("running", "evaluated")),
        ("precision", precision, tuple(AUTOCAST)),
    ):
        if value not in known:
            raise ValueError(f"{name}: unknown {value!r}; known: {', '.join(known)}")
    if set(model.modalities) != set(splits.modalities):
        raise ValueError(f"model: has modalities {', '.join(model.modalities)}, the data has {', '.join(splits.modalities)}")
    if model.num_classes != splits.num_classes:
        raise ValueError(f"model: has {model.num_classes} classes, the data has {splits.num_classes}")
