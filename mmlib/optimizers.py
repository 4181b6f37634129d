"""Optimisers and learning-rate schedules, by name or of one's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from mmlib.methods.base import Net

Optimizer = str | Callable[[Iterable[Any]], torch.optim.Optimizer]
Scheduler = str | Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler] | None
#: one for everything, or by name: "encoders", the name of a modality, "head" (fusion, and heads of the method's own)
LearningRate = float | Mapping[str, float]
#: how an optimiser computes, not what: another on each device, and a run may be resumed on another device
HOW = ("fused", "foreach", "capturable")
NAMES = ("adam", "adamw", "adagrad", "sgd")


def make_optimizer(
    optimizer: Optimizer, parameters: Sequence[Tensor] | Sequence[dict[str, Any]], lr: float, weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """ "adam", "adamw", "adagrad", "sgd" with momentum 0.9, or ``optimizer(parameters)``.

    Args:
        parameters: tensors, or groups of them as `parameter_groups` makes them.

    Raises:
        ValueError: an unknown name.
    """
    if callable(optimizer):
        return optimizer(parameters)
    groups: Any = list(parameters)
    tensors: list[Tensor] = [p for g in groups for p in (g["params"] if isinstance(g, dict) else [g])]
    fused = True if tensors[0].device.type in ("cpu", "cuda") else None  # one kernel for all tensors: a quarter of the time
    if optimizer == "adam":
        return torch.optim.Adam(groups, lr=lr, weight_decay=weight_decay, fused=fused)
    if optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay, fused=fused)
    if optimizer == "adagrad":
        return torch.optim.Adagrad(groups, lr=lr, weight_decay=weight_decay, fused=tensors[0].is_cpu or None)
    if optimizer == "sgd":
        sgd = torch.optim.SGD(groups, lr=lr, momentum=0.9, weight_decay=weight_decay, fused=fused)
        for p in tensors:  # zeros change nothing, but the fused kernel fails where some have a momentum and others none yet
            sgd.state[p]["momentum_buffer"] = torch.zeros_like(p)
        return sgd
    raise ValueError(f"optimizer: unknown {optimizer!r}; known: {', '.join(NAMES)}, or a callable that takes the parameters")


def check_learning_rate(lr: object, modalities: Sequence[str]) -> None:
    """Raise TypeError or ValueError unless ``lr`` is one positive number, or one for each name of a group that there is."""
    if isinstance(lr, Mapping):
        known = ("encoders", "head", *modalities)
        for name in lr:
            if name not in known:
                raise ValueError(f"lr: unknown group {name!r}; known: {', '.join(known)}")
        lacking = [m for m in modalities if m not in lr and "encoders" not in lr] + ["head"] * ("head" not in lr)
        if lacking:
            raise ValueError(f"lr: no learning rate for {', '.join(lacking)}; name them, or 'encoders' for all encoders")
    for name, value in lr.items() if isinstance(lr, Mapping) else [("lr", lr)]:
        what = name if name == "lr" else f"lr[{name!r}]"
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{what}: expected a positive number, found {value!r}")
        if not 0 < float(value) < math.inf:
            raise ValueError(f"{what}: expected a positive learning rate, found {value}")


def parameter_groups(nets: Sequence[Net], lr: LearningRate) -> tuple[list[Any], float]:
    """What an optimiser of these networks takes, and its default learning rate: all tensors where there is one rate,
    else a group for each modality's encoder and one for the heads, called ``name``."""
    if not isinstance(lr, Mapping):
        return [p for model, heads in nets for p in [*model.parameters(), *heads.parameters()]], float(lr)
    groups: dict[str, list[Tensor]] = {}
    for model, heads in nets:
        for m in model.modalities:
            groups.setdefault(m, []).extend(model.encoders[m].parameters())
        shared = [] if model.exchange is None else model.exchange.parameters()
        groups.setdefault("head", []).extend([*model.fusion.parameters(), *shared, *heads.parameters()])
    rates = {name: float(lr[name] if name in lr else lr["encoders"]) for name in groups}
    return [{"params": tensors, "lr": rates[name], "name": name} for name, tensors in groups.items() if tensors], rates["head"]


def make_scheduler(
    scheduler: Scheduler, optimizer: torch.optim.Optimizer, epochs: int
) -> torch.optim.lr_scheduler.LRScheduler | None:
    """None, "cosine", or ``scheduler(optimizer)``.

    Raises:
        ValueError: an unknown name.
    """
    if scheduler is None or callable(scheduler):
        return scheduler(optimizer) if scheduler is not None else None
    if scheduler == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    raise ValueError(f"scheduler: unknown {scheduler!r}; known: cosine, or a callable that takes the optimiser")
