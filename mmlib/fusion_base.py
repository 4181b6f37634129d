"""What every fusion of features does, and what it says of each modality alone.

Every fusion maps features {m: [B, D_m]} to the fused logits [B, C] and to unimodal logits {m: [B, C]}.

**What a modality alone says.** Let F(S) be the fused logits when only the modalities in S are present (the features
of the others are zero), and M their number. Then::

    u_m = F({m}) - (1 - 1/M) F({})

For concatenation this is the modality's own columns of the head plus 1/M of the bias, the form that OGM-GE uses
(Peng et al., CVPR 2022: W_u phi_u + b / 2); for a sum of heads it is each head with its own bias. The u_m add up to
the fused logits exactly when F is additive. FiLM and gated fusion are not additive: there u_m is still defined, but
what the modalities say together is more than the sum. (The papers define u_m for concatenation and sum alone.)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmlib.remembers import Remembers


class Fusion(Remembers, nn.Module):
    """Base of all fusions: masks what is absent, then fuses.

    Args:
        dims: modality -> size D_m of its features; the order is the order of fusion.
        num_classes: C.
    """

    def __init__(self, dims: Mapping[str, int], num_classes: int) -> None:
        super().__init__()
        if not dims:
            raise ValueError("dims: expected at least one modality")
        if num_classes < 2:
            raise ValueError(f"num_classes: expected 2 or more, found {num_classes}")
        self.dims = dict(dims)
        self.num_classes = num_classes

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.dims)

    def own_head(self, modality: str) -> nn.Module:
        """A new linear head for one modality alone, as methods with losses of their own have it: [B, D_m] -> [B, C]."""
        return nn.Linear(self.dims[modality], self.num_classes)

    def fuse(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """Features {m: [B, D_m]}, zero where absent, and masks {m: [B, 1]} -> fused logits [B, C]."""
        raise NotImplementedError

    def forward(
        self, features: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Features {m: [B, D_m]} -> fused logits [B, C], unimodal logits {m: [B, C]}."""
        there = self._masks(features, present)
        zeroed = {m: features[m] * there[m] for m in self.dims} if present is not None else {m: features[m] for m in self.dims}
        return self.fuse(zeroed, there), self.unimodal(zeroed, there)

    def unimodal(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> dict[str, Tensor]:
        """What each modality alone says: u_m = F({m}) - (1 - 1/M) F({}), {m: [B, C]}."""
        nothing = {m: torch.zeros_like(x) for m, x in features.items()}
        nobody = {m: torch.zeros_like(p) for m, p in present.items()}
        silence = self.fuse(nothing, nobody) * (1 - 1 / len(self.dims))  # [B, C]
        return {m: self.fuse({**nothing, m: features[m]}, {**nobody, m: present[m]}) - silence for m in self.dims}

    def _masks(self, features: Mapping[str, Tensor], present: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        masks = {}
        for m in self.dims:
            everywhere = features[m].new_ones(len(features[m]), 1)
            masks[m] = everywhere if present is None or m not in present else present[m].to(everywhere.dtype)[:, None]
        return masks
