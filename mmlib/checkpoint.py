"""Saving and restoring a run: whole files only, loaded safely, refused when they belong to another run."""

from __future__ import annotations

import contextlib
import os
import pickle
from pathlib import Path
from typing import Any

import torch

FORMAT = 1


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read, or that belongs to another run; the message says which part differs."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` beside ``path`` first and rename it then: a reader sees the old file or the new one, never a part.

    Raises:
        OSError: the folder cannot be written to, or is full; the old file is still there.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"format": FORMAT, **state}, part)
        os.replace(part, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise OSError(f"checkpoint: cannot write {path}: {error}") from error


def load(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The state at ``path``, if it was saved by a run with this ``config``.

    Raises:
        CheckpointError: not a checkpoint of ours, damaged, or of another model, method or setting.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CheckpointError(f"checkpoint: {path} cannot be read ({reason}); remove it to start anew") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"checkpoint: {path} is not a checkpoint of mmlib.train.fit")
    saved = state["config"]
    for key in sorted({*saved, *config}):
        if saved.get(key) != config.get(key):
            here, there = _short(config.get(key)), _short(saved.get(key))
            raise CheckpointError(f"checkpoint: {path} belongs to another run: {key} is {here} here, {there} there")
    return dict(state)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else text[:157] + "..."
