"""Data and an encoder of the study of diagnoses: one draw for several trainings, and features that are too short."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mmlib.data.catalogue import load
from mmlib.data.core import Splits
from mmlib.encoders import ConvEncoder
from mmlib.metrics.watched_joint import unread

TRAININGS = 5  #: of each draw
SHORT = 0.1  #: length of the features, in that of an encoder as it is


class ShortFeatures(nn.Module):
    """The default encoder of a small picture, with features `SHORT` times as long: [B, 1, H, W] -> [B, 64]."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = ConvEncoder(1, 64, (16, 32), stride=1)
        self.dim = self.encoder.dim

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = SHORT * self.encoder(x)
        return features


def drawn(seed: int, name: str, **knobs: Any) -> Splits:
    """The same draw of a data set for `TRAININGS` seeds in a row, its validation data in the place of the test."""
    return unread(load(name, seed=seed // TRAININGS, **knobs))
