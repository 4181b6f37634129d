"""Chapter 9, after MLA."""

from __future__ import annotations

from typing import Any

import torch

from mmlib.book.exercises.answers import Exercise, Mistake
from mmlib.methods.agm_shapley import shapley_logits

_OF = {"": 0.2, "a": 2.0, "v": 1.4, "av": 2.6}  # one logit of one sample, by what is there


def _shapley() -> float:
    return float(shapley_logits({frozenset(s): torch.tensor([[v]]) for s, v in _OF.items()})["a"])


EXERCISES: dict[str, Any] = {
    "9.1": Exercise(
        "a number",
        _shapley,
        (
            Mistake(1.8, "That is what it adds when it comes first. It may come last."),
            Mistake(1.2, "That is what it adds when it comes last. It may come first."),
            Mistake(2.0, "That is its logit alone, which contains what the network says without any modality."),
            Mistake(1.6, "One of the two orders starts from nothing, and nothing has a logit, too."),
            Mistake(1.3, "Half of everything is no contribution of this modality."),
        ),
        "Between what it adds to nothing and what it adds to the other.",
        "Two orders: what does the audio add in each? The mean of the two.",
    ),
    "9.2": Exercise(
        "a number",
        3.1 - 0.4 - 1.2 - 0.9,
        (
            Mistake(3.1 - 1.2 - 0.9, "That leaves out what the network says without any modality."),
            Mistake(3.1 + 0.4 - 1.2 - 0.9, "F of nothing is subtracted, too."),
            Mistake((3.1 - 0.4) / 3, "They add up to this three times over, but they are not equal."),
        ),
        "Nothing is lost and nothing is counted twice.",
        "The three add up to F(all) - F(nothing).",
    ),
    "9.3": Exercise(
        "a number from 0 to 1",
        0.4,
        (
            Mistake(0.6, "That is the weight of u."),
            Mistake(0.5, "That is the middle of the two. Is it the shortest point?"),
            Mistake(4.0, "That is the numerator. Divide by the squared distance of the two."),
            Mistake(lambda: 1 / 3, "That makes the two products opposite, or the lengths equal. Which product is to be equal?"),
        ),
        "A step along that point serves both losses alike.",
        "The point is orthogonal to g - u: solve for a.",
        within=0.002,
    ),
    "9.4": Exercise(
        "three words for the encoders: (a), (b), (c)",
        ("no", "yes", "yes"),
        (
            Mistake(("no", "no", "yes"), "In an encoder two losses meet. What does the weight of one of them do to the sum?"),
            Mistake(("yes", "yes", "yes"), "(a) multiplies all of an encoder's gradient by one number, which Adam divides out."),
            Mistake(("no", "yes", "no"), "(c) The scale stands inside the softmax: is the gradient only longer?"),
            Mistake(("no", "no", "no"), "Adam divides out a common factor of a gradient. Which of these is no common factor?"),
            Mistake(("yes", "no", "yes"), "Which of the first two is a common factor of the whole gradient?"),
        ),
        "Under Adam some knobs of published methods are connected to nothing.",
        "Is the change a common factor of an encoder's whole gradient?",
        words=("yes", "no"),
    ),
    "9.5": None,
}
