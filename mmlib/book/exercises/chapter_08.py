"""Chapter 8, the modality gap."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch

from mmlib.book.exercises.answers import Exercise, Mistake
from mmlib.data import load
from mmlib.methods import MLA
from mmlib.methods.mla_fusion import fuse_by_uncertainty
from mmlib.metrics import features
from mmlib.model import build
from mmlib.train import fit


@cache
def _shared() -> tuple[Any, Any, Any]:
    splits = load("digits", modalities=("image", "audio"), seed=0)
    model, method = build(splits, seed=0), MLA()
    fit(model, splits, method, epochs=20, lr=3e-3, seed=0)
    return splits, model, method


def _moved(by: float, random: bool) -> float:
    splits, model, method = _shared()
    f = features(model, splits.test)
    way = f["audio"].mean(0) - f["image"].mean(0)
    if random:
        other = torch.randn(len(way), generator=torch.Generator().manual_seed(0))
        way = other / other.norm() * way.norm()
    there = {"image": f["image"] + by / 2 * way, "audio": f["audio"] - by / 2 * way}
    with torch.no_grad():
        said = fuse_by_uncertainty({m: method.head(x) for m, x in there.items()})[0].argmax(1)
    return float((said == splits.test.labels).float().mean())


EXERCISES: dict[str, Any] = {
    "8.1": Exercise(
        "a number from 0 to 2",
        math.sqrt(1 - 0.6**2) + math.sqrt(1 - 0.28**2),
        (
            Mistake(0.6 + 0.28, "That is the sum of the spreads. How long is the centroid of a cloud that is spread?"),
            Mistake(2.0, "That is two clouds without any spread."),
            Mistake(
                lambda: math.sqrt((1 - 0.6**2) + (1 - 0.28**2)), "That is two centroids at a right angle. Is there more room?"
            ),
            Mistake((1 - 0.6) + (1 - 0.28), "The length of the centroid is tied to the spread by squares."),
            Mistake((1 - 0.6**2) + (1 - 0.28**2), "Those are the squares of the lengths."),
        ),
        "The tighter the clouds, the larger the gap may be.",
        "How long can each centroid be, and in which directions do they point when they are farthest apart?",
        within=0.01,
    ),
    "8.2": Exercise(
        "a factor",
        math.sqrt(1 + 1.5**2 / 4),
        (
            Mistake(math.sqrt(1 + 1.5**2), "Each feature moves by half of d."),
            Mistake(1 + 0.75, "Two sides at a right angle: their squares add up."),
            Mistake(1 / 1.25, "That is what the logits were multiplied by. What undoes it?"),
            Mistake(1 + 1.5**2 / 4, "That is the square."),
        ),
        "For a cosine head a larger gap is, up to what it does along u, a smaller scale.",
        "How much longer has the feature become?",
    ),
    "8.3": Exercise(
        "a difference of two accuracies, such as -0.02",
        lambda: _moved(1.0, random=True) - _moved(1.0, random=False),
        (
            Mistake(lambda: _moved(-1.0, True) - _moved(-1.0, False), "That moves the clouds apart: by is 1."),
            Mistake(lambda: _moved(1.0, True) - _moved(0.0, False), "That compares with features that were not moved."),
            Mistake(lambda: _moved(1.0, True), "That is the accuracy itself: subtract the one along the gap."),
        ),
        "Try other random directions, and other networks, before you say anything of all directions.",
        "Random direction minus the gap's, both of the same length, by = 1, the head kept, seed 0 everywhere.",
    ),
    "8.4": None,
}
