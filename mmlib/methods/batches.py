"""Batches to train on, with or without batch normalisation."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from mmlib.data.core import Batch, MultimodalData
from mmlib.model import MultimodalClassifier
from mmlib.normalise import NormalisedEncoder


def training_batches(
    model: MultimodalClassifier, data: MultimodalData, batch_size: int, generator: torch.Generator
) -> Iterator[Batch]:
    """Shuffled minibatches to train on. Where the model has batch normalisation, of features or inside an encoder, a last
    batch of one sample is left out: its statistics mean nothing, and torch refuses them. Another epoch has other batches."""
    alone = needs_two(model)
    for batch in data.batches(batch_size, generator):
        if len(batch.labels) > 1 or not alone:
            yield batch


def check_batch_size(model: MultimodalClassifier, size: int) -> None:
    """Raise ValueError where batches of ``size`` samples are too small for the model's batch normalisation."""
    if needs_two(model) and size < 2:
        raise ValueError(
            f"batch_size: batch normalisation needs two samples in a batch, found {size}; "
            "normalise='layer' or 'l2' work sample by sample"
        )


def needs_two(model: MultimodalClassifier) -> bool:
    """Whether a training batch needs two samples or more."""
    kinds = (nn.modules.batchnorm._BatchNorm,)
    return any(isinstance(part, kinds) or (isinstance(part, NormalisedEncoder) and part.needs_two) for part in model.modules())
