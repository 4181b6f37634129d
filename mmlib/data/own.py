"""Your own arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmlib.data.arrays import Found, numbers
from mmlib.data.checks import as_mask, check_between, check_names, check_seed, not_finite
from mmlib.data.core import MultimodalData, Splits
from mmlib.data.labels import encode
from mmlib.data.layout import arrange, choose
from mmlib.data.prepare import MOST_TOKENS, ClassName, Prepare
from mmlib.data.scale import check_scale, columns_of, mean_and_deviation, warn_about_scales
from mmlib.data.splitting import SPLITS, draw, group_codes, official, warn_about_untrained

#: training samples that are looked at for a warning
ENOUGH = 10_000


def from_arrays(
    inputs: Mapping[str, Any],
    labels: Any,
    *,
    split_by: Any = None,
    split: Any = None,
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
    classes: Sequence[ClassName] | None = None,
    num_classes: int = 0,
    present: Mapping[str, Any] | None = None,
    layout: Mapping[str, str] | None = None,
    tokens: Sequence[str] | Mapping[str, int] | None = None,
    scale: str | Mapping[str, str | None] | None = None,
    name: str = "own",
    seed: int = 0,
) -> Splits:
    """Your own data as `Splits`: arrays, tensors, lists or data frames, labels of any kind.

    Numbers become float32, booleans 0 and 1; pictures of bytes (uint8) are divided by 255. What was done stands in
    ``Splits.prepare`` (and in what ``print`` shows), travels with a kept model, and is done again in prediction.

    Args:
        inputs: modality -> [N, ...]; names may be any text. Vectors [N, D], pictures [N, C, H, W], or see ``layout``.
        labels: [N] text, whole numbers, booleans or a categorical. The classes are what occurs, in order; their names stand in
            ``Splits.classes``.
        split_by: [N] names or whole numbers of the person, voice or recording of each sample. Groups then never
            stand in two splits. Without it, samples are split at random within each class.
        split: [N] "train", "val" or "test", where the data has an official split. Where nobody is "val", validation is cut from
            training.
        fractions: shares of train, validation and test; of the groups where ``split_by`` is given.
        classes: all classes in their order, where some do not occur or another order is wanted.
        num_classes: the labels are numbered from 0 to num_classes - 1 already, and some may not occur.
        present: modality -> [N] booleans, for the modalities that some samples lack.
        layout: modality -> how its axes are read: "ND" vectors; "NLD" sequences of L steps, "NDL" with steps last, "NL" steps of
            one number; "NHW" grey pictures, "NCHW" and "NHWC" pictures with channels. Needed for three axes alone.
        tokens: the modalities that are token ids [N, L], whole numbers, 0 for nothing. Ids that training lacks are read as 0. Or
            modality -> size of the vocabulary: then all below it are known (to an encoder of your own).
        scale: "standard": every column (of pictures: channel) has mean 0 and standard deviation 1 on the training data; constant
            ones have 0. Or modality -> "standard" or None.
        seed: of the split.

    Raises:
        TypeError, ValueError: anything that cannot be read so; the message names the argument and the modality. Among it: shares
            that do not add to 1, a split left empty, three axes without ``layout``, labels that are quantities.

    Warns:
        UserWarning: pictures read as channels last, columns or modalities of very different scale, a class that training lacks,
            token ids that training lacks, labels that may be quantities. The text says what to do.
    """
    if not isinstance(inputs, Mapping) or not inputs:
        raise TypeError(f"inputs: expected a dict from modality name to an array, at least one, found {type(inputs).__name__}")
    check_names(inputs)
    check_seed(seed)
    _check_fractions(fractions)
    found = {m: numbers(x, f"inputs[{m!r}]") for m, x in inputs.items()}
    numbered, names = encode(labels, classes, num_classes)
    codes = torch.from_numpy(numbered)
    for m, (array, _) in found.items():
        if len(array) != len(codes):
            raise ValueError(f"inputs[{m!r}]: expected {len(codes)} samples, one per label, found {len(array)}")
    _check_order({**{f"inputs[{m!r}]": x for m, x in inputs.items()}, "labels": labels, "split_by": split_by, "split": split})
    masks = _masks(present, found, len(codes))
    groups, group_names = (None, None) if split_by is None else group_codes(split_by, len(codes))

    part = _parts(split, codes, groups, fractions, seed)
    warn_about_untrained(part, codes, names)
    prepare = _readings(found, layout, tokens, masks, part == 0)
    scaled = check_scale(scale, {m: p.tokens for m, p in prepare.items()})
    ready, deviations = {}, {}
    for m, (array, _) in found.items():
        _check_finite(m, array, masks.get(m))
        if not prepare[m].tokens:
            rows = ((part == 0) & masks[m] if m in masks else part == 0).numpy()
            mean, std = _statistics(prepare[m], array[rows] if scaled[m] else array[rows][:ENOUGH])
            if scaled[m]:
                if not rows.any():
                    raise ValueError(f"scale[{m!r}]: nothing to measure, no training sample has this modality")
                if not bool(np.isfinite(std).all()):
                    raise ValueError(f"inputs[{m!r}]: expected numbers that can be squared, found {np.abs(array[rows]).max():g}")
                divisor = np.where(std > 0, std, 1.0)
                prepare[m] = replace(prepare[m], mean=tuple(mean.tolist()), std=tuple(divisor.tolist()))
            else:
                deviations[m] = std
        ready[m] = prepare[m](array, masks.get(m))
    warn_about_scales(deviations, {m: p.columns for m, p in prepare.items()})

    raw = {} if group_names is None else {"group": group_names}
    data = MultimodalData(ready, codes, len(names), masks or None, {} if groups is None else {"group": groups}, raw)
    train, val, test = (data.select(part == number) for number in range(3))
    settings = {"seed": seed, **({"scale": scale} if any(scaled.values()) else {})}
    return Splits(train, val, test, name=name, settings=settings, classes=names, prepare=prepare)


def _check_finite(modality: str, array: NDArray[Any], mask: Tensor | None) -> None:
    good = torch.from_numpy(np.isfinite(array).reshape(len(array), -1).all(1))
    if mask is not None:
        good |= ~mask
    if not bool(good.all()):
        raise not_finite(f"inputs[{modality!r}]", ~good)


def _statistics(prepare: Prepare, rows: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of every column of raw samples; 0 where there is no sample."""
    if not len(rows):
        return np.zeros(1), np.zeros(1)
    return mean_and_deviation(columns_of(arrange(rows, prepare.layout)) / (255 if prepare.bytes else 1))


def _check_fractions(fractions: Any) -> None:
    wrong = f"fractions: expected three positive shares that add to 1, found {fractions}"
    if not isinstance(fractions, Sequence) or len(fractions) != 3:
        raise ValueError(wrong)
    for share in fractions:
        check_between("fractions", share, 0, 1)
    if min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(wrong)


def _check_order(given: Mapping[str, Any]) -> None:
    """Raise ValueError where two of pandas's things hold the same rows in another order: they would be paired wrongly."""
    indexed = {what: x.index for what, x in given.items() if hasattr(x, "iloc") and hasattr(x, "index")}
    for (first, reference), (what, index) in combinations(indexed.items(), 2):
        if index.equals(reference) or not index.is_unique or len(index) != len(reference):
            continue
        if reference.is_unique and not len(index.difference(reference)):
            raise ValueError(
                f"{what}: expected the rows in the order of {first}, found another index; pass it with .loc[{first}.index]"
            )


def _masks(present: Any, found: Mapping[str, Found], size: int) -> dict[str, Tensor]:
    if present is None:
        return {}
    if not isinstance(present, Mapping):
        raise TypeError(f"present: expected a dict from modality to booleans [N], found {type(present).__name__}")
    for m in present:
        if m not in found:
            raise ValueError(f"present: unknown modality {m!r}; known: {', '.join(found)}")
    return {m: as_mask(f"present[{m!r}]", mask, size).cpu() for m, mask in present.items()}


def _parts(split: Any, codes: Tensor, groups: Tensor | None, fractions: tuple[float, float, float], seed: int) -> Tensor:
    """The part of each sample [N]: 0 (train), 1 (val) or 2 (test)."""
    generator = torch.Generator().manual_seed(seed)
    if split is not None:
        part = official(split, codes, groups, fractions, generator)
    else:
        part = draw(codes, groups, (fractions[0], fractions[0] + fractions[1]), generator)
    for number, name in enumerate(SPLITS):
        if not bool((part == number).any()):
            count = f"{len(codes)} samples" if groups is None else f"{len(groups.unique())} groups"
            raise ValueError(f"{name}: empty with fractions={fractions} and {count}")
    return part


def _readings(
    found: Mapping[str, Found], layout: Any, tokens: Any, masks: Mapping[str, Tensor], train: Tensor
) -> dict[str, Prepare]:
    """How each modality is read, before any scaling."""
    if isinstance(tokens, str):
        raise TypeError(f"tokens: expected a list of modalities, found the text {tokens!r}; write [{tokens!r}]")
    if layout is not None and not isinstance(layout, Mapping):
        raise TypeError(f"layout: expected a dict from modality to letters such as 'NHWC', found {layout!r}")
    layout, tokens = layout or {}, tokens or {}
    for what, asked in (("layout", layout), ("tokens", tokens)):
        unknown = [m for m in asked if m not in found]
        if unknown:
            raise ValueError(f"{what}: unknown modality {unknown[0]!r}; known: {', '.join(found)}")
    made = {}
    for m, (array, columns) in found.items():
        way = choose(m, array.shape, layout.get(m), m in tokens)
        shape = tuple(arrange(array[:1], way, m in tokens).shape[1:])
        picture = len(shape) == 3 and array.dtype == np.uint8
        made[m] = Prepare(m, shape, way, bytes=picture, columns=columns if len(shape) == 1 else ())
        if m in tokens:
            size = tokens[m] if isinstance(tokens, Mapping) else MOST_TOKENS
            check_between(f"tokens[{m!r}]", size, 2, 10 * MOST_TOKENS, whole=True)
            made[m] = replace(made[m], vocabulary=int(size))
            if not isinstance(tokens, Mapping):
                ids = made[m](array, masks.get(m))[train].unique().tolist()
                made[m] = replace(made[m], vocabulary=max(ids) + 1, known=tuple(ids))
    return made
