"""Chapter 4, OGR and Gradient-Blending."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from mmlib.book.exercises.answers import Exercise, Mistake
from mmlib.data import load
from mmlib.methods import GradientBlending
from mmlib.methods.gradient_blending import blend_weights, overfitting_to_generalization
from mmlib.model import build
from mmlib.train import fit

_G, _O = torch.tensor([1.0, 0.5, 0.8]), torch.tensor([0.5, 1.0, 0.4])


@cache
def held_out(*options: tuple[str, Any]) -> dict[str, float]:
    """The weights that a hold-out leads to; they are settled before the first epoch."""
    splits = load("digits", modalities=("image", "audio"), seed=0)
    model, method = build(splits, seed=0), GradientBlending(estimate="shared", **dict(options))
    fit(model, splits, method, epochs=5, optimizer="sgd", lr=0.05, seed=0)
    return method.weights


def _both(head: str) -> tuple[float, float]:
    same = held_out(("holdout", "random"))
    new = held_out(("holdout", "voice"), ("holdout_fraction", 0.5))
    return same[head], new[head]


EXERCISES: dict[str, Any] = {
    "4.1": Exercise(
        "a number",
        lambda: overfitting_to_generalization(torch.tensor([2.3, 0.4]), torch.tensor([2.3, 1.8])).item(),
        (
            Mistake(
                1.4 / 1.9,
                "That is the growth of the gap over the fall of the training loss. Which loss does the ratio ask for?",
            ),
            Mistake(1.9 / 0.5, "That is the fall of the training loss. Overfitting is the gap between the two losses."),
            Mistake(1.4 / 1.8, "That divides by a loss. How much has it fallen?"),
            Mistake(-2.8, "The ratio is taken without its sign."),
        ),
        "For each nat learned, almost three are learned by heart: a bad buy.",
        "How much has the gap grown, and how much has the validation loss fallen?",
        within=0.01,
    ),
    "4.2": Exercise(
        "three weights",
        lambda: blend_weights(_G, _O),
        (
            Mistake(lambda: _G / _O / (_G / _O).sum(), "That is G over O. O is squared."),
            Mistake(lambda: _G / _O**2, "They are to add up to 1."),
            Mistake(lambda: 1 / _O**2 / (1 / _O**2).sum(), "That leaves out how much each head gained."),
            Mistake(lambda: _G**2 / _O**2 / (_G**2 / _O**2).sum(), "G is not squared."),
            Mistake(lambda: _G / _G.sum(), "That leaves out how much each head overfits."),
        ),
        "In other units every G / O² is divided by the same number, and so is their sum: nothing changes.",
        "G over O squared for each head, then divide by the sum of the three.",
    ),
    "4.3": Exercise(
        "a number",
        1 / (1 / 1 + 0.25 / 1),
        (
            Mistake(2 / 1.5**2, "That is what equal weights reach. The best ones are not equal."),
            Mistake(1.0, "That is the first head alone."),
            Mistake(1.25, "That is the sum: the least value is one over it."),
            Mistake(1 / 1.5, "The sum is over the squares of the gains."),
        ),
        "Less than the first head alone reaches, though the second is worse: a head never does harm at its best weight.",
        "The right side of the inequality, with two heads.",
    ),
    "4.4": Exercise(
        "two weights of the audio head: with the random hold-out, with a voice held out",
        lambda: _both("audio"),
        (
            Mistake(lambda: _both("image"), "Those are the weights of the image."),
            Mistake(lambda: _both("joint"), "Those are the weights of the joint head."),
        ),
        "With the same voices on both sides the audio seems to have understood what it has learned by heart.",
        "Seed 0 everywhere, SGD with 0.05, two modalities; method.weights['audio'] after fit.",
        within=0.01,
    ),
    "4.5": None,
}
