"""A mix-in for methods: where the features of each modality lie, noted at the end of every epoch."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor

from mmlib.data.core import MultimodalData
from mmlib.methods.base import Method
from mmlib.metrics.gap import modality_gap, within_spread
from mmlib.model import MultimodalClassifier, Output


class GapWatch(Method):
    """Mix-in: the same training, bit for bit, with the modality gap of the validation data in the history.

    ``class WatchedJoint(GapWatch, Joint)`` adds the columns ``gap_{a}_{b}`` (`modality_gap`) and ``spread_{m}``
    (`within_spread`). It listens to what the method predicts between two epochs, which is the validation data unless
    `mmlib.train.fit` is asked for ``train_metrics="evaluated"``.
    """

    def start_epoch(self, epoch: int, model: MultimodalClassifier, data: MultimodalData) -> None:
        self._heard: dict[str, list[Tensor]] = {}
        super().start_epoch(epoch, model, data)

    def predict(
        self, model: MultimodalClassifier, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None
    ) -> Output:
        output = super().predict(model, inputs, present)
        if not self.training and hasattr(self, "_heard"):
            for m in inputs:
                here = output.features[m].detach()
                self._heard.setdefault(m, []).append(here if present is None or m not in present else here[present[m]])
        return output

    def report(self) -> dict[str, float]:
        features = {m: torch.cat(parts) for m, parts in self._heard.items()}
        self._heard = {}
        gaps = {f"gap_{a}_{b}": modality_gap(features[a], features[b]) for a, b in combinations(features, 2)}
        return {**super().report(), **gaps, **{f"spread_{m}": within_spread(f) for m, f in features.items()}}
