"""MMPareto: where the joint and a modality's own loss pull its encoder apart, a step that both agree to."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlib.data.core import Batch, MultimodalData
from mmlib.methods.base import Method, unimodal_heads
from mmlib.methods.multi_loss import unimodal_losses
from mmlib.model import MultimodalClassifier, Output


def pareto_gradient(joint: Tensor, unimodal: Tensor, gamma: float = 1.5) -> Tensor:
    """One gradient of two (Wei and Hu, ICML 2024, arXiv 2405.17730)::

        g = 2 a joint + 2 (1 - a) unimodal,  then  gamma * g * max(1, |joint + unimodal| / |g|)

    a = 1/2 where the two agree (their product is 0 or more), so that g is their sum. Where they conflict, a is that of the
    shortest point between them, ``a = clip(unimodal . (unimodal - joint) / |joint - unimodal|^2, 0, 1)``, which has a product of
    0 or more with both: a step along it makes neither loss larger.

    The paper enlarges g so that the noise of the stochastic gradient is not reduced with its length. Here the length is that of
    the whole encoder's gradient; the public code does it tensor by tensor. Where the two are opposite, nothing is left: g is 0.

    Args:
        joint, unimodal: flat gradients [P]. gamma: greater than 0.

    Returns:
        [P], finite for finite gradients.

    Raises:
        ValueError: other shapes, or a gamma out of range.

    >>> pareto_gradient(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), gamma=1.0)
    tensor([1., 1.])
    >>> pareto_gradient(torch.tensor([1.0, 1.0]), torch.tensor([-1.0, 1.0]), gamma=1.0)
    tensor([0., 2.])
    """
    if joint.ndim != 1 or joint.shape != unimodal.shape:
        raise ValueError(f"joint, unimodal: expected the same shape [P], found {list(joint.shape)} and {list(unimodal.shape)}")
    _check_gamma(gamma)
    together = joint + unimodal
    product, difference = joint @ unimodal, joint - unimodal
    a = ((unimodal @ unimodal - product) / (difference @ difference).clamp(min=torch.finfo(joint.dtype).tiny)).clamp(0, 1)
    shortest = 2 * a * joint + 2 * (1 - a) * unimodal
    length = shortest.norm()
    left = length > 1e-6 * (joint.norm() + unimodal.norm())  # what is shorter is rounding, and has no direction
    enlarged = torch.where(left, (together.norm() / torch.where(left, length, 1.0)).clamp(min=1), 0.0)
    return gamma * torch.where(product >= 0, together, enlarged * shortest)


def _check_gamma(gamma: float) -> None:
    if not 0 < gamma < math.inf:
        raise ValueError(f"gamma: expected a number greater than 0, found {gamma}")


class MMPareto(Method):
    """Multi-loss (`mmlib.methods.multi_loss.MultiLoss`) in which each encoder's two gradients are united by `pareto_gradient`
    (Wei and Hu, ICML 2024).

    Every encoder has two: of the fused loss, and of the loss of its own modality (a linear head each, over the samples that
    have it). The heads, of no two losses, keep theirs. The paper has two modalities; as every encoder is treated alone, any
    number will do. Any fusion. A second backward pass through the encoders.

    Args:
        gamma: what every encoder's gradient is multiplied by, greater than 0; 1.5 in the paper's code.
        gradients: "pareto"; or "sum", which leaves the conflict as it is: with gamma 1 that is multi-loss, bit for bit, and
            otherwise tells what gamma alone does.

    Raises:
        ValueError: an argument out of range. At setup: a compiled model, which cannot be passed backwards twice; encoders that
            interact, since an encoder then has a part in the losses of other modalities.
    """

    name = "mmpareto"

    def __init__(self, gamma: float = 1.5, gradients: Literal["pareto", "sum"] = "pareto") -> None:
        super().__init__()
        _check_gamma(gamma)
        if gradients not in ("pareto", "sum"):
            raise ValueError(f"gradients: unknown {gradients!r}; known: pareto, sum")
        self.gamma, self.pareto = gamma, gradients == "pareto"

    def make_heads(self, model: MultimodalClassifier, seed: int) -> None:
        self.heads = unimodal_heads(model, seed)

    def setup(self, model: MultimodalClassifier, data: MultimodalData, seed: int) -> None:
        if model.exchange is not None:
            raise ValueError(f"model: MMPareto needs encoders that do not interact, found {type(model.exchange).__name__}")
        if model.compiled:
            raise ValueError("compile: MMPareto needs two backward passes, which a compiled model does not allow")
        super().setup(model, data, seed)

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: torch.optim.Optimizer) -> tuple[Tensor, Output]:
        output: Output = model(batch.inputs, batch.present)
        unimodal = {m: head(output.features[m]) for m, head in self.heads.items()}
        fused = F.cross_entropy(output.logits, batch.labels, self.class_weights)
        own = torch.stack(list(unimodal_losses(unimodal, batch, self.class_weights).values())).sum()
        optimizer.zero_grad()
        if self.pareto:
            self._unite(model, fused, own, [m for m in model.modalities if m in batch.inputs])
        else:
            (fused + own).backward()
            if self.gamma != 1 and (found := [p.grad for p in model.encoders.parameters() if p.grad is not None]):
                torch._foreach_mul_(found, self.gamma)
        optimizer.step()
        return (fused + own).detach(), Output(output.features, unimodal, output.logits)

    def _unite(self, model: MultimodalClassifier, fused: Tensor, own: Tensor, modalities: list[str]) -> None:
        """Both backward passes; afterwards every tensor has the gradient that the optimiser is to see."""
        fused.backward(retain_graph=True)
        trained = {m: [p for p in model.encoders[m].parameters() if p.grad is not None] for m in modalities}
        first = {m: [p.grad for p in parameters] for m, parameters in trained.items()}
        for p in model.encoders.parameters():
            p.grad = None
        own.backward()
        for m, parameters in trained.items():
            if not parameters:  # a frozen encoder
                continue
            second = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
            joint, unimodal = (torch.cat([g.flatten() for g in gs if g is not None]) for gs in (first[m], second))
            united = pareto_gradient(joint, unimodal, self.gamma).split([p.numel() for p in parameters])
            for p, g in zip(parameters, united, strict=True):
                p.grad = g.view_as(p)
