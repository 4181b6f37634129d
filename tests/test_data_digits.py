"""digits: groups kept apart, modalities paired by class, one seed one draw, and every knob does what it says."""

from __future__ import annotations

import hashlib
import time
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlib.data import MultimodalData, Splits, load
from mmlib.data import digits as module
from mmlib.data.audio import LENGTH, log_mel

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def plain() -> Splits:
    return load("digits", seed=3, image_noise=0.0)


def groups(splits: Splits, name: str) -> list[set[int]]:
    return [set(data.groups[name].tolist()) for _, data in splits.items()]


def same(a: MultimodalData, b: MultimodalData) -> bool:
    return torch.equal(a.labels, b.labels) and all(torch.equal(a.inputs[m], b.inputs[m]) for m in a.modalities)


@given(
    seed=st.integers(0, 10**9),
    voices=st.integers(1, 32),
    languages=st.integers(1, 24),
    samples=st.integers(10, 997),
)
@settings(deadline=None, max_examples=15)
def test_voices_and_languages_are_disjoint(seed: int, voices: int, languages: int, samples: int) -> None:
    splits = load("digits", seed=seed, train_voices=voices, train_languages=languages, samples=samples)
    for name, most in (("voice", voices), ("language", languages)):
        found = groups(splits, name)
        assert all(not a & b for a, b in combinations(found, 2))
        assert len(found[0]) <= most
    assert len(splits.train) == samples


def test_as_many_groups_as_asked_for(plain: Splits) -> None:
    splits = load("digits", train_voices=7, train_languages=5)
    assert [len(g) for g in groups(splits, "voice")] == [7, 12, 20]
    assert [len(g) for g in groups(splits, "language")] == [5, 8, 12]


def test_every_image_is_in_one_split(plain: Splits) -> None:
    assert [len(d) for _, d in plain.items()] == [997, 300, 500]
    drawn = torch.cat([d.inputs["image"].flatten(1) for _, d in plain.items()])
    everything = module.handwriting()[0].flatten(1)
    assert sorted(map(tuple, drawn.tolist())) == sorted(map(tuple, everything.tolist()))
    assert everything.min() == 0
    assert everything.max() == 1


def test_classes_keep_their_proportions(plain: Splits) -> None:
    share = module.handwriting()[1].bincount() / 1797
    for _, data in [*plain.items(), *load("digits", samples=100).items()]:
        assert (data.labels.bincount(minlength=10) - share * len(data)).abs().max() < 2


@pytest.mark.parametrize("split", SPLITS)
def test_modalities_are_paired_by_class(plain: Splits, split: str) -> None:
    data: MultimodalData = getattr(plain, split)
    labels = data.labels.tolist()
    originals = dict(zip(map(tuple, module.handwriting()[0].flatten(1).tolist()), module.handwriting()[1].tolist(), strict=True))
    assert [originals[tuple(row)] for row in data.inputs["image"].flatten(1).tolist()] == labels
    words, speech = module.number_words(), module.speech()
    takes = speech.waveforms.reshape(len(speech.voices), 10, speech.takes, LENGTH)
    for i, label in enumerate(labels):
        letters = "".join(chr(ord("a") + t - 1) for t in data.inputs["text"][i].tolist() if t)
        language = words.languages.index(data.raw["language"][i])
        assert letters == words.romanised[language][label] == data.raw["romanised"][i]
        assert data.raw["word"][i] == words.written[language][label]
        assert language == data.groups["language"][i]
        voice = int(data.groups["voice"][i])
        assert data.raw["voice"][i] == speech.voices[voice]
        assert any(np.array_equal(data.raw["waveform"][i], take) for take in takes[voice, label])


def test_every_voice_and_language_is_used_evenly() -> None:
    train = load("digits", seed=1, train_voices=4, train_languages=5).train
    for name, count in (("voice", 4), ("language", 5)):
        used = train.groups[name].unique(return_counts=True)[1].double()
        assert (used - 997 / count).abs().max() < 5 * (997 / count) ** 0.5


def test_one_seed_one_draw(plain: Splits) -> None:
    again, other = load("digits", seed=3, image_noise=0.0), load("digits", seed=4, image_noise=0.0)
    assert all(same(a, b) for (_, a), (_, b) in zip(plain.items(), again.items(), strict=True))
    assert torch.equal(plain.train.groups["voice"], again.train.groups["voice"])
    for name in ("voice", "language"):
        assert groups(plain, name) != groups(other, name)
    assert not torch.equal(plain.test.inputs["image"], other.test.inputs["image"])
    noisy = [load("digits", ["image", "audio"], seed=5, image_noise=0.2, audio_noise=0.2) for _ in range(2)]
    assert all(same(getattr(noisy[0], s), getattr(noisy[1], s)) for s in SPLITS)


def test_the_draw_of_a_seed_does_not_change_between_versions() -> None:
    """A stored result names a seed: what is behind it must stay. Change this only with a new version of the data."""
    splits = load("digits", ["text", "audio"], seed=0, samples=997, train_voices=4, train_takes=3, train_languages=15)
    columns = [c for _, d in splits.items() for c in (d.labels, d.inputs["text"], *d.groups.values())]
    assert hashlib.sha256(b"".join(c.numpy().astype("<i8").tobytes() for c in columns)).hexdigest()[:16] == "1657152a0c325aef"


@pytest.mark.parametrize("knob", [{"samples": 200}, {"train_voices": 9}, {"train_takes": 1}, {"train_languages": 3}])
def test_knobs_of_training_leave_validation_and_test_alone(knob: dict[str, Any]) -> None:
    usual, changed = (load("digits", ["image", "text", "audio"], seed=6, **k) for k in ({}, knob))
    assert not same(usual.train, changed.train)
    for split in ("val", "test"):
        a, b = getattr(usual, split), getattr(changed, split)
        assert torch.equal(a.inputs["image"], b.inputs["image"])
        assert torch.equal(a.inputs["text"], b.inputs["text"])
        assert np.array_equal(a.raw["waveform"], b.raw["waveform"])
        # the spectrogram is standardised by the training split, so it may move and stretch, but by one rule for all
        x, y = a.inputs["audio"].double(), b.inputs["audio"].double()
        torch.testing.assert_close((x - x.mean()) / x.std(), (y - y.mean()) / y.std(), atol=1e-4, rtol=0)


def test_fewer_samples_are_some_of_the_many() -> None:
    few, many = load("digits", seed=7, samples=150).train, load("digits", seed=7).train
    where = {tuple(row): i for i, row in enumerate(many.inputs["image"].flatten(1).tolist())}
    at = torch.tensor([where[tuple(row)] for row in few.inputs["image"].flatten(1).tolist()])
    assert torch.equal(few.inputs["text"], many.inputs["text"][at])
    assert torch.equal(few.groups["voice"], many.groups["voice"][at])
    assert np.array_equal(few.raw["waveform"], many.raw["waveform"][at.numpy()])


def test_more_voices_and_languages_include_the_fewer() -> None:
    few, many = load("digits", train_voices=2, train_languages=4), load("digits", train_voices=12, train_languages=20)
    assert groups(few, "voice")[0] < groups(many, "voice")[0]
    assert groups(few, "language")[0] < groups(many, "language")[0]


@pytest.mark.parametrize("takes", [1, 2, 3])
def test_takes_bound_the_recordings_of_each_voice_and_digit(takes: int) -> None:
    train = load("digits", ["audio"], seed=8, train_voices=2, train_takes=takes).train
    heard: dict[tuple[int, int], set[bytes]] = {}
    for wave, voice, label in zip(train.raw["waveform"], train.groups["voice"].tolist(), train.labels.tolist(), strict=True):
        heard.setdefault((voice, label), set()).add(wave.tobytes())
    assert len(heard) == 20
    assert {len(h) for h in heard.values()} == {takes}


def test_image_noise_has_the_standard_deviation_it_says() -> None:
    clean, low, high = (load("digits", ["image"], seed=9, image_noise=n) for n in (0.0, 0.15, 0.6))
    for split in SPLITS:
        base, small, large = (getattr(s, split).inputs["image"] for s in (clean, low, high))
        assert abs((small - base).std().item() - 0.15) < 0.004
        torch.testing.assert_close(large - base, 4 * (small - base), atol=1e-5, rtol=0)  # the same grain, four times as strong


@pytest.mark.parametrize("level", [0.1, 1.0])
def test_audio_noise_is_relative_to_the_utterance(level: float) -> None:
    clean, noisy = (load("digits", ["audio"], seed=10, audio_noise=n) for n in (0.0, level))
    for split in SPLITS:
        sound, both = (getattr(s, split).raw["waveform"] for s in (clean, noisy))
        for utterance, heard in list(zip(sound, both, strict=True))[:20]:
            spoken = utterance[: np.nonzero(utterance)[0][-1] + 1]
            ratio = np.std(heard - utterance) / np.sqrt(np.mean(spoken**2))
            assert abs(ratio / level - 1) < 0.06
        assert not torch.equal(getattr(clean, split).inputs["audio"], getattr(noisy, split).inputs["audio"])


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_spectrograms_are_those_of_the_waveforms_standardised_on_train(noise: float) -> None:
    splits = load("digits", ["audio"], seed=11, audio_noise=noise)
    train = splits.train.inputs["audio"]
    assert abs(train.mean().item()) < 1e-4
    assert abs(train.std().item() - 1) < 1e-4
    reference = log_mel(torch.from_numpy(splits.train.raw["waveform"]))
    for _, data in splits.items():
        expected = (log_mel(torch.from_numpy(data.raw["waveform"])) - reference.mean()) / reference.std()
        torch.testing.assert_close(data.inputs["audio"].squeeze(1), expected, atol=1e-3, rtol=0)


def test_what_a_sample_looks_like(plain: Splits) -> None:
    assert plain.modalities == ("image", "audio", "text")
    assert plain.train.shapes == {"image": (1, 8, 8), "audio": (1, 32, 32), "text": (module.number_words().ids.shape[2],)}
    assert [x.dtype for x in plain.train.inputs.values()] == [torch.float32, torch.float32, torch.int64]
    assert 0 <= plain.train.inputs["text"].min() <= plain.train.inputs["text"].max() < module.VOCABULARY
    text = torch.cat([d.inputs["text"] for _, d in plain.items()])
    assert ((text > 0).cummin(1).values == (text > 0)).all(), "padding stands at the end"
    assert (text[:, 0] > 0).all()
    assert plain.train.raw["waveform"].dtype == np.float32
    assert plain.train.raw["waveform"].shape == (997, LENGTH)
    assert 0.3 < np.abs(plain.train.raw["waveform"]).max() <= 1
    assert "by voice: " in repr(plain)
    assert "disjoint" in repr(plain)


def test_modalities_are_chosen_in_order_and_left_unchanged(plain: Splits) -> None:
    turned = load("digits", ["text", "image"], seed=3, image_noise=0.0)
    assert turned.modalities == ("text", "image")
    assert set(turned.train.groups) == {"language"}
    assert "waveform" not in turned.train.raw
    audio = load("digits", modalities=["audio"], seed=3)
    assert set(audio.train.groups) == {"voice"}
    for split in SPLITS:
        assert torch.equal(getattr(turned, split).inputs["text"], getattr(plain, split).inputs["text"])
        assert torch.equal(getattr(audio, split).inputs["audio"], getattr(plain, split).inputs["audio"])
        assert torch.equal(getattr(audio, split).labels, getattr(plain, split).labels)


def test_changing_a_loaded_split_does_not_change_the_next(plain: Splits) -> None:
    first = load("digits", seed=12, image_noise=0.0)
    before = {m: x.clone() for m, x in first.train.inputs.items()}
    wave = first.train.raw["waveform"].copy()
    for x in first.train.inputs.values():
        x.zero_()
    first.train.raw["waveform"][:] = 0
    again = load("digits", seed=12, image_noise=0.0)
    assert all(torch.equal(again.train.inputs[m], before[m]) for m in before)
    assert np.array_equal(again.train.raw["waveform"], wave)


def test_loads_in_less_than_a_second_once_decoded(plain: Splits) -> None:
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        load("digits", seed=3)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 1


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ({"samples": 9}, ValueError, "samples: expected a whole number from 10 to 997, found 9"),
        ({"samples": 998}, ValueError, "samples: .* found 998"),
        ({"train_voices": 33}, ValueError, r"train_voices: .* from 1 to 32 \(64 exist, 32 are kept for val and test\), found 33"),
        ({"train_voices": 0}, ValueError, "train_voices"),
        ({"train_voices": 2.0}, TypeError, "train_voices: expected a whole number"),
        ({"train_languages": 25}, ValueError, r"train_languages: .* from 1 to 24 \(44 exist"),
        ({"train_takes": 4}, ValueError, "train_takes: expected a whole number from 1 to 3, found 4"),
        ({"image_noise": -1}, ValueError, "image_noise: expected a number from 0"),
        ({"audio_noise": float("inf")}, ValueError, "audio_noise: .* found inf"),
        ({"audio_noise": None}, TypeError, "audio_noise: .* found None"),
        ({"seed": 0.5}, TypeError, "seed: expected a whole number"),
        ({"modalities": ["image", "video"]}, ValueError, "unknown 'video'; known: image, audio, text"),
        ({"modalities": ()}, ValueError, "at least one"),
        ({"modalities": "image"}, TypeError, r"write \('image',\)"),
        ({"voices": 4}, TypeError, "unknown knob 'voices' of 'digits'; known: samples, train_voices, train_takes"),
    ],
)
def test_bad_input(bad: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load("digits", **bad)
