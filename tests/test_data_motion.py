"""motion: the real files through the real code, against a local server; people kept apart; every knob does what it says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from mmlib.__main__ import main
from mmlib.data import MultimodalData, Splits, load, motion
from mmlib.data import motion_files as module
from mmlib.data.archive import read_members
from tests.data_server import ABSENT, SHARED, serve

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason=ABSENT)
SECONDS: dict[str, float] = {}


def forget() -> None:
    module.recordings.cache_clear()
    motion.windows.cache_clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Everything downloaded, verified and parsed once."""
    path: Path = tmp_path_factory.mktemp("motion")
    with pytest.MonkeyPatch.context() as patch, serve(SHARED) as server:
        patch.setenv("MMLIB_DATA", str(path))
        patch.setenv("MMLIB_DATA_MIRROR", server.url)
        patch.setenv("NO_PROXY", "127.0.0.1")
        forget()
        began = time.process_time()
        assert main(["download", "motion"]) == 0
        SECONDS["prepared"] = time.process_time() - began
        yield path
    forget()


@pytest.fixture(autouse=True)
def data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The downloaded folder, and nothing to download from."""
    monkeypatch.setenv("MMLIB_DATA", str(folder))
    monkeypatch.setenv("MMLIB_DATA_MIRROR", "http://127.0.0.1:9")
    return folder


def test_a_kept_model_takes_windows_in_the_units_of_the_recordings() -> None:
    splits = load("motion", seed=3, train_people=2, modalities=["watch_gyro", "phone_accel"])
    cut = motion.windows(0.8, 50)
    mine = np.flatnonzero(cut.person == splits.test.groups["person"][0].item())
    raw = {m: cut.values[mine][..., motion._channels(m)] for m in splits.modalities}
    for m in splits.modalities:
        assert torch.equal(splits.prepare[m](raw[m]), splits.test.inputs[m][: len(mine)])


def people(splits: Splits) -> list[list[int]]:
    """Of each split, in the order in which they stand there."""
    return [list(dict.fromkeys(d.groups["person"].tolist())) for _, d in splits.items()]


def same(a: MultimodalData, b: MultimodalData) -> bool:
    return torch.equal(a.labels, b.labels) and all(torch.equal(a.inputs[m], b.inputs[m]) for m in a.modalities)


def test_speed() -> None:
    assert SECONDS["prepared"] < 30
    forget()
    began = time.process_time()
    load("motion")
    assert time.process_time() - began < 1


def test_what_the_data_card_says(data: Path) -> None:
    every = module.recordings()
    assert every.execution.shape == (223, 2)
    counts = np.bincount(every.execution[:, 0])[1:]
    assert (len(counts), counts.min(), counts.max()) == (23, 6, 11)
    waits = [np.array([np.diff(every.recording(2 * e + n)[1]).max() for e in range(223)]) for n in range(2)]
    paces = [np.array([np.diff(every.recording(2 * e + n)[1]).mean() for e in range(223)]) for n in range(2)]
    assert [w.max() for w in waits] == [188, 58]
    assert max(w.max() for w in waits) < motion.GAP
    assert [round(float(p.mean()), 2) for p in paces] == [9.76, 9.59]
    assert all(abs(p / p.mean() - 1).max() < 0.005 for p in paces)
    cut = motion.windows(0.8, 50)
    assert len(cut.label) == 3721
    per_person = [np.bincount(cut.label[cut.person == p], minlength=5) for p in range(1, 24)]
    assert np.min(per_person, axis=0).tolist() == [2, 7, 53, 11, 10]
    assert (cut.label == 2).mean().round(2) == 0.57


def test_sizes_and_shapes() -> None:
    splits = load("motion", seed=3)
    assert splits.num_classes == len(module.ACTIVITIES) == 5
    assert splits.train.shapes == dict.fromkeys(motion.SENSORS, (40, 3))
    assert [len(p) for p in people(splits)] == [8, 4, 7]
    assert "by person: 8 + 4 + 7 groups, disjoint" in str(splits)
    for x in splits.train.inputs.values():
        assert x.dtype == torch.float32
        assert x.mean((0, 1)).abs().max() < 1e-4
        assert (x.flatten(0, 1).std(0, correction=0) - 1).abs().max() < 1e-4
    for _, part in splits.items():
        assert part.present is None
        assert set(part.labels.tolist()) == set(range(5))
        assert len(part.raw["execution"]) == len(part.raw["start"]) == len(part)
        assert [int(name[1:3]) for name in part.raw["execution"]] == part.groups["person"].tolist()


def test_windows_by_hand(data: Path) -> None:
    """Straight from the tables, row by row: each window lies within one activity of both devices, and is what they measured."""
    files = read_members(data / "motion" / module.ARCHIVE.name, module._MEMBER, **module._BOUNDS)
    cut = motion.windows(0.8, 50)
    for at in range(5, len(cut.label), 400):
        name = cut.execution[at]
        tables = [module.parse_recording(name, files[f"DATA/{name[:3]}/{name}_{d}.csv"]) for d in ("sp", "sw")]
        clocks = []
        for _, stamps, _ in tables:
            n = np.arange(len(stamps))
            clocks.append(np.polyval(np.polyfit(n, stamps - stamps[0], 1), n) + stamps[0])
        begin = max(c[0] for c in clocks) + 1000 * cut.start[at]
        times = begin + 20 * np.arange(40)
        for clock, (values, stamps, label), columns in zip(clocks, tables, (slice(0, 6), slice(6, 12)), strict=True):
            inside = (clock >= begin) & (clock <= times[-1])
            assert set(label[inside].tolist()) == {cut.label[at]}
            assert clock[0] <= begin
            assert times[-1] <= clock[-1]
            assert abs(clock - stamps).max() < motion.GAP
            expected = np.stack([np.interp(times, clock, x) for x in values.T], axis=1)
            np.testing.assert_allclose(cut.values[at][:, columns], expected, atol=1e-3)


def test_nobody_is_in_two_splits_and_everybody_is_tested() -> None:
    tested = set()
    for seed in range(12):
        found = people(load("motion", ["phone"], seed=seed))
        assert not any(set(a) & set(b) for a, b in combinations(found, 2))
        tested |= set(found[2])
    assert tested == set(range(1, 24))


def test_more_people_to_train_on_leave_the_rest_alone() -> None:
    by_count = {n: load("motion", seed=1, train_people=n) for n in (1, 4, 12)}
    found = {n: people(s) for n, s in by_count.items()}
    assert [len(f[0]) for f in found.values()] == [1, 4, 12]
    assert found[1][1:] == found[4][1:] == found[12][1:]
    assert found[12][0][:4] == found[4][0]
    fewer, more = by_count[4].train, by_count[12].train
    assert torch.equal(fewer.labels, more.labels[: len(fewer)])
    assert fewer.raw["execution"] == more.raw["execution"][: len(fewer)]
    assert torch.equal(by_count[4].test.labels, by_count[12].test.labels)


def test_one_seed_one_draw() -> None:
    a, b, c = (load("motion", seed=s, noise=0.5, missing=0.2) for s in (5, 5, 6))
    for (_, x), (_, y) in zip(a.items(), b.items(), strict=True):
        assert same(x, y)
        assert x.present is not None
        assert y.present is not None
        assert all(torch.equal(x.present[m], y.present[m]) for m in x.modalities)
    assert people(a) != people(c)


@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_a_device_is_its_sensors(noise: float) -> None:
    sensors, devices = load("motion", seed=2, noise=noise), load("motion", ["watch", "phone"], seed=2, noise=noise)
    assert devices.modalities == ("watch", "phone")
    for (_, x), (_, y) in zip(sensors.items(), devices.items(), strict=True):
        for device in devices.modalities:
            both = torch.cat([x.inputs[f"{device}_accel"], x.inputs[f"{device}_gyro"]], dim=2)
            assert torch.equal(y.inputs[device], both)
    alone = load("motion", ["watch_gyro"], seed=2, noise=noise)
    assert torch.equal(alone.test.inputs["watch_gyro"], sensors.test.inputs["watch_gyro"])
    mixed = load("motion", ["phone", "watch_accel"], seed=2, noise=noise)
    assert torch.equal(mixed.test.inputs["watch_accel"], sensors.test.inputs["watch_accel"])


def test_noise() -> None:
    clean, noisy, one = (load("motion", seed=1, noise=n) for n in (0.0, 0.5, {"watch_accel": 0.5}))
    for (_, x), (_, y), (_, z) in zip(clean.items(), noisy.items(), one.items(), strict=True):
        added = [y.inputs[m] - x.inputs[m] for m in motion.SENSORS]
        assert all(abs(float(n.std()) - 0.5) < 0.01 and abs(float(n.mean())) < 0.01 for n in added)
        assert abs(np.corrcoef([n.flatten() for n in added]) - np.eye(4)).max() < 0.02
        assert torch.equal(z.inputs["watch_accel"], y.inputs["watch_accel"])
        assert torch.equal(z.inputs["phone_accel"], x.inputs["phone_accel"])
    assert one.settings["noise"] == {"watch_accel": 0.5}


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_missing_devices(share: float) -> None:
    whole, splits = load("motion", seed=1), load("motion", seed=1, missing=share)
    for (_, full), (_, part) in zip(whole.items(), splits.items(), strict=True):
        assert part.present is not None
        for device in ("phone", "watch"):  # both sensors or none
            assert torch.equal(part.present[f"{device}_accel"], part.present[f"{device}_gyro"])
        gone = {device: ~part.present[f"{device}_accel"] for device in ("phone", "watch")}
        assert not (gone["phone"] & gone["watch"]).any()
        assert int(gone["phone"].sum() + gone["watch"].sum()) == round(share * len(part))
        assert abs(float(gone["phone"].sum()) / (share * len(part)) - 0.5) < 0.1
        there = part.present["watch_gyro"]
        assert torch.equal(part.inputs["watch_gyro"][there], full.inputs["watch_gyro"][there])
        assert not part.inputs["watch_gyro"][~there].any()


@pytest.mark.parametrize(("window", "rate", "steps"), [(0.5, 32, 16), (1.25, 100, 125), (0.8, 50, 40), (0.7, 33, 23)])
def test_window_and_rate(window: float, rate: int, steps: int) -> None:
    splits = load("motion", ["phone"], window=window, rate=rate)
    assert splits.train.shapes == {"phone": (steps, 6)}
    cut = motion.windows(window, rate)
    follow = np.array(cut.execution[1:]) == np.array(cut.execution[:-1])
    gaps = np.diff(cut.start)[follow]
    assert gaps.min() > window / 2 - 1e-6  # by half their length within an activity, further apart where it changes
    assert np.isclose(gaps, window / 2).mean() > 0.4


def test_a_slower_rate_shows_the_same_movement() -> None:
    fast, slow = motion.windows(0.8, 100), motion.windows(0.8, 50)
    np.testing.assert_allclose(fast.values[:, ::2], slow.values, atol=1e-4)
