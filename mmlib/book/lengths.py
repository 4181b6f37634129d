"""Chapter 3: how long the features of each modality are, noted after every epoch of joint training."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mmlib.data.core import MultimodalData
from mmlib.methods.joint import Joint
from mmlib.model import MultimodalClassifier, Output


class MeasuredJoint(Joint):
    """Joint training, bit for bit, with the columns ``length_{m}`` in the history: the mean norm of the features of the
    validation data, as the network is at the end of the epoch."""

    def start_epoch(self, epoch: int, model: MultimodalClassifier, data: MultimodalData) -> None:
        self._norms: dict[str, list[Tensor]] = {}
        super().start_epoch(epoch, model, data)

    def predict(
        self, model: MultimodalClassifier, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None
    ) -> Output:
        output = super().predict(model, inputs, present)
        if not self.training and hasattr(self, "_norms"):
            for m in inputs:
                self._norms.setdefault(m, []).append(output.features[m].detach().norm(dim=1))
        return output

    def report(self) -> dict[str, float]:
        lengths = {f"length_{m}": float(torch.cat(parts).mean()) for m, parts in self._norms.items()}
        self._norms = {}
        return {**super().report(), **lengths}
