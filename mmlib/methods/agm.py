"""AGM: adaptive gradient modulation by what each modality contributes, as a Shapley value (Li et al., ICCV 2023, 2308.07686)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlib.data.core import Batch, MultimodalData
from mmlib.methods.agm_shapley import combined, shapley_logits, shapley_weights, subsets_of
from mmlib.methods.base import Method
from mmlib.methods.modulation import StepMeans, check_several, presence, scale_gradients, trained_tensors
from mmlib.model import MultimodalClassifier, Output

__all__ = ["AGM", "shapley_logits", "strength"]

#: modalities that a model may have: each step asks the fusion for all 2^M subsets
MOST = 8


def strength(scores: Tensor, there: Tensor) -> Tensor:
    """How far each modality is ahead: r_m = exp(mean over the others' s_n - s_m), of cross-entropies s [M]; 1 where there is
    nothing to compare (``there`` [M], booleans). Two modalities: as the paper has it; the mean over more is a choice of ours."""
    others = there & ~torch.eye(len(scores), dtype=torch.bool, device=scores.device)  # [M, M]
    rivals = (others * scores).sum(1) / others.sum(1).clamp(min=1)
    return torch.where(there & others.any(1), (rivals - scores).exp(), 1.0)


class AGM(Method):
    """Joint training in which an encoder whose modality contributes more than it used to gets a smaller gradient, and one
    that contributes less a larger one.

    In every step, with phi_m the contributions (`shapley_logits`; absent modalities have features of zero)::

        s_m = cross-entropy of phi_m + F(none) / M        r_m = exp(mean of the others' s_n - s_m)
        tau_m = r_m of the running means of s             gradient of encoder m <- exp(alpha min(tau_m - r_m, 10)) * gradient

    The paper leaves F(none) out: for two modalities phi_a = (F(ab) - F(b) + F(a)) / 2, and this is the same. Means run over
    all steps so far and start at zero, where tau is 1; probabilities below 1e-8 count as 1e-8. So does the authors' code
    (lihong2303/AGM), in which the gradient is scaled where it enters phi_m: for concatenation and sum the encoders get the
    same, the head's columns of a modality are scaled, too. Here the head keeps its gradient. The code also clips gradients.

    A sample without a modality does not count in its s_m; a modality without a sample in the batch is neither scaled nor
    compared. Works with any fusion, and takes 2^M passes through it, none through the encoders.

    Args:
        alpha: strength, 0 (which is `Joint`, bit for bit) or more. The authors' have 1.5 for CREMA-D and 2.5 for AV-MNIST.

    After every epoch the history gets ``strength_{m}``, the mean of r_m over the steps, and ``coefficient_{m}``.

    Raises:
        ValueError: a negative alpha. At setup: a model with one modality or with more than 8.
    """

    name = "agm"
    mean: Tensor
    scored: Tensor
    subsets: Tensor
    weights: Tensor

    def __init__(self, alpha: float = 1.5) -> None:
        super().__init__()
        if not 0 <= alpha < math.inf:
            raise ValueError(f"alpha: expected a strength of 0 or more, found {alpha}")
        self.alpha = alpha

    def make_heads(self, model: MultimodalClassifier, seed: int) -> None:
        check_several(model, "AGM")
        names, size = model.modalities, len(model.modalities)
        if size > MOST:
            raise ValueError(f"model: AGM asks the fusion for every subset of the modalities, of at most {MOST}, found {size}")
        self.register_buffer("mean", torch.zeros(size, device=model.device))  # of s_m, over the steps so far
        self.register_buffer("scored", torch.zeros(size, device=model.device))
        weights = shapley_weights(names).float()
        weights[:, 0] += 1 / size  # F(none), shared
        subsets = torch.tensor([[m in s for m in names] for s in subsets_of(names)])  # [2^M, M]
        self.register_buffer("weights", weights.to(model.device), persistent=False)
        self.register_buffer("subsets", subsets.to(model.device), persistent=False)

    def setup(self, model: MultimodalClassifier, data: MultimodalData, seed: int) -> None:
        super().setup(model, data, seed)
        self.tensors = trained_tensors(model)
        self.start_epoch(0, model, data)

    def start_epoch(self, epoch: int, model: MultimodalClassifier, data: MultimodalData) -> None:
        self.told = StepMeans(model.modalities, "strength", "coefficient")

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: torch.optim.Optimizer) -> tuple[Tensor, Output]:
        output: Output = model(batch.inputs, batch.present)
        loss = F.cross_entropy(output.logits, batch.labels, self.class_weights)
        optimizer.zero_grad()
        loss.backward()
        scale_gradients(self.tensors, self._coefficients(model, output, batch))
        optimizer.step()
        return loss, output

    def report(self) -> dict[str, float]:
        return self.told.result()

    @torch.no_grad()
    def _coefficients(self, model: MultimodalClassifier, output: Output, batch: Batch) -> Tensor:
        """[M], from the contributions to this batch, whose s_m the running means take in."""
        scores, there = self._scores(model, output, batch)
        ratio = strength(scores, there)
        past = strength(self.mean, self.scored > 0)
        self.scored += there
        self.mean += torch.where(there, (scores - self.mean) / self.scored.clamp(min=1), 0.0)
        k = torch.where(there, (self.alpha * (past - ratio).clamp(max=10)).exp(), 1.0)
        self.told.add(ratio, k)
        return k

    def _scores(self, model: MultimodalClassifier, output: Output, batch: Batch) -> tuple[Tensor, Tensor]:
        """s [M], and which modalities some sample of the batch has [M]."""
        present = presence(model, batch)  # [M, B]
        masks = (self.subsets[:, :, None] & present).transpose(0, 1).flatten(1)[:, :, None].to(output.logits.dtype)  # [M, S B, 1]
        masked = {m: output.features[m].repeat(len(self.subsets), 1) * x for m, x in zip(model.modalities, masks, strict=True)}
        training = model.fusion.training
        model.fusion.eval()  # running statistics, where a fusion has some, are of what was trained on
        logits = model.fusion.fuse(masked, dict(zip(model.modalities, masks, strict=True)))  # [2^M B, C]
        model.fusion.train(training)
        response = combined(self.weights, logits.view(len(self.subsets), len(batch.labels), -1))  # [M, B, C]
        labels = batch.labels.expand(len(response), -1)[:, :, None]
        losses = -response.log_softmax(2).gather(2, labels)[:, :, 0].clamp(min=math.log(1e-8))  # [M, B]
        counts = present if self.class_weights is None else present * self.class_weights[batch.labels]
        return (losses * counts).sum(1) / counts.sum(1).clamp(min=1e-30), present.any(1)
