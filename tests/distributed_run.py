"""What two processes run for tests/test_distributed.py: ``accelerate launch ... -m tests.distributed_run FOLDER``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmlib import distributed, train
from mmlib.data import MultimodalData, Splits
from mmlib.methods import MLA, OGMGE, GradientBlending, Joint, Method
from mmlib.model import MultimodalClassifier, build
from tests.conftest import make_tiny
from tests.test_contract import CASES as METHODS

#: of 61 samples the last batch of 15 has one: fewer than there are processes
OPTIONS: dict[str, Any] = {"epochs": 3, "batch_size": 15, "optimizer": "sgd", "lr": 1e-2, "seed": 3, "progress": False}


class Pictures(nn.Module):
    """With batch normalisation inside, as ResNet has it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dim = 6
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 6)
        )

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x)
        return features


def vectors(missing: float = 0.0) -> Splits:
    splits = make_tiny(("a", "b", "c"), missing=missing)
    return Splits(splits.train.select(range(61)), splits.val, splits.test)


def recordings() -> Splits:
    draws = torch.Generator().manual_seed(0)

    def part(n: int) -> MultimodalData:
        labels = torch.arange(n) % 3
        audio = torch.randn(n, 1, 8, 9, generator=draws) + labels[:, None, None, None]
        video = torch.randn(n, 2, 3, 7, 7, generator=draws) - labels[:, None, None, None, None]
        return MultimodalData({"audio": audio, "video": video}, labels, 3)

    return Splits(part(33), part(9), part(9))


def normalised() -> tuple[MultimodalClassifier, Splits]:
    from mmlib.encoders_frames import FrameEncoder

    splits = recordings()
    return build(splits, encoders={"audio": lambda: Pictures(1), "video": lambda: FrameEncoder(Pictures(3))}), splits


def plain(missing: float = 0.0, **options: Any) -> Callable[[], tuple[MultimodalClassifier, Splits]]:
    return lambda: (build(vectors(missing), **options), vectors(missing))


Case = tuple[Callable[[], tuple[MultimodalClassifier, Splits]], Callable[[], Method], dict[str, Any]]
CASES: dict[str, Case] = {
    **{name: (plain(0.2), make, {}) for name, make in METHODS.items()},
    "ogm_ge: covariance": (plain(), lambda: OGMGE(noise="covariance"), {}),
    "batch normalisation inside": (normalised, Joint, {"batch_size": 9}),
    "batch normalisation inside, mla": (normalised, MLA, {"batch_size": 9}),
    "batch normalisation inside, blending": (normalised, lambda: GradientBlending(super_epoch=1), {"batch_size": 9}),
    "batch normalisation of features": (plain(normalise="batch"), Joint, {}),
    "one scale per modality": (plain(normalise="rms"), OGMGE, {}),
    "encoders that interact": (plain(intermediate="mmtm"), Joint, {}),
    "a centre": (plain(intermediate="centralnet"), Joint, {}),
    "adam": (plain(), Joint, {"optimizer": "adam", "lr": 1e-3}),
    "bf16": (plain(), Joint, {"precision": "bf16"}),
    "fp16": (plain(), MLA, {"precision": "fp16"}),
}


def trained(name: str, fit: Callable[..., Any]) -> dict[str, Tensor]:
    """The weights that a case ends with, of the model and of its method, and the curves."""
    make, method, options = CASES[name]
    (model, splits), how = make(), method()
    history = fit(model, splits, how, **{**OPTIONS, **options})
    state = {**model.state_dict(), **{f"method.{k}": v for k, v in how.state_dict().items() if isinstance(v, Tensor)}}
    curves = torch.tensor([[row["train_loss"], row["val_loss"], row["val_accuracy"]] for row in history.rows])
    return {**{k: v.detach().clone().cpu() for k, v in state.items()}, "curves": curves}


def main(folder: Path) -> None:
    distributed.processes(cpu=True)
    torch.set_num_threads(1)
    for name in CASES:
        found = trained(name, lambda *args, **options: distributed.fit(*args, cpu=True, **options))
        torch.save(found, folder / f"{name} {dist.get_rank()}.pt")
    model, splits = normalised()
    expected = train.evaluate(model, splits.test)
    with distributed.shared(model):
        together = train.evaluate(model, splits.test)
    torch.save({k: [expected[k], together[k]] for k in expected}, folder / f"evaluated {dist.get_rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
