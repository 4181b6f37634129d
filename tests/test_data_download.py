"""Downloads end well or not at all: small files, a local server, and every way a server, a disk or a neighbour can fail."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from mmlib.data import download as web
from tests.data_server import DataServer, Fault, serve

CONTENT = bytes(range(256)) * 2_000
NAME = "file.bin"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DataServer]:
    monkeypatch.setenv("MMLIB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(web, "BACK_OFF", 0.01)
    with serve(tmp_path) as running:
        running.files[NAME] = CONTENT
        monkeypatch.setenv("MMLIB_DATA_MIRROR", running.url)
        yield running


@pytest.fixture
def remote() -> web.Remote:
    check = web.checksums(md5=hashlib.md5(CONTENT).hexdigest(), sha256=hashlib.sha256(CONTENT).hexdigest())
    return web.Remote(NAME, "https://nowhere.invalid/file.bin", len(CONTENT), check)


def in_folder(tmp_path: Path) -> list[str]:
    """What is in the data set's folder, without the lock."""
    return sorted(p.name for p in (tmp_path / "data" / "toy").glob("*") if p.suffix != ".lock")


def refused(remote: web.Remote) -> str:
    with pytest.raises(web.DownloadError) as caught:
        web.fetch(remote, "toy", progress=False)
    message = str(caught.value)
    for part in (NAME, web.address(remote), str(web.data_folder("toy") / NAME), "download toy", "mmlib.load('digits')"):
        assert part in message
    return message


def test_a_file_is_fetched_once(server: DataServer, remote: web.Remote, tmp_path: Path) -> None:
    path = web.fetch(remote, "toy")
    assert path == tmp_path / "data" / "toy" / NAME
    assert path.read_bytes() == CONTENT
    assert web.fetch(remote, "toy") == path
    assert server.asked == {f"GET {NAME}": 1}
    assert in_folder(tmp_path) == [NAME]


def test_no_network_needed_once_it_is_there(remote: web.Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMLIB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MMLIB_DATA_MIRROR", "http://127.0.0.1:9")
    path = tmp_path / "data" / "toy" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)  # put there by hand
    assert web.fetch(remote, "toy") == path
    assert in_folder(tmp_path) == [NAME]
    assert web.reachable(remote, "toy")


@pytest.mark.parametrize("damage", [CONTENT[:1000], b"", CONTENT[:-1] + b"x"], ids=["part", "empty", "altered"])
def test_a_wrong_file_is_replaced(server: DataServer, remote: web.Remote, tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "data" / "toy" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(damage)
    with pytest.warns(UserWarning, match="expected MD5 .* fetched anew"):
        web.fetch(remote, "toy")
    assert path.read_bytes() == CONTENT


def test_busy_server_is_asked_again(server: DataServer, remote: web.Remote) -> None:
    server.faults[NAME] = Fault(times=2, status=503)
    assert web.fetch(remote, "toy").read_bytes() == CONTENT
    assert server.asked[f"GET {NAME}"] == 3


def test_waits_grow_and_follow_the_server(server: DataServer, remote: web.Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(web, "BACK_OFF", 1.0)
    monkeypatch.setattr(time, "sleep", lambda s: waits.append(s) if s else None)
    server.faults[NAME] = Fault(status=503)
    assert "the server answered 503" in refused(remote)
    assert waits == [1, 2, 4]
    for asked, expected in (("7", 7.0), ("9999", web.LONGEST_WAIT), ("soon", 1.0)):
        waits.clear()
        server.faults[NAME] = Fault(times=1, status=429, headers={"Retry-After": asked})
        (web.data_folder("toy") / NAME).unlink(missing_ok=True)
        web.fetch(remote, "toy")
        assert waits == [expected]


def test_busy_server_in_the_end_is_an_error(server: DataServer, remote: web.Remote, tmp_path: Path) -> None:
    server.faults[NAME] = Fault(status=503)
    assert "the server answered 503 Service Unavailable" in refused(remote)
    assert server.asked[f"GET {NAME}"] == web.ATTEMPTS
    assert in_folder(tmp_path) == []


@pytest.mark.parametrize("status", [403, 404, 410])
def test_what_is_gone_is_not_asked_for_again(server: DataServer, remote: web.Remote, status: int, tmp_path: Path) -> None:
    server.faults[NAME] = Fault(status=status)
    message = refused(remote)
    assert f"the server answered {status}" in message
    assert ("moved or is gone" in message) == (status != 403)
    assert server.asked[f"GET {NAME}"] == 1
    assert in_folder(tmp_path) == []


@pytest.mark.parametrize("cut", [0, 1, 70_000, len(CONTENT) - 1])
def test_dropped_connection(server: DataServer, remote: web.Remote, tmp_path: Path, cut: int) -> None:
    server.faults[NAME] = Fault(times=1, cut=cut)
    assert web.fetch(remote, "toy").read_bytes() == CONTENT
    (tmp_path / "data" / "toy" / NAME).unlink()
    server.faults[NAME] = Fault(cut=cut)
    assert "no connection, or it broke" in refused(remote)
    assert in_folder(tmp_path) == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault(change=lambda x: x[:-100]),  # truncated, and says so
        Fault(cut=70_000, announce=False),  # truncated, and nobody could know
        Fault(change=lambda x: x[:-1] + b"?"),
        Fault(change=lambda x: b"<html>Log in to this network</html>"),
        Fault(change=lambda x: b""),
    ],
    ids=["short", "cut", "altered", "portal", "empty"],
)
def test_wrong_content_is_tried_twice_and_never_kept(
    server: DataServer, remote: web.Remote, tmp_path: Path, fault: Fault
) -> None:
    server.faults[NAME] = fault
    message = refused(remote)
    assert "not the right file: expected MD5" in message
    assert server.asked[f"GET {NAME}"] == 2
    assert in_folder(tmp_path) == []


def test_endless_answer_is_cut_off(server: DataServer, remote: web.Remote, tmp_path: Path) -> None:
    server.faults[NAME] = Fault(change=lambda x: x * 100)
    assert "the server sends more" in refused(remote)
    assert in_folder(tmp_path) == []


@pytest.mark.parametrize("mirror", ["http://127.0.0.1:9", "http://host.invalid", "not an address"])
def test_no_network(remote: web.Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: DataServer, mirror: str) -> None:
    monkeypatch.setenv("MMLIB_DATA_MIRROR", mirror)
    message = refused(remote)
    assert "no connection" in message
    assert "the public address is https://nowhere.invalid/file.bin" in message
    assert not web.reachable(remote, "toy")


def test_a_server_that_does_not_answer_is_given_up(
    remote: web.Remote, server: DataServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        monkeypatch.setenv("MMLIB_DATA_MIRROR", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        monkeypatch.setattr(web, "TIMEOUT", (0.2, 0.2))
        monkeypatch.setattr(web, "ATTEMPTS", 2)
        assert "no connection" in refused(remote)
        assert not web.reachable(remote, "toy", timeout=0.2)


def test_reachable(server: DataServer, remote: web.Remote) -> None:
    assert web.reachable(remote, "toy")
    assert server.asked == {f"HEAD {NAME}": 1}
    server.faults[NAME] = Fault(status=404)
    assert not web.reachable(remote, "toy")


def test_folder_that_cannot_be_made(
    server: DataServer, remote: web.Remote, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a_file").write_text("in the way")
    monkeypatch.setenv("MMLIB_DATA", str(tmp_path / "a_file"))
    message = refused(remote)
    assert "cannot read or write in" in message
    assert "Set MMLIB_DATA" in message


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(server: DataServer, remote: web.Remote, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o500)
    assert "cannot read or write in" in refused(remote)


@pytest.mark.parametrize("number", sorted(web.FULL))
def test_disk_becomes_full(
    server: DataServer, remote: web.Remote, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int
) -> None:
    def write(self: web._Bounded, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(web._Bounded, "write", write)
    message = refused(remote)
    assert "no room in" in message
    assert "Set MMLIB_DATA" in message
    assert in_folder(tmp_path) == []


FETCH = """
import hashlib, resource, sys
from mmlib.data import download as web
content = bytes(range(256)) * 2_000
check = web.checksums(sha256=hashlib.sha256(content).hexdigest())
remote = web.Remote("file.bin", "https://nowhere.invalid/x", len(content), check)
if sys.argv[1:] == ["small files only"]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
print(len(web.fetch(remote, "toy").read_bytes()))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a limit that POSIX systems have")
def test_a_write_that_really_fails(server: DataServer, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FETCH, "small files only"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "DownloadError" in done.stderr
    assert "no room in" in done.stderr
    assert in_folder(tmp_path) == []
    assert errno.EFBIG in web.FULL


def test_two_processes_at_once(server: DataServer, tmp_path: Path) -> None:
    server.delay = 0.5
    both = [subprocess.Popen([sys.executable, "-c", FETCH], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [p.communicate(timeout=120)[0].strip() for p in both] == [str(len(CONTENT))] * 2
    assert server.asked[f"GET {NAME}"] == 1
    assert in_folder(tmp_path) == [NAME]


def test_a_process_that_hangs_does_not_stop_others(
    server: DataServer, remote: web.Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filelock import FileLock

    monkeypatch.setattr(web, "LOCK_WAIT", 0.1)
    folder = tmp_path / "data" / "toy"
    folder.mkdir(parents=True)
    with FileLock(folder / f".{NAME}.lock"):
        assert web.fetch(remote, "toy").read_bytes() == CONTENT


def test_what_a_killed_process_left_is_removed(server: DataServer, remote: web.Remote, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "toy"
    folder.mkdir(parents=True)
    old, new = folder / f".{NAME}.old.part", folder / f".{NAME}.new.part"
    for part in (old, new):
        part.write_bytes(b"x")
    os.utime(old, (0, 0))
    web.fetch(remote, "toy")
    assert not old.exists()
    assert new.exists()  # another process may still be writing it


def test_write_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"

    def write(file: IO[bytes]) -> None:
        file.write(b"old")

    web.write_whole(path, write)

    def fail(file: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        web.write_whole(path, fail)
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_write_whole_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    path = tmp_path / "file[1]"
    old, new, other = (tmp_path / name for name in (".file[1].old.part", ".file[1].new.part", ".else.old.part"))
    for part in (old, new, other):
        part.write_bytes(b"x")
    for part in (old, other):
        os.utime(part, (0, 0))
    web.write_whole(path, lambda file: None)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([new.name, other.name, path.name])


def test_folder_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MMLIB_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert web.data_folder("toy").parts[-2:] == ("data", "toy")
    monkeypatch.setenv("MMLIB_DATA", "~/here")
    assert web.data_folder("toy") == Path.home() / "here" / "toy"


def test_public_address_without_a_mirror(remote: web.Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMLIB_DATA_MIRROR", raising=False)
    assert web.address(remote) == remote.url
