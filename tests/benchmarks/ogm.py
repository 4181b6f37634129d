"""What OGM and OGM-GE cost per step, against `joint` on the same batches of `digits`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from mmlib.data import load
from mmlib.methods import OGMGE, Joint, Method
from mmlib.model import build
from mmlib.train import make_optimizer
from tests.benchmarks.timing import in_turns

KINDS: dict[str, Callable[[], Method]] = {
    "OGM": lambda: OGMGE(noise=None),
    "OGM-GE, released noise": OGMGE,
    "OGM-GE, convolutions alone": lambda: OGMGE(scale="conv"),
    "OGM-GE, covariance noise": lambda: OGMGE(noise="covariance"),
}


def steps(make: Callable[[], Method], device: str) -> Callable[[], None]:
    """Work: one epoch of steps, without the loop around them."""
    splits = load("digits", seed=0).to(device)
    model, method = build(splits, seed=0).to(device), make()
    method.setup(model, splits.train, 0)
    method.to(device)
    optimizer = make_optimizer("adam", [*model.parameters(), *method.parameters()], 1e-3)
    batches = list(splits.train.batches(64))[:-1]  # whole ones

    def work() -> None:
        method.start_epoch(0, model, splits.train)
        for batch in batches:
            method.step(model, batch, optimizer)

    return work


def measure() -> dict[str, Any]:
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    return {
        f"{kind} / joint, per step, digits, {d}": in_turns(steps(make, d), steps(Joint, d))
        for d in devices
        for kind, make in KINDS.items()
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, value in measure().items():
        print(name, value)
