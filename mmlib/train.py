"""The one training loop, and the one evaluation."""

from __future__ import annotations

import copy
import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from mmlib import checkpoint as checkpoints
from mmlib.data.core import MultimodalData, Splits
from mmlib.history import History, Meter, Row
from mmlib.methods.base import Method, Recipe
from mmlib.methods.joint import Joint
from mmlib.model import MultimodalClassifier
from mmlib.progress import bar as progress_bar
from mmlib.randomness import derive, seeded

Optimizer = str | Callable[[Iterable[Tensor]], torch.optim.Optimizer]
Scheduler = str | Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler] | None
#: how an optimiser computes, not what: another on each device, and a run may be resumed on another device
HOW = ("fused", "foreach", "capturable")


def pick_device(device: str | torch.device | None = None) -> torch.device:
    """The device asked for; without one CUDA, then Apple's MPS, then the CPU."""
    if device is not None:
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@torch.no_grad()
def evaluate(model: MultimodalClassifier, data: MultimodalData, method: Method | None = None, batch_size: int = 1024) -> Row:
    """Loss (nats) and accuracy (0 to 1) of the fused prediction and of each modality's own, on the model's device.

    Returns:
        ``loss``, ``accuracy``, and ``loss_{modality}``, ``accuracy_{modality}`` over the samples that have the modality.
    """
    method = method or Joint()
    training = model.training
    model.eval(), method.eval()
    meter = Meter()
    for batch in data.to(model.device).batches(batch_size):
        meter.add(method.predict(model, batch.inputs, batch.present), batch)
    model.train(training), method.train(training)
    return meter.result()


def fit(
    model: MultimodalClassifier,
    splits: Splits,
    method: Method | None = None,
    *,
    epochs: int = 20,
    batch_size: int = 64,
    optimizer: Optimizer = "adam",
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    scheduler: Scheduler = None,
    monitor: Literal["val_accuracy", "val_loss"] = "val_accuracy",
    keep: Literal["best", "last"] = "best",
    patience: int | None = None,
    train_metrics: Literal["running", "evaluated"] = "running",
    seed: int = 0,
    device: str | torch.device | None = None,
    bf16: bool = False,
    compile: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train ``model`` in place with ``method`` (naive joint training by default) on ``splits.train``.

    Every epoch ends with a look at ``splits.val``; ``splits.test`` is never touched. The same seed on the same machine
    gives the same numbers, bit for bit, also when the run was killed and resumed from its checkpoint.

    Args:
        optimizer: "adam", "adamw", "adagrad", "sgd" (momentum 0.9), or a callable that takes the parameters.
        scheduler: "cosine" (to zero over ``epochs``), or a callable that takes the optimiser; stepped once an epoch.
        monitor, keep: the model ends with the weights of the epoch that was best by ``monitor``, or of the last one.
        patience: stop after this many epochs in a row without a new best.
        train_metrics: "running" averages what the model said while it learned; "evaluated" reads the training data
            once more at the end of the epoch, in evaluation mode (a third more time, comparable with validation).
        seed: of the order of the batches, of dropout and of the method's own parameters.
        bf16: forward passes under autocast in bfloat16. compile: ``torch.compile`` the model.
        checkpoint: a file, written at the end of every epoch. resume: go on from it where it exists.

    Raises:
        ValueError: an argument out of range. FileExistsError: the checkpoint exists and ``resume`` is not set.
        CheckpointError: the checkpoint belongs to another run. NonFiniteLossError: the loss became NaN or infinite.
    """
    method = method or Joint()
    _check(model, splits, epochs, batch_size, lr, weight_decay, monitor, keep, patience, train_metrics)
    target = pick_device(device)
    model.to(target)
    train, val = splits.train.to(target), splits.val.to(target)
    model.autocast = torch.bfloat16 if bf16 else None
    if compile:
        model.compile()
    method.recipe = Recipe(epochs, batch_size, lambda parameters: make_optimizer(optimizer, parameters, lr, weight_decay))
    method.setup(model, train, seed)
    method.to(target)
    opt = make_optimizer(optimizer, [*model.parameters(), *method.parameters()], lr, weight_decay)
    schedule = make_scheduler(scheduler, opt, epochs)
    history, best = History(), {}
    parts: dict[str, Any] = {"model": model, "method": method, "optimizer": opt, **({"scheduler": schedule} if schedule else {})}

    path = Path(checkpoint) if checkpoint is not None else None
    config = _config(model, splits, method, opt, batch_size, seed, f"{keep} {monitor}", epochs if schedule else None)
    if path is not None and path.exists():
        if not resume:
            raise FileExistsError(f"checkpoint: {path} exists already; pass resume=True to go on from it, or name another file")
        state = checkpoints.load(path, config)
        for saved, group in zip(state["optimizer"]["param_groups"], opt.param_groups, strict=False):
            saved.update({k: group[k] for k in HOW if k in group})
        for name, part in parts.items():
            part.load_state_dict(state[name])
        history, best = History(**state["history"]), state["best"]
    elif path is not None:  # find out now, not after the first epoch, that nothing can be written there
        checkpoints.save(path, _state(parts, config, history, best))

    bar = progress_bar(epochs, len(history), method.name, "epoch", progress)
    for epoch in range(len(history), epochs):
        if _out_of_patience(history, patience):
            break
        began, lr_now = time.perf_counter(), opt.param_groups[0]["lr"]
        order = torch.Generator().manual_seed(derive(seed, "batches", epoch))
        meter = Meter()
        model.train(), method.train()
        with seeded(derive(seed, "dropout", epoch), [target]):
            method.start_epoch(epoch, model, train)
            here = method.samples(epoch, train)
            for batch in here.batches(batch_size, order):
                _, output = method.step(model, batch, opt)
                meter.add(output, batch)
        seen = meter.result("train_")
        if not all(math.isfinite(v) for v in seen.values()):
            meter.check_finite(epoch, history.rows)
        if schedule:
            schedule.step()
        if train_metrics == "evaluated":
            seen = {f"train_{k}": v for k, v in evaluate(model, here, method).items()}
        judged = {f"val_{k}": v for k, v in evaluate(model, val, method).items()}
        told = method.report()
        history.rows.append({"epoch": epoch, "seconds": time.perf_counter() - began, "lr": lr_now, **seen, **judged, **told})
        if keep == "last" or _is_best(history, monitor):
            history.best_epoch = epoch
            best = {"model": _copied(model.state_dict()), "method": _copied(method.state_dict())}
        if path is not None:
            _save_or_warn(path, _state(parts, config, history, best))
        bar.update()
        bar.set_postfix(val=f"{judged['val_accuracy']:.3f}", loss=f"{seen['train_loss']:.3f}")
    bar.close()
    history.stopped_early = len(history) < epochs
    if best:
        model.load_state_dict(best["model"])
        method.load_state_dict(best["method"])
    return history


def make_optimizer(optimizer: Optimizer, parameters: list[Tensor], lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
    """ "adam", "adamw", "adagrad", "sgd" with momentum 0.9, or ``optimizer(parameters)``."""
    if callable(optimizer):
        return optimizer(parameters)
    fused = True if parameters[0].device.type in ("cpu", "cuda") else None  # one kernel for all tensors: a quarter of the time
    if optimizer == "adam":
        return torch.optim.Adam(parameters, lr=lr, weight_decay=weight_decay, fused=fused)
    if optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, fused=fused)
    if optimizer == "adagrad":
        return torch.optim.Adagrad(parameters, lr=lr, weight_decay=weight_decay, fused=parameters[0].is_cpu or None)
    if optimizer == "sgd":
        sgd = torch.optim.SGD(parameters, lr=lr, momentum=0.9, weight_decay=weight_decay, fused=fused)
        for p in parameters:  # zeros change nothing, but the fused kernel fails where some have a momentum and others none yet
            sgd.state[p]["momentum_buffer"] = torch.zeros_like(p)
        return sgd
    raise ValueError(
        f"optimizer: unknown {optimizer!r}; known: adam, adamw, adagrad, sgd, or a callable that takes the parameters"
    )


def make_scheduler(
    scheduler: Scheduler, optimizer: torch.optim.Optimizer, epochs: int
) -> torch.optim.lr_scheduler.LRScheduler | None:
    """None, "cosine", or ``scheduler(optimizer)``."""
    if scheduler is None or callable(scheduler):
        return scheduler(optimizer) if scheduler is not None else None
    if scheduler == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    raise ValueError(f"scheduler: unknown {scheduler!r}; known: cosine, or a callable that takes the optimiser")


def _check(
    model: MultimodalClassifier, splits: Splits, epochs: int, batch_size: int, lr: float, weight_decay: float,
    monitor: str, keep: str, patience: int | None, train_metrics: str,
) -> None:  # fmt: skip
    for name, count in (("epochs", epochs), ("batch_size", batch_size), ("patience", 1 if patience is None else patience)):
        if count < 1:
            raise ValueError(f"{name}: expected 1 or more, found {count}")
    if not 0 < lr < float("inf"):
        raise ValueError(f"lr: expected a positive learning rate, found {lr}")
    if not 0 <= weight_decay < float("inf"):
        raise ValueError(f"weight_decay: expected 0 or more, found {weight_decay}")
    for name, value, known in (
        ("monitor", monitor, ("val_accuracy", "val_loss")),
        ("keep", keep, ("best", "last")),
        ("train_metrics", train_metrics, ("running", "evaluated")),
    ):
        if value not in known:
            raise ValueError(f"{name}: unknown {value!r}; known: {', '.join(known)}")
    if set(model.modalities) != set(splits.modalities):
        raise ValueError(f"model: has modalities {', '.join(model.modalities)}, the data has {', '.join(splits.modalities)}")
    if model.num_classes != splits.num_classes:
        raise ValueError(f"model: has {model.num_classes} classes, the data has {splits.num_classes}")


def _is_best(history: History, monitor: str) -> bool:
    """Whether the last row is better than all before; the earlier one wins a tie."""
    sign = -1.0 if monitor == "val_loss" else 1.0
    scores = [sign * row[monitor] for row in history.rows]
    return len(scores) == 1 or scores[-1] > max(scores[:-1])


def _out_of_patience(history: History, patience: int | None) -> bool:
    return patience is not None and len(history) - 1 - history.best_epoch >= patience


def _config(
    model: MultimodalClassifier, splits: Splits, method: Method, optimizer: torch.optim.Optimizer, batch_size: int, seed: int,
    keep: str, epochs: int | None,
) -> dict[str, Any]:  # fmt: skip
    """What must agree for a checkpoint to be resumed."""
    group = {k: v for k, v in optimizer.defaults.items() if k not in HOW and isinstance(v, int | float | bool | tuple | None)}
    return {
        "model": {n: list(p.shape) for n, p in model.named_parameters()},
        "method": {"name": method.name, **{n: list(p.shape) for n, p in method.named_parameters()}},
        "data": {"samples": len(splits.train), **{m: list(s) for m, s in splits.train.shapes.items()}},
        "optimizer": {"class": type(optimizer).__name__, **{k: list(v) if isinstance(v, tuple) else v for k, v in group.items()}},
        "batch_size": batch_size,
        "seed": seed,
        "keep": keep,
        "epochs": epochs,  # only where the learning rate depends on it; otherwise a run may be prolonged
    }


def _copied(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state that training on does not change; for tensors alone far quicker than `copy.deepcopy`."""
    return {k: v.clone() if isinstance(v, Tensor) else copy.deepcopy(v) for k, v in state.items()}


def _state(parts: dict[str, Any], config: dict[str, Any], history: History, best: dict[str, Any]) -> dict[str, Any]:
    saved = {name: part.state_dict() for name, part in parts.items()}
    return {"config": config, "history": {"rows": history.rows, "best_epoch": history.best_epoch}, "best": best, **saved}


def _save_or_warn(path: Path, state: dict[str, Any]) -> None:
    try:
        checkpoints.save(path, state)
    except OSError as error:  # a full disk should not end hours of training; the last whole checkpoint is still there
        warnings.warn(f"{error}; training goes on, the checkpoint is one epoch older", stacklevel=3)
