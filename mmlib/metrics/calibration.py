"""Whether a prediction that is called 80 % sure is right 80 times in 100."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class Reliability(NamedTuple):
    """Predictions sorted into bins of equal width by their confidence, the largest probability; one entry per bin."""

    confidence: Tensor  #: [K], mean confidence; NaN in an empty bin
    accuracy: Tensor  #: [K], share that is right; NaN in an empty bin
    share: Tensor  #: [K], of all samples; adds up to 1


@torch.no_grad()
def reliability(logits: Tensor, labels: Tensor, bins: int = 15) -> Reliability:
    """What a reliability diagram shows: logits (or log-probabilities) [N, C], labels [N] -> [K] for each of K bins.

    Raises:
        ValueError: fewer than one bin, no sample, shapes that disagree, or NaN among the logits.
    """
    if bins < 1:
        raise ValueError(f"bins: expected 1 or more, found {bins}")
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or len(labels) == 0:
        found = f"{list(logits.shape)} and {list(labels.shape)}"
        raise ValueError(f"logits, labels: expected shapes [N, C] and [N] with N of 1 or more, found {found}")
    if bool(logits.isnan().any()):
        raise ValueError(f"logits: expected numbers, found NaN in {int(logits.isnan().any(1).sum())} of {len(logits)} samples")
    confidence, guess = torch.softmax(logits.double(), dim=1).max(dim=1)  # [N] each
    right = (guess == labels).double()
    row = (confidence * bins).ceil().long().clamp(1, bins) - 1  # bin k holds (k / K, (k + 1) / K]
    sums = torch.zeros(3, bins, dtype=torch.float64, device=logits.device)
    sums.index_add_(1, row, torch.stack([confidence, right, torch.ones_like(right)]))
    return Reliability(sums[0] / sums[2], sums[1] / sums[2], sums[2] / len(labels))


def expected_calibration_error(logits: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Mean distance between confidence and accuracy over the bins, weighted by their share; 0 is calibrated, 1 the worst.

    ``sum_k share_k |accuracy_k - confidence_k|`` (Guo et al., ICML 2017). Arguments and errors as in `reliability`.

    >>> expected_calibration_error(torch.tensor([[9.0, -9.0], [9.0, -9.0]]), torch.tensor([0, 1]))  # sure, half are wrong
    0.5
    """
    found = reliability(logits, labels, bins)
    gaps = (found.accuracy - found.confidence).abs() * found.share
    return round(float(gaps.nan_to_num().sum()), 6)


def calibration_by_modality(
    unimodal_logits: Mapping[str, Tensor], labels: Tensor, present: Mapping[str, Tensor] | None = None, bins: int = 15
) -> dict[str, float]:
    """`expected_calibration_error` of what each modality alone says, over the samples that have it.

    {m: [N, C]}, [N], {m: [N] booleans} -> {m: from 0 to 1}; NaN for a modality that no sample has.
    """
    errors = {}
    for m, logits in unimodal_logits.items():
        here = torch.ones_like(labels, dtype=torch.bool) if present is None or m not in present else present[m]
        errors[m] = expected_calibration_error(logits[here], labels[here], bins) if bool(here.any()) else float("nan")
    return errors
