"""What each modality contributes to the fused logits: Shapley values over the subsets of modalities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor


def shapley_logits(value: Mapping[frozenset[str], Tensor]) -> dict[str, Tensor]:
    """What each modality contributes to the fused logits: its Shapley value.

        phi_m = sum over S without m of s! (M - s - 1)! / M! * (F(S with m) - F(S)),   s the size of S

    They add up to F(all) - F(none). Of a sum of heads they are the heads' own logits, whatever else is there.

    Args:
        value: the fused logits F(S) [B, C] with the modalities in S alone, for each of the 2^M subsets, the empty one included.

    Returns:
        for each modality [B, C], in the order in which the subsets of one modality stand in ``value``.

    Raises:
        ValueError: a subset too few or too many.

    >>> none, a, b, both = torch.tensor([[[0.0, 0]], [[1.0, 0]], [[0.0, 2]], [[3.0, 2]]])
    >>> subsets = {frozenset(): none, frozenset("a"): a, frozenset("b"): b, frozenset("ab"): both}
    >>> {m: phi.tolist() for m, phi in shapley_logits(subsets).items()}
    {'a': [[2.0, 0.0]], 'b': [[1.0, 2.0]]}
    """
    names = [m for subset in value if len(subset) == 1 for m in subset]
    subsets = subsets_of(names)
    missing, more = [s for s in subsets if s not in value], [s for s in value if s not in subsets]
    if missing or more or not names:
        found = f"nothing for {{{', '.join(sorted(missing[0]))}}}" if missing else f"{', '.join(map(str, more)) or 'no modality'}"
        raise ValueError(f"value: expected one entry for each of the {len(subsets)} subsets of {', '.join(names)}, found {found}")
    stacked = torch.stack([value[s] for s in subsets])  # [2^M, B, C]
    return dict(zip(names, combined(shapley_weights(names).to(stacked), stacked).unbind(), strict=True))


def subsets_of(names: Sequence[str]) -> list[frozenset[str]]:
    return [frozenset(s) for size in range(len(names) + 1) for s in combinations(names, size)]


def shapley_weights(names: Sequence[str]) -> Tensor:
    """[M, 2^M]: what each F(S) counts in each phi_m, in the order of `subsets_of`."""
    size = len(names)
    counts = [math.factorial(k) * math.factorial(size - k - 1) / math.factorial(size) for k in range(size)]  # k others are there
    rows = [[counts[len(s) - 1] if m in s else -counts[len(s)] for s in subsets_of(names)] for m in names]
    return torch.tensor(rows, dtype=torch.float64)


def combined(weights: Tensor, values: Tensor) -> Tensor:
    """[M, 2^M], [2^M, B, C] -> [M, B, C]."""
    return (weights @ values.flatten(1)).view(len(weights), *values.shape[1:])
