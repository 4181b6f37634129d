"""What the studies share: their base settings, and one modality alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from mmlib.randomness import seeds
from mmlib.setting import Setting


class Study(NamedTuple):
    """A stored experiment: its settings, over how many seeds, and which columns of the learning curves are kept."""

    settings: Callable[[], list[Setting]]
    seeds: int
    keep: tuple[str, ...] = ()  #: beginnings of names, such as "val_loss"; a curve is long, so by default none
    chooses: bool = False  #: whether it only chose constants, which stand in the code: other seeds would not change them
    first: int = 0  #: the first seed, before MMLIB_SEED_OFFSET is added

    def which(self) -> list[int]:
        """The seeds, in a row."""
        return [self.first + seed for seed in seeds(self.seeds)]


#: `digits` with its default knobs, and a learning rate at which all do well (see the study `optimizers`)
DIGITS = Setting("joint", data="digits", fit_options={"epochs": 20, "lr": 3e-3})
#: the same with every voice and language there is to train on
DIGITS_MANY: dict[str, Any] = {"train_voices": 32, "train_languages": 24}
TWO_SPEED = Setting("joint", data="two_speed", fit_options={"epochs": 30, "lr": 1e-3})


def alone(base: Setting, modality: str, label: str = "", **data_options: Any) -> Setting:
    """One modality alone, in the setting of ``base``."""
    options = {"modalities": [modality], **data_options}
    method = {"method": "unimodal", "method_options": {"modality": modality}}
    return base.with_(label or f"{modality} alone", data_options=options, **method)
