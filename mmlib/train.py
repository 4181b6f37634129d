"""The one training loop, and the one evaluation."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from mmlib import checkpoint as checkpoints
from mmlib.arguments import AUTOCAST, ClassWeights, Precision, check_fit, pick_device, weights_of_classes
from mmlib.data.core import MultimodalData, Splits
from mmlib.half import GradientScale
from mmlib.history import History, Meter, Row
from mmlib.identity import identity
from mmlib.methods.base import Method, Net, Recipe
from mmlib.methods.batches import check_batch_size, training_batches
from mmlib.methods.joint import Joint
from mmlib.metrics.classification import class_scores
from mmlib.model import MultimodalClassifier
from mmlib.optimizers import (
    LearningRate,
    Optimizer,
    Scheduler,
    check_learning_rate,
    make_optimizer,
    make_scheduler,
    parameter_groups,
)
from mmlib.progress import bar as progress_bar
from mmlib.randomness import derive, seeded


def evaluate(model: MultimodalClassifier, data: MultimodalData, method: Method | None = None, batch_size: int = 1024) -> Row:
    """How well a model does on ``data``, on the model's device: as the method that trained it predicts.

    Args:
        method: predict by this one instead; by default by the one of `fit`, and by the fused head of a model never trained.

    Returns:
        ``loss`` (nats) and ``accuracy`` (0 to 1) of the fused prediction; ``loss_{modality}``, ``accuracy_{modality}`` of each
        modality's own over the samples that have the modality; ``balanced_accuracy`` (the mean over the classes that occur of
        the share that is right) and ``macro_f1`` of the fused prediction (`mmlib.metrics.class_scores`).
    """
    row, labels, guesses = read(model, data, method or model.method or Joint(), batch_size)
    return row | class_scores(labels, guesses)


@torch.no_grad()
def read(
    model: MultimodalClassifier, data: MultimodalData, method: Method, batch_size: int = 1024
) -> tuple[Row, list[Tensor], list[Tensor]]:
    """Loss and accuracy of every head as a row, and labels and guessed classes of each batch [B], on the model's device."""
    training = model.training, method.training
    model.eval(), method.eval()
    meter, labels, guesses = Meter(), [], []
    for batch in data.to(model.device).batches(batch_size):
        output = method.predict(model, batch.inputs, batch.present)
        meter.add(output, batch)
        labels.append(batch.labels)
        guesses.append(output.logits.argmax(1))
    model.train(training[0]), method.train(training[1])
    return meter.result(), labels, guesses


def fit(
    model: MultimodalClassifier,
    splits: Splits,
    method: Method | None = None,
    *,
    epochs: int = 20,
    batch_size: int = 64,
    optimizer: Optimizer = "adam",
    lr: LearningRate = 1e-3,
    weight_decay: float = 0.0,
    scheduler: Scheduler = None,
    class_weights: ClassWeights = None,
    monitor: Literal["val_accuracy", "val_loss"] = "val_accuracy",
    keep: Literal["best", "last"] = "best",
    patience: int | None = None,
    train_metrics: Literal["running", "evaluated"] = "running",
    callback: Callable[[Row, MultimodalClassifier], object] | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    precision: Precision = "fp32",
    compile: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train ``model`` in place with ``method`` (naive joint training by default) on ``splits.train``.

    Every epoch ends with a look at ``splits.val``; ``splits.test`` is never touched. The same seed on the same machine
    with the same number of threads (`torch.set_num_threads`) gives the same numbers, bit for bit, also when the run was
    killed and resumed from its checkpoint. Afterwards the model is in evaluation mode and knows its method:
    `evaluate`, `mmlib.predict` and `mmlib.save` need nothing else.

    Args:
        optimizer: "adam", "adamw", "adagrad", "sgd" (momentum 0.9), or a callable that takes the parameters.
        lr: the learning rate, or one for each group of parameters: {"encoders": 1e-4, "head": 1e-3}. A modality's name
            stands for its encoder, "head" for the fusion and the heads of the method's own.
        scheduler: "cosine" (to zero over ``epochs``), or a callable that takes the optimiser; stepped once an epoch.
        class_weights: one positive weight per class, or "balanced" (N / (C * count), of the training data), in every
            cross-entropy that trains. What the history reports is not weighted.
        monitor, keep: the model ends with the weights of the epoch that was best by ``monitor``, or of the last one.
        patience: stop after this many epochs in a row without a new best.
        train_metrics: "running" averages what the model said while it learned; "evaluated" reads the training data
            once more at the end of the epoch, in evaluation mode (a third more time, comparable with validation).
        callback: called after every epoch with its row of the history and the model; training stops where it returns True.
        seed: of the order of the batches, of dropout and of the method's own parameters.
        precision: of the encoders' forward and backward passes: "fp32"; "bf16" or "fp16" under autocast. In "fp16" their
            gradients are scaled on the way, and back before any method sees them (`mmlib.half.GradientScale`).
        compile: translate the encoders by ``torch.compile``; of encoders that interact, the model.
        checkpoint: a file, written at the end of every epoch. resume: go on from it where it exists.

    Raises:
        TypeError, ValueError: an argument of another kind or out of range. FileExistsError: the checkpoint exists and
            ``resume`` is not set. CheckpointError: the checkpoint is damaged or belongs to another run: other data,
            model, method or settings. NonFiniteLossError: the loss became NaN or infinite.
    """
    method = Joint() if method is None else method
    check_fit(model, splits, method, epochs, batch_size, weight_decay, monitor, keep, patience, train_metrics, precision)
    check_learning_rate(lr, model.modalities)
    path = Path(checkpoint) if checkpoint is not None else None
    if path is not None and path.exists() and not resume:
        raise FileExistsError(f"checkpoint: {path} exists already; pass resume=True to go on from it, or name another file")
    target = pick_device(device)
    model.to(target)
    train, val = splits.train.to(target), splits.val.to(target)
    model.autocast = AUTOCAST[precision]
    if compile:
        for part in model.encoders.values() if model.exchange is None else [model]:
            part.compile()

    def new_optimizer(nets: Sequence[Net]) -> torch.optim.Optimizer:
        parameters, rate = parameter_groups(nets, lr)
        return make_optimizer(optimizer, parameters, rate, weight_decay)

    method.recipe = Recipe(epochs, batch_size, new_optimizer)
    method.class_weights = weights_of_classes(class_weights, splits.train, target)
    method.setup(model, train, seed)
    method.to(target)
    model.trained_by(method)
    model.prepare, model.classes = dict(splits.prepare), splits.classes
    check_batch_size(model, min(batch_size, len(train)))
    opt = new_optimizer([(model, method)])
    schedule = make_scheduler(scheduler, opt, epochs)
    scale = GradientScale().to(target) if precision == "fp16" else None
    model.scale_gradients(scale)
    history = History()
    best: dict[str, Any] = {}
    parts: dict[str, Any] = {"model": model, "method": method, "optimizer": opt, **({"scheduler": schedule} if schedule else {})}
    parts |= {"gradient_scale": scale} if scale is not None else {}

    config: dict[str, Any] = {}
    if path is not None:
        config = identity(
            model, splits, method, opt, lr=lr, batch_size=batch_size, seed=seed, keep=f"{keep} {monitor}", precision=precision,
            class_weights=class_weights, scheduler=scheduler, train_metrics=train_metrics,
            epochs=epochs if schedule else None,  # only where the learning rate depends on it; else a run may be prolonged
        )  # fmt: skip
        if path.exists():
            history, best = checkpoints.restore(checkpoints.load(path, config), parts, opt)
        else:  # find out now, not after the first epoch, that nothing can be written there
            checkpoints.save(path, checkpoints.state_of(parts, config, history, best))

    bar = progress_bar(epochs, len(history), method.name, "epoch", progress)
    with _in_evaluation_mode_afterwards(model, method):
        for epoch in range(len(history), epochs):
            if patience is not None and history.since_best >= patience:
                break
            began, rates = time.perf_counter(), _rates(opt)
            order = torch.Generator().manual_seed(derive(seed, "batches", epoch))
            meter = Meter()
            model.train(), method.train()
            with seeded(derive(seed, "dropout", epoch), [target]):
                method.start_epoch(epoch, model, train)
                here = method.samples(epoch, train)
                for batch in training_batches(model, here, batch_size, order):
                    _, output = method.step(model, batch, opt)
                    meter.add(output, batch)
                    if scale is not None:
                        scale.update()
            seen = meter.result("train_")
            if not all(math.isfinite(v) for v in seen.values()):
                meter.check_finite(epoch, history.rows)
            if schedule:
                schedule.step()
            if train_metrics == "evaluated":
                seen = {f"train_{k}": v for k, v in read(model, here, method)[0].items()}
            judged = {f"val_{k}": v for k, v in read(model, val, method)[0].items()}
            told = method.report()
            seconds = time.perf_counter() - began
            history.rows.append({"epoch": epoch, "seconds": seconds, **rates, **seen, **judged, **told})
            if keep == "last" or history.ends_best(monitor):
                history.best_epoch = epoch
                best = {"model": checkpoints.copied(model.state_dict()), "method": checkpoints.copied(method.state_dict())}
            if path is not None:
                checkpoints.save_or_warn(path, checkpoints.state_of(parts, config, history, best))
            bar.update()
            bar.set_postfix(val=f"{judged['val_accuracy']:.3f}", loss=f"{seen['train_loss']:.3f}")
            if callback is not None and callback(history.rows[-1], model) is True:
                break
        bar.close()
        history.stopped_early = len(history) < epochs
        for name, weights in best.items():
            parts[name].load_state_dict(weights)
    return history


def _rates(optimizer: torch.optim.Optimizer) -> Row:
    """The learning rate; with several groups that of the last one, the heads, and each group's own."""
    groups = optimizer.param_groups
    each = {f"lr_{group['name']}": group["lr"] for group in groups if "name" in group}
    return {"lr": groups[-1 if each else 0]["lr"], **each}


@contextmanager
def _in_evaluation_mode_afterwards(model: MultimodalClassifier, method: Method) -> Iterator[None]:
    """Also after an interrupt: what the model says next should not depend on the batch it is asked in."""
    try:
        yield
    finally:
        model.scale_gradients(None)
        model.eval(), method.eval()
