"""What a row of a comparison may measure beside the columns that it has anyway: `mmlib.setting.Setting(measures=...)`.

A measure is called once, after training: ``measure(model, method, splits) -> {column: number}``. Of a run that diverged there
is no model worth asking; it is called with ``model=None`` then, and returns what guessing gives.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmlib.data.core import MultimodalData, Splits
from mmlib.methods.base import Method
from mmlib.metrics.calibration import expected_calibration_error
from mmlib.model import MultimodalClassifier


def calibration_error(model: MultimodalClassifier | None, method: Method, splits: Splits) -> dict[str, float]:
    """``test_calibration_error``, of the fused prediction: `mmlib.metrics.expected_calibration_error`, from 0 to 1.

    Guessing gives 0: who says 1 / C is right once in C times.
    """
    if model is None:
        return {"test_calibration_error": 0.0}
    return {"test_calibration_error": expected_calibration_error(*logits(model, splits.test, method))}


def without_each(model: MultimodalClassifier | None, method: Method, splits: Splits) -> dict[str, float]:
    """``test_accuracy_without_{modality}`` and ``test_balanced_accuracy_without_{modality}``: the fused prediction where every
    test sample lacks that modality, from 0 to 1. Samples that have no other are left out; where none has, there is no column.

    Raises:
        TypeError: test data that is streamed.
    """
    from mmlib.train import evaluate

    if not isinstance(splits.test, MultimodalData):
        raise TypeError(f"without_each: expected test data in memory, found {type(splits.test).__name__}")
    found = {}
    for m in splits.modalities:
        data = _with_another_than(splits.test, m)
        if data is None:
            continue
        row = evaluate(model, data.drop(m, 1.0), method) if model is not None else {}
        for column in ("accuracy", "balanced_accuracy"):
            found[f"test_{column}_without_{m}"] = row.get(column, 1 / splits.num_classes)
    return found


def _with_another_than(data: MultimodalData, modality: str) -> MultimodalData | None:
    """The samples that have another modality than this one; None: there are none."""
    others = [m for m in data.modalities if m != modality]
    if not others:
        return None
    if data.present is None:
        return data
    has = torch.stack([data.present[m] for m in others]).any(0)
    return data.select(has) if bool(has.any()) else None


@torch.no_grad()
def logits(model: MultimodalClassifier, data: MultimodalData, method: Method, batch_size: int = 1024) -> tuple[Tensor, Tensor]:
    """The fused prediction as ``method`` predicts, [N, C] (logits or log-probabilities), and the labels [N]; on the CPU."""
    training = model.training, method.training
    model.eval(), method.eval()
    made, labels = [], []
    for batch in data.to(model.device).batches(batch_size):
        made.append(method.predict(model, batch.inputs, batch.present).logits.float().cpu())
        labels.append(batch.labels.cpu())
    model.train(training[0]), method.train(training[1])
    return torch.cat(made), torch.cat(labels)
