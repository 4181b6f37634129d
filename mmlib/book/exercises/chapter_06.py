"""Chapter 6, MLA."""

from __future__ import annotations

from typing import Any

import torch

from mmlib.book.exercises.answers import Exercise, Mistake
from mmlib.book.resting import RestingMLA
from mmlib.book.studies.base import DIGITS
from mmlib.compare import compare
from mmlib.methods.mla_fusion import fuse_by_uncertainty
from mmlib.methods.mla_projection import project_gradient, update_projection

_VOTES = {"image": torch.tensor([[0.9, 0.1]]).log(), "audio": torch.tensor([[0.4, 0.6]]).log()}
REST = 6  #: epochs in which the audio takes its turns


def _mixed(image: float) -> float:
    return image * 0.9 + (1 - image) * 0.4


def risen(column: str = "val_loss_audio", since: int = REST - 1) -> float:
    """How much a column has grown at the end of twenty epochs of rest, since an epoch."""
    options = {"resting": "audio", "after": REST, "hgm": "off"}
    rest = DIGITS.with_("rest", method=RestingMLA, method_options=options, fit_options={"epochs": 26, "keep": "last"})
    seen = compare([rest], seeds=[0]).history.set_index("epoch")[column]
    return float(seen.iloc[-1] - seen.loc[since])


EXERCISES: dict[str, Any] = {
    "6.1": Exercise(
        "two numbers",
        lambda: project_gradient(
            torch.tensor([[3.0, 5.0]]), update_projection(torch.eye(2), torch.tensor([2.0, 0.0]), 1.0)
        ).flatten(),
        (
            Mistake((0.0, 5.0), "That is a ridge of zero: with a ridge something is left along h."),
            Mistake((1.0, 5.0), "The length of h enters by its square."),
            Mistake((2.4, 5.0), "That is what was taken away along h, not what is left."),
            Mistake((0.6, 1.0), "Across h nothing is taken away."),
            Mistake((3.0, 5.0), "Nothing was taken away: h points along the first axis."),
        ),
        "A fifth of the step is left along the one feature seen so far, all of it across.",
        "Along h the eigenvalue of P is r / (r + |h|²), across it is 1.",
        within=0.01,
    ),
    "6.2": Exercise(
        "a probability",
        lambda: fuse_by_uncertainty(_VOTES)[0][0, 0].item(),
        (
            Mistake(0.65, "That gives both the same weight. Which of the two is surer?"),
            Mistake(lambda: _mixed(1 - _image_weight()), "The weights are swapped: the surer one counts more."),
            Mistake(lambda: _mixed(_image_weight(2.0)), "The entropy is taken in nats: natural logarithms."),
        ),
        "The same side of one half as with equal weights, as you have proved.",
        "Entropy of each in nats, weights proportional to exp(-entropy), then the mean of 0.9 and 0.4 by these.",
        within=0.003,
    ),
    "6.3": Exercise(
        "a difference of two losses, in nats",
        risen,
        (
            Mistake(lambda: risen(since=0), "That counts from the first epoch. The rest begins later."),
            Mistake(lambda: risen("val_accuracy_audio"), "That is the accuracy. It may stand still while the loss does not."),
            Mistake(lambda: risen("val_loss"), "That is the loss of the whole network. The audio's own is asked for."),
        ),
        "Its encoder has stood still: whatever rose came from the shared head.",
        "Column val_loss_audio: the last epoch minus the last one before the rest, seed 0, 26 epochs, hgm off.",
        within=0.01,
    ),
    "6.4": Exercise(
        "two weights",
        (1.0, 1.0),
        (
            Mistake((0.5, 0.5), "The two do not share anything: the softmax runs over the samples, of each modality by itself."),
            Mistake(
                lambda: torch.softmax(torch.tensor([-0.3, -0.6]), 0), "That is a softmax over the modalities, as in the paper."
            ),
            Mistake((0.0, 0.0), "A softmax over one number is not zero."),
        ),
        "Alone in its batch, a sample has lost its uncertainty: what is predicted depends on who else is there.",
        "What is the softmax of a single number?",
    ),
    "6.5": None,
}


def _image_weight(base: float | None = None) -> float:
    """The image's weight in 6.2; with entropies in another unit, if ``base`` is one."""
    entropy = torch.stack([torch.special.entr(torch.softmax(v, 1)).sum() for v in _VOTES.values()])
    unit = torch.log(torch.tensor(base)) if base else 1.0
    return float(torch.softmax(-entropy / unit, 0)[0])
