"""Small encoders, one per modality, sized for a CPU. Each maps [B, ...] to features [B, dim].

Any `torch.nn.Module` with an attribute ``dim`` can stand in their place: larger backbones come from libraries.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Integral, Real

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlib.encoders_frames import FrameEncoder
from mmlib.remembers import Remembers

#: a piece of an encoder's forward pass
Stage = Callable[[Tensor], Tensor]


def _positive(**sizes: int) -> None:
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, Integral):
            raise TypeError(f"{name}: expected a whole number, found {size!r}")
        if size < 1:
            raise ValueError(f"{name}: expected 1 or more, found {size}")


def _check_dropout(dropout: float) -> None:
    if isinstance(dropout, bool) or not isinstance(dropout, Real):
        raise TypeError(f"dropout: expected a number, found {dropout!r}")
    if not 0 <= dropout < 1:  # at 1 nothing passes, and nothing is learned
        raise ValueError(f"dropout: expected a share from 0 to below 1, found {dropout}")


class MLPEncoder(Remembers, nn.Module):
    """Flat vectors: [B, ...] with ``in_dim`` numbers per sample -> [B, dim]."""

    def __init__(self, in_dim: int, dim: int = 64, hidden: Sequence[int] = (64,), dropout: float = 0.0) -> None:
        super().__init__()
        _positive(in_dim=in_dim, dim=dim, **{f"hidden[{i}]": h for i, h in enumerate(hidden)})
        _check_dropout(dropout)
        self.dim = dim
        sizes = [in_dim, *hidden, dim]
        layers: list[nn.Module] = [nn.Flatten()]
        for a, b in itertools.pairwise(sizes):
            layers += [nn.Linear(a, b), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # [B, dim]

    def stages(self) -> list[Stage]:
        """`forward` in pieces, for `mmlib.intermediate`: each hidden layer, and what makes features of the last of them."""
        ends = [1, *range(4, len(self.layers) + 1, 3)]  # linear, ReLU, dropout; the first also flattens
        return [self.layers[0 if i == 0 else a : b] for i, (a, b) in enumerate(itertools.pairwise(ends))]


class ConvEncoder(Remembers, nn.Module):
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
        _check_dropout(dropout)
        self.dim = dim
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(zip([channels, *widths], widths, strict=False)):
            layers += [nn.Conv2d(a, b, 3, padding=1, stride=2 if i else stride), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.AdaptiveMaxPool2d(grid), nn.Flatten(), nn.Dropout(dropout))
        # channels last in memory: a step takes three quarters of the time on a CPU, most of it saved in the pooling
        self.layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        self.out = nn.Linear(widths[-1] * grid * grid, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self._flat(self.layers(x))

    def _flat(self, x: Tensor) -> Tensor:
        return torch.relu(self.out(x))  # [B, dim]

    def stages(self) -> list[Stage]:
        """`forward` in pieces, as of `MLPEncoder`; what is between them is [B, channels, H, W]."""
        convolutions, rest = len(self.layers) - 3, self.layers[-3:]
        return [*(self.layers[i : i + 2] for i in range(0, convolutions, 2)), lambda x: self._flat(rest(x))]


class SequenceEncoder(Remembers, nn.Module):
    """Sequences: token ids [B, L] (0 is padding), or vectors [B, L, in_dim] -> [B, dim].

    An embedding (or a linear map), one convolution over three steps, and the maximum over time: a word is
    recognised by the letter triples in it, wherever they stand.
    """

    def __init__(self, vocabulary: int | None = None, in_dim: int | None = None, dim: int = 64, dropout: float = 0.0) -> None:
        super().__init__()
        if (vocabulary is None) == (in_dim is None):
            raise ValueError("SequenceEncoder: give either vocabulary (token ids) or in_dim (vectors)")
        _positive(dim=dim, **({"in_dim": in_dim or 0} if vocabulary is None else {"vocabulary": vocabulary}))
        _check_dropout(dropout)
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
        return self._mixed(self._embedded(x))

    def stages(self) -> list[Stage]:
        """`forward` in pieces, as of `MLPEncoder`; what is between them is [B, L, dim]."""
        return [self._embedded, self._mixed]

    def _mixed(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (0, 0, 1, 1))  # [B, L + 2, dim]
        triples = torch.cat([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], dim=2)  # [B, L, 3 dim]
        # the convolution as one matrix product: on sequences this short half the time of nn.Conv1d's own
        steps = F.linear(triples, self.mix.weight.transpose(1, 2).flatten(1), self.mix.bias)  # [B, L, dim]
        return self.dropout(torch.relu(steps.amax(1)))  # [B, dim]

    def _embedded(self, x: Tensor) -> Tensor:
        try:
            return self.embed(x)  # [B, L, dim]
        except IndexError:  # on a CPU; what comes from `mmlib.from_arrays` is within bounds
            known, low, high = len(self.embed.weight), int(x.min()), int(x.max())  # type: ignore[arg-type]
            raise ValueError(f"token ids: expected ids from 0 to {known - 1}, found {low} to {high}") from None


#: steps from which on a sequence of vectors is taken for a signal
LONG = 16


def reading(example: Tensor) -> str:
    """How `default_encoder` reads a modality: its kind and the encoder, by the type and the number of axes of ``example``.

    Raises:
        TypeError, ValueError: a type or a shape that no encoder here takes.

    >>> reading(torch.zeros(5, 128, 6))
    'a sequence of 128 steps of 6 numbers (three axes, [N, L, D]): TemporalEncoder'
    """
    size = list(example.shape[1:])
    if not example.is_floating_point():
        if example.dtype not in (torch.int64, torch.int32) or example.ndim != 2:
            raise TypeError(
                f"no small encoder for samples {size} of {example.dtype}: expected floating point, or int64 [N, L] for token ids "
                "(mmlib.from_arrays converts)"
            )
        return f"{size[0]} token ids, 0 for nothing (whole numbers, [N, L]): SequenceEncoder"
    if example.ndim == 2:
        return f"a vector of {size[0]} numbers (two axes, [N, D]): MLPEncoder"
    if example.ndim == 3:
        kind = "TemporalEncoder" if size[0] >= LONG else "SequenceEncoder"
        return f"a sequence of {size[0]} steps of {size[1]} numbers (three axes, [N, L, D]): {kind}"
    if example.ndim == 4:
        return f"a picture of {size[1]} x {size[2]} with {size[0]} channels (four axes, [N, C, H, W]): ConvEncoder"
    if example.ndim == 5:
        return f"a clip of {size[0]} frames, {size[2]} x {size[3]}, {size[1]} channels (five axes, [N, T, C, H, W]): FrameEncoder"
    raise ValueError(f"no small encoder for samples of shape {size}: pass encoders={{modality: module}}")


class TemporalEncoder(Remembers, nn.Module):
    """Signals over time, such as windows of a sensor: [B, T, channels] -> [B, dim].

    Convolutions over time, each of which halves the number of steps and is followed by ReLU. At the end the mean and the
    maximum over time are kept of each filter: how much of it there was, and how strong it got, wherever in the window.

    Args:
        widths: filters of each convolution. kernel: steps that each of them sees, odd; three of 5 see 29 steps of the signal.
    """

    def __init__(
        self, channels: int, dim: int = 64, widths: Sequence[int] = (16, 32, 64), kernel: int = 5, dropout: float = 0.0
    ) -> None:
        super().__init__()
        _positive(channels=channels, dim=dim, kernel=kernel, **{f"widths[{i}]": w for i, w in enumerate(widths)})
        _check_dropout(dropout)
        if not widths or kernel % 2 == 0:
            raise ValueError(f"TemporalEncoder: expected widths and an odd kernel, found widths {list(widths)}, kernel {kernel}")
        self.dim, self.kernel = dim, kernel
        # a convolution is a linear map of every stretch of ``kernel`` steps: on few channels two thirds of nn.Conv1d's time
        self.filters = nn.ModuleList(nn.Linear(kernel * a, b) for a, b in itertools.pairwise([channels, *widths]))
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(2 * widths[-1], dim)

    def forward(self, x: Tensor) -> Tensor:
        for filters in self.filters:
            x = self._filtered(filters, x)
        return self._summed(x)

    def stages(self) -> list[Stage]:
        """`forward` in pieces, as of `MLPEncoder`; what is between them is [B, T, channels]."""
        return [*(partial(self._filtered, filters) for filters in self.filters), self._summed]

    def _filtered(self, filters: nn.Module, x: Tensor) -> Tensor:
        last = 2 * ((x.shape[1] + 1) // 2) - 1  # every second step is the middle of a stretch
        padded = F.pad(x, (0, 0, self.kernel // 2, self.kernel // 2))
        stretches = torch.cat([padded[:, i : i + last : 2] for i in range(self.kernel)], dim=2)  # [B, T / 2, kernel C]
        return torch.relu(filters(stretches))

    def _summed(self, x: Tensor) -> Tensor:
        return torch.relu(self.out(self.dropout(torch.cat([x.mean(1), x.amax(1)], dim=1))))  # [B, dim]


def check_sizes(dim: int, width: float, dropout: float) -> None:
    """Refuse options of `default_encoder` that are out of range.

    Raises:
        TypeError, ValueError: the message names the option.
    """
    _positive(dim=dim)
    _check_dropout(dropout)
    if isinstance(width, bool) or not isinstance(width, Real) or not 0 < width < float("inf"):
        raise ValueError(f"width: expected a number above 0, found {width!r}")


def default_encoder(example: Tensor, dim: int = 64, width: float = 1.0, dropout: float = 0.0, vocabulary: int = 128) -> nn.Module:
    """The encoder that fits one modality, chosen by the type and shape of ``example`` [N, ...]; `reading` says which, and why.

    Integers [N, L]: token ids. Floats [N, D]: a vector; [N, L, D]: a sequence; [N, C, H, W]: a picture; [N, T, C, H, W]: a clip.
    `mmlib.from_arrays` makes numbers into floats unless they are declared to be tokens.
    From `LONG` steps on a sequence of floats is taken for a signal, as of a sensor: what it says lies in shapes longer than the
    three steps that `SequenceEncoder` sees at a time, so it gets a `TemporalEncoder`. Token ids never do, however many.

    Args:
        dim: size of the features.
        width: multiplies hidden sizes, above 0; 0.5 is a smaller network, 2 a larger one.
        dropout: share of the features that is dropped in training, from 0 to below 1.
        vocabulary: at least this many token ids are known.

    Raises:
        TypeError, ValueError: a type or shape that none of them takes, or an option out of range.
    """
    reading(example)
    check_sizes(dim, width, dropout)
    _positive(vocabulary=vocabulary)
    hidden = max(1, round(64 * width))
    if not example.is_floating_point():
        if int(example.min()) < 0:
            raise ValueError(f"token ids: expected 0 or more, found {int(example.min())}")
        return SequenceEncoder(vocabulary=max(vocabulary, int(example.max()) + 1), dim=dim, dropout=dropout)
    if example.ndim == 2:
        return MLPEncoder(example.shape[1], dim, (hidden,), dropout)
    if example.ndim == 3 and example.shape[1] >= LONG:
        return TemporalEncoder(example.shape[2], dim, (hidden // 4 or 1, hidden // 2 or 1, hidden), dropout=dropout)
    if example.ndim == 3:
        return SequenceEncoder(in_dim=example.shape[2], dim=dim, dropout=dropout)
    if example.ndim == 5:
        return FrameEncoder(default_encoder(example[:, 0], dim, width, dropout))
    stride = 2 if min(example.shape[2:]) >= 24 else 1
    return ConvEncoder(example.shape[1], dim, (hidden // 4 or 1, hidden // 2 or 1), stride=stride, dropout=dropout)


def stages(encoder: nn.Module) -> list[Stage]:
    """The forward pass of an encoder in pieces, hidden layers first.

    Raises:
        TypeError: an encoder without a method ``stages``, or with nothing before its last piece.
    """
    make = getattr(encoder, "stages", None)
    found = make() if callable(make) else []
    if len(found) < 2:
        raise TypeError(
            f"{type(encoder).__name__}: intermediate fusion needs a method stages() that returns the pieces of the forward pass, "
            f"two or more, hidden layers first; found {len(found)}"
        )
    return list(found)


def encoder_for(
    modality: str, given: nn.Module | Callable[[], nn.Module] | None, example: Tensor, dim: int, width: float, dropout: float,
    vocabulary: int,
) -> nn.Module:  # fmt: skip
    """The encoder that a user brought, or that a user's function makes; without one `default_encoder`.

    Raises:
        TypeError, ValueError: something that is no encoder, or a shape without a default one; the message names the modality.
    """
    if given is None:
        try:
            reading(example)
        except (TypeError, ValueError) as error:
            raise type(error)(f"encoders[{modality!r}]: {error}") from None
        return default_encoder(example, dim, width, dropout, vocabulary)
    encoder = given if isinstance(given, nn.Module) else given() if callable(given) else given
    if not isinstance(encoder, nn.Module):
        raise TypeError(
            f"encoders[{modality!r}]: expected a torch.nn.Module, or a function without arguments that makes one, "
            f"found {type(encoder).__name__}"
        )
    return encoder


def feature_sizes(encoders: Mapping[str, nn.Module], dims: Mapping[str, int] | None = None) -> dict[str, int]:
    """modality -> D: from ``dims``, else from the encoder's attribute ``dim``.

    Raises:
        ValueError: neither says it.
    """
    sizes: dict[str, int] = {}
    for m, encoder in encoders.items():
        size = (dims or {}).get(m, getattr(encoder, "dim", None))
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(
                f"encoders[{m!r}]: {type(encoder).__name__} has no attribute dim, the size of its features; "
                f"pass dims={{{m!r}: size}}"
            )
        sizes[m] = size
    return sizes
