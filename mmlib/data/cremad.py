"""`cremad`: 91 actors say one of twelve sentences in one of six emotions (CREMA-D, Cao et al., 2014).

======== ======================== ==================================================================================
modality one sample               what
======== ======================== ==================================================================================
audio    [1, mels, steps]         log-mel spectrogram of the recording, standardised by the training data
video    [frames, 3, size, size]  pictures of the clip, evenly spaced, standardised as for ImageNet
======== ======================== ==================================================================================

The papers' own benchmark. Nothing of it comes with the package and nothing is downloaded: pass a copy of the public repository
(`mmlib.data.cremad_files.HOW_TO_GET`; Open Database License). Clips are decoded once, and streamed from the disk.

**Who is in the test.** CREMA-D has no official split. Its authors ask that all clips of an actor stay on one side. ``"actors"``
is a split of ours that does so, shipped as a list of clips (``cremad_split.csv``); ``"random"`` is the usual one, in which
nearly all actors stand on both sides, there to measure what that is worth.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from mmlib.data import cremad_clips as reading
from mmlib.data import cremad_files as files
from mmlib.data.checks import check_between, check_modalities, check_seed
from mmlib.data.core import MultimodalData, Splits
from mmlib.data.cremad_clips import Reading
from mmlib.data.cremad_files import EMOTIONS, NAME, Clip
from mmlib.data.download import data_folder
from mmlib.data.stream import StreamedData

MODALITIES = ("audio", "video")
OFFICIAL = Path(__file__).parent / "assets" / "cremad_split.csv"
TEST_ACTORS, VAL_ACTORS = 18, 13  #: of 91
#: channels of pictures, 0 to 1: the mean and deviation with which networks for ImageNet are trained
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def make(
    modalities: Sequence[str] | None = None,
    seed: int = 0,
    *,
    folder: str | Path | None = None,
    split: str | Path = "actors",
    seconds: float = 3.0,
    mels: int = 64,
    frames: int = 3,
    size: int = 112,
    in_memory: bool = False,
    workers: int = 0,
    skip_broken: bool = False,
    cache: str | Path | None = None,
    progress: bool = True,
) -> Splits:
    """Read `cremad` from a copy of its repository, decoding its clips where that was not done yet.

    Decoding is kept in ``cache``, one file for each modality and way of reading: 7,442 clips take 0.3 GB of audio, and 0.8 GB of
    video with the defaults (3.4 GB with ``size=224``, as in the papers).

    Args:
        modalities: ``audio``, ``video``, or both, in which order; by default both.
        seed: of the random split; the split by actors is the same for all seeds.
        folder: with ``AudioWAV`` and ``VideoFlash``; by default ``CREMA-D`` in the data folder (environment MMLIB_DATA).
        split: "actors", 60 to train, 13 to validate, 18 to test, none in two; "random", as many clips of each class in each
            split, whoever acts; or a table of yours, a CSV file with the columns ``clip`` and ``split`` (train, val, test).
        seconds: of sound, 0.5 to 10; the middle of a longer recording, silence after a shorter one.
        mels: bands of the spectrogram, 16 to 128.
        frames: pictures of a clip, 1 to 16. size: of their sides, 32 to 256.
        in_memory: hold all samples in memory (`MultimodalData`); otherwise they are read batch by batch from the disk
            (`StreamedData`).
        workers: processes that read ahead, of streamed data.
        skip_broken: leave out clips that cannot be decoded; by default the first one is named and nothing is made.
        cache: folder for what is decoded; by default ``cremad`` in the data folder.
        progress: whether a terminal or notebook shows a bar.

    Returns:
        Splits of 6 classes. ``groups``: ``actor``, 1001 to 1091, and, where the repository's summary table is there,
        ``ambiguous``: 1 where most raters of the whole clip named another emotion than the one acted, or had a tie
        (-1: not in the table). ``raw``: ``clip``, the name, and ``vote_audio``, ``vote_video``, ``vote_both``, letters such as
        "A:F" (`cremad_files.votes`).

    Raises:
        TypeError, ValueError: an unknown modality, a knob out of its range, a table with unknown clips, a split left empty.
        FileNotFoundError: no folder, or no CREMA-D in it: the message says how to get it.
        mmlib.data.cremad_clips.ClipError: a clip that cannot be decoded. ModuleNotFoundError: video without PyAV.
    """
    chosen = MODALITIES if modalities is None else tuple(modalities) if not isinstance(modalities, str) else modalities
    check_modalities(chosen, MODALITIES)
    check_seed(seed)
    check_between("seconds", seconds, 0.5, 10)
    check_between("mels", mels, 16, 128, whole=True)
    check_between("frames", frames, 1, 16, whole=True)
    check_between("size", size, 32, 256, whole=True)
    check_between("workers", workers, 0, 10_000, whole=True)
    root = Path(folder).expanduser() if folder is not None else data_folder(NAME) / "CREMA-D"
    clips = files.index(root, chosen)
    if "video" in chosen:
        reading.pyav()  # found out now, not after the sound has been decoded
    how = Reading(float(seconds), int(mels), int(frames), int(size))
    kept = Path(cache).expanduser() if cache is not None else data_folder(NAME)
    arrays: dict[str, Path] = {}
    good = np.ones(len(clips), dtype=bool)
    for m in chosen:
        arrays[m], readable = reading.decoded(root, m, clips, how, kept, skip_broken, progress)
        good &= readable
    rows = _rows(clips, split, seed)
    rows = {name: at[good[at]] for name, at in rows.items()}
    for name, at in rows.items():
        if not len(at):
            raise ValueError(f"split: no clip for {name!r} in {root} with split={str(split)!r}")
    everything = _Arrays(arrays, rows["train"])
    raw, groups = _told(root, clips)
    parts: list[Any] = []
    for at in rows.values():
        data = Clips(everything, [clips[i] for i in at], at, {g: v[at] for g, v in groups.items()}, _pick(raw, at))
        parts.append(data.in_memory() if in_memory else StreamedData(data, len(EMOTIONS), workers, pin_memory=_pinned()))
    settings = {
        "seed": seed, "split": str(split), "seconds": seconds, "mels": mels, "frames": frames, "size": size,
    }  # fmt: skip
    return Splits(parts[0], parts[1], parts[2], name=NAME, settings=settings, classes=tuple(EMOTIONS))


def official() -> dict[str, str]:
    """clip -> split, of ``split="actors"``: every clip that the naming scheme allows (20 more than were published)."""
    return files.read_split(OFFICIAL)


def _rows(clips: Sequence[Clip], split: str | Path, seed: int) -> dict[str, NDArray[np.int64]]:
    """split -> positions of its clips, in the order of their names."""
    names = [clip.name for clip in clips]
    if split == "random":
        told = _random(clips, seed)
    elif split == "actors":
        told = _sides(clips)
    else:
        listed = files.read_split(Path(split).expanduser())
        unknown = sorted(set(listed) - set(names))
        if unknown:
            raise ValueError(
                f"split: {Path(split).name} names {len(unknown)} clips that the folder has not, such as {unknown[0]!r}"
            )
        told = [listed.get(name, "") for name in names]
    part = np.array(told)
    return {s: np.flatnonzero(part == s) for s in ("train", "val", "test")}


def _sides(clips: Sequence[Clip]) -> list[str]:
    """The split of each clip's actor."""
    of_actor = {files.parse(name).actor: side for name, side in official().items()}
    return [of_actor[clip.actor] for clip in clips]


def _random(clips: Sequence[Clip], seed: int) -> list[str]:
    """As many clips of every emotion in each split as the split by actors has, drawn at random."""
    sides, emotion = np.array(_sides(clips), dtype=object), np.array([clip.emotion for clip in clips])
    rng, told = np.random.default_rng([seed, 0]), sides.copy()
    for e in range(len(EMOTIONS)):
        at = np.flatnonzero(emotion == e)
        told[rng.permutation(at)] = sides[at]
    return list(told)


def _told(root: Path, clips: Sequence[Clip]) -> tuple[dict[str, list[str]], dict[str, NDArray[np.int64]]]:
    """What is known of every clip beside its numbers."""
    raw = {"clip": [clip.name for clip in clips]}
    groups = {"actor": np.array([clip.actor for clip in clips])}
    if (root / files.VOTES).is_file():
        table = files.votes(root)
        nobody = files.Vote((), (), ())
        ballots = [table.get(clip.name, nobody) for clip in clips]
        for column in ("audio", "video", "both"):
            raw[f"vote_{column}"] = [":".join(getattr(b, column)) for b in ballots]
        letters = [letter for _, letter in EMOTIONS.values()]
        asked = [(letters[clip.emotion],) for clip in clips]
        groups["ambiguous"] = np.array([int(b.both != a) if b.both else -1 for b, a in zip(ballots, asked, strict=True)])
    return raw, groups


def _pick(raw: dict[str, list[str]], at: NDArray[np.int64]) -> dict[str, list[str]]:
    return {name: [values[i] for i in at] for name, values in raw.items()}


def _pinned() -> bool:
    return torch.cuda.is_available()


class _Arrays:
    """The decoded clips of every modality, mapped into memory in whichever process reads them."""

    def __init__(self, paths: dict[str, Path], train: NDArray[np.int64]) -> None:
        self.paths = paths
        self.open: dict[str, NDArray[Any]] = {}
        self.mean = self.std = 0.0
        if "audio" in paths:  # of the training clips alone; in blocks, so that nothing is held
            whole = self.array("audio")
            total = square = 0.0
            for at in np.array_split(train, max(1, len(train) // 256)):
                block = whole[at].astype(np.float64)
                total, square = total + block.sum(), square + (block**2).sum()
            count = len(train) * whole[0].size
            self.mean = total / count
            self.std = max(1e-6, (square / count - self.mean**2) ** 0.5)

    def __getstate__(self) -> dict[str, Any]:  # a worker opens the files anew
        return {**self.__dict__, "open": {}}

    def array(self, modality: str) -> NDArray[Any]:
        if modality not in self.open:
            self.open[modality] = np.load(self.paths[modality], mmap_mode="r")
        return self.open[modality]

    def samples(self, modality: str, at: Any) -> Tensor:
        """Prepared samples: [1, mels, steps] or [frames, 3, size, size] of a number, [N, ...] of an array of numbers."""
        x = np.asarray(self.array(modality)[at], dtype=np.float32)
        if modality == "audio":
            return torch.from_numpy((x - np.float32(self.mean)) / np.float32(self.std)).unsqueeze(-3)
        shape = (3, 1, 1)
        return torch.from_numpy(
            (x / 255 - np.reshape(MEAN, shape).astype(np.float32)) / np.reshape(STD, shape).astype(np.float32)
        )


class Clips(Dataset[Any]):
    """The clips of one split: item i is ``({modality: tensor}, emotion)``."""

    def __init__(
        self, arrays: _Arrays, clips: Sequence[Clip], rows: NDArray[np.int64], groups: dict[str, Any], raw: dict[str, list[str]]
    ) -> None:
        self.arrays, self.rows = arrays, rows
        self.labels = torch.tensor([clip.emotion for clip in clips])
        self.groups = {name: torch.from_numpy(np.asarray(v)) for name, v in groups.items()}
        self.raw: dict[str, Any] = raw

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[dict[str, Tensor], int]:
        return {m: self.arrays.samples(m, int(self.rows[i])) for m in self.arrays.paths}, int(self.labels[i])

    def in_memory(self) -> MultimodalData:
        """The same samples, all of them in memory."""
        inputs = {m: self.arrays.samples(m, self.rows) for m in self.arrays.paths}
        return MultimodalData(inputs, self.labels, len(EMOTIONS), groups=copy.copy(self.groups), raw=copy.copy(self.raw))
