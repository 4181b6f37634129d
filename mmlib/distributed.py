"""One training on several processes, as ``accelerate launch`` starts them: N processes compute what one would.

Methods compare modalities by what they see in a whole batch: scores, mean features, rankings, norms of gradients. The usual way,
which averages gradients of separate batches, gives each process statistics of its own part. Here the encoders, where the time
goes, share a batch: each process encodes its part of the samples. The features [B, D], which are small, are exchanged; fusion,
heads, losses and the method then see the whole batch, in every process alike. Gradients of the encoders' weights are summed over
the processes as they arrive, before any method sees them. So no method, also none of your own, needs to know about it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from mmlib import train
from mmlib.data.core import Splits
from mmlib.history import History
from mmlib.methods.base import Method
from mmlib.model import MultimodalClassifier
from mmlib.normalise import NormalisedEncoder
from mmlib.randomness import derive, seeded


def processes(cpu: bool = False) -> Any:
    """`accelerate.PartialState`: how many processes there are, which one this is, and its device.

    Args:
        cpu: not on a GPU, also where there is one.

    Raises:
        ModuleNotFoundError: Accelerate is not installed.
    """
    try:
        from accelerate import PartialState  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "accelerate is not installed, which starts several processes; pip install 'mmlib[scale]' brings it"
        ) from None
    return PartialState(**({"cpu": True} if cpu else {}))


def fit(
    model: MultimodalClassifier,
    splits: Splits,
    method: Method | None = None,
    *,
    cpu: bool = False,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    **options: Any,
) -> History:
    """`mmlib.fit` on all processes that ``accelerate launch`` started: each calls this with the same arguments.

    ``batch_size`` is that of all processes together, and the numbers are those of one process, but for the order of sums; with
    dropout inside an encoder the masks are other ones. Every process ends with the same weights. Checkpoints are written by the
    first process, are those of `mmlib.fit`, and are resumed by any number of processes.

    Batch normalisation inside encoders takes the statistics of all processes. Encoders that interact (``intermediate``) are
    computed whole by every process: right, and no faster. Streamed data are read whole by every process.

    Args:
        cpu: as in `processes`. options: of `mmlib.fit`, without ``device``.

    Raises:
        ValueError: ``compile``, which cannot see through the exchange; a subclass of batch normalisation that is not known; and
            whatever `mmlib.fit` refuses. ModuleNotFoundError: Accelerate is not installed.
    """
    state = processes(cpu)
    own = {"device": state.device, "checkpoint": checkpoint, "resume": resume, "progress": progress and state.is_main_process}
    if state.num_processes == 1:
        return train.fit(model, splits, method, **own, **options)
    if options.get("compile"):
        raise ValueError("compile: expected False on several processes, whose exchange torch.compile cannot see through")
    with shared(model.to(state.device)), _checkpoint(checkpoint, resume) as path:
        own |= {"checkpoint": path, "resume": resume or dist.get_rank() > 0}
        return train.fit(model, splits, method, **own, **options)


@contextmanager
def shared(model: MultimodalClassifier) -> Iterator[None]:
    """Within it the processes of `torch.distributed` encode every batch together, in training and in evaluation.

    Raises:
        ValueError: a subclass of batch normalisation in an encoder, whose statistics cannot be those of all processes.
    """
    for tensor in [*model.parameters(), *model.buffers()]:  # an encoder that its owner drew without a seed
        dist.broadcast(tensor.data, 0)
    norms: list[nn.Module] = []
    encoders = [] if model.exchange is not None else [_inner(encoder) for encoder in model.encoders.values()]
    for part in [part for encoder in encoders for part in encoder.modules()]:
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            if type(part) not in SHARED:
                known = ", ".join(sorted(kind.__name__ for kind in SHARED))
                raise ValueError(f"encoders: {type(part).__name__} cannot be shared by several processes; known: {known}")
            norms.append(part)
    for encoder in encoders:
        share = encoder.__dict__["forward"] = _Share(encoder)
        for part in encoder.modules():
            if part in norms:
                part.__class__, part.__dict__["share"] = SHARED[type(part)], share
    try:
        yield
    finally:
        for encoder in encoders:
            del encoder.__dict__["forward"]
        for part in norms:
            part.__class__ = type(part).__mro__[2]
            del part.__dict__["share"]


def _inner(encoder: nn.Module) -> nn.Module:
    """What is to be shared of an encoder: not a normalisation of its features, which sees the whole batch as it is."""
    return encoder.encoder if isinstance(encoder, NormalisedEncoder) else encoder


@contextmanager
def _checkpoint(path: str | Path | None, resume: bool) -> Iterator[Path | None]:
    """The file that the first process reads and writes; for the others a copy as it is now, as it may be on no disk of theirs.

    Raises:
        FileExistsError: it is there, and ``resume`` is not set; in all processes.
    """
    if path is None:
        yield None
        return
    file, first = Path(path), dist.get_rank() == 0
    told: list[Any] = [(file.exists(), file.read_bytes() if resume and file.is_file() else None)] if first else [None]
    dist.broadcast_object_list(told)
    there, content = told[0]
    if there and not resume:
        raise FileExistsError(f"checkpoint: {file} exists already; pass resume=True to go on from it, or name another file")
    if first:
        yield file
        return
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / file.name
        if content is not None:
            own.write_bytes(content)
        yield own


class _Share:
    """Stands in the place of an encoder's ``forward``: encodes the samples of this process, and exchanges features. The weights
    keep their names, and a copy of the encoder has a copy of it."""

    def __init__(self, encoder: nn.Module) -> None:
        self.encoder, self.rank, self.world = encoder, dist.get_rank(), dist.get_world_size()
        self.sizes: list[int] = []  #: samples of each process, of the batch that is being encoded; none: each encodes all of it
        self.drawn = (0, 0)  #: seed of the epoch, batches of it
        self.inside = False

    def __call__(self, x: Tensor) -> Tensor:
        """[B, ...] -> features [B, D] of all samples."""
        if self.inside:
            features: Tensor = type(self.encoder).forward(self.encoder, x)
            return features
        parts = x.tensor_split(self.world)
        self.sizes = [len(part) for part in parts] if len(x) >= self.world else []
        learning = torch.is_grad_enabled()
        weights: dict[str, Tensor] = {n: w for n, w in self.encoder.named_parameters() if w.requires_grad and learning}
        if weights:
            weights = dict(zip(weights, _Copied.apply(*weights.values()), strict=True))  # type: ignore[no-untyped-call]
        with self._draws(x.device) if self.encoder.training else nullcontext():
            self.inside = True
            try:
                own = functional_call(self.encoder, weights, (parts[self.rank] if self.sizes else x,))
            finally:
                self.inside = False
        whole: Tensor = _Gathered.apply(own.float(), self.sizes, self.rank, self.world)  # type: ignore[no-untyped-call]
        return whole

    def _draws(self, device: torch.device) -> AbstractContextManager[None]:
        """Of dropout: other masks for other samples; what is drawn afterwards is the same for all."""
        epoch = torch.initial_seed()
        self.drawn = (epoch, self.drawn[1] + 1 if self.drawn[0] == epoch else 0)
        return seeded(derive(*self.drawn, self.rank if self.sizes else 0), [device])


def _sum(gradient: Tensor) -> Tensor:
    """Over the processes."""
    total = gradient.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


class _Copied(torch.autograd.Function):
    """The weights of an encoder, of whose gradients each process finds a part: their sum, exchanged in one message."""

    @staticmethod
    def forward(ctx: Any, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        return tuple(w.view_as(w) for w in weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        found = [g for g in gradients if g is not None]
        flat = torch.cat([g.flatten() for g in found])
        dist.all_reduce(flat)
        parts = iter(flat.split([g.numel() for g in found]))
        return tuple(None if g is None else next(parts).view(g.shape) for g in gradients)


class _Gathered(torch.autograd.Function):
    """Features of all processes, one below the other. What follows is the same in all of them, and so is its gradient: of it each
    takes the rows of its own samples; of a batch that each has encoded whole, its share of the sum."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, sizes: list[int], rank: int, world: int) -> Tensor:
        ctx.sizes, ctx.rank, ctx.world = sizes, rank, world
        if not sizes:
            return own.view_as(own)
        padded = F.pad(own, (0, 0) * (own.ndim - 1) + (0, sizes[0] - len(own)))  # the first process has the most
        found = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(found, padded.contiguous())
        return torch.cat([part[:size] for part, size in zip(found, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (whole,) = gradients
        return (whole.split(ctx.sizes)[ctx.rank] if ctx.sizes else whole / ctx.world), None, None, None


class _Summed(torch.autograd.Function):
    """A sum over the processes, each of which goes on with it by itself."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        return _sum(own)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _sum(gradients[0])


class _OverAll:
    """Batch normalisation by the statistics of all processes; torch has it for GPUs only (`torch.nn.SyncBatchNorm`)."""

    def forward(self: Any, x: Tensor) -> Tensor:
        if not self.training or not self.share.sizes:
            alone: Tensor = super().forward(x)  # type: ignore[misc]
            return alone
        self._check_input_dim(x)
        f, axes = x.float(), [0, *range(2, x.ndim)]
        sizes, rank = self.share.sizes, self.share.rank
        count = f.numel() // f.shape[1] // sizes[rank] * sum(sizes)  # known without asking the others; a clip has several rows
        shape = (1, -1, *[1] * (x.ndim - 2))
        mean = _Summed.apply(f.sum(axes)) / count  # type: ignore[no-untyped-call]
        centred = f - mean.view(shape)
        variance = _Summed.apply(centred.square().sum(axes)) / count  # type: ignore[no-untyped-call]
        if self.track_running_stats:
            self.num_batches_tracked.add_(1)
            momentum = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
            with torch.no_grad():
                self.running_mean.lerp_(mean.detach(), momentum)
                self.running_var.lerp_(variance.detach() * (count / max(1, count - 1)), momentum)
        y = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(x.dtype)


class _Norm1d(_OverAll, nn.BatchNorm1d):
    pass


class _Norm2d(_OverAll, nn.BatchNorm2d):
    pass


class _Norm3d(_OverAll, nn.BatchNorm3d):
    pass


SHARED: dict[type[nn.Module], type[nn.Module]] = {kind.__mro__[2]: kind for kind in (_Norm1d, _Norm2d, _Norm3d)}
