"""Your own arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from mmlib.data.core import MultimodalData, Splits


def from_arrays(
    inputs: Mapping[str, Any],
    labels: Any,
    *,
    split_by: Any = None,
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
    num_classes: int = 0,
    present: Mapping[str, Any] | None = None,
    name: str = "own",
    seed: int = 0,
) -> Splits:
    """Your own arrays as `Splits`.

    Args:
        inputs: modality -> [N, ...].
        labels: [N] whole numbers.
        split_by: [N] whole numbers naming the person, voice or recording of each sample. Groups then never
            stand in two splits. Without it, samples are split at random within each class.
        fractions: shares of train, validation and test; of the groups where ``split_by`` is given.
        num_classes, present: as in `MultimodalData`.
        seed: of the split.

    Raises:
        ValueError: shares that do not add to 1, a split left empty, or anything `MultimodalData` refuses.
    """
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"fractions: expected three positive shares that add to 1, found {fractions}")
    groups = {} if split_by is None else {"group": split_by}
    data = MultimodalData(dict(inputs), labels, num_classes, dict(present) if present else None, groups)
    generator = torch.Generator().manual_seed(seed)
    part = torch.empty(len(data), dtype=torch.long)  # 0 train, 1 val, 2 test
    strata = (
        [data.groups["group"].unique()]
        if groups
        else [(data.labels.cpu() == c).nonzero().squeeze(1) for c in range(data.num_classes)]
    )
    for stratum in strata:
        shuffled = stratum[torch.randperm(len(stratum), generator=generator)]
        first, second = round(fractions[0] * len(stratum)), round((fractions[0] + fractions[1]) * len(stratum))
        for number, members in enumerate((shuffled[:first], shuffled[first:second], shuffled[second:])):
            part[torch.isin(data.groups["group"], members) if groups else members] = number
    for number, split in enumerate(("train", "val", "test")):
        if not (part == number).any():
            found = f"{len(strata[0])} groups" if groups else f"{len(data)} samples"
            raise ValueError(f"{split}: empty with fractions={fractions} and {found}")
    train, val, test = (data.select(part == number) for number in range(3))
    return Splits(train, val, test, name=name, settings={"seed": seed})
