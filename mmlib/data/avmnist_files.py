"""The two parts of `avmnist`: from their public addresses to tensors.

Fetched and verified by `mmlib.data.download`; parsed here with the standard library and bounds on every size; the spectrograms
computed once and kept beside the downloads.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import struct
import warnings
import wave
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmlib.data import download as web
from mmlib.data.audio import FRAMES, LENGTH, MELS, SAMPLE_RATE, log_mel

NAME = "avmnist"
CLASSES, SIDE = 10, 28
IMAGE_COUNT = 10_000
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
TAKES = 50  #: recordings of each digit by each speaker
LOUDNESS = 0.1  #: root mean square of every recording, of full scale

COMMIT = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"
#: SHA-256 over the sorted file names of the 3,000 recordings, each name, a NUL and the SHA-256 of its bytes
RECORDINGS_SHA256 = "a2e8a660492f28d9eed6270b290d26cbc5c81d6077ce87d3c0ad5adf4d4ee696"
MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_MEMBER = re.compile(r"(?:[^/]+/)?recordings/(([0-9])_([a-z]+)_([0-9]{1,2})\.wav)")
_MOST_MEMBERS, _MOST_BYTES = 20_000, 200_000  #: of an archive; of a recording (12 s)
_MOST_UNPACKED = 100_000_000  #: bytes of all recordings together, which have 21 million


class Recordings(NamedTuple):
    """Everything that was said, by speaker, digit, take: row ``(speaker * 10 + digit) * TAKES + take``."""

    waveforms: NDArray[np.int16]  # [3000, LENGTH] as recorded; silence after the end, what is longer cropped
    gain: NDArray[np.float32]  # [3000], makes them equally loud
    log_mel: Tensor  # [3000, MELS, FRAMES], of the equally loud waveforms, not standardised


def read_archive(path: Path) -> dict[str, bytes]:
    """The recordings in an archive, {file name: bytes}, read into memory; nothing is unpacked to disk.

    Raises:
        VerificationError: not a whole archive, a path that leaves its folder, or sizes that no recording has.
    """
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > _MOST_MEMBERS:
                raise web.VerificationError(f"expected at most {_MOST_MEMBERS:,} entries in the archive, found {len(members):,}")
            # before anything is unpacked; zipfile gives no more of a member than the archive says it has
            total = sum(member.file_size for member in members if _MEMBER.fullmatch(member.filename))
            if total > _MOST_UNPACKED:
                raise web.VerificationError(f"expected at most {_MOST_UNPACKED:,} bytes of recordings, the archive has {total:,}")
            for member in members:
                name = member.filename
                if name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
                    raise web.VerificationError(f"the archive has a path that leaves its folder: {name[:200]!r}")
                recording = _MEMBER.fullmatch(name)
                if recording is None:
                    continue  # the archive holds the whole repository
                with archive.open(member) as file:
                    content = file.read(_MOST_BYTES + 1)  # never more, whatever the archive says of the size
                if len(content) > _MOST_BYTES:
                    raise web.VerificationError(f"{name}: expected at most {_MOST_BYTES:,} bytes")
                if recording[1] in found:
                    raise web.VerificationError(f"{name}: the archive has two recordings of that name")
                found[recording[1]] = content
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error) as error:
        raise web.VerificationError(f"not a whole zip archive ({error})") from None
    return found


def digest(recordings: dict[str, bytes]) -> str:
    """SHA-256 over the sorted names, each name, a NUL and the SHA-256 of its bytes: of what is said, not of how it is packed."""
    total = hashlib.sha256()
    for name in sorted(recordings):
        total.update(name.encode() + b"\0" + hashlib.sha256(recordings[name]).digest())
    return total.hexdigest()


def check_recordings(path: Path) -> None:
    """Raise `VerificationError` unless the archive holds exactly the recordings of `COMMIT`.

    A server makes the archive when asked, and may pack it differently tomorrow: so the recordings are verified, not the archive.
    """
    found = read_archive(path)
    if (sha256 := digest(found)) != RECORDINGS_SHA256:
        raise web.VerificationError(f"expected recordings with digest {RECORDINGS_SHA256}, found {sha256} ({len(found):,} files)")


IMAGES = web.Remote(
    "t10k-images-idx3-ubyte.gz", f"{MNIST}t10k-images-idx3-ubyte.gz", 1_648_877,
    web.checksums(
        md5="9fb629c4189551a2d022fa330f9573f3", sha256="8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
)  # fmt: skip
LABELS = web.Remote(
    "t10k-labels-idx1-ubyte.gz", f"{MNIST}t10k-labels-idx1-ubyte.gz", 4_542,
    web.checksums(
        md5="ec29112dd5afa0611ce80d1b7f02629c", sha256="f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
)  # fmt: skip
SPEECH = web.Remote(
    f"free-spoken-digit-dataset-{COMMIT}.zip",
    f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/{COMMIT}.zip",
    16_614_171,
    check_recordings,
)
REMOTES = (IMAGES, LABELS, SPEECH)


def download(progress: bool = True) -> Path:
    """Fetch and verify both parts (18 MB) and prepare the spectrograms; what is there already is only verified.

    Returns:
        The folder they are in.

    Raises:
        mmlib.data.download.DownloadError: a file could not be had, verified or written; the message says what to do.
    """
    for remote in REMOTES:
        web.fetch(remote, NAME, progress=progress)
    recordings()
    return web.data_folder(NAME)


def available() -> bool:
    """Whether every file is in the folder or its server answers for it (asked once, 5 seconds at most for each)."""
    return all(web.reachable(remote, NAME) for remote in REMOTES)


def parse_idx(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """MNIST's IDX format, gzipped: two zero bytes, the type (8: unsigned bytes), the number of axes, big-endian sizes, bytes.

    Raises:
        ValueError: another type, other sizes, too few or too many bytes.
    """
    size = int(np.prod(shape))
    header = struct.Struct(f">4B{len(shape)}I")
    try:
        with gzip.open(path) as file:
            content = file.read(header.size + size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path.name}: not a whole gzip file ({error})") from None
    expected = (0, 0, 8, len(shape), *shape)
    if len(content) != header.size + size or header.unpack_from(content) != expected:
        raise ValueError(f"{path.name}: expected an IDX file of unsigned bytes of shape {list(shape)}")
    return np.frombuffer(content, np.uint8, offset=header.size).reshape(shape)


def parse_wav(name: str, content: bytes) -> NDArray[np.int16]:
    """Samples of a mono 16-bit recording at `SAMPLE_RATE`.

    Raises:
        ValueError: not such a recording, or without a sound.
    """
    try:
        with wave.open(io.BytesIO(content)) as file:
            form = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            samples = np.frombuffer(file.readframes(_MOST_BYTES), "<i2") if form == (1, 2, SAMPLE_RATE) else None
    except (wave.Error, EOFError, ValueError, struct.error) as error:
        raise ValueError(f"{name}: not a WAV file ({error})") from None
    if samples is None:
        raise ValueError(f"{name}: expected 1 channel, 2 bytes and {SAMPLE_RATE} Hz, found {form}")
    if not samples.any():
        raise ValueError(f"{name}: expected a sound, found silence")
    return samples.astype(np.int16)


@lru_cache(maxsize=1)
def handwriting() -> tuple[Tensor, Tensor]:
    """MNIST's test file: images [10000, 1, 28, 28] from 0 to 1, labels [10000]. Downloaded where it is not there."""
    images = parse_idx(web.fetch(IMAGES, NAME), (IMAGE_COUNT, SIDE, SIDE))
    labels = parse_idx(web.fetch(LABELS, NAME), (IMAGE_COUNT,))
    if labels.max() >= CLASSES:
        raise ValueError(f"{LABELS.name}: expected labels from 0 to 9, found {labels.max()}")
    return torch.from_numpy(images.astype(np.float32) / 255).unsqueeze(1), torch.from_numpy(labels.astype(np.int64))


@lru_cache(maxsize=1)
def recordings() -> Recordings:
    """The recordings and their spectrograms: from the cache file, else made from the verified archive, and kept."""
    cached = cache_file()
    found = _read_cache(cached)
    if found is None:
        found = prepare(read_archive(web.fetch(SPEECH, NAME)))
        try:
            web.write_whole(cached, lambda file: _write_cache(file, found))
        except OSError as error:
            warnings.warn(
                f"{cached.parent}: cannot write ({error.strerror or error}); the spectrograms are not kept", stacklevel=2
            )
    return found


def prepare(files: dict[str, bytes]) -> Recordings:
    """Parse the recordings {file name: bytes}, set them to one loudness, and compute their spectrograms."""
    waveforms = np.zeros((len(SPEAKERS) * CLASSES * TAKES, LENGTH), dtype=np.int16)
    gain = np.zeros(len(waveforms), dtype=np.float32)
    for name, content in files.items():
        digit, speaker, take = name.removesuffix(".wav").split("_")
        samples = parse_wav(name, content)
        row = (SPEAKERS.index(speaker) * CLASSES + int(digit)) * TAKES + int(take)
        gain[row] = LOUDNESS / np.sqrt(np.mean((samples / 2**15) ** 2)) / 2**15  # of the whole recording
        waveforms[row, : len(samples)] = samples[:LENGTH]
    if not gain.all():
        raise ValueError(f"recordings: expected {len(gain):,}, {int((gain == 0).sum()):,} are missing")
    parts = zip(np.array_split(waveforms, 30), np.array_split(gain, 30), strict=True)
    spectrograms = [log_mel(torch.from_numpy(w * g[:, None])) for w, g in parts]  # in parts, for less memory
    return Recordings(waveforms, gain, torch.cat(spectrograms))


def cache_file() -> Path:
    """Where the spectrograms are kept; named by the recordings' digest, the code that makes them, and torch."""
    from mmlib.fingerprint import PACKAGE, file_hash

    code = [file_hash(PACKAGE / "data" / name) for name in ("audio.py", "avmnist_files.py")]
    key = hashlib.sha256(" ".join([RECORDINGS_SHA256, *code, torch.__version__]).encode()).hexdigest()[:16]
    return web.data_folder(NAME) / f"recordings-{key}.npz"


def _write_cache(file: IO[bytes], found: Recordings) -> None:
    np.savez(file, waveforms=found.waveforms, gain=found.gain, log_mel=found.log_mel.numpy(), allow_pickle=False)


def _read_cache(path: Path) -> Recordings | None:
    """None where it is not there or damaged (every array in a .npz file has a checksum): it is made again."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            found = Recordings(kept["waveforms"], kept["gain"], torch.from_numpy(kept["log_mel"]))
    except (OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile, zlib.error, struct.error):
        return None
    count = len(SPEAKERS) * CLASSES * TAKES
    shapes = [tuple(found.waveforms.shape), tuple(found.gain.shape), tuple(found.log_mel.shape)]
    kinds = [found.waveforms.dtype.name, found.gain.dtype.name, str(found.log_mel.dtype)]
    sound = shapes == [(count, LENGTH), (count,), (count, MELS, FRAMES)] and kinds == ["int16", "float32", "torch.float32"]
    return found if sound else None
