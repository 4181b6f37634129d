"""Gradient-Blending: the step, and whole runs with what the estimates cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmlib.data import load
from mmlib.methods import GradientBlending, Joint, Method
from mmlib.model import build
from mmlib.train import fit
from tests.benchmarks.timing import in_turns

#: a super-epoch of 5 in a run of 20, as in the book
EPOCHS = 20


def measure() -> dict[str, Any]:
    splits = load("digits", seed=0)

    def run(make: Callable[[], Method], epochs: int = 5) -> Callable[[], Any]:
        return lambda: fit(build(splits, seed=0), splits, make(), epochs=epochs, device="cpu", keep="last", progress=False)

    found: dict[str, Any] = {}
    found["Gradient-Blending, given weights / joint, digits"] = in_turns(run(lambda: GradientBlending([1, 1, 1, 1])), run(Joint))
    for holdout in ("random", "voice"):
        for mode in ("offline", "online"):
            for estimate in ("separate", "shared"):
                ours = run(lambda m=mode, e=estimate, h=holdout: GradientBlending(mode=m, estimate=e, holdout=h), EPOCHS)  # type: ignore[misc]
                name = f"Gradient-Blending, {mode}, {estimate}, hold-out {holdout} / joint, {EPOCHS} epochs of digits"
                found[name] = in_turns(ours, run(Joint, EPOCHS), turns=3)
    return found
