"""Joint training with an eye on it, and what else a diagnosis measures: see `mmlib.diagnosis`."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from mmlib.data.core import MultimodalData, Splits
from mmlib.methods.base import Method
from mmlib.methods.ogm_ge import OGMGE
from mmlib.metrics.probes import features
from mmlib.model import MultimodalClassifier


class WatchedJoint(OGMGE):
    """Joint training, bit for bit, with columns ``ratio_{m}`` (discrepancy ratio, `mmlib.methods.OGMGE`), ``gradient_{m}`` (norm
    of the encoder's gradient) and ``start_{m}`` (mean length of the features before anything was learned)."""

    def __init__(self) -> None:
        super().__init__(alpha=0.0, noise=None, gradients=True)

    def setup(self, model: MultimodalClassifier, data: MultimodalData, seed: int) -> None:
        super().setup(model, data, seed)
        training = model.training
        model.eval()
        with torch.no_grad():
            batch = next(iter(data.to(model.device).batches(1024)))
            made = model.encode(batch.inputs)
        model.train(training)
        self.start = {}
        for m, f in made.items():
            here = f if batch.present is None else f[batch.present[m]]
            self.start[m] = float(here.norm(dim=1).mean())

    def report(self) -> dict[str, float]:
        told = {k: v for k, v in super().report().items() if not k.startswith("coefficient_")}
        return told | {f"start_{m}": length for m, length in self.start.items()}


def looked_at(model: MultimodalClassifier | None, method: Method, splits: Splits) -> dict[str, float]:
    """What a diagnosis needs beside the columns of every row: ``length_{m}`` of the features after training, ``samples``, and
    ``prior``, the loss of guessing by class frequency, in nats."""
    counts = torch.bincount(splits.train.labels, minlength=splits.num_classes).double()
    share = counts[counts > 0] / counts.sum()
    told = {"samples": float(len(splits.test)), "prior": float(-(share * share.log()).sum())}
    lengths = features(model, splits.test) if model is not None else {}
    return told | {f"length_{m}": float(lengths[m].norm(dim=1).mean()) if m in lengths else math.nan for m in splits.modalities}


def unread(splits: Splits) -> Splits:
    """The same with the validation data in the place of the test data, so that nothing can read the test.

    Raises:
        ValueError: fewer than two modalities.
    """
    if len(splits.modalities) < 2:
        raise ValueError(f"splits: expected two modalities or more, found {', '.join(splits.modalities)}")
    return replace(splits, test=splits.val)
