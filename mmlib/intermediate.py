"""Intermediate fusion: modalities that meet between the layers of their encoders, before the fusion head.

=============  ==============================================================================================
"mmtm"         `MMTM`: hidden layers are rescaled by what all modalities found. The encoders interact.
"centralnet"   `CentralNet`: a network of its own listens to the hidden layers. The encoders do not interact.
=============  ==============================================================================================

An encoder takes part with its hidden layers, which a method ``stages`` gives (the library's encoders have it). Where encoders are
of unlike depth, the last hidden layers of all meet, as many as the shallowest has. A hidden layer is squeezed to the mean over
its positions: [B, C, H, W], or [B, ..., C] with the channels last, to [B, C].

**What is a modality's own.** The parameters of its encoder are its own, and methods that rescale gradients of modalities rescale
them all. What the modalities share (the layers of the exchange, the central network, the fusion head) belongs to none of them and
is never rescaled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlib.data.by_modality import ByModality
from mmlib.encoders import stages
from mmlib.fusion_base import Fusion
from mmlib.remembers import Remembers

KINDS = ("mmtm", "centralnet")
Make = Callable[[Mapping[str, int], int], Fusion]


def squeezed(x: Tensor) -> Tensor:
    """The mean of a hidden layer over its positions, [B, C]."""
    return x.mean((2, 3)) if x.ndim == 4 else x.mean(tuple(range(1, x.ndim - 1))) if x.ndim > 2 else x


class MMTM(Remembers, nn.Module):
    """Multimodal transfer modules (Joze et al., CVPR 2020, arXiv 1911.08670) between the hidden layers of the encoders.

    At each level, with hidden layers A_m and their means over positions S_m::

        Z = relu(W [S_1 .. S_M] + b)       E_m = W_m Z + b_m       A_m <- 2 sigmoid(E_m) * A_m

    The paper has two modalities; the form for more is its plain extension. (The ReLU is in the public code and not in the paper's
    equations.) A modality that a sample lacks has S_m = 0, and no say in the gates of the others.

    Args:
        channels: modality -> sizes of its hidden layers that take part, in order, as many for each.
        reduction: Z has the size of all S_m together divided by it; the paper's is 4.

    Raises:
        ValueError: unlike numbers of layers, or a reduction below 1.
    """

    def __init__(self, channels: Mapping[str, Sequence[int]], reduction: int = 4) -> None:
        super().__init__()
        if len({len(sizes) for sizes in channels.values()}) != 1 or not next(iter(channels.values())):
            found = {m: len(sizes) for m, sizes in channels.items()}
            raise ValueError(f"channels: expected one number of layers, 1 or more, for every modality, found {found}")
        if reduction < 1:
            raise ValueError(f"reduction: expected 1 or more, found {reduction}")
        self.levels = len(next(iter(channels.values())))
        self.squeeze, self.excite = nn.ModuleList(), nn.ModuleList()
        for level in range(self.levels):
            sizes = {m: c[level] for m, c in channels.items()}
            width = max(1, sum(sizes.values()) // reduction)
            self.squeeze.append(nn.Linear(sum(sizes.values()), width))
            self.excite.append(ByModality({m: nn.Linear(width, size) for m, size in sizes.items()}))

    def forward(
        self, encoders: Mapping[str, nn.Module], inputs: Mapping[str, Tensor], there: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Features {m: [B, D_m]} of the modalities in ``inputs``, with masks ``there`` {m: [B, 1]} for all modalities."""
        pieces = {m: stages(encoders[m]) for m in inputs}
        hidden = dict(inputs)
        for m, parts in pieces.items():
            for stage in parts[: len(parts) - self.levels]:
                hidden[m] = stage(hidden[m])
        for level in range(self.levels):
            hidden = self.exchange(level, hidden, there)
            hidden = {m: pieces[m][len(pieces[m]) - self.levels + level](x) for m, x in hidden.items()}
        return hidden

    def exchange(self, level: int, hidden: Mapping[str, Tensor], there: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Hidden layers {m: [B, ...]} of the modalities that were passed, rescaled."""
        means = []
        for m, excite in self.excite[level].items():  # type: ignore[operator]  # a ByModality
            absent = torch.zeros(len(next(iter(there.values()))), excite.out_features, device=next(iter(there.values())).device)
            means.append(squeezed(hidden[m]) * there[m] if m in hidden else absent)
        z = torch.relu(self.squeeze[level](torch.cat(means, dim=1)))
        gates = {m: 2 * torch.sigmoid(self.excite[level][m](z)) for m in hidden}  # type: ignore[index]
        return {m: x * (gates[m][:, :, None, None] if x.ndim == 4 else _along(gates[m], x)) for m, x in hidden.items()}


def _along(gate: Tensor, x: Tensor) -> Tensor:
    """[B, C] -> [B, 1, .., C], beside a hidden layer with the channels last."""
    return gate.view(len(gate), *[1] * (x.ndim - 2), gate.shape[1])


class LayeredEncoder(Remembers, nn.Module):
    """An encoder that also tells its hidden layers: [B, ...] -> [B, C_1 + .. + C_L + D], their means and then the features.

    Args:
        sizes: C_1 .. C_L, D; the last L hidden layers.
    """

    def __init__(self, encoder: nn.Module, sizes: Sequence[int]) -> None:
        super().__init__()
        self.encoder, self.dim, self.levels = encoder, sum(sizes), len(sizes) - 1

    def forward(self, x: Tensor) -> Tensor:
        told, parts = [], stages(self.encoder)
        for number, stage in enumerate(parts):
            x = stage(x)
            if number >= len(parts) - 1 - self.levels:
                told.append(squeezed(x))
        return torch.cat(told, dim=1)


class Top(nn.Module):
    """A linear head on the last D of a modality's numbers, its features: [B, C_1 + .. + C_L + D] -> [B, C]."""

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.dim, self.linear = dim, nn.Linear(dim, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x[:, -self.dim :])


class CentralNet(Fusion):
    """CentralNet (Vielzeuf et al., ECCV Workshops 2018, arXiv 1808.07275): a central network beside those of the modalities.

    At level i it takes a weighted sum of its own last layer and of those of the modalities, and a layer of its own follows; at
    the last level, that of the features, the head does::

        s_i = alpha_i c_(i-1) + sum_m alpha_m,i P_m,i h_m,i        c_i = relu(W_i s_i + b_i)        logits = W s_L + b

    The weights alpha are learned, and start as 1 / (M + 1). In the paper layers of one level are of one size, and are added as
    they are; here they are not, so P maps each (the mean over its positions) to ``width``. The paper trains the sum of the losses
    of the centre and of every modality's own network: that is `mmlib.methods.MultiLoss` with its default on this fusion.
    `mmlib.methods.Joint` trains the centre's loss alone. What a modality alone says is as in `mmlib.fusion.Fusion`, its
    hidden layers included.

    Args:
        dims: modality -> size of what its `LayeredEncoder` makes. sizes: modality -> sizes of its hidden layers and features.
        width: of the central network.

    Raises:
        ValueError: sizes that do not add up to ``dims``, or of unlike length.
    """

    def __init__(self, dims: Mapping[str, int], num_classes: int, sizes: Mapping[str, Sequence[int]], width: int = 64) -> None:
        super().__init__(dims, num_classes)
        if {m: sum(s) for m, s in sizes.items()} != self.dims or len({len(s) for s in sizes.values()}) != 1:
            raise ValueError(f"sizes: expected layers of {self.dims}, as many of each modality, found {dict(sizes)}")
        self.sizes = {m: list(s) for m, s in sizes.items()}
        levels = len(next(iter(self.sizes.values())))
        share = 1 / (len(dims) + 1)
        self.maps = ByModality({m: nn.ModuleList(nn.Linear(c, width, bias=False) for c in s) for m, s in self.sizes.items()})
        self.alpha = nn.Parameter(torch.full((levels, len(dims) + 1), share))  # of the modalities, and of the centre
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(levels - 1))
        self.head = nn.Linear(width, num_classes)

    def fuse(self, features: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
        layers = {m: features[m].split(self.sizes[m], dim=1) for m in self.dims}
        centre: Tensor | None = None
        for level, alpha in enumerate(self.alpha):
            mapped = [self.maps[m][level](layers[m][level]) for m in self.dims]  # type: ignore[index]  # M times [B, width]
            total = torch.stack([a * x for a, x in zip(alpha, mapped, strict=False)]).sum(0)
            total = total if centre is None else total + alpha[-1] * centre
            centre = F.relu(self.layers[level](total)) if level < len(self.layers) else total
        assert centre is not None
        return self.head(centre)

    def own_head(self, modality: str) -> nn.Module:
        return Top(self.sizes[modality][-1], self.num_classes)


def hidden_sizes(encoders: Mapping[str, nn.Module], examples: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """modality -> channels of its last hidden layers, as many as the encoder with the fewest has; by trying an example.

    Raises:
        TypeError: an encoder without pieces; the message names the modality.
    """
    found: dict[str, list[int]] = {}
    for m, encoder in encoders.items():
        training, x, sizes = encoder.training, examples[m][:1], []
        encoder.eval()
        try:
            with torch.no_grad():
                for stage in stages(encoder)[:-1]:
                    x = stage(x)
                    sizes.append(x.shape[1] if x.ndim == 4 else x.shape[-1])
        except TypeError as error:
            raise TypeError(f"encoders[{m!r}]: {error}") from None
        finally:
            encoder.train(training)
        found[m] = sizes
    levels = min(map(len, found.values()))
    return {m: sizes[len(sizes) - levels :] for m, sizes in found.items()}


def with_centre(
    encoders: Mapping[str, nn.Module], hidden: Mapping[str, Sequence[int]], features: Mapping[str, int]
) -> tuple[dict[str, nn.Module], Make]:
    """Encoders that tell their hidden layers, and the fusion that listens to them."""
    sizes = {m: [*hidden[m], features[m]] for m in encoders}
    return {m: LayeredEncoder(encoder, sizes[m]) for m, encoder in encoders.items()}, partial(CentralNet, sizes=sizes)
