"""Batches that tell which samples of the training data they are, for methods that remember something of each sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor

from mmlib.data.core import Batch, MultimodalData


class Numbered:
    """Training data, in memory or streamed, with the positions of the batch that was handed out last.

    Made in `mmlib.methods.base.Method.samples`; the batches are those of the data itself. Both kinds of data promise the
    same order for the same generator, which is drawn here once more.
    """

    def __init__(self, data: MultimodalData) -> None:
        self.data = data
        self.index: Tensor | None = None  #: [B], on the device of the data; None between epochs

    def __len__(self) -> int:
        return len(self.data)

    def to(self, device: torch.device | str) -> MultimodalData:
        return self.data.to(device)

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """Those of the data, in the same order."""
        order = torch.arange(len(self))
        if generator is not None:
            again = torch.Generator()
            again.set_state(generator.get_state())
            order = torch.randperm(len(self), generator=again)
        positions = order.to(self.data.device).split(batch_size)  # moved as a whole: one wait an epoch
        for index, batch in zip(positions, self.data.batches(batch_size, generator), strict=True):
            self.index = index
            yield batch
        self.index = None

    def as_data(self) -> MultimodalData:
        """Itself, for whoever only asks for batches."""
        return cast(MultimodalData, self)
