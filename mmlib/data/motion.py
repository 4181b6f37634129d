"""`motion`: what a phone and a watch felt while 23 people sat, stood up, walked, turned and sat down.

============ ============ =====================================================================
modality     one sample   what
============ ============ =====================================================================
phone_accel  [T, 3]       acceleration, gravity included, along the three axes of the phone
phone_gyro   [T, 3]       rate of turn around them
watch_accel  [T, 3]       the same of the watch
watch_gyro   [T, 3]       the same of the watch
============ ============ =====================================================================

Or, asked for by name, ``phone`` and ``watch`` [T, 6]: acceleration, then rate of turn. The first natural data set of the
library: both devices were worn by the same person at the same moment, so modalities depend on each other beyond the class. The
recordings are those of Matey-Sanz, Casteleyn and Granell (2023), CC BY 4.0; they are downloaded once, verified, and kept
(`mmlib.data.motion_files`). No part of them comes with the package. What they are not: the book's data card.

The files hold 223 executions of 9 to 15 seconds, 6 to 11 a person, each a walk from a chair and back to one. The phone has a
row every 9.76 ms, the watch every 9.59 ms, in every recording alike to half a percent. But rows are stamped late, in bursts,
above all the phone's: up to 188 ms pass between two of its rows, and then several have the same stamp. So rows are set evenly
along their stamps (`even`). The devices start and stop up to 1.1 s apart; only what both recorded is used. Where the activity
changes, their labels differ by up to 90 ms; a window lies where both agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmlib.data.checks import check_between, check_modalities, check_seed
from mmlib.data.core import MultimodalData, Splits
from mmlib.data.motion_files import ACTIVITIES, DEVICES, NAME, PEOPLE, recordings
from mmlib.data.prepare import Prepare

SENSORS = ("phone_accel", "phone_gyro", "watch_accel", "watch_gyro")
MODALITIES = (*SENSORS, *DEVICES)
TEST_PEOPLE, VAL_PEOPLE, TRAIN_PEOPLE = 7, 4, 12  #: 23 in all
GAP = 250  #: milliseconds without a row from which on something was lost; rows come late by up to 188
#: seconds; in a longer window hardly anybody stands up
SHORTEST, LONGEST = 0.5, 1.25
#: rows a second; the devices record about 100, and the shortest window shall have the 16 of `encoders.LONG`
LOWEST_RATE, HIGHEST_RATE = 32, 100


def make(
    modalities: Sequence[str] | None = None,
    seed: int = 0,
    *,
    train_people: int = 8,
    window: float = 0.8,
    rate: int = 50,
    noise: float | Mapping[str, float] = 0.0,
    missing: float = 0.0,
) -> Splits:
    """Draw `motion`, downloading and parsing the recordings where they are not there yet.

    Nobody stands in two splits. The seed puts the people in an order: the first 7 are for the test, the next 4 for validation,
    the next ``train_people`` for training. So validation and test have the same people whatever ``train_people`` is. People
    differ, and there are 23: average over many seeds.

    Windows follow each other by half their length, within one activity, as both devices label it. More than half of them are of
    walking: look at the balanced accuracy.

    Args:
        modalities: which of the four sensors, or which of ``phone`` and ``watch``, in which order; by default the four sensors.
        seed: of everything drawn: people, noise, and what is missing.
        train_people: to learn from, 1 to 12.
        window: length of a sample in seconds, 0.5 to 1.25. The default is what everybody has of every activity; longer windows
            lose those that sit or stand up fast.
        rate: rows a second, 32 to 100.
        noise: standard deviation of Gaussian noise on every number of a sensor, in standard deviations of the training data,
            0 or more. One number for all modalities, or modality -> number; those not named have none.
        missing: share of the windows, 0 to 1, of each split, in which one device is missing, phone or watch with even odds.
            Needs modalities of both.

    Returns:
        Splits of windows [T, channels] with T = window * rate, rounded; each channel standardised by the training data.
        ``groups``: ``person``, their number in the files, 1 to 23. ``raw``: ``execution``, such as ``"s01_02"``, and ``start``,
        in seconds since both devices record. ``prepare`` takes windows in the units of the recordings.

    Raises:
        TypeError, ValueError: an unknown modality or a knob out of its range.
        mmlib.data.download.DownloadError: the recordings could not be had.
    """
    chosen = SENSORS if modalities is None else tuple(modalities) if not isinstance(modalities, str) else modalities
    check_modalities(chosen, MODALITIES)
    for device in DEVICES:
        parts_of_it = [m for m in chosen if m.startswith(f"{device}_")]
        if device in chosen and parts_of_it:
            raise ValueError(f"modalities: {device!r} has {parts_of_it[0]!r} in it already; expected a device or its sensors")
    check_seed(seed)
    check_between("train_people", train_people, 1, TRAIN_PEOPLE, whole=True)
    check_between("window", window, SHORTEST, LONGEST, why=" seconds")
    check_between("rate", rate, LOWEST_RATE, HIGHEST_RATE, whole=True, why=" rows a second")
    noises = _noises(noise, chosen)
    check_between("missing", missing, 0, 1)
    if missing and len({_device(m) for m in chosen}) < 2:
        raise ValueError(f"missing: expected 0 with modalities of one device, found {missing!r} with {', '.join(chosen)}")

    cut = windows(float(window), int(rate))
    order = np.random.default_rng([seed, 0]).permutation(PEOPLE) + 1
    test, val, train = np.split(order, [TEST_PEOPLE, TEST_PEOPLE + VAL_PEOPLE])
    # the people in the order of the draw, so that more of them add windows at the end
    rows = [np.concatenate([np.flatnonzero(cut.person == p) for p in who]) for who in (train[:train_people], val, test)]
    inputs: list[dict[str, Tensor]] = [{} for _ in rows]
    prepare: dict[str, Prepare] = {}
    for modality in chosen:
        reference = cut.values[rows[0]][..., _channels(modality)]
        mean, std = reference.mean((0, 1), dtype=np.float64), np.maximum(reference.std((0, 1), dtype=np.float64), 1e-6)
        prepare[modality] = Prepare(modality, reference.shape[1:], mean=tuple(mean.tolist()), std=tuple(std.tolist()))
        for number, at in enumerate(rows):
            x = (cut.values[at][..., _channels(modality)] - mean) / std
            if noises[modality]:
                x += noises[modality] * _noise(modality, seed, number, x.shape[:2])
            inputs[number][modality] = torch.from_numpy(x.astype(np.float32))
    parts = [
        MultimodalData(
            inputs=inputs[number],
            labels=torch.from_numpy(cut.label[at].astype(np.int64)),
            num_classes=len(ACTIVITIES),
            present=_present(chosen, missing, seed, number, len(at)) if missing else None,
            groups={"person": torch.from_numpy(cut.person[at].astype(np.int64))},
            raw={"execution": [cut.execution[i] for i in at], "start": cut.start[at]},
        )
        for number, at in enumerate(rows)
    ]
    settings = {
        "seed": seed, "train_people": train_people, "window": window, "rate": rate,
        "noise": dict(noise) if isinstance(noise, Mapping) else noise, "missing": missing,
    }  # fmt: skip
    return Splits(parts[0], parts[1], parts[2], name=NAME, settings=settings, classes=ACTIVITIES, prepare=prepare)


def _device(modality: str) -> str:
    return modality.partition("_")[0]


def _channels(modality: str) -> slice:
    """Where a modality stands among the 12 columns of `Windows.values`."""
    if modality in SENSORS:
        return slice(3 * SENSORS.index(modality), 3 * SENSORS.index(modality) + 3)
    return slice(6 * list(DEVICES).index(modality), 6 * list(DEVICES).index(modality) + 6)


def _noises(noise: float | Mapping[str, float], chosen: Sequence[str]) -> dict[str, float]:
    """modality -> standard deviation of its noise."""
    asked = noise if isinstance(noise, Mapping) else dict.fromkeys(chosen, noise)
    for modality, value in asked.items():
        if modality not in chosen:
            raise ValueError(f"noise: unknown modality {modality!r}; known: {', '.join(chosen)}")
        check_between(f"noise[{modality!r}]" if isinstance(noise, Mapping) else "noise", value, 0, 100)
    return {m: float(asked.get(m, 0)) for m in chosen}


def _noise(modality: str, seed: int, split: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """[N, T, channels]: of each sensor its own stream, so that a device has the noise of its sensors."""
    sensors = [n for n, sensor in enumerate(SENSORS) if sensor == modality or _device(sensor) == modality]
    return np.concatenate([np.random.default_rng([seed, 1, split, n]).standard_normal((*shape, 3)) for n in sensors], axis=2)


def _present(chosen: Sequence[str], share: float, seed: int, split: int, count: int) -> dict[str, Tensor]:
    """modality -> [N]: in a share of the samples one device is missing, and all of its sensors."""
    rng = np.random.default_rng([seed, 2, split])
    lacking = np.zeros(count, dtype=bool)
    lacking[rng.permutation(count)[: round(share * count)]] = True
    which = rng.integers(len(DEVICES), size=count)
    gone = {device: lacking & (which == n) for n, device in enumerate(DEVICES)}
    return {m: torch.from_numpy(~gone[_device(m)]) for m in chosen}


class Windows(NamedTuple):
    """All windows of all people, in the order of the files."""

    values: NDArray[np.float32]  # [N, T, 12]: phone acceleration, phone turn, watch acceleration, watch turn
    label: NDArray[np.uint8]  # [N]
    person: NDArray[np.uint8]  # [N], 1 to 23
    execution: list[str]  # N names
    start: NDArray[np.float64]  # [N], seconds


@lru_cache(maxsize=2)
def windows(window: float, rate: int) -> Windows:
    """Cut the recordings into windows of ``window`` seconds with ``rate`` rows a second, on the clock of both devices."""
    every = recordings()
    offsets = np.arange(round(window * rate)) * (1000 / rate)  # milliseconds
    values, label, person, execution, start = [], [], [], [], []
    for e, (who, number) in enumerate(every.execution.tolist()):
        pair = [every.recording(2 * e + n) for n in range(2)]
        clocks = [even(time) for _, time, _ in pair]
        shared = shared_stretches(*(runs(clock, time, told) for clock, (_, time, told) in zip(clocks, pair, strict=True)))
        begin = max(clock[0] for clock in clocks)
        for first, last, activity in shared:
            at = np.arange(first, last - 1000 * window + 1e-6, 500 * window)
            if not len(at):
                continue
            grid = at[:, None] + offsets  # [n, T]
            columns = [np.interp(grid, clock, x) for clock, (rows, _, _) in zip(clocks, pair, strict=True) for x in rows.T]
            values.append(np.stack(columns, axis=2).astype(np.float32))
            label += [activity] * len(at)
            person += [who] * len(at)
            execution += [f"s{who:02}_{number:02}"] * len(at)
            start.append((at - begin) / 1000)
    if not values:
        raise ValueError(f"window: no activity lasts {window} seconds on both devices")
    labels, people = (np.array(column, dtype=np.uint8) for column in (label, person))
    return Windows(np.concatenate(values), labels, people, execution, np.concatenate(start))


def even(time: NDArray[np.int64]) -> NDArray[np.float64]:
    """When the rows were measured, [n] milliseconds: evenly, along the straight line through their stamps.

    A sensor measures at a steady pace; it is the stamp that comes late. Where the stamps leave a gap (`GAP`), rows are lost, and
    a new line begins. Against the stamps as they are this takes a quarter of the roughness from the phone's rate of turn.
    """
    clock = time.astype(np.float64)
    for part in np.split(np.arange(len(time)), np.flatnonzero(np.diff(time) > GAP) + 1):
        if len(part) > 2:
            index, stamps = part - part.mean(), clock[part]
            clock[part] = stamps.mean() + index * (index @ (stamps - stamps.mean()) / (index @ index))
    return np.maximum.accumulate(clock)  # around a gap two lines may cross


def runs(clock: NDArray[np.float64], time: NDArray[np.int64], label: NDArray[np.uint8]) -> list[tuple[float, float, int]]:
    """The stretches of one recording without a gap and without a change of label: first and last millisecond, and label."""
    ends = np.flatnonzero((np.diff(time) > GAP) | (label[1:] != label[:-1]))
    first, last = [0, *(ends + 1)], [*ends, len(time) - 1]
    return [(float(clock[a]), float(clock[b]), int(label[a])) for a, b in zip(first, last, strict=True)]


def shared_stretches(
    phone: Sequence[tuple[float, float, int]], watch: Sequence[tuple[float, float, int]]
) -> list[tuple[float, float, int]]:
    """Where both devices record and agree on the activity: first and last millisecond, and label, in the order of time."""
    both: list[Any] = [(max(a[0], b[0]), min(a[1], b[1]), a[2]) for a in phone for b in watch if a[2] == b[2]]
    return sorted(stretch for stretch in both if stretch[0] < stretch[1])
