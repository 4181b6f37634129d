"""The recordings of `motion`: from their public address to rows of numbers.

Fetched and verified by `mmlib.data.download`; parsed here with bounds on every size, and refused where a row is not what it
should be; kept beside the download, parsed, since reading text takes longer than everything else.
"""

from __future__ import annotations

import hashlib
import re
import struct
import warnings
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmlib.data import download as web
from mmlib.data.archive import digest, read_members

NAME = "motion"
PEOPLE = 23
ACTIVITIES = ("seated", "standing_up", "walking", "turning", "sitting_down")
DEVICES = {"phone": "sp", "watch": "sw"}  #: and what the files call them
COLUMNS = ("x_acc", "y_acc", "z_acc", "x_gyro", "y_gyro", "z_gyro", "timestamp", "label")

COMMIT = "1408d85a512a53861de7bc4729dee283fff2ea9d"
#: SHA-256 over the sorted names of the 448 tables, each name, a NUL and the SHA-256 of its bytes
RECORDINGS_SHA256 = "13297b471e3e820bb3349817fdfd9598f6d888621c95c40aa9ab5ad5727a63d0"
_MEMBER = re.compile(r"(?:[^/]+/)?(DATA/(?:s[0-9]{2}/s[0-9]{2}_[0-9]{2}_s[pw]|executions_info|subjects_info)\.csv)")
_RECORDING = re.compile(r"DATA/s([0-9]{2})/s\1_([0-9]{2})_(s[pw])\.csv")
_BOUNDS = {"most_members": 5_000, "most_bytes": 2_000_000, "most_unpacked": 300_000_000}  #: largest: 0.22 MB; all: 73 MB


class Recordings(NamedTuple):
    """Every row of every recording. Recording ``2 * e`` is the phone's and ``2 * e + 1`` the watch's of execution e."""

    values: NDArray[np.float32]  # [R, 6]: acceleration with gravity (m/s^2) and rate of turn (rad/s), each x, y, z
    time: NDArray[np.int64]  # [R], milliseconds since 1970, never going back within a recording
    label: NDArray[np.uint8]  # [R], position in ACTIVITIES
    begin: NDArray[np.int64]  # [2 E + 1], the first row of each recording, and R
    execution: NDArray[np.uint8]  # [E, 2]: number of the person, number of the execution, as in the files

    def recording(self, number: int) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.uint8]]:
        """values [n, 6], time [n], label [n] of one recording."""
        rows = slice(*self.begin[number : number + 2])
        return self.values[rows], self.time[rows], self.label[rows]


def check_recordings(path: Path) -> None:
    """Raise `VerificationError` unless the archive holds exactly the tables of `COMMIT`, however it is packed."""
    found = read_members(path, _MEMBER, **_BOUNDS)
    if (sha256 := digest(found)) != RECORDINGS_SHA256:
        raise web.VerificationError(f"expected recordings with digest {RECORDINGS_SHA256}, found {sha256} ({len(found):,} files)")


ARCHIVE = web.Remote(
    f"sp-sw-har-dataset-{COMMIT}.zip",
    f"https://github.com/GeoTecINIT/sp-sw-har-dataset/archive/{COMMIT}.zip",
    27_623_806,
    check_recordings,
)


def download(progress: bool = True) -> Path:
    """Fetch and verify the recordings (28 MB or more) and parse them; what is there already is only verified.

    Returns:
        The folder they are in.

    Raises:
        mmlib.data.download.DownloadError: they could not be had, verified or written; the message says what to do.
    """
    web.fetch(ARCHIVE, NAME, progress=progress)
    recordings()
    return web.data_folder(NAME)


def available() -> bool:
    """Whether the archive is in the folder or its server answers for it (asked once, 5 seconds at most)."""
    return web.reachable(ARCHIVE, NAME)


def parse_recording(name: str, content: bytes) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.uint8]]:
    """One table: values [n, 6], time [n], label [n].

    Raises:
        ValueError: other columns, a row that is not seven finite numbers and a known activity, or a time that goes back.
    """
    try:
        first, *lines = content.decode("ascii").splitlines() or [""]
    except UnicodeDecodeError:
        raise ValueError(f"{name}: expected a table in plain ASCII text") from None
    if first != ",".join(COLUMNS):
        raise ValueError(f"{name}: expected the columns {','.join(COLUMNS)}, found {first[:120]!r}")
    if len(lines) < 2:
        raise ValueError(f"{name}: expected at least two rows, found {len(lines)}")
    codes = {activity.upper(): code for code, activity in enumerate(ACTIVITIES)}
    rows = [line.split(",") for line in lines]
    numbers = np.empty((len(rows), 7))
    for at, row in enumerate(rows):
        try:
            numbers[at] = [float(x) for x in row[:-1]]
            sound = len(row) == 8 and row[7] in codes
        except ValueError:
            sound = False
        if not sound:
            raise _wrong_row(name, lines, at, f"7 numbers and one of {', '.join(codes)}")
    time = numbers[:, 6]
    unsound = ~np.isfinite(numbers).all(1) | (time != np.round(time)) | (time < 0) | (time > 2**53)
    if unsound.any():
        raise _wrong_row(name, lines, int(unsound.argmax()), "finite numbers and a time in whole milliseconds")
    back = np.diff(time) < 0
    if back.any():
        raise _wrong_row(name, lines, int(back.argmax()) + 1, "a time that is not before that of the row above")
    label = np.array([codes[row[7]] for row in rows], dtype=np.uint8)
    return numbers[:, :6].astype(np.float32), time.astype(np.int64), label


def _wrong_row(name: str, lines: list[str], at: int, expected: str) -> ValueError:
    return ValueError(f"{name}, line {at + 2}: expected {expected}, found {lines[at][:200]!r}")


def prepare(files: dict[str, bytes]) -> Recordings:
    """Parse the tables {name: bytes} of all executions, and pair the two devices.

    Raises:
        ValueError: a table that is not one, a device or a person missing, or devices that never record at the same time.
    """
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for name in sorted(files):
        told = _RECORDING.fullmatch(name)
        if told is not None:  # the other two tables say who the people are and which way round the phone lay
            found.setdefault((int(told[1]), int(told[2])), {})[told[3]] = parse_recording(name, files[name])
    people = {person for person, _ in found}
    if people != set(range(1, PEOPLE + 1)):
        raise ValueError(f"recordings: expected people 1 to {PEOPLE}, found {sorted(people)}")
    parts: list[Any] = []
    for (person, number), devices in found.items():
        name = f"s{person:02}_{number:02}"
        for device, short in DEVICES.items():
            if short not in devices:
                raise ValueError(f"{name}: expected a recording of phone and watch, that of the {device} is missing")
        (_, phone, _), (_, watch, _) = pair = [devices[short] for short in DEVICES.values()]
        if min(phone[-1], watch[-1]) <= max(phone[0], watch[0]):
            raise ValueError(
                f"{name}: expected phone and watch to record at the same time, found clocks that do not overlap: phone "
                f"{phone[0]} to {phone[-1]}, watch {watch[0]} to {watch[-1]} milliseconds"
            )
        parts += pair
    values, time, label = (np.concatenate(column) for column in zip(*parts, strict=True))
    begin = np.cumsum([0, *(len(part[1]) for part in parts)], dtype=np.int64)
    return Recordings(values, time, label, begin, np.array(list(found), dtype=np.uint8))


@lru_cache(maxsize=1)
def recordings() -> Recordings:
    """All recordings: from the cache file, else parsed from the verified archive, and kept."""
    cached = cache_file()
    found = _read_cache(cached)
    if found is None:
        found = prepare(read_members(web.fetch(ARCHIVE, NAME), _MEMBER, **_BOUNDS))
        try:
            web.write_whole(cached, lambda file: _write_cache(file, found))
        except OSError as error:
            warnings.warn(
                f"{cached.parent}: cannot write ({error.strerror or error}); the parsed recordings are not kept", stacklevel=2
            )
    return found


def cache_file() -> Path:
    """Where the parsed recordings are kept; named by their digest and the code that parses them."""
    from mmlib.fingerprint import PACKAGE, file_hash

    code = [file_hash(PACKAGE / "data" / name) for name in ("archive.py", "motion_files.py")]
    key = hashlib.sha256(" ".join([RECORDINGS_SHA256, *code]).encode()).hexdigest()[:16]
    return web.data_folder(NAME) / f"recordings-{key}.npz"


def _write_cache(file: IO[bytes], found: Recordings) -> None:
    np.savez(file, allow_pickle=False, **found._asdict())


def _read_cache(path: Path) -> Recordings | None:
    """None where it is not there or damaged (every array in a .npz file has a checksum): it is made again."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            found = Recordings(*(kept[name] for name in Recordings._fields))
    except (OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile, zlib.error, struct.error):
        return None
    rows, executions = len(found.time), len(found.execution)
    shapes = [x.shape for x in found]
    kinds = [x.dtype.name for x in found]
    sound = shapes == [(rows, 6), (rows,), (rows,), (2 * executions + 1,), (executions, 2)]
    return found if sound and kinds == ["float32", "int64", "uint8", "int64", "uint8"] and found.begin[-1] == rows else None
