"""Clips of `cremad` as arrays: decoded once, kept in files that are mapped into memory.

So a data set larger than the memory can be trained on. Decoding goes on where it was interrupted, and no part of it is ever taken
for the whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import wave
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmlib import progress
from mmlib.data.audio import mel_filters
from mmlib.data.cremad_files import FOLDERS, POINTER, Clip

SAMPLE_RATE = 16_000  #: of its recordings
WINDOW, HOP = 400, 160  #: samples under one Hann window, and to the next: 25 and 10 ms
LOWEST, HIGHEST = 60.0, 7_600.0  #: Hz
FLOOR = 1e-5  #: added to the mel power before the logarithm
BLOCK = 64  #: clips that are decoded before what is done is written down
_FORMAT = 1  #: of the cache; counts up when what is decoded changes


class ClipError(ValueError):
    """A clip cannot be read; the message names it."""


@dataclass(frozen=True)
class Reading:
    """How clips are read. A cache belongs to one of these."""

    seconds: float = 3.0
    mels: int = 64
    frames: int = 3
    size: int = 112

    @property
    def steps(self) -> int:
        """Columns of a spectrogram."""
        return round(self.seconds * SAMPLE_RATE) // HOP

    def shape(self, modality: str) -> tuple[int, ...]:
        """Of one sample."""
        return (self.mels, self.steps) if modality == "audio" else (self.frames, 3, self.size, self.size)

    def key(self, modality: str) -> dict[str, Any]:
        """What the arrays of one modality depend on."""
        own = {"seconds": self.seconds, "mels": self.mels} if modality == "audio" else {"frames": self.frames, "size": self.size}
        return {"format": _FORMAT, "modality": modality, **own}


@lru_cache(maxsize=4)
def _filters(mels: int) -> torch.Tensor:
    return mel_filters(mels, WINDOW, SAMPLE_RATE, LOWEST, HIGHEST)


def _refuse_pointer(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER:
            raise ClipError(
                f"{path.stem}: {path.parent.name}/{path.name} is a pointer of Git LFS, not the clip; run: git lfs pull"
            )


def read_audio(path: Path, how: Reading) -> NDArray[np.float16]:
    """Log-mel spectrogram [mels, steps] of a recording: log10 of (mel power + `FLOOR`), its middle, or silence after its end.

    Raises:
        ClipError: a file that cannot be read as 16-bit sound at `SAMPLE_RATE`, or that holds no sound.
    """
    _refuse_pointer(path)
    try:
        with wave.open(str(path), "rb") as file:
            kind = (file.getsampwidth(), file.getframerate())
            channels, raw = file.getnchannels(), file.readframes(file.getnframes())
    except (wave.Error, EOFError, OSError, struct.error) as error:
        raise ClipError(
            f"{path.stem}: {path.parent.name}/{path.name} cannot be read as sound ({error or 'it ends too early'})"
        ) from None
    if kind != (2, SAMPLE_RATE):
        raise ClipError(
            f"{path.stem}: expected 16-bit sound at {SAMPLE_RATE} samples a second, found {8 * kind[0]} bits at {kind[1]}"
        )
    samples = np.frombuffer(raw[: len(raw) // (2 * channels) * 2 * channels], dtype="<i2").reshape(-1, channels)
    if not len(samples):
        raise ClipError(f"{path.stem}: {path.parent.name}/{path.name} holds no sound")
    sound = torch.from_numpy(samples.mean(1, dtype=np.float32) / 32768)
    length = how.steps * HOP
    begin = max(0, (len(sound) - length) // 2)
    sound = sound[begin : begin + length]
    sound = torch.nn.functional.pad(sound, (0, length - len(sound)))
    spectrum = torch.stft(
        sound, WINDOW, HOP, window=torch.hann_window(WINDOW), center=True, pad_mode="constant", return_complex=True
    )
    power = spectrum[:, : how.steps].abs().square()
    logged: NDArray[np.float16] = torch.log10(_filters(how.mels) @ power + FLOOR).half().numpy()
    return logged


def read_video(path: Path, how: Reading) -> NDArray[np.uint8]:
    """Frames [frames, 3, size, size] of a clip, evenly spaced: the shorter side scaled to ``size``, the middle cut out.

    Raises:
        ClipError: a file that cannot be decoded, or without pictures. ModuleNotFoundError: PyAV is not installed.
    """
    av = pyav()
    _refuse_pointer(path)
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ClipError(f"{path.stem}: {path.parent.name}/{path.name} holds no pictures")
            decoded = list(container.decode(video=0))
    except (av.FFmpegError, OSError) as error:
        raise ClipError(f"{path.stem}: {path.parent.name}/{path.name} cannot be decoded ({error})") from None
    if not decoded:
        raise ClipError(f"{path.stem}: {path.parent.name}/{path.name} holds no pictures")
    out = np.empty(how.shape("video"), dtype=np.uint8)
    for i in range(how.frames):
        frame = decoded[int((i + 0.5) * len(decoded) / how.frames)]
        scale = how.size / min(frame.width, frame.height)
        width, height = (max(how.size, round(side * scale)) for side in (frame.width, frame.height))
        picture = frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
        top, left = (height - how.size) // 2, (width - how.size) // 2
        out[i] = picture[top : top + how.size, left : left + how.size].transpose(2, 0, 1)
    return out


def pyav() -> Any:
    """PyAV, which decodes the clips.

    Raises:
        ModuleNotFoundError: it is not installed; the message says how.
    """
    try:
        import av
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "cremad: video needs PyAV; install it with: pip install 'mmlib[scale]', or pip install av"
        ) from None
    return av


READ: dict[str, Callable[[Path, Reading], NDArray[Any]]] = {"audio": read_audio, "video": read_video}
TYPES: dict[str, type[np.generic]] = {"audio": np.float16, "video": np.uint8}
WAITING, DONE, BROKEN = 0, 1, 2


def decoded(
    folder: Path, modality: str, clips: Sequence[Clip], how: Reading, cache: Path, skip_broken: bool = False, shown: bool = True
) -> tuple[Path, NDArray[np.bool_]]:
    """Every clip of one modality in a file of NumPy's, decoded where it is not there yet.

    An array [clips, *shape] is filled clip by clip. What has been filled is kept beside it, so that an interrupted run goes on;
    the array takes its name only when it is whole. Two processes that decode the same take turns.

    Args:
        skip_broken: leave clips out that cannot be read, instead of raising.

    Returns:
        The file, and [clips] whether a clip could be read.

    Raises:
        ClipError: a clip that cannot be read. OSError: the cache cannot be written.
    """
    from filelock import FileLock

    place, suffix = FOLDERS[modality]
    files = [folder / place / f"{clip.name}{suffix}" for clip in clips]
    told = hashlib.sha256(json.dumps(how.key(modality), sort_keys=True).encode())
    for path in files:  # another copy, or clips that came later, are another cache
        told.update(f"{path.name} {path.stat().st_size}\n".encode())
    cache.mkdir(parents=True, exist_ok=True)
    whole = cache / f"{modality}_{told.hexdigest()[:16]}.npy"
    state = whole.with_suffix(".state.npy")
    with FileLock(whole.with_suffix(".lock")):
        if not (whole.exists() and state.exists()):
            _fill(whole, state, files, modality, how, shown, skip_broken)
    good: NDArray[np.bool_] = np.load(state) == DONE
    if not skip_broken and not good.all():  # decoded before by someone who left them out
        READ[modality](files[int(np.flatnonzero(~good)[0])], how)
        raise ClipError(
            f"{clips[int(np.flatnonzero(~good)[0])].name}: could not be read when {whole.name} was made; remove that file"
        )
    return whole, good


def _fill(whole: Path, state: Path, files: Sequence[Path], modality: str, how: Reading, shown: bool, skip_broken: bool) -> None:
    part = whole.with_suffix(".part.npy")
    shape = (len(files), *how.shape(modality))
    try:
        array = np.lib.format.open_memmap(part, mode="r+")
        done = np.load(state)
        usable = array.shape == shape and array.dtype == TYPES[modality] and done.shape == (len(files),)
    except (OSError, ValueError, EOFError):
        usable = False
    if not usable:
        array = np.lib.format.open_memmap(part, mode="w+", dtype=TYPES[modality], shape=shape)
        done = np.zeros(len(files), dtype=np.uint8)
    waiting = np.flatnonzero(done != DONE)

    def one(i: int) -> int:
        try:
            array[i] = READ[modality](files[i], how)
        except ClipError:
            if not skip_broken:
                raise
            return BROKEN
        return DONE

    bar = progress.bar(len(files), len(files) - len(waiting), f"cremad: {modality}", "clip", shown)
    threads = min(8, os.cpu_count() or 1)
    try:
        with ThreadPoolExecutor(threads) as pool:  # the decoder lets go of the interpreter's lock
            for begin in range(0, len(waiting), BLOCK):
                some = waiting[begin : begin + BLOCK]
                done[some] = list(pool.map(one, some.tolist()))
                array.flush()
                _write(state, done)
                bar.update(len(some))
    finally:
        bar.close()
    os.replace(part, whole)


def _write(path: Path, values: NDArray[np.uint8]) -> None:
    trial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with trial.open("wb") as file:
            np.save(file, values)
        os.replace(trial, path)
    finally:
        with suppress(OSError):
            trial.unlink(missing_ok=True)
