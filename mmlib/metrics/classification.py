"""Measures for classes that are not equally frequent, from scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def class_scores(labels: Tensor | Sequence[Tensor], guesses: Tensor | Sequence[Tensor]) -> dict[str, float]:
    """``balanced_accuracy`` and ``macro_f1``, from 0 to 1: labels [N] and guessed classes [N], or batches of them.

    Balanced accuracy is the mean over the classes that occur among the labels of the share that is right; macro F1 the
    mean of F1 over the classes that occur among labels or guesses.
    """
    from sklearn.metrics import balanced_accuracy_score, f1_score

    true, guessed = _whole(labels), _whole(guesses)
    with warnings.catch_warnings():  # a class that only the guesses have counts in no share that is right
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        balanced = balanced_accuracy_score(true, guessed)
    return {"balanced_accuracy": float(balanced), "macro_f1": float(f1_score(true, guessed, average="macro", zero_division=0.0))}


def confusion_matrix(labels: Tensor | Sequence[Tensor], guesses: Tensor | Sequence[Tensor], num_classes: int) -> NDArray[Any]:
    """How often class i (row) was taken for class j (column): labels [N], guessed classes [N] -> counts [C, C]."""
    from sklearn.metrics import confusion_matrix as count

    counts: NDArray[Any] = count(_whole(labels), _whole(guesses), labels=np.arange(num_classes))
    return counts


def _whole(values: Tensor | Sequence[Tensor]) -> NDArray[Any]:
    whole = values if isinstance(values, Tensor) else torch.cat(list(values))
    return whole.cpu().numpy()
