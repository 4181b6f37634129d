"""Training data in which every sample keeps one modality, and every batch has one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import Subset

from mmlib.data.core import Batch, MultimodalData


class Remixed:
    """Training data whose batches have one modality each, in training; without a generator the data as they are.

    Args:
        kept: [N], which modality a sample keeps, as a position in ``names``; on the CPU.
    """

    def __init__(self, data: MultimodalData, kept: Tensor, names: Sequence[str]) -> None:
        self.data, self.kept, self.names = data, kept, names
        self.modality: str | None = None  #: of the batch that was handed out last; None where it has all

    def to(self, device: torch.device | str) -> MultimodalData:
        return self.data.to(device)

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """All batches of the first modality, then those of the next."""
        if generator is None:
            yield from self.data.batches(batch_size)
            return
        for i, m in enumerate(self.names):
            rows = (self.kept == i).nonzero().squeeze(1)
            if len(rows) == 0:
                continue
            for batch in self._select(rows).batches(batch_size, generator):
                yes = torch.ones_like(batch.labels, dtype=torch.bool)
                self.modality = m
                yield batch._replace(present={n: yes if n == m else ~yes for n in self.names})
        self.modality = None

    def _select(self, rows: Tensor) -> MultimodalData:
        if isinstance(self.data, MultimodalData):
            return self.data.select(rows)
        streamed: Any = self.data
        return cast(MultimodalData, replace(streamed, dataset=Subset(streamed.dataset, rows.tolist())))
