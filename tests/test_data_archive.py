"""Archives that nobody vouches for: read within bounds, never unpacked to disk."""

from __future__ import annotations

import hashlib
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from mmlib.data.archive import digest, read_members
from mmlib.data.download import VerificationError

PATTERN = re.compile(r"(?:[^/]+/)?(DATA/[a-z]\.csv)")
BOUNDS: dict[str, Any] = {"most_members": 10, "most_bytes": 1_000, "most_unpacked": 2_500}


def archive(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in files.items():
            out.writestr(name, content)
    return path


def test_what_fits_is_read_and_the_rest_left_alone(tmp_path: Path) -> None:
    files = {"x/DATA/a.csv": b"1", "DATA/b.csv": b"2", "x/README": b"3", "x/y/DATA/c.csv": b"4", "x/big": bytes(100_000)}
    path = archive(tmp_path / "a.zip", files)
    assert read_members(path, PATTERN, **BOUNDS) == {"DATA/a.csv": b"1", "DATA/b.csv": b"2"}
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize("name", ["../../evil.csv", "DATA/../../a.csv", "/etc/passwd", "C:/x.csv", "a\\..\\..\\x"])
def test_paths_that_leave_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    path = archive(tmp_path / "a.zip", {"DATA/a.csv": b"1", name: b"x"})
    with pytest.raises(VerificationError, match="a path that leaves its folder"):
        read_members(path, PATTERN, **BOUNDS)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({f"x{n}": b"" for n in range(11)}, "expected at most 10 entries in the archive, found 11"),
        ({"DATA/a.csv": bytes(1_001)}, "DATA/a.csv: expected at most 1,000 bytes, found 1,001"),
        ({f"DATA/{c}.csv": bytes(900) for c in "abc"}, "expected at most 2,500 bytes to read, the archive has 2,700"),
        ({"DATA/a.csv": b"1", "x/DATA/a.csv": b"2"}, "DATA/a.csv: the archive has two files of that name"),
    ],
    ids=["many", "large", "large together", "twice"],
)
def test_bounds(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    with pytest.raises(VerificationError, match=message):
        read_members(archive(tmp_path / "a.zip", files), PATTERN, **BOUNDS)


def test_an_archive_that_swells_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "a.zip", {f"DATA/{c}.csv": bytes(900) for c in "abc"})
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(VerificationError, match="2,700"):
        read_members(path, PATTERN, **BOUNDS)


def test_an_archive_that_lies_about_its_sizes_gives_no_more_than_it_says(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"DATA/a.csv": bytes(900_000)})
    packed = path.read_bytes()
    assert packed.count((900_000).to_bytes(4, "little")) == 2  # beside the file, and in the list at the end
    path.write_bytes(packed.replace((900_000).to_bytes(4, "little"), (900).to_bytes(4, "little")))
    with pytest.raises(VerificationError, match="not a whole zip archive"):
        read_members(path, PATTERN, **BOUNDS)


@pytest.mark.parametrize("content", [b"", b"PK", b"<html>", bytes(1000)])
def test_not_an_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(VerificationError, match="not a whole zip archive"):
        read_members(tmp_path / "a.zip", PATTERN, **BOUNDS)


def test_digest_is_the_documented_one() -> None:
    by_hand = b"a\0" + hashlib.sha256(b"1").digest() + b"b\0" + hashlib.sha256(b"2").digest()
    assert digest({"b": b"2", "a": b"1"}) == hashlib.sha256(by_hand).hexdigest()
