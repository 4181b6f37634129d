"""What a run is: everything that must agree for a checkpoint of it to be resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmlib.data.core import MultimodalData, Splits
from mmlib.methods.base import Method
from mmlib.model import MultimodalClassifier
from mmlib.optimizers import HOW
from mmlib.remembers import Remembers


def identity(
    model: MultimodalClassifier, splits: Splits, method: Method, optimizer: torch.optim.Optimizer, **asked: Any
) -> dict[str, Any]:
    """Plain texts, numbers and dicts, alike for runs that give the same numbers, and only for those.

    Args:
        asked: further arguments of ``fit`` that decide the numbers.
    """
    defaults = {k: v for k, v in optimizer.defaults.items() if k not in HOW and isinstance(v, int | float | bool | tuple | None)}
    rates = [group["lr"] for group in optimizer.param_groups]
    return {
        "encoders": {m: told(model.encoders[m]) for m in model.modalities},
        "fusion": told(model.fusion),
        **({} if model.exchange is None else {"exchange": told(model.exchange)}),
        "method": {"class": f"{type(method).__module__}.{type(method).__qualname__}", **_options(method)},
        "model": {n: list(p.shape) for n, p in [*model.named_parameters(), *method.named_parameters()]},
        "data": {split: data_digest(data) for split, data in splits.items() if split != "test"},
        "classes": [str(name) for name in splits.classes],
        "optimizer": {"class": type(optimizer).__name__, **{k: _plain(v) for k, v in defaults.items()}},
        "groups": len(rates),
        **{k: _plain(v) for k, v in asked.items()},
    }


def data_digest(data: Any) -> str:
    """A hash of every number in data that is in memory; of streamed data, of its size and of samples across it."""
    total = hashlib.sha256(f"{len(data)} {data.num_classes} {data.shapes}".encode())
    if isinstance(data, MultimodalData):
        for name, x in [*data.inputs.items(), ("labels", data.labels), *(data.present or {}).items(), *data.groups.items()]:
            _add(total, name, x)
        return total.hexdigest()[:16]
    for i in sorted({round(k * (len(data) - 1) / 15) for k in range(16)}):
        inputs, *rest = data.dataset[i]
        for name, x in [*inputs.items(), ("label", rest[0]), *(rest[1].items() if len(rest) > 1 else ())]:
            _add(total, f"{i} {name}", torch.as_tensor(x))
    return total.hexdigest()[:16]


def _add(total: Any, name: str, x: Tensor) -> None:
    total.update(f"{name} {x.dtype} {list(x.shape)}".encode())
    total.update(x.detach().cpu().contiguous().numpy().tobytes())


def told(part: nn.Module) -> Any:
    """A module as it was asked for, where it remembers that; else its structure as torch prints it, whatever its weights."""
    if isinstance(part, Remembers):
        return {"class": type(part).__name__, **_options(part)}
    return repr(part)[:2000]


def _options(part: Remembers) -> dict[str, Any]:
    return {k: _plain(v) for k, v in part.options().items()}


def _plain(value: Any) -> Any:
    """As a checkpoint can hold it: a function by its name, as it has no other."""
    if isinstance(value, nn.Module):
        return told(value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, Sequence):
        return [_plain(v) for v in value]
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', repr(value))}"
