"""Ways to fuse the features of several modalities into class scores: the two plain ones, and all of them by name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmlib.data.by_modality import ByModality
from mmlib.fusion_base import Fusion
from mmlib.fusion_cosine import Cosine
from mmlib.fusion_gates import FiLM, Gated, NonLocal, SqueezeExcitation

__all__ = ["FUSIONS", "Concat", "Cosine", "FiLM", "Fusion", "Gated", "NonLocal", "SqueezeExcitation", "Sum"]


class Concat(Fusion):
    """One linear head on the concatenated features: logits = sum_m W_m f_m + b."""

    def __init__(self, dims: Mapping[str, int], num_classes: int) -> None:
        super().__init__(dims, num_classes)
        self.head = nn.Linear(sum(dims.values()), num_classes)

    def unimodal(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> dict[str, Tensor]:
        columns = self.head.weight.split(list(self.dims.values()), dim=1)  # M times [C, D_m]
        share = self.head.bias / len(self.dims)
        return {m: features[m] @ w.T + share for (m, w) in zip(self.dims, columns, strict=True)}  # [B, C]

    def fuse(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        return self.head(torch.cat(list(features.values()), dim=1))


class Sum(Fusion):
    """One linear head per modality, logits added: logits = sum_m (W_m f_m + b_m) over the modalities present."""

    def __init__(self, dims: Mapping[str, int], num_classes: int) -> None:
        super().__init__(dims, num_classes)
        self.heads = ByModality({m: nn.Linear(d, num_classes) for m, d in dims.items()})

    def unimodal(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> dict[str, Tensor]:
        return {m: self.heads[m](features[m]) * present[m] for m in self.dims}

    def fuse(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        return torch.stack([self.heads[m](features[m]) * present[m] for m in self.dims]).sum(0)


#: name on the command line -> fusion
FUSIONS: dict[str, type[Fusion]] = {
    "concat": Concat,
    "sum": Sum,
    "cosine": Cosine,
    "film": FiLM,
    "gated": Gated,
    "squeeze_excitation": SqueezeExcitation,
    "non_local": NonLocal,
}
