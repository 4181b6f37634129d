"""How well a model does on each class, together and with every modality alone."""

from __future__ import annotations

import torch
from torch import Tensor

from mmlib.data.core import MultimodalData
from mmlib.methods.base import Method
from mmlib.methods.joint import Joint
from mmlib.model import MultimodalClassifier


@torch.no_grad()
def class_recall(
    model: MultimodalClassifier, data: MultimodalData, method: Method | None = None, batch_size: int = 1024
) -> dict[str, Tensor]:
    """The share of each class's samples that is right, as the method that trained the model predicts.

    Args:
        method: as in `mmlib.train.evaluate`.

    Returns:
        modality -> [C], of that modality alone over the samples that have it, and ``"fused"`` -> [C], of all together; from 0 to
        1, NaN for a class without such a sample. On the CPU.
    """
    method = method or model.method or Joint()
    training = model.training, method.training
    model.eval(), method.eval()
    right: dict[str, list[Tensor]] = {}
    counted: dict[str, list[Tensor]] = {}
    for batch in data.to(model.device).batches(batch_size):
        output = method.predict(model, batch.inputs, batch.present)
        for head, logits in {**output.unimodal, "fused": output.logits}.items():
            here = None if head == "fused" or batch.present is None else batch.present[head]
            counts = torch.ones_like(batch.labels, dtype=torch.bool) if here is None else here
            hits = (logits.argmax(1) == batch.labels) & counts
            right.setdefault(head, []).append(_per_class(batch.labels[hits], data.num_classes))
            counted.setdefault(head, []).append(_per_class(batch.labels[counts], data.num_classes))
    model.train(training[0]), method.train(training[1])
    return {head: (torch.stack(right[head]).sum(0) / torch.stack(counted[head]).sum(0)).cpu() for head in right}


def _per_class(labels: Tensor, num_classes: int) -> Tensor:
    """How many samples each class has, [C]."""
    return torch.bincount(labels, minlength=num_classes)
