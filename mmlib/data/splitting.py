"""Who trains, who validates, who tests: at random within classes, or by groups that are kept apart."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmlib.data.prepare import ClassName

SPLITS = ("train", "val", "test")


def group_codes(split_by: Any, size: int) -> tuple[Tensor, list[Any] | None]:
    """[N] names of people, voices, recordings -> whole numbers [N], and the names [N] where they were no whole numbers.

    Args:
        split_by: text, whole numbers, booleans, tuples: anything hashable. Array, list, tensor or series.

    Raises:
        TypeError, ValueError: missing names, fractions, or not one name per sample.
    """
    if isinstance(split_by, Tensor):
        split_by = split_by.detach().cpu().numpy()
    if isinstance(split_by, str | bytes | dict | set):
        raise TypeError(f"split_by: expected a list or an array with one name per sample, found {type(split_by).__name__}")
    if not isinstance(split_by, list | tuple):
        split_by = np.asarray(split_by)
        if split_by.ndim == 2 and split_by.shape[1] == 1:
            split_by = split_by[:, 0]
        if split_by.ndim != 1:
            raise ValueError(f"split_by: expected one name per sample, [{size}], found shape {list(split_by.shape)}")
        split_by = split_by.tolist()
    names = [n.item() if isinstance(n, np.generic) or (isinstance(n, Tensor) and n.ndim == 0) else n for n in split_by]
    if len(names) != size:
        raise ValueError(f"split_by: expected {size} entries, one per label, found {len(names)}")
    for place, name in enumerate(names):
        if name is None or type(name).__name__ in ("NAType", "NaTType") or (isinstance(name, float) and name != name):
            raise ValueError(f"split_by: expected a name for every sample, found {name!r} in sample {place}")
        if isinstance(name, float) and not name.is_integer():
            raise ValueError(
                f"split_by: expected names or whole numbers, found {name!r} in sample {place}; round it, or pass text"
            )
    if all(isinstance(n, int | float) and not isinstance(n, bool) and abs(n) < 2**63 for n in names):
        return torch.tensor([int(n) for n in names], dtype=torch.int64), None
    try:
        distinct = list(dict.fromkeys(names))
    except TypeError as error:
        raise TypeError(f"split_by: expected names that can be told apart, such as text or tuples ({error})") from None
    if len({type(n) for n in distinct}) == 1 and isinstance(distinct[0], str | bool | tuple | bytes):
        with suppress(TypeError):  # tuples of several kinds
            distinct = sorted(distinct)  # so that the split does not depend on who comes first
    number = {name: i for i, name in enumerate(distinct)}
    return torch.tensor([number[n] for n in names], dtype=torch.int64), names


def draw(codes: Tensor, groups: Tensor | None, cuts: tuple[float, float], generator: torch.Generator) -> Tensor:
    """The part of each sample [N]: 0 (train), 1 (val) or 2 (test).

    Without groups each class is shuffled and cut at the shares ``cuts`` of its samples; the first of each class is for training.
    With groups these are shuffled and cut, and whole groups change places where training would lack a class.

    Args:
        codes: [N], the class of each sample. groups: [N] whole numbers.
        cuts: where training ends and where validation ends, in (0, 1].
    """
    part = torch.empty(len(codes), dtype=torch.long)
    if groups is None:
        rest = []  # all but the first of each class
        for members in _strata(codes):
            shuffled = members[torch.randperm(len(members), generator=generator)]
            first, second = max(1, round(cuts[0] * len(members))), round(cuts[1] * len(members))
            for number, chosen in enumerate((shuffled[:first], shuffled[first:second], shuffled[max(first, second) :])):
                part[chosen] = number
            rest.append(shuffled[1:])
        shares = [cuts[1] - cuts[0], 1 - cuts[1]] if cuts[1] < 1 else [1 - cuts[0]]
        if not all(
            bool((part == 1 + i).any()) for i in range(len(shares))
        ):  # classes so small that rounding leaves a split empty
            _deal(part, torch.cat(rest), [max(1, round(share * len(codes))) for share in shares], generator)
        return part
    known, place = torch.unique(groups, return_inverse=True)
    shuffled = torch.randperm(len(known), generator=generator)
    first, second = round(cuts[0] * len(known)), round(cuts[1] * len(known))
    sides = [shuffled[:first].tolist(), shuffled[first:second].tolist(), shuffled[second:].tolist()]
    _cover(sides, place, codes)
    of_group = torch.empty(len(known), dtype=torch.long)
    for number, side in enumerate(sides):
        of_group[torch.tensor(side, dtype=torch.long)] = number
    return of_group[place]


def _deal(part: Tensor, rest: Tensor, sizes: list[int], generator: torch.Generator) -> None:
    """Give validation (and test) their ``sizes`` from ``rest``, in place, whatever the classes; less where there is less."""
    if len(rest) < len(sizes):
        return
    val = sizes[0] if sum(sizes) <= len(rest) else round(len(rest) * sizes[0] / sum(sizes))
    val = min(max(1, val), len(rest) - len(sizes) + 1)
    shuffled = rest[torch.randperm(len(rest), generator=generator)]
    part[rest] = 0
    part[shuffled[:val]] = 1
    part[shuffled[val : val + sum(sizes[1:])]] = 2


def _strata(codes: Tensor) -> Iterator[Tensor]:
    """The samples of each class that occurs, in order; one sort, however many classes there are."""
    order = torch.argsort(codes, stable=True)
    _, counts = torch.unique_consecutive(codes[order], return_counts=True)
    yield from order.split(counts.tolist())


def _cover(sides: list[list[int]], place: Tensor, codes: Tensor) -> None:
    """Exchange groups, in place, until training (the first side) has every class, where that can be had."""
    pairs = torch.unique(torch.stack([place, codes]), dim=1).T.tolist()
    holds: dict[int, set[int]] = {}
    for group, c in pairs:
        holds.setdefault(group, set()).add(c)
    count = dict.fromkeys((c for _, c in pairs), 0)
    for group in sides[0]:
        for c in holds[group]:
            count[c] += 1
    for lacking in [c for c, n in count.items() if not n]:
        for side in sides[1:]:
            taken = next((g for g in side if lacking in holds[g]), None)
            if taken is None or count[lacking]:
                continue
            given = next((g for g in reversed(sides[0]) if all(count[c] > 1 or c in holds[taken] for c in holds[g])), None)
            if given is None and len(side) < 2:
                continue
            side.remove(taken)
            sides[0].append(taken)
            for c in holds[taken]:
                count[c] += 1
            if given is not None:
                sides[0].remove(given)
                side.append(given)
                for c in holds[given]:
                    count[c] -= 1


def official(split: Any, codes: Tensor, groups: Tensor | None, fractions: Sequence[float], generator: torch.Generator) -> Tensor:
    """The part of each sample [N] by a split that came with the data.

    Args:
        split: [N], "train", "val" or "test". Where nobody is "val", validation is cut from training: of its groups where there
            are any, otherwise of each class.

    Raises:
        TypeError, ValueError: other names, or nobody to train on or to test.
    """
    given = np.asarray(split, dtype=object)
    if given.shape != (len(codes),):
        raise ValueError(f"split: expected one of {', '.join(SPLITS)} for each of {len(codes)} samples, found {_size(split)}")
    odd = [s for s in given.tolist() if not isinstance(s, str) or s not in SPLITS]
    if odd:
        raise ValueError(f"split: expected {', '.join(SPLITS)}, found {odd[0]!r}")
    part = torch.tensor([SPLITS.index(s) for s in given.tolist()])
    for number, name in ((0, "train"), (2, "test")):
        if not bool((part == number).any()):
            raise ValueError(f"split: expected samples to {name}, found none")
    if not bool((part == 1).any()):
        members = (part == 0).nonzero().squeeze(1)
        share = fractions[0] / (fractions[0] + fractions[1])
        part[members] = draw(codes[members], None if groups is None else groups[members], (share, 1.0), generator)
    if groups is not None:
        shared = [set(groups[part == a].tolist()) & set(groups[part == b].tolist()) for a, b in ((0, 1), (0, 2), (1, 2))]
        if any(shared):
            warnings.warn(f"split: {len(set.union(*shared))} groups of split_by stand in more than one split", stacklevel=4)
    return part


def warn_about_untrained(part: Tensor, codes: Tensor, classes: Sequence[ClassName]) -> None:
    """Warn of classes that validation or test has and training has not."""
    trained = set(codes[part == 0].tolist())
    lacking = torch.tensor([c for c in codes.unique().tolist() if c not in trained])
    if len(lacking):
        where = [f"{int(((part == n) & torch.isin(codes, lacking)).sum())} in {SPLITS[n]}" for n in (1, 2)]
        names = ", ".join(repr(classes[c]) for c in lacking[:5].tolist()) + (", ..." if len(lacking) > 5 else "")
        warnings.warn(
            f"labels: no training sample of {names} ({' and '.join(where)}), so nothing can be learned of it. Leave these "
            "samples out, or split otherwise",
            stacklevel=3,
        )


def _size(thing: Any) -> str:
    return f"{len(thing)}" if hasattr(thing, "__len__") and not isinstance(thing, str) else repr(thing)
