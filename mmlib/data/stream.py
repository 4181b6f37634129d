"""Data that does not fit on the device: read by worker processes, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mmlib.data.checks import as_mask, check_between, check_names
from mmlib.data.core import Batch


@dataclass(eq=False, repr=False)
class StreamedData:
    """A map-style `torch.utils.data.Dataset` in the place of a `MultimodalData`.

    Args:
        dataset: item i is ``(inputs, label)`` or ``(inputs, label, present)`` with ``inputs[modality]`` a tensor (numbers as
            floating point; whole numbers are token ids), ``label`` a whole number and ``present[modality]`` a boolean. Its
            attributes ``labels`` [N], ``groups`` and ``raw``, where it has them, are those of `MultimodalData`.
        num_classes: the number of classes.
        workers: processes that read ahead (0: this process). pin_memory: for faster copies to a GPU.

    Raises:
        TypeError, ValueError: no item, or items of another form; a modality called "joint" or "fused"; label out of range,
            here for the first sample, in `batches` for all.
    """

    dataset: Dataset[Any]
    num_classes: int
    workers: int = 0
    pin_memory: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        check_between("num_classes", self.num_classes, 1, 1_000_000, whole=True)
        check_between("workers", self.workers, 0, 10_000, whole=True)
        if len(self) == 0:
            raise ValueError("dataset: expected at least one sample, found an empty split")
        item = self.dataset[0]
        if not isinstance(item, tuple) or len(item) not in (2, 3) or not isinstance(item[0], dict) or not item[0]:
            raise TypeError("dataset: expected items (inputs, label) or (inputs, label, present), inputs a dict of tensors")
        check_names(item[0], "dataset")
        if not 0 <= int(item[1]) < self.num_classes:
            raise ValueError(f"dataset: expected labels in 0 .. {self.num_classes - 1}, found {int(item[1])} in sample 0")
        self.example: dict[str, Tensor] = {m: _float32(torch.as_tensor(x)[None]) for m, x in item[0].items()}
        told = getattr(self.dataset, "labels", None)
        #: [N], where the dataset says so: what needs all labels beforehand cannot do without
        self.labels: Tensor | None = None if told is None else torch.as_tensor(told).long()
        if self.labels is not None and self.labels.shape != (len(self),):
            raise ValueError(f"dataset.labels: expected {len(self)} labels, one per sample, found {list(self.labels.shape)}")
        self.groups: dict[str, Tensor] = self._of_all("groups")
        self.raw: dict[str, Any] = self._of_all("raw")

    def _of_all(self, kind: str) -> dict[str, Any]:
        found = dict(getattr(self.dataset, kind, {}))
        for name, values in found.items():
            if len(values) != len(self):
                raise ValueError(f"dataset.{kind}[{name!r}]: expected {len(self)} entries, one per sample, found {len(values)}")
        return found

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        shapes = "".join(f"\n  {m:<8} {list(s)}" for m, s in self.shapes.items())
        return f"StreamedData: {len(self):,} samples, {self.num_classes} classes, read by {self.workers} workers{shapes}"

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.example)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """modality -> shape of one sample."""
        return {m: tuple(x.shape[1:]) for m, x in self.example.items()}

    def select(self, index: Tensor | Sequence[int]) -> StreamedData:
        """The samples at ``index`` [K] (whole numbers, or [N] booleans), in that order."""
        at = torch.as_tensor(index).cpu()
        at = at.nonzero().squeeze(1) if at.dtype == torch.bool else at.long()
        return replace(self, dataset=_Part(self, at))

    def to(self, device: torch.device | str) -> StreamedData:
        """The same data, whose batches arrive on ``device``."""
        return replace(self, device=torch.device(device))

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """As `MultimodalData.batches`: the same generator gives the same order."""
        if batch_size < 1:
            raise ValueError(f"batch_size: expected 1 or more, found {batch_size}")
        order = range(len(self)) if generator is None else torch.randperm(len(self), generator=generator).tolist()
        # The loader draws a seed for its workers. Not from torch's global generator: dropout would be another one than with the
        # same data in memory, and the caller's state would move. From a copy: the next order stays that of data in memory.
        own = torch.Generator()
        if generator is not None:
            own.set_state(generator.get_state())
        loader: DataLoader[Any] = DataLoader(
            self.dataset, batch_size, sampler=order, num_workers=self.workers, pin_memory=self.pin_memory, generator=own
        )
        for inputs, labels, *present in loader:
            if bool(((labels < 0) | (labels >= self.num_classes)).any()):
                raise ValueError(
                    f"dataset: expected labels in 0 .. {self.num_classes - 1}, found {labels.min()} .. {labels.max()}"
                )
            masks = {m: as_mask(f"present[{m!r}]", p, len(labels)) for m, p in present[0].items()} if present else None
            there = {m: p.to(self.device, non_blocking=True) for m, p in masks.items()} if masks is not None else None
            moved = {m: _float32(x).to(self.device, non_blocking=True) for m, x in inputs.items()}
            yield Batch(moved, labels.to(self.device, non_blocking=True), there)


class _Part(Dataset[Any]):
    """Some samples of a dataset, with what it says of all of them."""

    def __init__(self, data: StreamedData, at: Tensor) -> None:
        self.dataset, self.at = data.dataset, at.tolist()
        self.labels = None if data.labels is None else data.labels[at]
        self.groups = {name: values[at] for name, values in data.groups.items()}
        self.raw = {name: [values[i] for i in self.at] for name, values in data.raw.items()}

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, i: int) -> Any:
        return self.dataset[self.at[i]]


def _float32(x: Tensor) -> Tensor:
    return x.float() if x.is_floating_point() else x
