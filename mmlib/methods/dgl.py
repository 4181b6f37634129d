"""DGL: disentangled gradient learning. Each encoder learns from a loss of its own, the fusion from what they make."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlib.data.core import Batch, MultimodalData
from mmlib.fusion import Fusion
from mmlib.methods.base import Method
from mmlib.methods.multi_loss import unimodal_losses
from mmlib.model import MultimodalClassifier, Output


def alone(fusion: Fusion, features: dict[str, Tensor], present: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """What the fusion makes of one modality with all others zeroed: {m: [B, D_m]} -> {m: F({m}), [B, C]}.

    Unlike `mmlib.fusion.Fusion.unimodal`, with the whole of what the fusion says to nothing at all (of concatenation, the
    whole bias of the head).
    """
    there = {
        m: (present or {}).get(m, torch.ones_like(f[:, 0], dtype=torch.bool)).to(f.dtype)[:, None] for m, f in features.items()
    }
    nothing = {m: torch.zeros_like(f) for m, f in features.items()}
    nobody = {m: torch.zeros_like(p) for m, p in there.items()}
    return {m: fusion.fuse({**nothing, m: f * there[m]}, {**nobody, m: there[m]}) for m, f in features.items()}


class DGL(Method):
    """Disentangled gradient learning (Wei, Luo, Luo, ICCV 2025, arXiv 2507.10213).

    The gradient that an encoder gets through the fused loss is weakened by the other modalities, the paper holds; so no
    encoder gets it::

        gradient of the encoder of m = d/d theta_m  alpha * CE(F({m}))           F({m}): all others zeroed
        gradient of the fusion       = d/d theta    CE(F(f_1 .. f_M)),           f_m detached

    The unimodal losses pass through the fusion's weights and do not move them. Prediction is the fused head's. Any number
    of modalities (the paper has two; F({m}) and the sum are the same for more) and every fusion that has ``fuse``. The
    cross-entropy of m is over the samples that have it. Equations after the abstract and the public code (revision
    2c601d8), whose gated and bilinear fusions let a modality alone stand for the other as well, where here it is zeroed;
    the code also clips the gradient's norm at 40, which is not done here.

    Args:
        alpha: of the unimodal losses, 0 or more; 4 in the public code. With one modality and alpha 1 this is `Joint`, bit
            for bit; with 0 the encoders stay as they are. Adam and its kin do not see a constant factor.

    Raises:
        ValueError: an alpha out of range. At setup: a fusion that cannot be asked about one modality alone.
    """

    name = "dgl"

    def __init__(self, alpha: float = 4.0) -> None:
        super().__init__()
        if not 0 <= alpha < math.inf:
            raise ValueError(f"alpha: expected a number of 0 or more, found {alpha}")
        self.alpha = alpha

    def setup(self, model: MultimodalClassifier, data: MultimodalData, seed: int) -> None:
        if not isinstance(model.fusion, Fusion) or type(model.fusion).fuse is Fusion.fuse:
            raise ValueError(
                f"model: DGL asks the fusion about each modality alone, and {type(model.fusion).__name__} has no method "
                "'fuse', as mmlib.fusion.Fusion describes it"
            )
        super().setup(model, data, seed)

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: torch.optim.Optimizer) -> tuple[Tensor, Output]:
        features = model.encode(batch.inputs)
        present = dict(batch.present or {})
        if len(batch.inputs) < len(features):  # a modality that was not passed at all
            nobody = torch.zeros_like(batch.labels, dtype=torch.bool)
            present |= {m: nobody for m in features if m not in batch.inputs}
        logits, unimodal = model.fusion({m: f.detach() for m, f in features.items()}, present or None)
        loss = F.cross_entropy(logits, batch.labels, self.class_weights)
        own = unimodal_losses(alone(model.fusion, features, present), batch, self.class_weights)
        optimizer.zero_grad()
        encoders = [p for p in model.encoders.parameters() if p.requires_grad]
        if self.alpha and encoders:
            (self.alpha * torch.stack(list(own.values())).sum()).backward(inputs=encoders)
        loss.backward()  # stops at the detached features
        optimizer.step()
        return loss, Output(features, unimodal, logits)
