"""motion: downloading, verifying, parsing and keeping, on small archives like the real one, and what may be wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmlib.__main__ import main
from mmlib.data import download as web
from mmlib.data import load, motion
from mmlib.data import motion_files as module
from mmlib.data.archive import digest
from tests.data_server import DataServer, Fault, serve
from tests.motion_archive import BEGIN, Recording, everybody, packed

NAME = module.ARCHIVE.name
Serve = Callable[..., DataServer]


def forget() -> None:
    module.recordings.cache_clear()
    motion.windows.cache_clear()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """``served(files)``: a server that has them, packed, and a library that expects them; an empty folder."""
    monkeypatch.setenv("MMLIB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(web, "BACK_OFF", 0.01)
    forget()
    with serve(tmp_path) as server:
        monkeypatch.setenv("MMLIB_DATA_MIRROR", server.url)

        def start(files: dict[str, bytes]) -> DataServer:
            monkeypatch.setattr(module, "RECORDINGS_SHA256", digest(files))
            server.files[NAME] = packed(files)
            return server

        yield start
    forget()


def kept(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "data" / "motion").glob("*") if p.suffix != ".lock")


# --- download, verification, caching -------------------------------------------------------------------------------------------


def test_download_verifies_and_parses_once(served: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = served(everybody())
    assert module.available()
    for _ in range(2):
        assert main(["download", "motion"]) == 0
        forget()
    assert f"motion: verified, in {tmp_path / 'data' / 'motion'}" in capsys.readouterr().out
    assert kept(tmp_path) == sorted([NAME, module.cache_file().name])
    assert server.asked[f"GET {NAME}"] == 1


def test_the_public_address() -> None:
    assert module.ARCHIVE.url == (
        "https://github.com/GeoTecINIT/sp-sw-har-dataset/archive/1408d85a512a53861de7bc4729dee283fff2ea9d.zip"
    )


def test_another_packing_of_the_same_recordings_is_accepted(served: Serve) -> None:
    files = everybody()
    server = served(files)
    server.files[NAME] = packed(files, "somebody-99/", **{"README.md": b"hello", "utils/x.py": b"1", "DATA/s01/notes.txt": b""})
    assert len(load("motion", window=0.5).train) > 0


def one_bit() -> dict[str, bytes]:
    files = everybody()
    changed = bytearray(files["DATA/s07/s07_01_sw.csv"])
    changed[500] ^= 1
    return {**files, "DATA/s07/s07_01_sw.csv": bytes(changed)}


@pytest.mark.parametrize(
    "altered",
    [one_bit, lambda: everybody(s07_sw=None), lambda: {**everybody(), "DATA/s07/s07_02_sw.csv": b""}],
    ids=["one bit", "one missing", "one more"],
)
def test_altered_recordings_are_refused(served: Serve, tmp_path: Path, altered: Callable[[], dict[str, bytes]]) -> None:
    server = served(everybody())
    server.files[NAME] = packed(altered())
    with pytest.raises(web.DownloadError, match=f"expected recordings with digest {module.RECORDINGS_SHA256}"):
        load("motion")
    assert kept(tmp_path) == []


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(change=lambda x: x[: len(x) // 2]), "not the right file"),
        (Fault(change=lambda x: x[: len(x) // 2] + bytes([x[len(x) // 2] ^ 1]) + x[len(x) // 2 + 1 :]), "not the right file"),
        (Fault(cut=1_000), "no connection, or it broke"),
        (Fault(status=404), "answered 404"),
        (Fault(status=503), "answered 503"),
    ],
    ids=["truncated", "altered", "dropped", "404", "503"],
)
def test_what_goes_wrong_on_the_way(served: Serve, tmp_path: Path, fault: Fault, message: str) -> None:
    server = served(everybody())
    server.faults[NAME] = Fault(**fault.__dict__)
    with pytest.raises(web.DownloadError, match=message) as caught:
        load("motion")
    for part in (NAME, server.url, str(tmp_path / "data" / "motion" / NAME), "download motion", "mmlib.load('digits')"):
        assert part in str(caught.value)
    assert kept(tmp_path) == []


def test_no_network_at_all(served: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MMLIB_DATA_MIRROR", "http://127.0.0.1:9")
    assert not module.available()
    assert main(["download", "motion"]) == 2
    assert module.ARCHIVE.url in capsys.readouterr().err


@pytest.mark.parametrize("damage", [lambda x: x[: len(x) // 2], lambda x: b"", lambda x: x[:9999] + b"?" + x[10_000:]])
def test_a_damaged_cache_is_made_again(served: Serve, damage: Callable[[bytes], bytes]) -> None:
    served(everybody())
    before, path = module.recordings(), module.cache_file()
    content = path.read_bytes()
    path.write_bytes(damage(content))
    forget()
    again = module.recordings()
    assert all(np.array_equal(again._asdict()[name], x) for name, x in before._asdict().items())
    assert path.read_bytes() == content


def test_a_cache_of_another_kind_is_not_read(served: Serve, tmp_path: Path) -> None:
    served(everybody())
    found, path = module.recordings(), tmp_path / "x.npz"
    for wrong in (found._replace(label=found.label[:10]), found._replace(time=found.time.astype(float))):
        with path.open("wb") as file:
            module._write_cache(file, wrong)
        assert module._read_cache(path) is None
    np.savez(path, values=found.values)
    assert module._read_cache(path) is None
    np.savez(path, **{**found._asdict(), "label": np.array([{}])})  # a pickle is never read
    assert module._read_cache(path) is None


def test_a_cache_that_cannot_be_written(served: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    served(everybody())
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(module, "cache_file", lambda: tmp_path / "file" / "x.npz")
    with pytest.warns(UserWarning, match="the parsed recordings are not kept"):
        assert len(module.recordings().execution) == module.PEOPLE


# --- recordings that are not what they should be -------------------------------------------------------------------------------


def test_a_table() -> None:
    rows = ["1,2,3,4,5,6.5,1657533977813,SEATED", "-1,0,0,0,0,1e-3,1657533977813,SITTING_DOWN"]
    table = "\n".join([",".join(module.COLUMNS), *rows]).encode()
    values, time, label = module.parse_recording("x", table)
    assert values.tolist() == [[1, 2, 3, 4, 5, 6.5], [-1, 0, 0, 0, 0, np.float32(1e-3)]]
    assert time.tolist() == [1657533977813] * 2
    assert label.tolist() == [0, 4]


def table(at: int, row: str) -> bytes:
    lines = Recording().table().split(b"\n")
    lines[at] = row.encode()
    return b"\n".join(lines)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x: expected the columns x_acc,y_acc"),
        (Recording().table(module.COLUMNS[::-1]), "x: expected the columns x_acc,y_acc.*found 'label,timestamp"),
        (Recording().table().replace(b"SEATED", "S\u00c9ATED".encode()), "x: expected a table in plain ASCII"),
        (Recording(activities=[(0, 10)]).table(), "at least two rows, found 1"),
        (table(3, "1,2,3,4,5,6,7,RUNNING"), "x, line 4: expected 7 numbers and one of SEATED, .*found '1,2,3,4,5,6,7,RUNNING'"),
        (table(3, "1,2,3,4,5,6,SEATED"), "x, line 4: expected 7 numbers"),
        (table(3, "7,SEATED"), "x, line 4: expected 7 numbers"),
        (table(3, ""), "x, line 4: expected 7 numbers"),
        (table(3, f"1,2,3,4,5,x,{BEGIN},SEATED"), "x, line 4: expected 7 numbers"),
        (table(3, f"1,2,3,4,5,nan,{BEGIN + 20},SEATED"), "x, line 4: expected finite numbers"),
        (table(3, f"1,2,inf,4,5,6,{BEGIN + 20},SEATED"), "x, line 4: expected finite numbers"),
        (table(3, f"1,2,3,4,5,6,{BEGIN + 20}.5,SEATED"), "x, line 4: expected finite numbers and a time in whole milliseconds"),
        (table(3, "1,2,3,4,5,6,1e300,SEATED"), "x, line 4: .* a time in whole milliseconds"),
        (table(3, f"1,2,3,4,5,6,{BEGIN + 9},SEATED"), "x, line 4: expected a time that is not before that of the row above"),
    ],
)
def test_a_table_that_is_not(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        module.parse_recording("x", content)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"s04_sw": table(9, f"0,0,0,0,0,0,{BEGIN},SEATED")},
            "DATA/s04/s04_01_sw.csv, line 10: expected a time that is not before",
        ),
        ({"s04_sw": None}, "s04_01: expected a recording of phone and watch, that of the watch is missing"),
        ({"s04_sp": None}, "s04_01: expected a recording of phone and watch, that of the phone is missing"),
        ({"s04_sp": None, "s04_sw": None}, r"recordings: expected people 1 to 23, found \[1, 2, 3, 5, "),
        (
            {"s04_sw": Recording(BEGIN + 60_000)},
            f"s04_01: .* clocks that do not overlap: phone {BEGIN} to .*, watch {BEGIN + 60_000}",
        ),
        ({"s04_sp": Recording(BEGIN + 60_000)}, "s04_01: .* clocks that do not overlap"),
    ],
    ids=["back in time", "no watch", "no phone", "nobody", "watch later", "phone later"],
)
def test_recordings_that_cannot_be_used_are_refused(served: Serve, tmp_path: Path, changed: Any, message: str) -> None:
    """Through download and verification, which have nothing to say against them."""
    served(everybody(**changed))
    with pytest.raises(ValueError, match=message):
        load("motion", window=0.5)
    assert kept(tmp_path) == [NAME]  # nothing was kept of what could not be used
