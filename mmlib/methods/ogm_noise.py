"""The noise of OGM-GE: as released, and as the paper writes it.

Scaling a gradient by k < 1 scales its noise as well, and the noise of SGD is thought to help it generalise. So the
paper adds noise h ~ N(0, Sigma), where Sigma is the covariance of the minibatch gradient before it was scaled. The
released code draws h with one standard deviation for a whole tensor: that of the entries of its gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlib.data.core import Batch
from mmlib.model import MultimodalClassifier


def gradient_noise(gradient: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """The GE term for one tensor as released (Peng et al., CVPR 2022): N(0, s^2) in every entry, s the standard deviation
    of the entries of ``gradient``, which is to be the gradient before it is scaled.

    Args:
        gradient: any shape. generator: on the gradient's device; torch's global one without it.

    Returns:
        noise of the gradient's shape and unit. Zero for a single entry, which has no standard deviation.

    >>> gradient_noise(torch.tensor([3.0, 3.0, 3.0])).abs()
    tensor([0., 0., 0.])
    """
    return gradient_noises([gradient], generator)[0]


def gradient_noises(gradients: Sequence[Tensor], generator: torch.Generator | None = None) -> list[Tensor]:
    """`gradient_noise` of several tensors, each with a standard deviation of its own, drawn in one go."""
    sizes = [g.numel() for g in gradients]
    drawn = gradients[0].new_empty(sum(sizes)).normal_(generator=generator).split(sizes)
    spread = [g.std() if n > 1 else g.new_zeros(()) for g, n in zip(gradients, sizes, strict=True)]
    return [(h * s).view(g.shape) for h, s, g in zip(drawn, spread, gradients, strict=True)]


def covariance_noise(
    losses: Tensor, parameters: Sequence[Tensor], generator: torch.Generator | None = None
) -> list[Tensor | None]:
    """The GE term as the paper writes it (Peng et al., CVPR 2022): one draw from N(0, Sigma), Sigma the covariance of the
    minibatch gradient, with all its entries.

    With g_i the gradient of sample i, Sigma is estimated by sum_i (g_i - g)(g_i - g)^T / (B (B - 1)). No matrix is needed
    to draw from it: with e_i ~ N(0, 1), and their mean e,

        h = sum_i e_i (g_i - g) / sqrt(B (B - 1)) = gradient of sum_i (e_i - e) loss_i / sqrt(B (B - 1)),

    so one more backward pass through the same graph does, for a model of any size. Samples must not see each other
    (no batch normalisation), and a compiled model cannot be passed backwards twice. `sample_gradients` gives the
    g_i themselves; the tests hold the two against each other.

    Args:
        losses: [B], one per sample, with their graph, which is kept.
        parameters: what to draw noise for. generator: on their device; torch's global one without it.

    Returns:
        noise of each parameter's shape; None for a parameter that the losses do not depend on. Zero for one sample.
    """
    size = len(losses)
    draw = torch.empty_like(losses).normal_(generator=generator)
    weights = (draw - draw.mean()) / max(1, size * (size - 1)) ** 0.5
    return list(torch.autograd.grad(losses @ weights, parameters, retain_graph=True, allow_unused=True))


def sample_gradients(model: MultimodalClassifier, batch: Batch) -> dict[str, Tensor]:
    """The gradient of every sample's own loss by every parameter, with `torch.func`: for small models.

    Dropout is off, as in evaluation, so that what differs is the sample alone.

    Returns:
        name of the parameter -> ``[B, *shape]``; their mean over B is the gradient of the minibatch.
    """
    training = model.training
    model.eval()
    state = {n: p.detach() for n, p in model.named_parameters()}
    rest = dict(model.named_buffers())

    def loss(parameters: dict[str, Tensor], inputs: dict[str, Tensor], label: Tensor, present: dict[str, Tensor]) -> Tensor:
        one = {m: x[None] for m, x in inputs.items()}
        there = {m: p[None] for m, p in present.items()} or None
        output = torch.func.functional_call(model, (parameters, rest), (one, there))
        return F.cross_entropy(output.logits, label[None])

    per_sample = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0, 0))
    found: dict[str, Tensor] = per_sample(state, batch.inputs, batch.labels, batch.present or {})
    model.train(training)
    return found
