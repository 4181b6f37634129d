"""Larger encoders, for recordings: networks of `timm` for pictures, spectrograms and clips.

`mmlib.build` takes them as ``encoders``; the methods, the loop and the controls are the same. timm and PyAV come with
``pip install 'mmlib[scale]'`` and are imported when first used.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mmlib.data.core import Splits
from mmlib.encoders_frames import FrameEncoder
from mmlib.remembers import Remembers


class TimmEncoder(Remembers, nn.Module):
    """A network of `timm` without its classifier: [B, channels, H, W] -> [B, D].

    Args:
        name: as timm calls it, such as "resnet18".
        channels: 3 of pictures, 1 of spectrograms (weights for three channels are then summed over them, by timm).
        weights: a file of weights (.safetensors or .pth) as timm publishes them for this network; None: random ones. Nothing is
            downloaded.

    Raises:
        ModuleNotFoundError: timm, or the torchvision that it needs, is not installed. FileNotFoundError: no such file.
        ValueError: a name that timm does not know, or a file that does not hold the weights of this network, all of them.
    """

    def __init__(self, name: str = "resnet18", channels: int = 3, weights: str | Path | None = None) -> None:
        super().__init__()
        timm = check(name, weights)
        self.network: nn.Module = timm.create_model(name, num_classes=0, in_chans=channels)
        if weights is not None:
            self._load(timm, Path(weights).expanduser(), name, channels)
        self.network.to(memory_format=torch.channels_last)
        self.dim = int(self.network.num_features)

    def _load(self, timm: Any, path: Path, name: str, channels: int) -> None:
        # not by timm, whose loader unpickles whatever the file holds, and passes over weights that do not fit
        state = _state(path)
        told: Any = self.network.pretrained_cfg
        first, last = ([key] if isinstance(key, str) else list(key or ()) for key in (told["first_conv"], told["classifier"]))
        for key in first:
            if f"{key}.weight" in state:
                state[f"{key}.weight"] = timm.models.adapt_input_conv(channels, state[f"{key}.weight"])
        state = {k: v for k, v in state.items() if not k.startswith(tuple(f"{key}." for key in last))}
        try:
            self.network.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"weights: {path.name} does not fit {name} ({str(error).splitlines()[1].strip()[:200]})") from None

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.network(x)
        return features  # [B, D]


def check(name: str, weights: str | Path | None = None) -> Any:
    """timm, if it knows this network and the file is there. Errors as in `TimmEncoder`."""
    timm = _timm()
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name[:6]}*")[:5]) or "see timm.list_models()"
        raise ValueError(f"network: timm knows no {name!r}; among those it knows: {near}")
    if weights is not None and not Path(weights).expanduser().is_file():
        raise FileNotFoundError(f"weights: no file {weights}")
    return timm


def _state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        held = torch.load(path, map_location="cpu", weights_only=True)  # tensors, no code
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"weights: {path.name} cannot be read as weights ({type(error).__name__})") from None
    if not isinstance(held, dict) or not all(isinstance(v, Tensor) for v in held.values()):
        raise ValueError(f"weights: {path.name}: expected names and tensors, found {type(held).__name__} of something else")
    return held


def _timm() -> Any:
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"network: {error.name} is not installed; pip install 'mmlib[scale]' brings timm, which needs the torchvision that "
            "belongs to your torch (https://pytorch.org/get-started/locally)"
        ) from None
    return timm


def encoders(splits: Splits, network: str = "resnet18", weights: str | Path | None = None) -> dict[str, Callable[[], nn.Module]]:
    """A network of timm for every modality of ``splits`` that is a picture [C, H, W] or a clip [frames, C, H, W].

    Args:
        network, weights: as in `TimmEncoder`.

    Returns:
        What `mmlib.build` takes as ``encoders``; other modalities are not in it, and get their default encoder.

    Raises:
        ValueError: no modality with pictures, or as in `TimmEncoder`. FileNotFoundError, ModuleNotFoundError: as there.
    """
    made: dict[str, Callable[[], nn.Module]] = {}
    for m, shape in splits.train.shapes.items():
        if len(shape) in (3, 4):
            one = partial(TimmEncoder, network, shape[-3], weights)
            made[m] = partial(_of_frames, one) if len(shape) == 4 else one
    if not made:
        raise ValueError(f"network: {network!r} reads pictures, and no modality of {splits.name!r} has any")
    check(network, weights)  # now, not in the middle of building
    return made


def _of_frames(make: Callable[[], nn.Module]) -> nn.Module:
    return FrameEncoder(make())
