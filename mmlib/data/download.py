"""Files from the web: fetched once, verified before use, kept in a folder.

The pattern for every data set that does not come with the package. It describes its files as `Remote`, each with a check
of what the file holds, and asks `fetch` for them. What `fetch` returns has been verified. A download goes to a
temporary file in the same folder and takes the file's name only when the check has passed, so that nobody, and no other process,
ever sees a part of a file.

Environment variables: MMLIB_DATA, the folder (by default the platform's folder for caches). MMLIB_DATA_MIRROR, an address
from which to fetch instead of the public ones, by the names the files have in the folder; what comes is verified all
the same.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ATTEMPTS = 4  #: tries of one file, where the server or the connection fails
BACK_OFF = 1.0  #: seconds before the second try; each further wait is twice as long
LONGEST_WAIT = 30.0  #: seconds, where the server asks for a longer one
TIMEOUT = (10.0, 30.0)  #: seconds to connect, and between two parts of an answer
LOCK_WAIT = 600.0  #: seconds to wait for another process that fetches the same file
PASSING = {408, 425, 429, 500, 502, 503, 504}  #: answers that a later try may turn into a good one
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class DownloadError(RuntimeError):
    """A file could not be had; the message says which, from where, to where, why, and what one can do."""


class VerificationError(ValueError):
    """A file is not the one that was asked for."""


@dataclass(frozen=True)
class Remote:
    """A file on the web.

    Args:
        name: of the file in the folder, and on a mirror.
        url: its public address.
        size: about how many bytes. More than four times as many are not accepted.
        check: raises `VerificationError` unless the file at this path is the right one.
    """

    name: str
    url: str
    size: int
    check: Callable[[Path], None]


def data_folder(dataset: str) -> Path:
    """Where the files of a data set are kept: MMLIB_DATA, or the platform's folder for caches."""
    root = os.environ.get("MMLIB_DATA")
    if root:
        return Path(root).expanduser() / dataset
    from platformdirs import user_cache_path

    return user_cache_path("mmlib") / "data" / dataset


def address(remote: Remote) -> str:
    """Where the bytes come from: the public address, or MMLIB_DATA_MIRROR."""
    mirror = os.environ.get("MMLIB_DATA_MIRROR", "").strip()
    return f"{mirror.rstrip('/')}/{remote.name}" if mirror else remote.url


def checksums(**expected: str) -> Callable[[Path], None]:
    """A check of a whole file: ``checksums(md5=..., sha256=...)``, hexadecimal."""

    def check(path: Path) -> None:
        content = path.read_bytes()
        for kind, wanted in expected.items():
            found = hashlib.new(kind, content, usedforsecurity=False).hexdigest()
            if found != wanted:
                raise VerificationError(f"expected {kind.upper()} {wanted}, found {found} ({len(content):,} bytes)")

    return check


def reachable(remote: Remote, dataset: str, timeout: float = 5.0) -> bool:
    """Whether the file is in the folder, or its server answers for it. Asks once, and waits ``timeout`` seconds at most."""
    if (data_folder(dataset) / remote.name).is_file():
        return True
    import requests

    try:
        return bool(requests.head(address(remote), timeout=timeout, allow_redirects=True).ok)
    except requests.RequestException:
        return False


def fetch(remote: Remote, dataset: str, *, progress: bool = True) -> Path:
    """The verified file, downloaded where it is not there yet.

    A file that is there but wrong is fetched anew. A dropped connection or a busy server (503 and the like) is tried
    `ATTEMPTS` times, with growing waits; a wrong file twice. Processes that want the same file take turns: the second finds what
    the first fetched.

    Args:
        dataset: the data set's name: the folder under `data_folder`, and what the messages call it.
        progress: whether a terminal or notebook shows a bar.

    Raises:
        DownloadError: it could not be had, verified or written.
    """
    path = data_folder(dataset) / remote.name
    with _explained(remote, dataset, path):
        if not _verified(remote, path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with _turn(path):
                if not _verified(remote, path):
                    _download(remote, path, progress)
    return path


def _verified(remote: Remote, path: Path) -> bool:
    if not path.exists():
        return False
    try:
        remote.check(path)
    except VerificationError as error:
        warnings.warn(f"{path}: {error}; fetched anew", stacklevel=4)
        return False
    return True


@contextmanager
def _turn(path: Path) -> Iterator[None]:
    """One process at a time, by a lock of the operating system, which lets go when its holder dies.

    It only saves the second download: files are put in place whole, so that going on without it is safe.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=LOCK_WAIT)
    try:
        lock.acquire()
    except (Timeout, NotImplementedError):
        yield  # the other process hangs, or the file system knows no locks
        return
    try:
        yield
    finally:
        lock.release()


def _download(remote: Remote, path: Path, progress: bool) -> None:
    _remove_leftovers(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    part = Path(temporary)
    try:
        with os.fdopen(handle, "w+b") as file:
            _transfer(remote, file, part, progress)
        part.chmod(0o644)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Parts of this file that killed processes left. What may still be written to, by a process that knows no locks, stays."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > LOCK_WAIT:
                left.unlink()


def _transfer(remote: Remote, file: IO[bytes], part: Path, progress: bool) -> None:
    """Fill ``file``, whose path is ``part``, and verify it; try again where that may help."""
    import pooch
    import requests

    wrong = 0
    for attempt in range(1, ATTEMPTS + 1):
        file.seek(0)
        file.truncate()
        bar = _bar(remote, progress)
        download = pooch.HTTPDownloader(
            progressbar=bar,
            chunk_size=2**16,
            timeout=TIMEOUT,
            headers={"Accept-Encoding": "identity"},  # else a server's own compression would be undone on the way
        )
        try:
            download(address(remote), _Bounded(file, 4 * remote.size), None)
            remote.check(part)
            return
        except VerificationError:
            wrong += 1
            if wrong == 2 or attempt == ATTEMPTS:
                raise
            wait = BACK_OFF
        except requests.RequestException as error:
            asked = _asked_wait(error)
            if asked is None or attempt == ATTEMPTS:
                raise
            wait = max(BACK_OFF * 2 ** (attempt - 1), min(asked, LONGEST_WAIT))
        finally:
            bar.close()
        time.sleep(wait)


def _asked_wait(error: Any) -> float | None:
    """Seconds the server asks us to wait, 0 where it says nothing; None where another try would not help."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        if error.response.status_code not in PASSING:
            return None
        after = error.response.headers.get("Retry-After", "")
        return float(after) if after.isdecimal() else 0.0
    broken = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return 0.0 if isinstance(error, broken) else None


class _Bounded:
    """A file that takes so many bytes and no more."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self.file, self.limit, self.written = file, limit, 0

    def write(self, data: bytes) -> int:
        self.written += len(data)
        if self.written > self.limit:
            raise VerificationError(f"expected at most {self.limit:,} bytes, the server sends more")
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def _bar(remote: Remote, progress: bool) -> Any:
    from tqdm.auto import tqdm

    disable = True if not progress or os.environ.get("TQDM_DISABLE") else None  # None: shown in terminals and notebooks
    return tqdm(total=remote.size, desc=remote.name[:32], unit="B", unit_scale=True, leave=True, disable=disable)


@contextmanager
def _explained(remote: Remote, dataset: str, path: Path) -> Iterator[None]:
    """Every failure as one `DownloadError` that says what to do."""
    import requests

    try:
        yield
    except requests.HTTPError as error:
        code, reason = (error.response.status_code, error.response.reason) if error.response is not None else (0, "")
        answer = f"{code} {reason}".strip()
        gone = " It has moved or is gone." if code in (404, 410) else ""
        raise DownloadError(_message(remote, dataset, path, f"the server answered {answer}.{gone}")) from None
    except requests.RequestException as error:
        why = f"no connection, or it broke ({type(error).__name__}: {_short(error)})."
        raise DownloadError(_message(remote, dataset, path, why)) from None
    except VerificationError as error:
        raise DownloadError(_message(remote, dataset, path, f"what came is not the right file: {error}.")) from None
    except OSError as error:
        where = path.parent
        if error.errno in FULL:
            why = f"no room in {where} (about {remote.size / 1e6:.0f} MB are needed): {error.strerror}."
        else:
            why = f"cannot read or write in {where}: {error.strerror or error}."
        raise DownloadError(_message(remote, dataset, path, f"{why} Set MMLIB_DATA to another folder.")) from None


def _message(remote: Remote, dataset: str, path: Path, why: str) -> str:
    mirrored = f" (MMLIB_DATA_MIRROR; the public address is {remote.url})" if address(remote) != remote.url else ""
    return (
        f"{dataset}: could not fetch {remote.name}: {why}\n"
        f"  from  {address(remote)}{mirrored}\n"
        f"  to    {path}\n"
        f"Try again later: python -m mmlib download {dataset}. Or put the file there by hand; it is verified all the same. "
        "Without any download there are mmlib.load('digits') and mmlib.load('two_speed')."
    )


def _short(error: object, most: int = 160) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def write_whole(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Write a file whole or not at all.

    Raises:
        OSError: the folder cannot be written to, or is full; nothing of the file stays behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w+b") as file:
            write(file)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            Path(temporary).unlink(missing_ok=True)
