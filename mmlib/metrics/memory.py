"""How much memory a step of training takes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from mmlib.data.core import Batch, Splits
from mmlib.methods.base import Method
from mmlib.methods.batches import training_batches
from mmlib.model import MultimodalClassifier


def step_memory(model: MultimodalClassifier | None, method: Method, splits: Splits) -> dict[str, float]:
    """``held_bytes``, what lies in memory between two steps (weights, buffers and the optimiser's state), and ``step_bytes``,
    what one step takes on top at its peak: activations, gradients, and all else that the method makes on the way.

    A measure for `mmlib.setting.Setting(measures=...)`. It takes two more steps after training, the first so that the optimiser
    has its state; what the model says afterwards is of no use. Data does not count. On the CPU, by PyTorch's profiler, which
    counts each allocation. Of a run that diverged there is no model to ask: both are 0.

    Raises:
        ValueError: the model is not on the CPU, or the method was never fitted.
    """
    if model is None:
        return {"held_bytes": 0.0, "step_bytes": 0.0}
    if model.device.type != "cpu":
        raise ValueError(f"step_memory: expected a model on the CPU, found one on {model.device}")
    if not hasattr(method, "recipe"):
        raise ValueError("step_memory: expected a method that mmlib.fit has trained with, found one without a recipe")
    optimizer = method.recipe.make_optimizer([(model, method)])
    data = method.samples(0, splits.train.to("cpu"))
    batches: Iterator[Batch] = training_batches(model, data, method.recipe.batch_size, torch.Generator().manual_seed(0))
    first, second = islice(batches, 2)
    model.train(), method.train()
    method.step(model, first, optimizer)
    for parameter in _parameters(model, method):
        parameter.grad = None
    held: dict[int, Tensor] = {t.data_ptr(): t for t in [*_parameters(model, method), *model.buffers(), *method.buffers()]}
    held |= {t.data_ptr(): t for state in optimizer.state.values() for t in state.values() if isinstance(t, Tensor)}
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        method.step(model, second, optimizer)
    return {"held_bytes": float(sum(t.nbytes for t in held.values())), "step_bytes": float(max(_totals(watched), default=0))}


def _parameters(model: MultimodalClassifier, method: Method) -> list[torch.nn.Parameter]:
    return [*model.parameters(), *method.parameters()]


def _totals(watched: profile) -> list[int]:
    """Bytes taken since the start, after each allocation and each release, in the order of time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        watched.export_chrome_trace(str(path))
        events = json.loads(path.read_text("utf8"))["traceEvents"]
    changes = [(e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]"]
    totals, total = [], 0
    for _, change in sorted(changes, key=lambda c: c[0]):
        total += change
        totals.append(total)
    return totals
