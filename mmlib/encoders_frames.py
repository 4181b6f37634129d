"""One encoder for all frames of a clip."""

from __future__ import annotations

from torch import Tensor, nn

from mmlib.remembers import Remembers


class FrameEncoder(Remembers, nn.Module):
    """One encoder for every frame of a clip, and their mean: [B, frames, C, H, W] -> [B, D].

    The mean over frames of what an average over each picture leaves is the average over the whole clip, as in the public code of
    OGM-GE and MLA (which averages the last feature maps over frames and picture at once).

    Args:
        encoder: [B, C, H, W] -> [B, D], with the attribute ``dim``.

    Raises:
        ValueError: an encoder of unknown feature size.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        dim = getattr(encoder, "dim", None)
        if not isinstance(dim, int):
            raise ValueError(f"encoder: {type(encoder).__name__} has no attribute dim, the size of its features")
        self.encoder, self.dim = encoder, dim

    def forward(self, x: Tensor) -> Tensor:
        frames = self.encoder(x.flatten(0, 1))  # [B * frames, D]
        return frames.unflatten(0, x.shape[:2]).mean(1)  # [B, D]
