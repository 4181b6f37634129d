"""avmnist: the real files through the real code, against a local server; speakers kept apart; every knob does what it says."""

from __future__ import annotations

import gzip
import io
import struct
import subprocess
import sys
import time
import wave
import zipfile
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmlib.__main__ import main
from mmlib.data import MultimodalData, Splits, avmnist, load
from mmlib.data import avmnist_files as module
from mmlib.data import download as web
from mmlib.data.audio import FRAMES, LENGTH, MELS, SAMPLE_RATE, log_mel
from tests.data_server import ABSENT, SHARED, DataServer, Fault, serve

real = pytest.mark.skipif(not SHARED.is_dir(), reason=ABSENT)
SPEECH, IMAGES = module.SPEECH.name, module.IMAGES.name


def forget() -> None:
    module.handwriting.cache_clear()
    module.recordings.cache_clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Everything downloaded once, for the tests that only look at the data."""
    path: Path = tmp_path_factory.mktemp("avmnist")
    with pytest.MonkeyPatch.context() as patch, serve(SHARED) as server:
        patch.setenv("MMLIB_DATA", str(path))
        patch.setenv("MMLIB_DATA_MIRROR", server.url)
        patch.setenv("NO_PROXY", "127.0.0.1")
        forget()
        module.download(progress=False)
        yield path
    forget()


@pytest.fixture
def data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The downloaded folder, and nothing to download from."""
    monkeypatch.setenv("MMLIB_DATA", str(folder))
    monkeypatch.setenv("MMLIB_DATA_MIRROR", "http://127.0.0.1:9")
    return folder


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DataServer]:
    """A server over the real files, and an empty folder."""
    monkeypatch.setenv("MMLIB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(web, "BACK_OFF", 0.01)
    forget()
    with serve(SHARED) as running:
        monkeypatch.setenv("MMLIB_DATA_MIRROR", running.url)
        yield running
    forget()


def kept(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "data" / "avmnist").glob("*") if p.suffix != ".lock")


def repacked(change: dict[str, bytes | None], **extra: bytes) -> bytes:
    """The real recordings in another archive, some of them changed (None: left out)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        files: dict[str, Any] = {**module.read_archive(SHARED / SPEECH), **change}
        for name, content in files.items():
            if content is not None:
                archive.writestr(f"somebody-1234/recordings/{name}", content)
        for name, content in extra.items():
            archive.writestr(name, content)
    return out.getvalue()


# --- download, verification, caching -------------------------------------------------------------------------------------------


@real
def test_download_verifies_and_prepares(server: DataServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert module.available()
    assert main(["download", "avmnist"]) == 0
    assert f"avmnist: verified, in {tmp_path / 'data' / 'avmnist'}" in capsys.readouterr().out
    assert kept(tmp_path) == sorted([*(r.name for r in module.REMOTES), module.cache_file().name])
    asked = sum(n for what, n in server.asked.items() if what.startswith("GET"))
    assert asked == 3
    forget()
    assert main(["download", "avmnist"]) == 0
    assert sum(n for what, n in server.asked.items() if what.startswith("GET")) == 3


def test_download_of_other_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "digits"]) == 0
    assert "comes with the package" in capsys.readouterr().out
    assert main(["download", "digits", "imagenet"]) == 2
    assert "unknown data set 'imagenet'; known: two_speed, digits, emoji, avmnist" in capsys.readouterr().err


@real
def test_load_downloads_what_it_needs(server: DataServer, tmp_path: Path) -> None:
    splits = load("avmnist", modalities=["image"], samples=100)
    assert splits.modalities == ("image",)
    assert kept(tmp_path) == [IMAGES, module.LABELS.name]


@real
def test_another_packing_of_the_same_recordings_is_accepted(server: DataServer) -> None:
    server.files[SPEECH] = repacked({}, **{"somebody-1234/README.md": b"hello", "somebody-1234/recordings/notes.txt": b""})
    module.download(progress=False)
    assert module.recordings().log_mel.shape == (3000, MELS, FRAMES)


def altered() -> dict[str, bytes | None]:
    content = bytearray(module.read_archive(SHARED / SPEECH)["7_theo_31.wav"])
    content[1000] ^= 1
    return {"7_theo_31.wav": bytes(content)}


@real
@pytest.mark.parametrize(
    "change",
    [altered, lambda: {"7_theo_31.wav": None}, lambda: {"7_theo_50.wav": b"RIFF"}],
    ids=["one bit", "one missing", "one more"],
)
def test_altered_recordings_are_refused(server: DataServer, tmp_path: Path, change: Any) -> None:
    server.files[SPEECH] = repacked(change())
    with pytest.raises(web.DownloadError, match=f"expected recordings with digest {module.RECORDINGS_SHA256}"):
        load("avmnist")
    assert SPEECH not in kept(tmp_path)


@real
@pytest.mark.parametrize("name", [IMAGES, SPEECH])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(change=lambda x: x[: len(x) // 2]), "not the right file"),
        (Fault(change=lambda x: x[: len(x) // 2] + bytes([x[len(x) // 2] ^ 1]) + x[len(x) // 2 + 1 :]), "not the right file"),
        (Fault(cut=1_000_000), "no connection, or it broke"),
        (Fault(status=404), "answered 404"),
        (Fault(status=503), "answered 503"),
    ],
    ids=["truncated", "altered", "dropped", "404", "503"],
)
def test_what_goes_wrong_on_the_way(server: DataServer, tmp_path: Path, name: str, fault: Fault, message: str) -> None:
    server.faults[name] = Fault(**fault.__dict__)
    with pytest.raises(web.DownloadError, match=message) as caught:
        load("avmnist")
    for part in (name, server.url, str(tmp_path / "data" / "avmnist" / name), "mmlib.load('digits')"):
        assert part in str(caught.value)
    assert name not in kept(tmp_path)
    assert not [f for f in kept(tmp_path) if f.endswith(".part")]


def test_no_network_at_all(server: DataServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MMLIB_DATA_MIRROR", "http://127.0.0.1:9")
    assert not module.available()
    assert main(["download", "avmnist"]) == 2
    message = capsys.readouterr().err
    assert module.IMAGES.url in message
    assert "mmlib.load('digits')" in message


def test_the_public_addresses() -> None:
    assert [r.url for r in module.REMOTES] == [
        "https://ossci-datasets.s3.amazonaws.com/mnist/t10k-images-idx3-ubyte.gz",
        "https://ossci-datasets.s3.amazonaws.com/mnist/t10k-labels-idx1-ubyte.gz",
        "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/26eb9aaf76e81b692f806f9140c2d2777410d7a1.zip",
    ]


@real
def test_two_processes_at_once(server: DataServer, tmp_path: Path) -> None:
    server.delay = 0.3
    command = [sys.executable, "-m", "mmlib", "download", "avmnist"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        out, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
        assert "verified" in out
    assert {n for what, n in server.asked.items() if what.startswith("GET")} == {1}
    assert len(kept(tmp_path)) == 4


@real
@pytest.mark.parametrize("damage", [lambda x: x[: len(x) // 2], lambda x: b"", lambda x: x[:9999] + b"?" + x[10_000:]])
def test_damaged_spectrograms_are_made_again(server: DataServer, damage: Any) -> None:
    module.download(progress=False)
    before, path = module.recordings(), module.cache_file()
    content = path.read_bytes()
    path.write_bytes(damage(content))
    forget()
    assert torch.equal(module.recordings().log_mel, before.log_mel)
    assert path.read_bytes() == content
    assert np.array_equal(module.recordings().waveforms, before.waveforms)


@real
def test_spectrograms_of_another_shape_are_made_again(data: Path, tmp_path: Path) -> None:
    path, found = tmp_path / "x.npz", module.recordings()
    with path.open("wb") as file:
        module._write_cache(file, found._replace(log_mel=found.log_mel[:10]))
    assert module._read_cache(path) is None
    np.savez(path, waveforms=found.waveforms)
    assert module._read_cache(path) is None
    np.savez(path, waveforms=np.array([{}]), gain=found.gain, log_mel=found.log_mel.numpy())  # a pickle is never read
    assert module._read_cache(path) is None


@real
def test_spectrograms_that_cannot_be_kept(data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(module, "cache_file", lambda: tmp_path / "file" / "x.npz")
    module.recordings.cache_clear()
    with pytest.warns(UserWarning, match="the spectrograms are not kept"):
        assert len(module.recordings().gain) == 3000
    module.recordings.cache_clear()


@real
def test_speed(data: Path) -> None:
    files = module.read_archive(data / "avmnist" / SPEECH)
    began = time.process_time()
    module.prepare(files)
    assert time.process_time() - began < 10
    module.recordings.cache_clear()
    began = time.process_time()
    module.recordings()
    assert time.process_time() - began < 0.5


# --- archives and files that are not what they say -----------------------------------------------------------------------------


def archive(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in files.items():
            out.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ["../../evil.wav", "recordings/../../0_theo_0.wav", "/etc/passwd", "C:/x.wav", "a\\..\\..\\x"])
def test_paths_that_leave_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    path = archive(tmp_path / "a.zip", {"x/recordings/0_theo_0.wav": b"", name: b"x"})
    with pytest.raises(web.VerificationError, match="a path that leaves its folder"):
        module.check_recordings(path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


def test_nothing_is_unpacked_and_the_rest_is_left_alone(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"x/recordings/0_theo_0.wav": b"0", "x/README": b"1", "x/y/recordings/1_theo_0.wav": b"2"})
    assert module.read_archive(path) == {"0_theo_0.wav": b"0"}
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


def test_archives_that_swell_or_repeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "a.zip", {"recordings/0_theo_0.wav": bytes(10_000_000)})
    with pytest.raises(web.VerificationError, match="at most 200,000 bytes"):
        module.read_archive(path)
    path = archive(tmp_path / "b.zip", {"recordings/0_theo_0.wav": b"a", "x/recordings/0_theo_0.wav": b"b"})
    with pytest.raises(web.VerificationError, match="two recordings of that name"):
        module.read_archive(path)
    monkeypatch.setattr(module, "_MOST_MEMBERS", 1)
    with pytest.raises(web.VerificationError, match="at most 1 entries"):
        module.read_archive(path)


def test_an_archive_that_swells_in_many_files_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path / "a.zip", {f"recordings/0_theo_{take}.wav": bytes(150_000) for take in range(20)})
    assert path.stat().st_size < 10_000
    monkeypatch.setattr(module, "_MOST_UNPACKED", 20 * 150_000 - 1)
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(web.VerificationError, match=r"at most 2,999,999 bytes of recordings, the archive has 3,000,000"):
        module.read_archive(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"<html>", bytes(1000)])
def test_not_an_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(web.VerificationError, match="not a whole zip archive"):
        module.read_archive(tmp_path / "a.zip")


def test_digest_is_the_documented_one() -> None:
    import hashlib

    files = {"b": b"2", "a": b"1"}
    by_hand = b"a\0" + hashlib.sha256(b"1").digest() + b"b\0" + hashlib.sha256(b"2").digest()
    assert module.digest(files) == hashlib.sha256(by_hand).hexdigest()


def idx(shape: tuple[int, ...], content: bytes, kind: int = 8) -> bytes:
    return gzip.compress(struct.pack(f">4B{len(shape)}I", 0, 0, kind, len(shape), *shape) + content)


def test_idx(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(idx((2, 3), bytes(range(6))))
    assert module.parse_idx(path, (2, 3)).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "content",
    [
        idx((2, 2), bytes(6)),
        idx((2, 3), bytes(5)),
        idx((2, 3), bytes(7)),
        idx((2, 3), bytes(6), kind=13),
        idx((2, 3), bytes(10**7)),
        gzip.compress(b""),
        b"no gzip",
        idx((2, 3), bytes(6))[:-9],
    ],
    ids=["sizes", "short", "long", "type", "swells", "empty", "no gzip", "cut"],
)
def test_idx_that_is_not(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.gz").write_bytes(content)
    with pytest.raises(ValueError, match="x.gz: (expected an IDX file|not a whole gzip)"):
        module.parse_idx(tmp_path / "x.gz", (2, 3))


def wav(samples: Any, channels: int = 1, width: int = 2, rate: int = SAMPLE_RATE) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples, "<i2").tobytes())
    return out.getvalue()


def test_wav() -> None:
    assert module.parse_wav("x", wav([1, -2, 3])).tolist() == [1, -2, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (wav([1, 2], channels=2), "x.wav: expected 1 channel, 2 bytes and 8000 Hz, found \\(2, 2, 8000\\)"),
        (wav([1, 2], rate=16_000), "expected 1 channel"),
        (wav([1, 2], width=1), "expected 1 channel"),
        (wav([]), "found silence"),
        (wav([0, 0]), "found silence"),
        (b"", "not a WAV file"),
        (b"RIFF1234WAVE", "not a WAV file"),
        (wav([1, 2, 3])[:30], "not a WAV file"),
    ],
)
def test_wav_that_is_not(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        module.parse_wav("x.wav", content)


# --- what is drawn -------------------------------------------------------------------------------------------------------------


def voices(splits: Splits) -> list[set[int]]:
    return [set(d.groups["voice"].tolist()) for _, d in splits.items()]


def same(a: MultimodalData, b: MultimodalData) -> bool:
    return torch.equal(a.labels, b.labels) and all(torch.equal(a.inputs[m], b.inputs[m]) for m in a.modalities)


@real
def test_sizes_and_shapes(data: Path) -> None:
    splits = load("avmnist", seed=4)
    assert [len(d) for _, d in splits.items()] == [2000, 1000, 2000]
    assert splits.train.shapes == {"image": (1, 28, 28), "audio": (1, MELS, FRAMES)}
    assert splits.num_classes == 10
    assert splits.settings["rotation"] == 4
    share = module.handwriting()[1].bincount() / 10_000
    for _, part in splits.items():
        assert (part.labels.bincount(minlength=10) - share * len(part)).abs().max() < 2
        for x in part.inputs.values():
            assert x.dtype == torch.float32
    for x in splits.train.inputs.values():
        assert x.mean().abs() < 1e-4
        assert (x.std() - 1).abs() < 1e-4


@real
def test_over_the_rotations_every_speaker_is_tested_as_often(data: Path) -> None:
    tested: list[int] = []
    for rotation in range(6):
        found = voices(load("avmnist", ["audio"], seed=1, rotation=rotation))
        assert [len(v) for v in found] == [2, 1, 2]
        assert not any(a & b for a, b in combinations(found, 2))
        tested += found[2]
    assert sorted(tested) == sorted(2 * list(range(6)))
    assert voices(load("avmnist", ["audio"], seed=8)) == voices(load("avmnist", ["audio"], rotation=2))  # 8 = 6 + 2


@real
def test_shared_speakers(data: Path) -> None:
    unseen, shared = (load("avmnist", seed=3, speakers=s) for s in ("unseen", "shared"))
    assert same(unseen.train, shared.train)
    assert torch.equal(unseen.test.inputs["image"], shared.test.inputs["image"])
    found = voices(shared)
    assert found[0] == found[1] == found[2] == voices(unseen)[0]
    heard = [{w.tobytes() for w in d.raw["waveform"]} for _, d in shared.items()]
    assert not any(a & b for a, b in combinations(heard, 2))  # the same people, never the same recording


@real
def test_modalities_are_paired_by_class(data: Path) -> None:
    for _, part in load("avmnist", seed=2, samples=700).items():
        spoken = module.recordings()
        rows = {(w * g).tobytes(): i for i, (w, g) in enumerate(zip(spoken.waveforms, spoken.gain, strict=True))}
        at = [rows[w.tobytes()] for w in part.raw["waveform"]]
        assert [i // module.TAKES % 10 for i in at] == part.labels.tolist()
        assert [i // module.TAKES // 10 for i in at] == part.groups["voice"].tolist()
        assert [module.SPEAKERS[i // module.TAKES // 10] for i in at] == part.raw["voice"]
        originals = {
            x.tobytes(): int(y)
            for x, y in zip((module.handwriting()[0] * 255).byte().numpy(), module.handwriting()[1], strict=True)
        }
        assert [originals[x.numpy().tobytes()] for x in part.raw["original"]] == part.labels.tolist()


@real
def test_every_image_is_in_one_split(data: Path) -> None:
    parts = [d.raw["original"].flatten(1) for _, d in load("avmnist", samples=7_000).items()]
    everything = (module.handwriting()[0] * 255).byte().flatten(1)
    assert sorted(x.tobytes() for p in parts for x in p.numpy()) == sorted(x.tobytes() for x in everything.numpy())


@real
def test_one_seed_one_draw(data: Path) -> None:
    a, b, c = (load("avmnist", seed=s, rotation=0, samples=900) for s in (5, 5, 6))
    assert all(same(x, y) for (_, x), (_, y) in zip(a.items(), b.items(), strict=True))
    assert not torch.equal(a.train.inputs["image"], c.train.inputs["image"])
    assert not torch.equal(a.test.inputs["audio"], c.test.inputs["audio"])


@real
def test_what_a_knob_leaves_alone(data: Path) -> None:
    base = load("avmnist", seed=1)
    for m in base.modalities:
        alone = load("avmnist", [m], seed=1)
        assert all(torch.equal(d.inputs[m], e.inputs[m]) for (_, d), (_, e) in zip(base.items(), alone.items(), strict=True))
    assert load("avmnist", ["audio", "image"], seed=1).modalities == ("audio", "image")
    turned = load("avmnist", seed=1, rotation=3)
    assert torch.equal(base.train.inputs["image"], turned.train.inputs["image"])
    fewer = load("avmnist", seed=1, samples=1_000)
    rows = {x.numpy().tobytes(): v for x, v in zip(base.train.raw["original"], base.train.raw["waveform"], strict=True)}
    for x, v in zip(fewer.train.raw["original"], fewer.train.raw["waveform"], strict=True):
        assert np.array_equal(rows[x.numpy().tobytes()], v)  # who stays keeps the recording


@real
def test_fewer_speakers_and_takes(data: Path) -> None:
    splits = load("avmnist", ["audio"], train_speakers=1, train_takes=2)
    assert [len(v) for v in voices(splits)] == [1, 1, 2]
    assert len({w.tobytes() for w in splits.train.raw["waveform"]}) == 20
    assert voices(load("avmnist", ["audio"]))[0] < voices(load("avmnist", ["audio"], train_speakers=3))[0]


@real
def test_recordings_are_equally_loud_and_what_the_network_hears(data: Path) -> None:
    spoken, files = module.recordings(), module.read_archive(data / "avmnist" / SPEECH)
    assert sum(len(module.parse_wav(n, c)) > LENGTH for n, c in files.items()) == 197  # as the data card says
    for name, content in list(files.items())[::100]:
        digit, speaker, take = name.removesuffix(".wav").split("_")
        row = (module.SPEAKERS.index(speaker) * 10 + int(digit)) * module.TAKES + int(take)
        samples = module.parse_wav(name, content) * spoken.gain[row]
        assert abs(np.sqrt(np.mean(samples**2)) - module.LOUDNESS) < 1e-4
        length = min(len(samples), LENGTH)
        assert np.array_equal((spoken.waveforms[row] * spoken.gain[row])[:length], samples[:LENGTH])
        assert not spoken.waveforms[row, length:].any()
    some = slice(0, 3000, 500)
    waves = torch.from_numpy(spoken.waveforms[some] * spoken.gain[some, None])
    assert torch.allclose(log_mel(waves), spoken.log_mel[some], atol=1e-5)
    assert waves.shape[1] == LENGTH


@real
def test_energy_is_removed_by_the_training_images_alone(data: Path) -> None:
    whole = load("avmnist", ["image"], samples=1_000, removed_energy=0.0)
    faint = load("avmnist", ["image"], samples=1_000)
    again = load("avmnist", ["image"], samples=1_000, removed_energy=0.75)
    assert same(faint.test, again.test)
    x, y = ((d.train.raw["original"].float() / 255).flatten(1) for d in (whole, whole))
    for share in (0.0, 0.3, 0.75, 0.95):
        out = avmnist.remove_energy(x, [x, y[:5]], share)
        left = (out[0] - out[0].mean(0)).square().sum() / (x - x.mean(0)).square().sum()
        assert abs(float(left) - (1 - share)) < 1e-4
        assert torch.allclose(out[0][:5], out[1], atol=1e-5)


def test_removing_energy_by_hand() -> None:
    x = torch.tensor([[3.0, 1.0], [-3.0, 1.0], [0.0, 2.0], [0.0, 0.0]]) + torch.tensor([5.0, 0.0])  # variances 18 and 2
    (half,) = avmnist.remove_energy(x, [x], 0.9)  # all of the first axis
    assert torch.allclose(half, torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), atol=1e-6)
    (some,) = avmnist.remove_energy(x, [x], 0.45)  # half of its variance
    assert torch.allclose(some[:, 0], torch.tensor([3.0, -3.0, 0, 0]) / 2**0.5, atol=1e-6)
    (none,) = avmnist.remove_energy(x, [x], 0.0)
    assert torch.allclose(none, x - x.mean(0), atol=1e-6)


@pytest.mark.parametrize(
    ("knobs", "error", "message"),
    [
        ({"rotation": 6}, ValueError, "rotation: expected a whole number from 0 to 5, found 6"),
        ({"rotation": 1.5}, TypeError, "rotation: expected a whole number"),
        ({"speakers": "known"}, ValueError, "speakers: expected 'unseen' or 'shared', found 'known'"),
        ({"train_speakers": 4}, ValueError, "train_speakers: expected a whole number from 1 to 3, found 4"),
        ({"train_takes": 0}, ValueError, "train_takes: expected a whole number from 1 to 30, found 0"),
        ({"samples": 9}, ValueError, "samples: expected a whole number from 10 to 7,000, found 9"),
        ({"samples": True}, TypeError, "samples: expected"),
        ({"removed_energy": 1.0}, ValueError, "removed_energy: expected a number from 0 to 0.999, found 1.0"),
        ({"removed_energy": float("nan")}, ValueError, "removed_energy"),
        ({"seed": -1}, ValueError, "seed: expected"),
        ({"modalities": ["smell"]}, ValueError, "modalities: unknown 'smell'; known: image, audio"),
        ({"modalities": "image"}, TypeError, "modalities: expected a list of names"),
        ({"voices": 3}, TypeError, "unknown knob 'voices' of 'avmnist'; known: rotation, speakers, train_speakers"),
    ],
)
def test_bad_knobs_are_refused_before_anything_is_downloaded(
    knobs: dict[str, Any], error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MMLIB_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("MMLIB_DATA_MIRROR", "http://127.0.0.1:9")
    with pytest.raises(error, match=message):
        load("avmnist", **knobs)
    assert not (tmp_path / "nothing").exists()
