"""Two pieces of work timed in turns, so that a busy machine is busy for both."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

TURNS = 9


def seconds(work: Callable[[], Any]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def in_turns(ours: Callable[[], Any], theirs: Callable[[], Any], turns: int = TURNS) -> dict[str, float]:
    """The median of the ratios ours / theirs over the turns, and the lowest and highest."""
    ours(), theirs()  # warm up
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(turns)]
    ratios = sorted(a / b for a, b in pairs)
    return {"ratio": round(median(ratios), 3), "lowest": round(ratios[0], 3), "highest": round(ratios[-1], 3)}
