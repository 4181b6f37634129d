"""Fusions in which modalities act on each other before the head: gates, modulation and attention."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmlib.data.by_modality import ByModality
from mmlib.fusion_base import Fusion


class FiLM(Fusion):
    """Feature-wise linear modulation (Perez et al., AAAI 2018): the other modalities scale and shift one of them.

    (gamma, beta) = V [f_m for m other than target] + c;  logits = W ((1 + gamma) * f_target + beta) + b.
    With one modality there is nothing to modulate it, and the head sees the features themselves.

    Args:
        target: the modality that is modulated; by default the first.
    """

    def __init__(self, dims: Mapping[str, int], num_classes: int, target: str | None = None) -> None:
        super().__init__(dims, num_classes)
        self.target = self.modalities[0] if target is None else target
        if self.target not in self.dims:
            raise ValueError(f"target: unknown modality {target!r}; known: {', '.join(self.dims)}")
        others = sum(d for m, d in dims.items() if m != self.target)
        self.film = nn.Linear(others, 2 * dims[self.target]) if others else None
        self.head = nn.Linear(dims[self.target], num_classes)

    def fuse(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        hidden = features[self.target]
        if self.film is not None:
            others = torch.cat([x for m, x in features.items() if m != self.target], dim=1)
            gamma, beta = self.film(others).chunk(2, dim=1)  # [B, D_target] each
            hidden = (1 + gamma) * hidden + beta
        return self.head(hidden)


class Gated(Fusion):
    """Gated multimodal units (Arevalo et al., 2017) for any number of modalities.

    h_m = tanh(A_m f_m),  z_m = sigmoid(B_m [f_1 .. f_M]),  logits = W (sum_m z_m * h_m) + b: each gate sees all
    modalities and decides how much of one passes.
    """

    def __init__(self, dims: Mapping[str, int], num_classes: int, hidden: int | None = None) -> None:
        super().__init__(dims, num_classes)
        hidden = hidden or max(dims.values())
        self.values = ByModality({m: nn.Linear(d, hidden) for m, d in dims.items()})
        self.gates = ByModality({m: nn.Linear(sum(dims.values()), hidden) for m in dims})
        self.head = nn.Linear(hidden, num_classes)

    def fuse(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        everything = torch.cat(list(features.values()), dim=1)  # [B, sum D]
        return self.head(torch.stack([self._passed(m, everything, features, present) for m in self.dims]).sum(0))

    def _passed(self, m: str, everything: Tensor, features: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        """What of one modality passes its gate, [B, hidden]."""
        return torch.sigmoid(self.gates[m](everything)) * torch.tanh(self.values[m](features[m])) * present[m]

    def unimodal(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> dict[str, Tensor]:
        # as the base class has it; only the gate of the modality itself is asked, as nothing passes those of absent ones
        nothing = {m: torch.zeros_like(x) for m, x in features.items()}
        nobody = next(iter(features.values())).new_zeros(len(next(iter(features.values()))), self.head.in_features)
        silence = self.head(nobody) * (1 - 1 / len(self.dims))  # [B, C]
        alone = {m: torch.cat(list({**nothing, m: features[m]}.values()), dim=1) for m in self.dims}
        return {m: self.head(self._passed(m, alone[m], features, present)) - silence for m in self.dims}


class SqueezeExcitation(Fusion):
    """Squeeze-and-excitation gate (Hu et al., CVPR 2018) on the concatenated features, then one linear head.

    f = [f_1 .. f_M],  g = sigmoid(B relu(A f)),  logits = W (g * f) + b. One of the mid-fusion gates that
    Wang et al. (CVPR 2020) tried as a remedy.
    """

    def __init__(self, dims: Mapping[str, int], num_classes: int, reduction: int = 4) -> None:
        super().__init__(dims, num_classes)
        total = sum(dims.values())
        self.gate = nn.Sequential(
            nn.Linear(total, max(1, total // reduction)), nn.ReLU(), nn.Linear(max(1, total // reduction), total), nn.Sigmoid()
        )
        self.head = nn.Linear(total, num_classes)

    def fuse(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        f = torch.cat(list(features.values()), dim=1)
        return self.head(self.gate(f) * f)


class NonLocal(Fusion):
    """Non-local gate (Wang et al., CVPR 2018) across modalities: each attends to all, then one linear head.

    With tokens t_m = f_m:  t_m + O softmax_k(q_m . k_k / sqrt(D)) v_k, concatenated. All features need one size.
    """

    def __init__(self, dims: Mapping[str, int], num_classes: int) -> None:
        super().__init__(dims, num_classes)
        sizes = set(dims.values())
        if len(sizes) != 1:
            raise ValueError(f"dims: the non-local gate needs features of one size, found {dict(dims)}")
        size = sizes.pop()
        self.query, self.key, self.value, self.out = (nn.Linear(size, size, bias=False) for _ in range(4))
        self.head = nn.Linear(size * len(dims), num_classes)

    def fuse(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        tokens = torch.stack(list(features.values()), dim=1)  # [B, M, D]
        scores = self.query(tokens) @ self.key(tokens).transpose(1, 2) / tokens.shape[2] ** 0.5  # [B, M, M]
        mixed = torch.softmax(scores, dim=2) @ self.value(tokens)  # [B, M, D]
        return self.head((tokens + self.out(mixed)).flatten(1))
