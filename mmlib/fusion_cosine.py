"""Cosine fusion: heads that see the direction of features and not their length."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlib.data.by_modality import ByModality
from mmlib.fusion_base import Fusion


class Cosine(Fusion):
    """MMCosine (Xu et al., ICASSP 2023, arXiv 2303.05338): logits_c = s * sum_m cos(f_m, W_m,c), without a bias.

    Neither the length of a modality's features nor that of its weights decides how loud it speaks: each modality present
    adds between -s and s to a logit. A modality that is absent, or whose features are all zero, adds nothing. One head per
    modality, so what a modality alone says is s cos(f_m, W_m,c), and the fused logits are the sum.

    Args:
        scale: s, above 0; the paper's default is 10.

    Raises:
        ValueError: a scale out of range.

    >>> fusion = Cosine({"a": 2, "b": 2}, num_classes=2, scale=10.0)
    >>> with torch.no_grad():
    ...     weights = [fusion.heads[m].weight.copy_(torch.eye(2)) for m in ("a", "b")]
    >>> fusion({"a": torch.tensor([[5.0, 0.0]]), "b": torch.tensor([[3.0, 4.0]])})[0]
    tensor([[16.,  8.]], grad_fn=<SumBackward1>)
    """

    def __init__(self, dims: Mapping[str, int], num_classes: int, scale: float = 10.0) -> None:
        super().__init__(dims, num_classes)
        if not 0 < scale < math.inf:
            raise ValueError(f"scale: expected a number above 0, found {scale}")
        self.scale = scale
        self.heads = ByModality({m: nn.Linear(d, num_classes, bias=False) for m, d in dims.items()})

    def unimodal(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> dict[str, Tensor]:
        weights: dict[str, Tensor] = {m: self.heads[m].get_parameter("weight") for m in self.dims}  # {m: [C, D_m]}
        return {m: self.scale * F.linear(F.normalize(features[m], dim=1), F.normalize(w, dim=1)) for m, w in weights.items()}

    def fuse(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        return torch.stack(list(self.unimodal(features, present).values())).sum(0)
