"""Data in which modalities are missing at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, overload

import torch

from mmlib.data.catalogue import load
from mmlib.data.checks import check_splits
from mmlib.data.core import MultimodalData, Splits


@overload
def lose(data: MultimodalData, rate: float, seed: int = 0) -> MultimodalData: ...
@overload
def lose(data: Splits, rate: float, seed: int = 0) -> Splits: ...
def lose(data: MultimodalData | Splits, rate: float, seed: int = 0) -> MultimodalData | Splits:
    """A copy in which every sample loses each of its modalities with probability ``rate`` (0 to 1), independently.

    A sample that would lose all keeps one, drawn at random. So a little less is missing than ``rate`` says: with M
    modalities the expected share is rate - rate^M / M, and never more than 1 - 1 / M. `MultimodalData.drop` removes one
    modality, and an exact share of it. Of `Splits`, each split loses by a draw of its own.

    Raises:
        TypeError: neither data nor splits. ValueError: a rate outside 0 to 1.
    """
    if isinstance(data, Splits):
        parts: dict[str, Any] = {s: lose(d, rate, 3 * seed + i) for i, (s, d) in enumerate(data.items())}
        return replace(data, **parts)
    if not isinstance(data, MultimodalData):
        raise TypeError(f"data: expected MultimodalData or Splits, in memory, found {type(data).__name__}")
    if not 0 <= rate <= 1:
        raise ValueError(f"rate: expected a share from 0 to 1, found {rate}")
    generator = torch.Generator().manual_seed(seed)
    shape = len(data.modalities), len(data)
    there = torch.ones(shape, dtype=torch.bool)  # [M, N]
    if data.present is not None:
        there = torch.stack([data.present[m].cpu() for m in data.modalities])
    stays = there & (torch.rand(shape, generator=generator) >= rate)
    drawn = torch.rand(shape, generator=generator).masked_fill(~there, -1.0).argmax(0)  # [N], one that the sample has
    stays[drawn, torch.arange(len(data))] |= ~stays.any(0)
    return replace(data, present={m: row.to(data.device) for m, row in zip(data.modalities, stays, strict=True)})


def incomplete(
    seed: int,
    name: str = "digits",
    rate: float = 0.0,
    modality: str | None = None,
    splits: Sequence[str] = ("train", "val", "test"),
    fill: bool = False,
    **knobs: Any,
) -> Splits:
    """A data set of the catalogue with modalities missing at random, each split by a draw of its own.

    Args:
        rate: share of the samples that lose each modality (`lose`); with ``modality``, that lose this one (`drop`).
        splits: who loses anything, of train, val and test.
        fill: nobody is told what is missing: zeros stand in its place, and count as an input like any other.
        knobs: of the data set.

    Raises:
        TypeError, ValueError: an unknown data set, modality or split, a rate outside 0 to 1, a knob out of range.
    """
    check_splits(splits)
    made = load(name, seed=seed, **knobs)
    if modality is not None:
        made = made.drop(modality, rate, seed=seed, splits=splits)
    elif rate:
        chosen: dict[str, Any] = {s: d for s, d in lose(made, rate, seed).items() if s in splits}
        made = replace(made, **chosen)
    return made.map(lambda data: replace(data, present=None)) if fill else made
