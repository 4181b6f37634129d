"""Ways to fuse the features of several modalities into class scores, and what each modality alone says.

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

from mmlib.data.by_modality import ByModality
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


#: name on the command line -> fusion
FUSIONS: dict[str, type[Fusion]] = {
    "concat": Concat,
    "sum": Sum,
    "film": FiLM,
    "gated": Gated,
    "squeeze_excitation": SqueezeExcitation,
    "non_local": NonLocal,
}
