"""`digits`: a number handwritten, spoken and written out as a word.

======== =================== ==========================================================================
modality one sample          what
======== =================== ==========================================================================
image    [1, 8, 8]           handwriting (scikit-learn's digits), grey from 0 to 1, plus noise
audio    [1, MELS, FRAMES]   log-mel spectrogram of a spoken English digit, standardised
text     [L], int64          letters of the number's name in some language: 1 for a to 26 for z, then 0
======== =================== ==========================================================================

An image is paired with a random utterance and a random word of its class. The voices of training, validation and test
are different ones, and so are the languages. Whoever learns the training voices or words by heart has learned nothing
for the test. Where each part comes from, and what it is not: the book's data card.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmlib.data.audio import LENGTH, log_mel, mu_law_decode
from mmlib.data.checks import check_between, check_modalities, check_seed
from mmlib.data.core import MultimodalData, Splits

MODALITIES = ("image", "audio", "text")
ASSETS = Path(__file__).parent / "assets"  #: the files that tools/make_speech.py and tools/make_words.py made
CLASSES = 10
VOCABULARY = 27  #: text ids are 0 (nothing) and 1 .. 26 (a .. z)
TRAIN_SAMPLES, VAL_SAMPLES, TEST_SAMPLES = 997, 300, 500  #: images: 1,797 in all
VAL_VOICES, TEST_VOICES = 12, 20
VAL_LANGUAGES, TEST_LANGUAGES = 8, 12


class Speech(NamedTuple):
    """The shipped utterances."""

    waveforms: NDArray[np.float32]  # [V * 10 * K, LENGTH], by voice, digit, take; silence after the end
    log_mel: Tensor  # [V * 10 * K, MELS, FRAMES], without noise, not standardised
    voices: list[str]  # [V]
    takes: int  # K


class Words(NamedTuple):
    """The shipped names of numbers."""

    ids: Tensor  # [G, 10, L], int64
    written: list[list[str]]  # [G][10], in the language's own script
    romanised: list[list[str]]  # [G][10]
    languages: list[str]  # [G]


def make(
    modalities: Sequence[str] | None = None,
    seed: int = 0,
    *,
    samples: int = TRAIN_SAMPLES,
    train_voices: int = 2,
    train_takes: int = 3,
    train_languages: int = 15,
    image_noise: float = 0.15,
    audio_noise: float = 0.0,
) -> Splits:
    """Draw `digits`.

    Validation and test depend on the seed and on the two kinds of noise, not on the other knobs. A sample that stays
    in the training split when ``samples`` changes keeps its image, voice and word.

    Args:
        modalities: which of ``image``, ``audio`` and ``text``, in which order; by default all.
        seed: of everything drawn: images, voices, languages, pairing, noise.
        samples: of the training split, 10 to 997, as many of each class as in the whole.
        train_voices: voices of the training split, 1 to 32. More: harder to learn by heart.
        train_takes: recordings of each word by each training voice, 1 to 3.
        train_languages: languages of the training split, 1 to 24.
        image_noise: standard deviation of Gaussian noise on the image, whose grey goes from 0 to 1. Drawn once, on all
            splits.
        audio_noise: white noise on the waveform, as a multiple of the loudness (root mean square) of the utterance:
            0.1 is 20 dB below it, 1 is as loud. Drawn once, on all splits.

    Returns:
        Splits with ``samples`` / 300 / 500 samples. ``groups``: ``voice`` (with audio), ``language`` (with text);
        ``raw``: ``waveform`` [N, LENGTH] float32 at `audio.SAMPLE_RATE`, ``voice``; ``word``, ``romanised``, ``language``.

    Raises:
        TypeError, ValueError: an unknown modality or a knob out of its range.
    """
    chosen = MODALITIES if modalities is None else tuple(modalities) if not isinstance(modalities, str) else modalities
    check_modalities(chosen, MODALITIES)
    check_seed(seed)
    spoken, words = speech(), number_words()
    check_between("samples", samples, CLASSES, TRAIN_SAMPLES, whole=True)
    for name, asked, exist, kept in (
        ("train_voices", train_voices, len(spoken.voices), VAL_VOICES + TEST_VOICES),
        ("train_languages", train_languages, len(words.languages), VAL_LANGUAGES + TEST_LANGUAGES),
    ):
        check_between(name, asked, 1, exist - kept, whole=True, why=f" ({exist} exist, {kept} are kept for val and test)")
    check_between("train_takes", train_takes, 1, spoken.takes, whole=True)
    check_between("image_noise", image_noise, 0, 100)
    check_between("audio_noise", audio_noise, 0, 100)

    draw = np.random.default_rng([seed, 0])
    images = _split_images(draw, samples)
    voices = _three(draw.permutation(len(spoken.voices)), TEST_VOICES, VAL_VOICES, train_voices)
    languages = _three(draw.permutation(len(words.languages)), TEST_LANGUAGES, VAL_LANGUAGES, train_languages)
    takes = (train_takes, spoken.takes, spoken.takes)
    parts = []
    for number in range(3):
        part: dict[str, Any] = {"inputs": {}, "groups": {}, "raw": {}}
        for modality in chosen:
            # a stream for each modality and split: dropping or reordering modalities changes nothing in the others
            rng = np.random.default_rng([seed, 1 + MODALITIES.index(modality), number])
            if modality == "image":
                _add_image(part, rng, images[number], image_noise)
            elif modality == "audio":
                _add_audio(part, rng, images[number], voices[number], takes[number], audio_noise)
            else:
                _add_text(part, rng, images[number], languages[number])
        parts.append((part, handwriting()[1][images[number].kept]))
    if "audio" in chosen:
        reference = parts[0][0]["inputs"]["audio"]
        mean, std = reference.mean(), reference.std()  # of the training split alone
        for part, _ in parts:
            part["inputs"]["audio"] = (part["inputs"]["audio"] - mean) / std
    train, val, test = (MultimodalData(labels=labels, num_classes=CLASSES, **part) for part, labels in parts)
    settings = {
        "seed": seed, "samples": samples, "train_voices": train_voices, "train_takes": train_takes,
        "train_languages": train_languages, "image_noise": image_noise, "audio_noise": audio_noise,
    }  # fmt: skip
    return Splits(train, val, test, name="digits", settings=settings)


class _Chosen(NamedTuple):
    """The images of one split. Draws are made for ``full`` and kept for ``kept``, so that ``samples`` changes no draw."""

    full: NDArray[np.int64]  # numbers of images
    keep: NDArray[np.int64]  # positions in full

    @property
    def kept(self) -> NDArray[np.int64]:
        return self.full[self.keep]


def _split_images(draw: np.random.Generator, samples: int) -> list[_Chosen]:
    """Train, val, test, each with the classes in the proportions of the whole."""
    rest = draw.permutation(len(handwriting()[1]))
    parts = []
    for size in (TEST_SAMPLES, VAL_SAMPLES):
        at = _stratified(rest, size)
        parts.append(_Chosen(rest[at], np.arange(size)))
        rest = np.delete(rest, at)
    parts.append(_Chosen(rest, _stratified(rest, samples)))
    return parts[::-1]


def _stratified(images: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Positions [size] in ``images``: the first of each class, in the proportions of the whole (largest remainder)."""
    labels = handwriting()[1].numpy()[images]
    share = np.bincount(labels, minlength=CLASSES) * size / len(images)
    count = np.floor(share).astype(int)
    count[np.argsort(count - share, kind="stable")[: size - count.sum()]] += 1
    return np.sort(np.concatenate([np.nonzero(labels == c)[0][: count[c]] for c in range(CLASSES)]))


def _three(order: NDArray[np.int64], test: int, val: int, train: int) -> list[NDArray[np.int64]]:
    return [order[test + val : test + val + train], order[test : test + val], order[:test]]


def _add_image(part: dict[str, Any], rng: np.random.Generator, images: _Chosen, noise: float) -> None:
    grain = rng.standard_normal((len(images.full), 1, 8, 8), dtype=np.float32)[images.keep]
    part["inputs"]["image"] = handwriting()[0][images.kept] + noise * torch.from_numpy(grain)


def _add_audio(
    part: dict[str, Any], rng: np.random.Generator, images: _Chosen, voices: NDArray[np.int64], takes: int, noise: float
) -> None:
    spoken, size = speech(), len(images.full)
    voice = voices[(rng.random(size) * len(voices)).astype(int)][images.keep]
    take = (rng.random(size) * takes).astype(int)[images.keep]
    at = (voice * CLASSES + handwriting()[1].numpy()[images.kept]) * spoken.takes + take
    waveforms = spoken.waveforms[at]  # [N, LENGTH]
    if noise:
        loudness = np.array([np.sqrt(np.mean(w[: np.nonzero(w)[0][-1] + 1] ** 2)) for w in waveforms], dtype=np.float32)
        hiss = rng.standard_normal((size, LENGTH), dtype=np.float32)[images.keep]
        waveforms = waveforms + noise * loudness[:, None] * hiss
        spectrogram = log_mel(torch.from_numpy(waveforms))
    else:
        spectrogram = spoken.log_mel[at]
    part["inputs"]["audio"] = spectrogram.unsqueeze(1)
    part["groups"]["voice"] = torch.from_numpy(voice)
    part["raw"].update(waveform=waveforms, voice=[spoken.voices[v] for v in voice])


def _add_text(part: dict[str, Any], rng: np.random.Generator, images: _Chosen, languages: NDArray[np.int64]) -> None:
    words, digits = number_words(), handwriting()[1].numpy()[images.kept]
    language = languages[(rng.random(len(images.full)) * len(languages)).astype(int)][images.keep]
    part["inputs"]["text"] = words.ids[language, digits]
    part["groups"]["language"] = torch.from_numpy(language)
    pairs = list(zip(language.tolist(), digits.tolist(), strict=True))
    part["raw"].update(
        word=[words.written[g][d] for g, d in pairs],
        romanised=[words.romanised[g][d] for g, d in pairs],
        language=[words.languages[g] for g in language],
    )


@lru_cache(maxsize=1)
def handwriting() -> tuple[Tensor, Tensor]:
    """scikit-learn's digits: images [1797, 1, 8, 8] from 0 to 1, labels [1797]."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return torch.from_numpy(found.images).float().unsqueeze(1) / 16, torch.from_numpy(found.target).long()


@lru_cache(maxsize=1)
def speech() -> Speech:
    """The utterances that ``tools/make_speech.py`` made, decoded once per process."""
    with np.load(ASSETS / "speech.npz", allow_pickle=False) as shipped:
        codes, lengths, voices = shipped["sound"], shipped["lengths"], [str(v) for v in shipped["voices"]]
    sound, ends = mu_law_decode(codes), np.cumsum(lengths.ravel())
    waveforms = np.zeros((lengths.size, LENGTH), dtype=np.float32)
    for row, (end, length) in enumerate(zip(ends, lengths.ravel(), strict=True)):
        kept = min(int(length), LENGTH)
        waveforms[row, :kept] = sound[end - length : end - length + kept]
    return Speech(waveforms, log_mel(torch.from_numpy(waveforms)), voices, int(lengths.shape[2]))


@lru_cache(maxsize=1)
def number_words() -> Words:
    """The words that ``tools/make_words.py`` made."""
    lines = (ASSETS / "words.tsv").read_text(encoding="utf-8").splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    languages = list(dict.fromkeys(language for _, language, *_ in rows))
    written = [[row[3] for row in rows if row[1] == language] for language in languages]
    romanised = [[row[4] for row in rows if row[1] == language] for language in languages]
    ids = torch.zeros(len(languages), CLASSES, max(len(row[4]) for row in rows), dtype=torch.int64)
    for g, names in enumerate(romanised):
        for d, name in enumerate(names):
            ids[g, d, : len(name)] = torch.tensor([ord(letter) - ord("a") + 1 for letter in name])
    return Words(ids, written, romanised, languages)
