"""Members of a zip archive that nobody vouches for: read into memory within bounds, nothing unpacked to disk."""

from __future__ import annotations

import hashlib
import re
import struct
import zipfile
import zlib
from pathlib import Path

from mmlib.data.download import VerificationError


def read_members(
    path: Path, pattern: re.Pattern[str], *, most_members: int, most_bytes: int, most_unpacked: int
) -> dict[str, bytes]:
    """The members whose whole path fits ``pattern``, {its first group: bytes}; the others are left alone.

    Args:
        most_members: of the archive. most_bytes: of one member that is read. most_unpacked: of all that are read.

    Raises:
        VerificationError: not a whole archive, a path that leaves its folder, a name that comes twice, or more than these.
    """
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > most_members:
                raise VerificationError(f"expected at most {most_members:,} entries in the archive, found {len(members):,}")
            for name in (member.filename for member in members):
                if name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
                    raise VerificationError(f"the archive has a path that leaves its folder: {name[:200]!r}")
            wanted = [(member, fits[1]) for member in members if (fits := pattern.fullmatch(member.filename))]
            # before anything is unpacked; zipfile gives no more of a member than the archive says it has
            total = sum(member.file_size for member, _ in wanted)
            if total > most_unpacked:
                raise VerificationError(f"expected at most {most_unpacked:,} bytes to read, the archive has {total:,}")
            for member, name in wanted:
                if name in found:
                    raise VerificationError(f"{name}: the archive has two files of that name")
                if member.file_size > most_bytes:
                    raise VerificationError(f"{name}: expected at most {most_bytes:,} bytes, found {member.file_size:,}")
                found[name] = archive.read(member)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error) as error:
        raise VerificationError(f"not a whole zip archive ({error})") from None
    return found


def digest(files: dict[str, bytes]) -> str:
    """SHA-256 over the sorted names, each name, a NUL and the SHA-256 of its bytes: of the files, not of how they are packed."""
    total = hashlib.sha256()
    for name in sorted(files):
        total.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    return total.hexdigest()
