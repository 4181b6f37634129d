"""From sound to a log-mel spectrogram, with torch alone.

Units: time in seconds, frequency in Hz, sound as samples between -1 and 1.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SAMPLE_RATE = 8_000  #: samples per second
WINDOW = 256  #: samples under one Hann window, 32 ms
HOP = 160  #: samples from one frame to the next, 20 ms
MELS = 32  #: mel bands between `LOWEST` and `HIGHEST`
FRAMES = 32  #: frames of one utterance, 0.64 s
LENGTH = HOP * FRAMES  #: samples of one utterance, padded with silence or cropped
LOWEST, HIGHEST = 60.0, 3_900.0  #: Hz
FLOOR = 1e-4  #: added to the mel power before the logarithm: what is far below speech counts as silence


def mu_law_decode(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """8-bit mu-law (ITU-T G.711's companding curve, mu = 255) 0 .. 255 to samples -1 .. 1, of the same shape."""
    code = np.arange(256) / 127.5 - 1
    table = (np.sign(code) * np.expm1(np.abs(code) * np.log(256)) / 255).astype(np.float32)
    decoded: NDArray[np.float32] = table[codes]
    return decoded


def mel_filters(bands: int, window: int, rate: int, lowest: float, highest: float) -> Tensor:
    """Triangular filters, evenly spaced on the mel scale 2595 log10(1 + f / 700).

    Returns:
        [bands, window // 2 + 1] weights from 0 to 1 on the power of each frequency.

    Raises:
        ValueError: frequencies out of order or above half the sampling rate.
    """
    if not 0 <= lowest < highest <= rate / 2:
        raise ValueError(f"lowest, highest: expected 0 <= lowest < highest <= {rate / 2:g} Hz, found {lowest:g} and {highest:g}")
    ends = 2595 * np.log10(1 + np.array([lowest, highest]) / 700)
    corners = 700 * (10 ** (np.linspace(ends[0], ends[1], bands + 2) / 2595) - 1)  # [bands + 2] Hz
    left, centre, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    frequency = np.linspace(0, rate / 2, window // 2 + 1)[None]
    rising, falling = (frequency - left) / (centre - left), (right - frequency) / (right - centre)
    return torch.from_numpy(np.maximum(0, np.minimum(rising, falling)).astype(np.float32))


@lru_cache(maxsize=1)
def _filters() -> Tensor:
    return mel_filters(MELS, WINDOW, SAMPLE_RATE, LOWEST, HIGHEST)


def log_mel(waveforms: Tensor) -> Tensor:
    """Log-mel spectrograms.

    Args:
        waveforms: [N, LENGTH] samples at `SAMPLE_RATE`.

    Returns:
        [N, MELS, FRAMES], log10 of (mel power + FLOOR): one unit is 10 dB.

    Raises:
        ValueError: waveforms of another shape.
    """
    if waveforms.ndim != 2 or waveforms.shape[1] != LENGTH:
        raise ValueError(f"waveforms: expected shape [N, {LENGTH}], found {list(waveforms.shape)}")
    window = torch.hann_window(WINDOW, dtype=torch.float32)
    spectrum = torch.stft(waveforms.float(), WINDOW, HOP, window=window, center=True, pad_mode="constant", return_complex=True)
    power = spectrum[..., :FRAMES].abs().square()  # [N, WINDOW // 2 + 1, FRAMES]
    return torch.log10(_filters() @ power + FLOOR)
