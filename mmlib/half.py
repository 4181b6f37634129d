"""Training in float16: gradients kept within its range on their way through the encoders."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class _Enlarged(torch.autograd.Function):
    """The features as they are; their gradient times the scale."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(scale)
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (scale,) = ctx.saved_tensors
        return gradients[0] * scale, None


class GradientScale(nn.Module):
    """A factor on gradients while they are float16, which holds nothing below 6e-8 and nothing above 65504.

    Losses, heads and methods work in float32; float16 are the encoders alone. So the factor stands between the features and
    the encoders: a gradient is multiplied as it enters an encoder, and divided again, in float32, as it arrives at a weight,
    before any method sees it. As with `torch.amp.GradScaler` the factor doubles after ``interval`` steps without an overflow,
    and is halved after one with. Unlike there, a step is not left out: a tensor whose gradient overflowed gets zeros for
    that step, the others are updated. All of it stays on the device.

    Args:
        scale: of the first step. interval: steps.
    """

    scale: Tensor
    calm: Tensor
    overflowed: Tensor

    def __init__(self, scale: float = 2.0**16, interval: int = 2000) -> None:
        super().__init__()
        self.interval = interval
        self.register_buffer("scale", torch.tensor(scale))
        self.register_buffer("calm", torch.tensor(0.0))  # steps without an overflow
        self.register_buffer("overflowed", torch.tensor(0.0))  # 1 where one was seen in this step
        self.watching: list[Any] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> GradientScale:
        """For a copy of the model, whose weights are not watched yet."""
        made = GradientScale(1.0, self.interval).to(self.scale.device)
        made.load_state_dict(self.state_dict())
        return made

    def features(self, x: Tensor) -> Tensor:
        """The same features [B, D], whose gradient will be multiplied."""
        enlarged: Tensor = _Enlarged.apply(x, self.scale)  # type: ignore[no-untyped-call]  # of torch
        return enlarged

    def watch(self, weights: Iterable[Tensor]) -> None:
        """Divide the gradients of these weights from now on, until `release`; a second call changes nothing."""
        if not self.watching:
            self.watching = [w.register_hook(self._reduced) for w in weights if w.requires_grad]

    def _reduced(self, gradient: Tensor) -> Tensor:
        fine = gradient.isfinite().all()
        self.overflowed.copy_(torch.where(fine, self.overflowed, 1.0))
        return torch.where(fine, gradient / self.scale, 0.0)

    @torch.no_grad()
    def update(self) -> None:
        """After a training step (not after one of an optimiser, of which a method may take several on what was computed once)."""
        self.calm.copy_(torch.where(self.overflowed > 0, 0.0, self.calm + 1))
        grown = torch.where(self.calm >= self.interval, self.scale * 2, self.scale)
        self.calm.copy_(torch.where(self.calm >= self.interval, 0.0, self.calm))
        self.scale.copy_(torch.where(self.overflowed > 0, self.scale / 2, grown).clamp(1.0, 2.0**24))
        self.overflowed.zero_()

    def release(self) -> None:
        for handle in self.watching:
            handle.remove()
        self.watching = []
