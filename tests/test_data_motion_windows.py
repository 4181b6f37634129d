"""motion: windows never span a gap, a change of label, or a time that one device did not record; bad knobs. Small archives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmlib.data import load, motion
from mmlib.data import motion_files as module
from tests.motion_archive import BEGIN, MOMENT, Recording, everybody


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., motion.Windows]]:
    """``recorded(s01_sp=...)``: the windows of half a second of person 1, from small recordings through the real parser."""

    def start(**changed: Recording | bytes | None) -> motion.Windows:
        found = module.prepare(everybody(**changed))
        monkeypatch.setattr(motion, "recordings", lambda: found)
        motion.windows.cache_clear()
        cut = motion.windows(0.5, 50)
        mine = np.flatnonzero(cut.person == 1)
        return motion.Windows(cut.values[mine], cut.label[mine], cut.person[mine], ["s01_01"] * len(mine), cut.start[mine])

    yield start
    motion.windows.cache_clear()


def pure(cut: motion.Windows) -> bool:
    """Whether every number of a window is that of its label: nothing of another activity is in it."""
    return bool(np.allclose(cut.values, cut.label[:, None, None], atol=1e-4))


def test_one_window_of_each_activity(recorded: Callable[..., motion.Windows]) -> None:
    cut = recorded()
    assert cut.label.tolist() == [0, 1, 2, 3, 4]
    assert np.allclose(cut.start, np.arange(5) * MOMENT / 1000)
    assert pure(cut)


def test_windows_follow_by_half_their_length(recorded: Callable[..., motion.Windows]) -> None:
    long = Recording(activities=[(2, 1300)])
    cut = recorded(s01_sp=long, s01_sw=Recording(activities=[(2, 1300)]))
    assert np.allclose(cut.start, [0, 0.25, 0.5, 0.75])


def test_a_label_that_changes_inside_a_window(recorded: Callable[..., motion.Windows]) -> None:
    restless = [(2, 300), (3, 300), (2, 900)]
    cut = recorded(s01_sp=Recording(activities=restless), s01_sw=Recording(activities=[(2, 1500)]))
    assert cut.label.tolist() == [2, 2]  # the watch says walking throughout; only where the phone does too
    assert np.allclose(cut.start, [0.6, 0.85])
    cut = recorded(s01_sp=Recording(activities=restless), s01_sw=Recording(activities=restless))
    assert np.allclose(cut.start, [0.6, 0.85])
    assert pure(cut)


def test_labels_that_change_later_on_one_device(recorded: Callable[..., motion.Windows]) -> None:
    cut = recorded(s01_sw=Recording(activities=[(0, MOMENT + 90), *[(code, MOMENT) for code in range(1, 5)]]))
    assert cut.label.tolist() == [0, 1, 2, 3, 4]
    assert np.allclose(cut.start, [0, 0.79, 1.49, 2.19, 2.89])
    assert pure(cut)


def test_only_what_both_recorded(recorded: Callable[..., motion.Windows]) -> None:
    late = [(0, 500), *[(code, MOMENT) for code in range(1, 5)]]
    cut = recorded(s01_sw=Recording(BEGIN + 300, activities=late))
    assert cut.label.tolist() == [1, 2, 3, 4]  # 0.4 s of the first activity are left, and the clock begins with the watch
    assert np.allclose(cut.start, [0.5, 1.2, 1.9, 2.6])
    early = Recording(activities=[(code, MOMENT) for code in range(4)])
    assert recorded(s01_sp=early).label.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("device", ["s01_sp", "s01_sw"])
def test_a_gap_in_a_recording(recorded: Callable[..., motion.Windows], device: str) -> None:
    walk: Any = [(2, 3000)]
    gap = (1000, 1000 + motion.GAP)
    recordings = {name: Recording(activities=walk) for name in ("s01_sp", "s01_sw")}
    whole = recorded(**recordings)
    recordings[device] = Recording(activities=walk).without(*gap)
    cut = recorded(**recordings)
    assert len(whole.start) == 10  # the last rows are 10 ms before the end
    assert np.allclose(cut.start, [0, 0.25, 1.25, 1.5, 1.75, 2, 2.25], atol=0.011)
    assert not any(start < 1.25 - 0.011 and start + 0.5 > 1.0 for start in cut.start)
    recordings[device] = Recording(activities=walk).without(1000, 1000 + motion.GAP - 10)  # late, not lost
    assert len(recorded(**recordings).start) == 10


def test_rows_that_are_stamped_late_are_set_evenly() -> None:
    measured = np.arange(0, 4000, 10)
    late = measured.copy()
    late[100:105] = late[105]  # five rows wait for the sixth
    clock = motion.even(late)
    assert abs(clock - measured).max() < 1
    assert abs(late - measured).max() == 50


def test_a_gap_begins_a_new_line() -> None:
    measured = np.concatenate([np.arange(0, 2000, 10), np.arange(5000, 7000, 11)])
    np.testing.assert_allclose(motion.even(measured), measured, atol=1e-6)
    assert np.array_equal(motion.even(np.array([0, 1000, 1005])), [0, 1000, 1005])  # too few for a line


def test_no_activity_that_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = module.prepare(everybody())
    monkeypatch.setattr(motion, "recordings", lambda: found)
    with pytest.raises(ValueError, match=r"window: no activity lasts 1\.25 seconds on both devices"):
        motion.windows.__wrapped__(1.25, 50)


@pytest.mark.parametrize(
    ("knobs", "error", "message"),
    [
        ({"train_people": 0}, ValueError, "train_people: expected a whole number from 1 to 12, found 0"),
        ({"train_people": 13}, ValueError, "train_people: expected a whole number from 1 to 12, found 13"),
        ({"train_people": 2.0}, TypeError, "train_people: expected a whole number"),
        ({"window": 0.4}, ValueError, "window: expected a number from 0.5 to 1.25 seconds, found 0.4"),
        ({"window": 2}, ValueError, "window: expected a number from 0.5 to 1.25 seconds, found 2"),
        ({"window": float("nan")}, ValueError, "window"),
        ({"rate": 31}, ValueError, "rate: expected a whole number from 32 to 100 rows a second, found 31"),
        ({"rate": 200}, ValueError, "rate: expected a whole number from 32 to 100"),
        ({"rate": 50.5}, TypeError, "rate: expected a whole number"),
        ({"noise": -1}, ValueError, "noise: expected a number from 0 to 100, found -1"),
        ({"noise": "much"}, TypeError, "noise: expected a number"),
        ({"noise": {"watch": 1.0}}, ValueError, "noise: unknown modality 'watch'; known: phone_accel, phone_gyro, watch_accel"),
        ({"noise": {"watch_gyro": -0.1}}, ValueError, r"noise\['watch_gyro'\]: expected a number from 0"),
        ({"missing": 1.1}, ValueError, "missing: expected a number from 0 to 1, found 1.1"),
        (
            {"missing": 0.1, "modalities": ["watch_accel", "watch_gyro"]},
            ValueError,
            "missing: expected 0 with modalities of one device, found 0.1 with watch_accel, watch_gyro",
        ),
        ({"seed": -1}, ValueError, "seed: expected"),
        ({"modalities": ["heart"]}, ValueError, "modalities: unknown 'heart'; known: phone_accel, .*, phone, watch"),
        ({"modalities": "phone"}, TypeError, "modalities: expected a list of names"),
        ({"modalities": ["phone", "phone_gyro"]}, ValueError, "'phone' has 'phone_gyro' in it already"),
        ({"people": 3}, TypeError, "unknown knob 'people' of 'motion'; known: train_people, window, rate, noise, missing"),
    ],
)
def test_bad_knobs_are_refused_before_anything_is_downloaded(
    knobs: dict[str, Any], error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MMLIB_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("MMLIB_DATA_MIRROR", "http://127.0.0.1:9")
    with pytest.raises(error, match=message):
        load("motion", **knobs)
    assert not (tmp_path / "nothing").exists()
