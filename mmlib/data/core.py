"""What every data set is: named modalities, labels, and which sample has which modality.

Names, never positions: a batch is ``inputs[modality]`` of shape [B, ...], ``labels`` [B] and,
where samples lack a modality, ``present[modality]`` [B]. Data that fits stays on one device as
plain tensors and is indexed there; see `mmlib.data.stream` for data that does not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmlib.data.checks import as_mask, check_between, check_finite, check_modalities, check_names, check_splits
from mmlib.data.prepare import ClassName, Prepare

#: more classes than this are not concluded from a large label alone
MOST_CONCLUDED = 65_536


class Batch(NamedTuple):
    """One minibatch."""

    inputs: dict[str, Tensor]  #: modality -> [B, ...]
    labels: Tensor  #: [B], int64
    present: dict[str, Tensor] | None = None  #: modality -> [B], bool; None: every sample has every modality


def _tensor(value: Any, what: str) -> Tensor:
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"{what}: expected an array or a tensor of numbers, found {type(value).__name__} ({error}); "
            "mmlib.from_arrays takes more"
        ) from None


def _whole(values: Tensor, what: str) -> Tensor:
    """int64, unless there are fractions, NaN or infinity among them."""
    if values.is_floating_point() and not bool(((values == values.round()) & torch.isfinite(values)).all()):
        raise ValueError(f"{what}: expected whole numbers, found fractions or NaN")
    return values.long()


@dataclass(eq=False, repr=False)
class MultimodalData:
    """Samples of several modalities with one label each, as networks read them. `mmlib.from_arrays` makes it of what people have.

    Args:
        inputs: modality -> [N, ...], arrays or tensors; floating point (float32 in the end), or int64 [N, L], which *are* token
            ids. Vectors are [N, D], sequences [N, L, D], pictures [N, C, H, W]. No modality may be called "joint" or "fused".
        labels: [N], whole numbers in 0 .. num_classes - 1.
        num_classes: the number of classes; by default the largest label + 1.
        present: modality -> [N] booleans, for the modalities that some samples lack. A modality that is
            not named is always there. Inputs of an absent modality are set to zero.
        groups: name -> [N] whole numbers, such as the voice or the person, for splits that keep groups apart.
        raw: name -> N items to look at or listen to (waveforms, words). Never trained on.

    Raises:
        TypeError, ValueError: something disagrees; the message names the argument, the modality,
            what was expected and what was found.
    """

    inputs: dict[str, Tensor]
    labels: Tensor
    num_classes: int = 0
    present: dict[str, Tensor] | None = None
    groups: dict[str, Tensor] = field(default_factory=dict)
    raw: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.inputs, Mapping) or not self.inputs:
            raise TypeError("inputs: expected a dict from modality name to an array with at least one modality")
        check_names(self.inputs)
        self.inputs = {m: _tensor(x, f"inputs[{m!r}]") for m, x in self.inputs.items()}
        self.inputs = {m: x.float() if x.is_floating_point() else x for m, x in self.inputs.items()}
        self.labels = self._check_labels(_tensor(self.labels, "labels"))
        for modality, x in self.inputs.items():
            if x.is_complex():
                raise TypeError(f"inputs[{modality!r}]: expected real numbers, found {x.dtype}")
            if x.ndim < 2:
                raise ValueError(f"inputs[{modality!r}]: expected shape [N, ...] with at least two axes, found {list(x.shape)}")
            if len(x) != len(self):
                raise ValueError(f"inputs[{modality!r}]: expected {len(self)} samples, one per label, found {len(x)}")
        self._check_present()
        for modality, x in self.inputs.items():
            check_finite(f"inputs[{modality!r}]", x)
        self.groups = {g: _whole(_tensor(v, f"groups[{g!r}]"), f"groups[{g!r}]").cpu() for g, v in self.groups.items()}
        for kind, columns in (("groups", self.groups), ("raw", self.raw)):
            for name, values in columns.items():
                if len(values) != len(self):
                    raise ValueError(f"{kind}[{name!r}]: expected {len(self)} entries, one per label, found {len(values)}")

    def _check_labels(self, labels: Tensor) -> Tensor:
        if labels.ndim != 1:
            raise ValueError(f"labels: expected shape [N], found {list(labels.shape)}")
        if len(labels) == 0:
            raise ValueError("labels: expected at least one sample, found an empty split")
        labels = _whole(labels, "labels")
        low, high = int(labels.min()), int(labels.max())
        check_between("num_classes", self.num_classes, 0, 1_000_000, whole=True)
        if not self.num_classes and high >= MOST_CONCLUDED:
            raise ValueError(
                f"labels: expected classes 0, 1, ..., found {high}, which would make as many classes; mmlib.from_arrays "
                "numbers them, or pass num_classes"
            )
        self.num_classes = self.num_classes or high + 1
        if low < 0 or high >= self.num_classes:
            raise ValueError(f"labels: expected values in 0 .. {self.num_classes - 1}, found {low} .. {high}")
        return labels

    def _check_present(self) -> None:
        if self.present is None:
            return
        if not isinstance(self.present, Mapping):
            raise TypeError(f"present: expected a dict from modality to booleans [N], found {type(self.present).__name__}")
        masks: dict[str, Tensor] = {}
        for modality, mask in self.present.items():
            if modality not in self.inputs:
                raise ValueError(f"present: unknown modality {modality!r}; known: {', '.join(self.inputs)}")
            masks[modality] = as_mask(f"present[{modality!r}]", mask, len(self)).to(self.labels.device)
        everywhere = torch.ones_like(self.labels, dtype=torch.bool)
        self.present = {m: masks.get(m, everywhere) for m in self.inputs}
        without = int((~torch.stack(list(self.present.values())).any(0)).sum())
        if without:
            raise ValueError(f"present: every sample needs at least one modality, {without} of {len(self)} have none")
        # zero where absent: whatever stands there (often NaN) must not reach a network
        self.inputs = {
            m: torch.where(self.present[m].view(-1, *[1] * (x.ndim - 1)), x, torch.zeros((), dtype=x.dtype, device=x.device))
            for m, x in self.inputs.items()
        }

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        lines = [f"MultimodalData: {len(self):,} samples, {self.num_classes} classes, on {self.device}"]
        for modality, x in self.inputs.items():
            missing = 0.0 if self.present is None else 1 - self.present[modality].float().mean().item()
            note = f", {missing:.0%} missing" if missing else ""
            lines.append(f"  {modality:<8} {list(x.shape[1:])} {str(x.dtype).removeprefix('torch.')}{note}")
        lines += [f"  by {g}: {len(v.unique())} groups" for g, v in self.groups.items()]
        return "\n".join(lines)

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.inputs)

    @property
    def device(self) -> torch.device:
        return self.labels.device

    @property
    def example(self) -> dict[str, Tensor]:
        """A few samples, {modality: [n, ...]}: enough to see types and shapes."""
        return self.inputs

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """modality -> shape of one sample."""
        return {m: tuple(x.shape[1:]) for m, x in self.inputs.items()}

    def to(self, device: torch.device | str) -> MultimodalData:
        """The same samples with inputs, labels and masks on ``device``; groups and raw stay where they are."""
        if torch.device(device) == self.device:
            return self
        present = None if self.present is None else {m: p.to(device) for m, p in self.present.items()}
        return replace(
            self, inputs={m: x.to(device) for m, x in self.inputs.items()}, labels=self.labels.to(device), present=present
        )

    def select(self, index: Tensor | Sequence[int]) -> MultimodalData:
        """The samples at ``index`` [K] (whole numbers, or [N] booleans), in that order."""
        at = torch.as_tensor(index)
        at = (at.nonzero().squeeze(1) if at.dtype == torch.bool else at.long()).cpu()
        here = at.to(self.device)

        def pick(values: Any) -> Any:
            return values[at.numpy()] if isinstance(values, np.ndarray) else [values[i] for i in at.tolist()]

        return replace(
            self,
            inputs={m: x[here] for m, x in self.inputs.items()},
            labels=self.labels[here],
            present=None if self.present is None else {m: p[here] for m, p in self.present.items()},
            groups={g: v[at] for g, v in self.groups.items()},
            raw={r: v[at] if isinstance(v, Tensor) else pick(v) for r, v in self.raw.items()},
        )

    def only(self, *modalities: str) -> MultimodalData:
        """The same samples with these modalities alone, in this order."""
        check_modalities(modalities, self.modalities)
        present = None if self.present is None else {m: self.present[m] for m in modalities}
        return replace(self, inputs={m: self.inputs[m] for m in modalities}, present=present)

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """Minibatches: shuffled by ``generator`` (a CPU generator), in order without one. The last may be smaller."""
        if batch_size < 1:
            raise ValueError(f"batch_size: expected 1 or more, found {batch_size}")
        # drawn on the CPU, so that every device sees the same batches
        order = torch.arange(len(self)) if generator is None else torch.randperm(len(self), generator=generator)
        for index in order.to(self.device).split(batch_size):
            present = None if self.present is None else {m: p[index] for m, p in self.present.items()}
            yield Batch({m: x[index] for m, x in self.inputs.items()}, self.labels[index], present)

    def drop(self, modality: str, rate: float, seed: int = 0) -> MultimodalData:
        """A copy in which a share ``rate`` of the samples (0 to 1) lacks ``modality``, at random.

        No sample loses its last modality.

        Raises:
            ValueError: an unknown modality, a rate outside 0 to 1, or too few samples with another modality left.
        """
        check_modalities([modality], self.modalities)
        if not 0 <= rate <= 1:
            raise ValueError(f"rate: expected a share from 0 to 1, found {rate}")
        everywhere = torch.ones(len(self), dtype=torch.bool)
        present = {m: everywhere.clone() if self.present is None else self.present[m].cpu().clone() for m in self.modalities}
        others = [p for m, p in present.items() if m != modality]
        has_other = torch.stack(others).any(0) if others else torch.zeros_like(everywhere)
        already = int((~present[modality]).sum())
        candidates = (present[modality] & has_other).nonzero().squeeze(1)
        wanted = max(0, round(rate * len(self)) - already)
        if wanted > len(candidates):
            raise ValueError(
                f"drop({modality!r}, rate={rate}): {wanted} more samples would have to lose it, "
                f"but only {len(candidates)} have another modality left"
            )
        generator = torch.Generator().manual_seed(seed)
        present[modality][candidates[torch.randperm(len(candidates), generator=generator)[:wanted]]] = False
        return replace(self, present={m: p.to(self.device) for m, p in present.items()})


@dataclass(repr=False, eq=False)
class Splits:
    """Train, validation and test data of one data set. Choose on ``val``; read ``test`` once, at the end.

    Args:
        name: for messages and tables. settings: the knobs it was made with.
        classes: the names of the classes 0 .. C - 1; by default these numbers.
        prepare: modality -> how raw arrays become what stands here, for prediction; by default they are left as they are.

    Raises:
        ValueError: splits that differ in modalities, shapes or classes; another number of names than of classes.
    """

    train: MultimodalData
    val: MultimodalData
    test: MultimodalData
    name: str = "data"
    settings: dict[str, Any] = field(default_factory=dict)
    classes: tuple[ClassName, ...] = ()
    prepare: dict[str, Prepare] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for split, data in self.items():
            if data.shapes != self.train.shapes:
                raise ValueError(f"{split}: expected modalities and shapes as in train, {self.train.shapes}, found {data.shapes}")
            if data.num_classes != self.train.num_classes:
                raise ValueError(f"{split}: expected {self.train.num_classes} classes as in train, found {data.num_classes}")
        self.classes = tuple(self.classes) or tuple(range(self.num_classes))
        if len(self.classes) != self.num_classes or len(set(self.classes)) != self.num_classes:
            raise ValueError(
                f"classes: expected {self.num_classes} different names, found {len(self.classes)}: {self.classes[:20]}"
            )
        given, self.prepare = self.prepare, {}
        for m, shape in self.train.shapes.items():
            kept = given.get(m)
            fits = kept is not None and kept.shape == shape
            self.prepare[m] = kept if kept and fits else Prepare.as_it_is(m, *(data.example[m] for _, data in self.items()))

    def items(self) -> list[tuple[str, MultimodalData]]:
        return [("train", self.train), ("val", self.val), ("test", self.test)]

    def __repr__(self) -> str:
        sizes = ", ".join(f"{split} {len(data):,}" for split, data in self.items())
        names = "" if self.classes == tuple(range(self.num_classes)) else f": {', '.join(map(str, self.classes[:10]))}"
        names += ", ..." if names and self.num_classes > 10 else ""
        lines = [f"Splits {self.name!r}: {sizes}; {self.num_classes} classes{names}"]
        for m, shape in self.train.shapes.items():
            lines.append(f"  {m:<8} {list(shape)} {self.prepare[m]}".rstrip())
        for g in self.train.groups:
            sets = [set(data.groups[g].tolist()) for _, data in self.items()]
            apart = "disjoint" if len(set.union(*sets)) == sum(map(len, sets)) else "shared between splits"
            lines.append(f"  by {g}: {' + '.join(str(len(s)) for s in sets)} groups, {apart}")
        if self.settings:
            lines.append("  " + ", ".join(f"{k}={v!r}" for k, v in self.settings.items()))
        return "\n".join(lines)

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.train.modalities

    @property
    def num_classes(self) -> int:
        return self.train.num_classes

    def map(self, change: Callable[[MultimodalData], MultimodalData]) -> Splits:
        """The same change on all three splits. ``prepare`` stays: it does not know of changes to the numbers."""
        return replace(self, train=change(self.train), val=change(self.val), test=change(self.test))

    def to(self, device: torch.device | str) -> Splits:
        return self.map(lambda data: data.to(device))

    def only(self, *modalities: str) -> Splits:
        return self.map(lambda data: data.only(*modalities))

    def drop(self, modality: str, rate: float, seed: int = 0, splits: Sequence[str] = ("train", "val", "test")) -> Splits:
        """`MultimodalData.drop` on the named splits, each with a draw of its own."""
        check_splits(splits)
        changed: dict[str, Any] = {
            s: d.drop(modality, rate, seed=3 * seed + i) for i, (s, d) in enumerate(self.items()) if s in splits
        }
        return replace(self, **changed)
