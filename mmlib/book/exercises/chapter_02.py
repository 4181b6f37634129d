"""Chapter 2, naive fusion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch

from mmlib.book import results
from mmlib.book.exercises.answers import Exercise, Mistake
from mmlib.book.studies import laziness
from mmlib.data import load
from mmlib.model import build
from mmlib.train import evaluate, fit

_SAYS = torch.tensor([[0.6, 0.4], [0.05, 0.95]]).log()  # image and audio, two classes


@cache
def _joint() -> tuple[Any, Any]:
    splits = load("digits", seed=0)
    model = build(splits, seed=0)
    fit(model, splits, epochs=20, lr=3e-3, seed=0)
    return splits, model


def without(names: Sequence[str]) -> float:
    """Test accuracy of the joint network where nobody has these modalities."""
    splits, model = _joint()
    data = splits.test
    for name in names:
        data = data.drop(name, 1.0)
    return float(evaluate(model, data)["accuracy"])


def edge(noise: float) -> tuple[int, int]:
    """The numbers of voices between which joint training begins to gain on the best modality, at a noise on the image."""
    atlas = results.load("laziness_map")
    gains = {}
    for v in laziness.VOICES:
        best = atlas.best([f"image, noise {noise}", f"audio, {v} voices"])
        gains[v] = atlas.difference(f"joint, {v} voices, noise {noise}", best).mean
    signs = [(a, b) for a, b in zip(laziness.VOICES, laziness.VOICES[1:], strict=False) if gains[a] < 0 <= gains[b]]
    return signs[-1]


EXERCISES: dict[str, Any] = {
    "2.1": Exercise(
        "two probabilities: mean of probabilities, mean of logits",
        lambda: (_SAYS.exp().mean(0)[0].item(), _SAYS.mean(0).softmax(0)[0].item()),
        (
            Mistake(
                lambda: (_SAYS.exp().mean(0)[0].item(), _SAYS.sum(0).softmax(0)[0].item()),
                "The second is of the sum of the logits. UME takes their mean.",
            ),
            Mistake((0.325, 0.325), "A mean of logits is no mean of probabilities: go by way of ln p, and normalise."),
            Mistake(
                lambda: (_SAYS.exp().mean(0)[0].item(), math.sqrt(0.6 * 0.05)),
                "The second is the geometric mean, and it is not normalised yet: the two classes do not add up to 1.",
            ),
        ),
        "Whoever is sure has more to say in the mean of logits.",
        "Logits are ln p up to a constant: take their mean, and bring the two classes to a sum of 1.",
    ),
    "2.2": Exercise(
        "a factor",
        2 * (1 - 0.1) / (2 * (1 - 0.98)),
        (
            Mistake(0.98 / 0.1, "That is the ratio of the two probabilities. The gradient has one minus them."),
            Mistake(math.log(0.1) / math.log(0.98), "That is the ratio of the losses. The bound is not the sum itself."),
            Mistake(1 / 45, "Smaller by which factor: above one."),
        ),
        "Whatever an encoder has learned, its gradient is a small fraction now of what it was.",
        "Put both probabilities into the sum of the proof, and divide.",
        within=0.5,
    ),
    "2.3": Exercise(
        "an accuracy, from 0 to 1",
        lambda: without(["audio", "text"]),
        (
            Mistake(lambda: without([]), "That is the accuracy with all three modalities."),
            Mistake(lambda: without(["audio"]), "The text is still there."),
            Mistake(lambda: without(["text"]), "The audio is still there."),
            Mistake(lambda: without(["image", "audio"]), "That is what is left to somebody who can only read."),
            Mistake(lambda: without(["image", "text"]), "That is what is left to somebody who can only hear."),
        ),
        "It is what the image says inside the joint network, up to a constant.",
        "Is the rate 1, and are both modalities dropped, from the test data of seed 0?",
        within=0.02,
    ),
    "2.4": Exercise(
        "two numbers of voices, the smaller first",
        lambda: edge(0.15),
        (
            Mistake((4, 8), "There the interval comes to include zero. The sign has not changed yet."),
            Mistake((2, 4), "That is the column of another noise."),
            Mistake((16, 32), "There the interval comes to exclude zero again. The sign has changed before."),
        ),
        "Near the edge five seeds cannot tell the sign; half the width of an interval takes four times as many.",
        "Below the edge joint training is worse than the best single modality (orange), above it is not: two rows of the map.",
        within=0.4,
    ),
    "2.5": None,
}
