"""Saving and restoring a run: whole files only, loaded safely, refused when damaged or of another run."""

from __future__ import annotations

import contextlib
import copy
import io
import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmlib.history import History
from mmlib.optimizers import HOW

FORMAT = 2


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read, or that belongs to another run; the message says which part differs."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` beside ``path`` first and rename it then: a reader sees the old file or the new one, never a part.

    Raises:
        OSError: the folder cannot be written to, or is full; the old file is still there.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized() and torch.distributed.get_rank():
        return  # several processes train one model (`mmlib.distributed`), and the first one writes
    whole = io.BytesIO()  # torch has no clear word for a disk that is full
    torch.save({"format": FORMAT, **state}, whole)
    write_whole(path, whole.getbuffer(), "checkpoint")


def write_whole(path: Path, content: bytes | memoryview, what: str) -> None:
    """Write ``path`` whole or not at all.

    The file beside it, ``path`` with ".part", is taken over where a killed process has left it.

    Raises:
        OSError: the message begins with ``what`` and names the file; what was at ``path`` is still there.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise OSError(f"{what}: cannot write {path}: {error.strerror or error}") from error


def load(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The state at ``path``, if it was saved by a run with this ``config``.

    Raises:
        CheckpointError: not a checkpoint of ours, damaged, or of another model, method, data set or setting.
    """
    try:
        with zipfile.ZipFile(path) as file:  # torch does not look at the sums that the format has for every part
            damaged = file.testzip()
        if damaged is not None:
            raise CheckpointError(f"checkpoint: {path} is damaged (in {damaged}); remove it to start anew")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError, zipfile.BadZipFile, KeyError) as error:
        if isinstance(error, CheckpointError):
            raise
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CheckpointError(f"checkpoint: {path} cannot be read ({reason}); remove it to start anew") from None
    if not isinstance(state, dict) or not isinstance(state.get("format"), int):
        raise CheckpointError(f"checkpoint: {path} is not a checkpoint of mmlib.train.fit")
    if state["format"] != FORMAT:
        raise CheckpointError(
            f"checkpoint: {path} has format {state['format']}, of another version of mmlib; this one reads {FORMAT}"
        )
    parts = ("config", "history", "best", "model", "method", "optimizer")
    lacking = [part for part in parts if not isinstance(state.get(part), dict)]
    if lacking:
        raise CheckpointError(f"checkpoint: {path} is not a checkpoint of mmlib.train.fit: it has no {lacking[0]}")
    if state["config"] != config:
        where, here, there = _difference("", config, state["config"])
        raise CheckpointError(f"checkpoint: {path} belongs to another run: {where} is {_short(here)} here, {_short(there)} there")
    return dict(state)


def copied(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state that training on does not change; for tensors alone far quicker than `copy.deepcopy`."""
    return {k: v.clone() if isinstance(v, Tensor) else copy.deepcopy(v) for k, v in state.items()}


def state_of(parts: dict[str, Any], config: dict[str, Any], history: History, best: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint holds."""
    saved = {name: part.state_dict() for name, part in parts.items()}
    told = {"rows": history.rows, "best_epoch": history.best_epoch}
    return {"config": config, "history": told, "best": best, "threads": torch.get_num_threads(), **saved}


def restore(state: dict[str, Any], parts: dict[str, Any], optimizer: torch.optim.Optimizer) -> tuple[History, dict[str, Any]]:
    """Put a checkpoint's state into the parts of a run; its history, and the best weights so far."""
    if state.get("threads") != torch.get_num_threads():
        warnings.warn(
            f"resume: begun with {state.get('threads')} threads, going on with {torch.get_num_threads()}: the last bits of the "
            "numbers may differ from those of a run without a break (torch.set_num_threads)",
            stacklevel=3,
        )
    for saved, group in zip(state["optimizer"]["param_groups"], optimizer.param_groups, strict=False):
        saved.update({k: group[k] for k in HOW if k in group})
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return History(**state["history"]), state["best"]


def save_or_warn(path: Path, state: dict[str, Any]) -> None:
    """`save`; a full disk should not end hours of training, and the last whole checkpoint is still there."""
    try:
        save(path, state)
    except OSError as error:
        warnings.warn(f"{error}; training goes on, the checkpoint is one epoch older", stacklevel=3)


def _difference(where: str, here: Any, there: Any) -> tuple[str, Any, Any]:
    """The first place at which two nested dicts differ, as "encoders.image.dim", and what is there."""
    if isinstance(here, dict) and isinstance(there, dict):
        key = next(k for k in {**here, **there} if k not in here or k not in there or here[k] != there[k])
        return _difference(f"{where}.{key}".lstrip("."), here.get(key), there.get(key))
    return where, here, there


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else text[:157] + "..."
