"""The log-mel spectrogram: against tones, silence and a plain numpy version; the 8-bit code against its maker."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlib.data import audio


def tone(frequency: float, amplitude: float = 0.1) -> torch.Tensor:
    time = torch.arange(audio.LENGTH, dtype=torch.float64) / audio.SAMPLE_RATE
    return (amplitude * torch.sin(2 * torch.pi * frequency * time)).float()[None]


def filters() -> torch.Tensor:
    return audio.mel_filters(audio.MELS, audio.WINDOW, audio.SAMPLE_RATE, audio.LOWEST, audio.HIGHEST)


def test_filters_are_triangles_that_cover_the_band() -> None:
    weights = filters()
    assert weights.shape == (audio.MELS, audio.WINDOW // 2 + 1)
    assert weights.min() >= 0
    assert weights.max() <= 1
    assert (weights.sum(1) > 0.3).all(), "every band hears something"
    peaks = weights.argmax(1)
    assert (peaks[1:] >= peaks[:-1]).all()
    frequency = np.linspace(0, audio.SAMPLE_RATE / 2, audio.WINDOW // 2 + 1)
    outside = (frequency <= audio.LOWEST) | (frequency >= audio.HIGHEST)
    assert weights[:, outside].sum() == 0
    between = (frequency > 110) & (frequency < 3600)  # neighbours cross-fade: their weights add to one
    torch.testing.assert_close(weights.sum(0)[between], torch.ones(int(between.sum())), atol=1e-5, rtol=0)


@pytest.mark.parametrize("frequency", [200.0, 440.0, 1000.0, 2500.0, 3500.0])
def test_a_tone_is_loudest_in_its_own_band(frequency: float) -> None:
    spectrogram = audio.log_mel(tone(frequency))[0, :, 4:-4].mean(1)
    nearest = round(frequency / (audio.SAMPLE_RATE / audio.WINDOW))
    assert abs(int(spectrogram.argmax()) - int(filters()[:, nearest].argmax())) <= 1


def test_units_are_tens_of_decibels() -> None:
    quiet, loud = audio.log_mel(tone(1000, 0.05)), audio.log_mel(tone(1000, 0.5))
    band = int(quiet[0, :, 10].argmax())
    torch.testing.assert_close(
        loud[0, band, 4:-4] - quiet[0, band, 4:-4], torch.full((audio.FRAMES - 8,), 2.0), atol=1e-3, rtol=0
    )


def test_silence_is_the_floor() -> None:
    silent = audio.log_mel(torch.zeros(2, audio.LENGTH))
    torch.testing.assert_close(silent, torch.full((2, audio.MELS, audio.FRAMES), float(np.log10(audio.FLOOR))))


def test_equals_a_plain_numpy_version() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, audio.LENGTH)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(audio.WINDOW) / audio.WINDOW)
    padded = np.pad(sound, audio.WINDOW // 2)
    frames = np.stack([padded[t * audio.HOP : t * audio.HOP + audio.WINDOW] for t in range(audio.FRAMES)])
    power = np.abs(np.fft.rfft(frames * window)) ** 2  # [FRAMES, bins]
    expected = np.log10(power @ filters().double().numpy().T + audio.FLOOR).T
    found = audio.log_mel(torch.from_numpy(sound).float()[None])[0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-3)


def test_a_batch_is_its_rows() -> None:
    sounds = torch.cat([tone(300), tone(700), tone(1500)])
    torch.testing.assert_close(audio.log_mel(sounds), torch.cat([audio.log_mel(s[None]) for s in sounds]))


@pytest.mark.parametrize("shape", [(audio.LENGTH,), (1, audio.LENGTH - 1), (1, 1, audio.LENGTH)])
def test_waveforms_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"waveforms: expected shape \[N, "):
        audio.log_mel(torch.zeros(shape))


def test_frequencies_out_of_order() -> None:
    with pytest.raises(ValueError, match="expected 0 <= lowest < highest <= 4000 Hz, found 60 and 5000"):
        audio.mel_filters(8, 256, 8000, 60, 5000)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=50))
@settings(deadline=None, max_examples=50)
def test_decoding_undoes_the_makers_coding(samples: list[float]) -> None:
    import make_speech

    sound = np.array(samples)
    decoded = audio.mu_law_decode(make_speech.mu_law(sound))
    assert decoded.dtype == np.float32
    # steps grow with the sample: at most ln(256) / 255 of (1 / 255 + |x|)
    assert (np.abs(decoded - sound) <= np.log(256) / 255 * (1 / 255 + np.abs(sound)) * 1.02).all()
    assert audio.mu_law_decode(np.array([0, 255], dtype=np.uint8)).tolist() == [-1.0, 1.0]
