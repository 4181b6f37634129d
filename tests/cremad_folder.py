"""A small folder in the layout and the formats of CREMA-D, made for the tests: nothing in it is from there."""

from __future__ import annotations

import csv
import wave
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mmlib.data.cremad_clips import SAMPLE_RATE
from mmlib.data.cremad_files import EMOTIONS, parse

ACTORS = (1001, 1002, 1003, 1004, 1008, 1009)
#: of each actor
TAKES = ("DFA_ANG_XX", "DFA_DIS_XX", "IEO_FEA_HI", "ITH_HAP_XX", "IEO_NEU_XX", "MTI_SAD_XX")


def sound(path: Path, emotion: int, seed: int, seconds: float = 1.2, rate: int = SAMPLE_RATE) -> None:
    """A tone whose height is the emotion, with noise."""
    t = np.arange(round(seconds * rate)) / rate
    wave_ = 0.3 * np.sin(2 * np.pi * 300 * (1 + emotion) * t) + 0.02 * np.random.default_rng(seed).standard_normal(len(t))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1), file.setsampwidth(2), file.setframerate(rate)
        file.writeframes((32767 * wave_.clip(-1, 1)).astype("<i2").tobytes())


def pictures(path: Path, emotion: int, seed: int, count: int = 12, size: tuple[int, int] = (480, 360)) -> None:
    """Grey frames that grow lighter; a light square stands where the emotion says. Flash video, as in the repository."""
    import av

    with av.open(str(path), "w", format="flv") as container:
        stream: Any = container.add_stream("flv", rate=Fraction(30))
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = *size, "yuv420p", 2_000_000
        for i in range(count):
            picture = np.full((size[1], size[0], 3), 40 + 10 * i, dtype=np.uint8)
            left = 60 + 60 * emotion
            picture[100:200, left : left + 50] = (255, 200 - seed % 50, 0)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def make(folder: Path, actors: Sequence[int] = ACTORS, takes: Sequence[str] = TAKES) -> Path:
    """The folder, with sound, pictures and the votes."""
    for place in ("AudioWAV", "VideoFlash", "processedResults"):
        (folder / place).mkdir(parents=True)
    letters = [letter for _, letter in EMOTIONS.values()]
    rows = []
    for actor in actors:
        for take in takes:
            clip = parse(f"{actor}_{take}")
            sound(folder / "AudioWAV" / f"{clip.name}.wav", clip.emotion, actor)
            pictures(folder / "VideoFlash" / f"{clip.name}.flv", clip.emotion, actor)
            acted = letters[clip.emotion]
            rows.append((len(rows) + 1, clip.name, "N", "60.1", f"A:{acted}" if acted != "A" else "A", "50:40", acted, "70"))
    rows[0] = (*rows[0][:6], "F:S", "70:71")  # the first clip: nobody agrees
    with (folder / "processedResults" / "summaryTable.csv").open("w", newline="") as file:
        table = csv.writer(file, quoting=csv.QUOTE_ALL)
        table.writerow(("", "FileName", "VoiceVote", "VoiceLevel", "FaceVote", "FaceLevel", "MultiModalVote", "MultiModalLevel"))
        table.writerows(rows)
    return folder
