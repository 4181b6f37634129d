"""Methods whose modalities have a linear head each beside the fused one, with a loss of its own."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mmlib.data.core import Batch
from mmlib.methods.base import Method, masked_cross_entropy, unimodal_heads
from mmlib.model import MultimodalClassifier, Output


class OwnHeads(Method):
    """A linear head on the features of each modality; the prediction is the fused head's. A sample without a modality does
    not count in that modality's loss."""

    def make_heads(self, model: MultimodalClassifier, seed: int) -> None:
        self.heads = unimodal_heads(model, seed)

    def predict(
        self, model: MultimodalClassifier, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None
    ) -> Output:
        output: Output = model(inputs, present)
        return Output(output.features, {m: self.heads[m](f) for m, f in output.features.items()}, output.logits)

    def own_losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """{m: cross-entropy of the modality's own head}, scalars; not for a modality that was not passed."""
        masks = batch.present or {}
        return {
            m: masked_cross_entropy(u, batch.labels, masks.get(m), self.class_weights)
            for m, u in output.unimodal.items()
            if m in batch.inputs
        }
