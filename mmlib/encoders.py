"""Small encoders, one per modality, sized for a CPU. Each maps [B, ...] to features [B, dim].

Any `torch.nn.Module` with an attribute ``dim`` can stand in their place: larger backbones come from libraries.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _positive(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}: expected 1 or more, found {size}")


class MLPEncoder(nn.Module):
    """Flat vectors: [B, ...] with ``in_dim`` numbers per sample -> [B, dim]."""

    def __init__(self, in_dim: int, dim: int = 64, hidden: Sequence[int] = (64,), dropout: float = 0.0) -> None:
        super().__init__()
        _positive(in_dim=in_dim, dim=dim, **{f"hidden[{i}]": h for i, h in enumerate(hidden)})
        self.dim = dim
        sizes = [in_dim, *hidden, dim]
        layers: list[nn.Module] = [nn.Flatten()]
        for a, b in itertools.pairwise(sizes):
            layers += [nn.Linear(a, b), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # [B, dim]


class ConvEncoder(nn.Module):
    """Pictures and spectrograms: [B, channels, H, W] -> [B, dim].

    Convolutions of size 3, each followed by ReLU; all but the first halve the size. The maximum over each of
    ``grid x grid`` cells is kept at the end, so that the position of a stroke or a formant is not lost.

    Args:
        widths: channels of each convolution. stride: of the first one; 2 makes large inputs four times cheaper.
    """

    def __init__(
        self,
        channels: int = 1,
        dim: int = 64,
        widths: Sequence[int] = (16, 32),
        grid: int = 4,
        stride: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        _positive(channels=channels, dim=dim, grid=grid, stride=stride, **{f"widths[{i}]": w for i, w in enumerate(widths)})
        self.dim = dim
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(zip([channels, *widths], widths, strict=False)):
            layers += [nn.Conv2d(a, b, 3, padding=1, stride=2 if i else stride), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.AdaptiveMaxPool2d(grid), nn.Flatten(), nn.Dropout(dropout))
        # channels last in memory: a step takes three quarters of the time on a CPU, most of it saved in the pooling
        self.layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        self.out = nn.Linear(widths[-1] * grid * grid, dim)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.out(self.layers(x)))  # [B, dim]


class SequenceEncoder(nn.Module):
    """Sequences: token ids [B, L] (0 is padding), or vectors [B, L, in_dim] -> [B, dim].

    An embedding (or a linear map), one convolution over three steps, and the maximum over time: a word is
    recognised by the letter triples in it, wherever they stand.
    """

    def __init__(self, vocabulary: int | None = None, in_dim: int | None = None, dim: int = 64, dropout: float = 0.0) -> None:
        super().__init__()
        if (vocabulary is None) == (in_dim is None):
            raise ValueError("SequenceEncoder: give either vocabulary (token ids) or in_dim (vectors)")
        self.dim = dim
        self.embed: nn.Module
        if vocabulary is not None:
            self.embed = nn.Embedding(vocabulary, dim, padding_idx=0)
        else:
            assert in_dim is not None
            self.embed = nn.Linear(in_dim, dim)
        self.mix = nn.Conv1d(dim, dim, 3, padding=1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(self.embed(x), (0, 0, 1, 1))  # [B, L + 2, dim]
        triples = torch.cat([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], dim=2)  # [B, L, 3 dim]
        # the convolution as one matrix product: on sequences this short half the time of nn.Conv1d's own
        steps = F.linear(triples, self.mix.weight.transpose(1, 2).flatten(1), self.mix.bias)  # [B, L, dim]
        return self.dropout(torch.relu(steps.amax(1)))  # [B, dim]


def default_encoder(example: Tensor, dim: int = 64, width: float = 1.0, dropout: float = 0.0, vocabulary: int = 128) -> nn.Module:
    """The encoder that fits one modality, chosen by the type and shape of ``example`` [N, ...].

    Whole numbers [N, L]: token ids. Floats [N, D]: a vector; [N, L, D]: a sequence; [N, C, H, W]: a picture.

    Args:
        dim: size of the features.
        width: multiplies hidden sizes; 0.5 is a smaller network, 2 a larger one.
        vocabulary: at least this many token ids are known.

    Raises:
        ValueError: a shape that none of them takes.
    """
    hidden = max(1, round(64 * width))
    if not example.is_floating_point() and example.ndim == 2:
        return SequenceEncoder(vocabulary=max(vocabulary, int(example.max()) + 1), dim=dim, dropout=dropout)
    if example.ndim == 2:
        return MLPEncoder(example.shape[1], dim, (hidden,), dropout)
    if example.ndim == 3:
        return SequenceEncoder(in_dim=example.shape[2], dim=dim, dropout=dropout)
    if example.ndim == 4:
        stride = 2 if min(example.shape[2:]) >= 24 else 1
        return ConvEncoder(example.shape[1], dim, (hidden // 4 or 1, hidden // 2 or 1), stride=stride, dropout=dropout)
    raise ValueError(f"no small encoder for samples of shape {list(example.shape[1:])}: pass encoders={{modality: module}}")
