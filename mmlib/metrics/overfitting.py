"""Overfitting, generalisation and their ratio between two checkpoints of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from mmlib.history import History, Row
from mmlib.methods.gradient_blending import growth_and_gain, overfitting_to_generalization


class Overfitting(NamedTuple):
    """What one head did between two checkpoints (Wang et al., CVPR 2020)."""

    growth: float  #: dO, how much validation loss minus training loss grew, in nats
    gain: float  #: dG, how much the validation loss fell, in nats; negative where it rose
    ratio: float  #: OGR, the size of dO / dG


def overfitting(history: History | Sequence[Row], start: int = 0, end: int = -1) -> dict[str, Overfitting]:
    """Overfitting-to-generalisation ratio of every head between the ends of two epochs.

    Training losses averaged while the network learned (the default of `mmlib.train.fit`) are those of an earlier and worse
    network; train with ``train_metrics="evaluated"`` to compare like with like.

    Args:
        history: a `History`, or its rows. start, end: two epochs; negative ones count from the end.

    Returns:
        "fused" and every modality -> `Overfitting`; the ratio is infinite where nothing was gained.

    Raises:
        IndexError: an epoch that is not there. ValueError: two epochs that are one, or in the wrong order.
    """
    rows = history.rows if isinstance(history, History) else list(history)
    for name, epoch in (("start", start), ("end", end)):
        if not -len(rows) <= epoch < len(rows):
            raise IndexError(f"{name}: expected an epoch of the {len(rows)} there are, found {epoch}")
    first, last = start % len(rows), end % len(rows)
    if first >= last:
        raise ValueError(f"start, end: expected a later end, found epochs {first} and {last}")
    heads = [key.removeprefix("val_loss") for key in rows[0] if key.startswith("val_loss")]
    train, val = (
        torch.tensor([[rows[e][f"{split}_loss{head}"] for e in (first, last)] for head in heads], dtype=torch.float64)
        for split in ("train", "val")
    )
    growth, gain = growth_and_gain(train, val)
    columns = zip(growth.tolist(), gain.tolist(), overfitting_to_generalization(train, val).tolist(), strict=True)
    return {head.removeprefix("_") or "fused": Overfitting(*found) for head, found in zip(heads, columns, strict=True)}
