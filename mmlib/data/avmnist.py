"""`avmnist`: a handwritten digit and a recording of a person who says it.

======== =================== ==========================================================================
modality one sample          what
======== =================== ==========================================================================
image    [1, 28, 28]         MNIST's 10,000-image file, most of its energy removed, standardised
audio    [1, MELS, FRAMES]   log-mel spectrogram of a recording from the Free Spoken Digit Dataset, standardised
======== =================== ==========================================================================

Six people said every digit fifty times. Nobody who is heard in training is heard in validation or test, unless asked
for (``speakers="shared"``). Both parts are downloaded once, verified, and kept (`mmlib.data.avmnist_files`); no part of them
comes with the package. Where they come from, and what they are not: the book's data card.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmlib.data.avmnist_files import CLASSES, NAME, SPEAKERS, TAKES, handwriting, recordings
from mmlib.data.checks import check_between, check_modalities, check_seed
from mmlib.data.core import MultimodalData, Splits

MODALITIES = ("image", "audio")
TEST_SPEAKERS, VAL_SPEAKERS, TRAIN_SPEAKERS = 2, 1, 3
TEST_TAKES, VAL_TAKES, TRAIN_TAKES = 10, 10, 30  #: of a speaker whom the splits share
VAL_SAMPLES, TEST_SAMPLES, TRAIN_SAMPLES = 1_000, 2_000, 7_000  #: images: 10,000 in all


def make(
    modalities: Sequence[str] | None = None,
    seed: int = 0,
    *,
    rotation: int | None = None,
    speakers: str = "unseen",
    train_speakers: int = 2,
    train_takes: int = TRAIN_TAKES,
    samples: int = 2_000,
    removed_energy: float = 0.75,
) -> Splits:
    """Draw `avmnist`, downloading and preparing its parts where they are not there yet.

    The six speakers stand in a circle. In rotation r, numbers r and r + 1 are heard in the test, r + 2 in validation,
    ``train_speakers`` of the other three in training: over the six rotations each is in the test twice, in validation once.
    People differ widely and there are six, so average over all rotations.

    Args:
        modalities: which of ``image`` and ``audio``, in which order; by default both.
        seed: of everything drawn: images, pairing, and which takes are for training.
        rotation: 0 to 5; by default the remainder of ``seed`` / 6, so that six seeds in a row go round once.
        speakers: ``"unseen"``: the test has other people than the training. ``"shared"``: validation and test have other
            recordings of the *same* people as the training; the training split stays as it is, bit for bit.
        train_speakers: speakers of the training split, 1 to 3. More: harder to learn by heart.
        train_takes: recordings of each digit by each training speaker, 1 to 30, drawn anew for each speaker and digit.
        samples: of the training split, 10 to 7,000, as many of each class as in the whole. Recordings are used several times.
        removed_energy: share of the images' variance that is removed, from 0 up to, but without, 1: see `remove_energy`.

    Returns:
        Splits with ``samples`` / 1,000 / 2,000 samples. ``groups``: ``voice`` (with audio), the speaker's number in `SPEAKERS`;
        ``raw``: ``waveform``, N arrays [LENGTH] float32 at `audio.SAMPLE_RATE`, and ``voice``, the speaker's name; ``original``
        (with image), the images [N, 28, 28] before anything was removed, bytes.

    Raises:
        TypeError, ValueError: an unknown modality or a knob out of its range.
        mmlib.data.download.DownloadError: a part could not be had.
    """
    chosen = MODALITIES if modalities is None else tuple(modalities) if not isinstance(modalities, str) else modalities
    check_modalities(chosen, MODALITIES)
    check_seed(seed)
    turn = seed % len(SPEAKERS) if rotation is None else rotation
    check_between("rotation", turn, 0, len(SPEAKERS) - 1, whole=True)
    if speakers not in ("unseen", "shared"):
        raise ValueError(f"speakers: expected 'unseen' or 'shared', found {speakers!r}")
    check_between("train_speakers", train_speakers, 1, TRAIN_SPEAKERS, whole=True)
    check_between("train_takes", train_takes, 1, TRAIN_TAKES, whole=True)
    check_between("samples", samples, CLASSES, TRAIN_SAMPLES, whole=True)
    check_between("removed_energy", removed_energy, 0, 0.999)

    draw = np.random.default_rng([seed, 0])
    labels = handwriting()[1]
    images = _split_images(draw, labels.numpy(), samples)
    parts: list[dict[str, Any]] = [{"inputs": {}, "groups": {}, "raw": {}} for _ in images]
    for modality in chosen:
        if modality == "image":
            _add_image(parts, images, removed_energy)
        else:
            _add_audio(parts, images, seed, turn, speakers == "shared", train_speakers, train_takes)
        reference = parts[0]["inputs"][modality]
        mean, std = reference.mean(), reference.std()  # of the training split alone
        for part in parts:
            part["inputs"][modality] = (part["inputs"][modality] - mean) / std
    train, val, test = (
        MultimodalData(labels=labels[at.kept], num_classes=CLASSES, **part) for part, at in zip(parts, images, strict=True)
    )
    settings = {
        "seed": seed, "rotation": turn, "speakers": speakers, "train_speakers": train_speakers, "train_takes": train_takes,
        "samples": samples, "removed_energy": removed_energy,
    }  # fmt: skip
    return Splits(train, val, test, name=NAME, settings=settings)


class _Chosen(NamedTuple):
    """The images of one split. Draws are made for ``full`` and kept for ``keep``, so that ``samples`` changes no draw."""

    full: NDArray[np.int64]  # numbers of images
    keep: NDArray[np.int64]  # positions in full

    @property
    def kept(self) -> NDArray[np.int64]:
        return self.full[self.keep]


def _split_images(draw: np.random.Generator, labels: NDArray[np.int64], samples: int) -> list[_Chosen]:
    """Train, val, test, each with the classes in the proportions of the whole."""
    rest = draw.permutation(len(labels))
    parts = []
    for size in (TEST_SAMPLES, VAL_SAMPLES):
        at = _stratified(labels[rest], size)
        parts.append(_Chosen(rest[at], np.arange(size)))
        rest = np.delete(rest, at)
    parts.append(_Chosen(rest, _stratified(labels[rest], samples)))
    return parts[::-1]


def _stratified(labels: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Positions [size]: the first of each class, in the proportions of the whole (largest remainder)."""
    share = np.bincount(labels, minlength=CLASSES) * size / len(labels)
    count = np.floor(share).astype(int)
    count[np.argsort(count - share, kind="stable")[: size - count.sum()]] += 1
    return np.sort(np.concatenate([np.nonzero(labels == c)[0][: count[c]] for c in range(CLASSES)]))


def remove_energy(reference: Tensor, images: Sequence[Tensor], share: float) -> list[Tensor]:
    """Images without the principal components that hold most of the energy: the usual way to make MNIST hard for AV-MNIST.

    The components are those of ``reference``, the training images, with their mean taken off. In order of their variance, they
    are taken out of every image until ``share`` of the reference's variance is gone; of the last of them only as much as is
    needed for exactly that share. The mean is taken off as well. With a share of 0 the images stay whole.

    Args:
        reference: [N, ...]. images: any number of [K, ...] of the same sample shape. share: from 0 to below 1.
    """
    mean = reference.flatten(1).double().mean(0)
    centred = reference.flatten(1).double() - mean
    variance, axes = torch.linalg.eigh(centred.T @ centred)  # ascending
    variance, axes = variance.flip(0).clamp(min=0), axes.flip(1)
    before = variance.cumsum(0) - variance
    part = ((share * variance.sum() - before) / variance.clamp(min=1e-12)).clamp(0, 1)  # of each component's variance
    first = axes[:, part > 0]
    damped = (1 - (1 - part[part > 0]).sqrt()) * first  # [D, K], what is taken off along each axis
    out = []
    for x in images:
        flat = x.flatten(1).double() - mean
        out.append((flat - flat @ first @ damped.T).float().view(x.shape))
    return out


def _add_image(parts: list[dict[str, Any]], images: list[_Chosen], removed_energy: float) -> None:
    whole = [handwriting()[0][at.kept] for at in images]
    for part, x, original in zip(parts, remove_energy(whole[0], whole, removed_energy), whole, strict=True):
        part["inputs"]["image"] = x
        part["raw"]["original"] = (original.squeeze(1) * 255).round().byte()


def _add_audio(
    parts: list[dict[str, Any]], images: list[_Chosen], seed: int, turn: int, shared: bool, train_speakers: int, train_takes: int
) -> None:
    spoken, labels = recordings(), handwriting()[1].numpy()
    circle = np.roll(np.arange(len(SPEAKERS)), -turn)
    heard = np.split(circle, [TEST_SPEAKERS, TEST_SPEAKERS + VAL_SPEAKERS])[::-1]  # train, val, test
    heard[0] = heard[0][:train_speakers]
    # a random order of the takes of every speaker and digit: the first are for the test, the next for validation, then training
    takes = np.random.default_rng([seed, 1]).permuted(np.tile(np.arange(TAKES), (len(SPEAKERS), CLASSES, 1)), axis=2)
    begin = TEST_TAKES + VAL_TAKES
    spans = [(begin, train_takes), (0, TAKES), (0, TAKES)]
    if shared:
        spans = [(begin, train_takes), (TEST_TAKES, VAL_TAKES), (0, TEST_TAKES)]
    for number, (part, at, (start, count)) in enumerate(zip(parts, images, spans, strict=True)):
        who = heard[0] if shared else heard[number]
        rng, size = np.random.default_rng([seed, 2, number]), len(at.full)  # a stream for each split
        speaker = who[(rng.random(size) * len(who)).astype(int)][at.keep]
        take = (start + rng.random(size) * count).astype(int)[at.keep]
        digit = labels[at.kept]
        row = (speaker * CLASSES + digit) * TAKES + takes[speaker, digit, take]
        part["inputs"]["audio"] = spoken.log_mel[row].unsqueeze(1)
        part["groups"]["voice"] = torch.from_numpy(speaker)
        waveforms = {r: spoken.waveforms[r] * spoken.gain[r] for r in set(row.tolist())}  # one array for all who share it
        part["raw"].update(waveform=[waveforms[r] for r in row.tolist()], voice=[SPEAKERS[s] for s in speaker])
