"""Small archives of recordings like those of `motion`: everybody once, every activity for a moment."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mmlib.data.motion_files import ACTIVITIES, COLUMNS, PEOPLE

BEGIN = 1_657_533_977_000  #: milliseconds since 1970
MOMENT = 700  #: milliseconds of each activity


@dataclass
class Recording:
    """Rows that say their own label: every number of a row is the position of its activity in `ACTIVITIES`, or near it."""

    begin: int = BEGIN
    every: int = 10
    activities: Sequence[tuple[int, int]] = tuple((code, MOMENT) for code in range(len(ACTIVITIES)))  #: and milliseconds
    rows: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        time = self.begin
        for code, lasting in self.activities:
            for _ in range(lasting // self.every):
                self.rows.append([f"{code}.0"] * 6 + [str(time), ACTIVITIES[code].upper()])
                time += self.every

    def without(self, first: int, last: int) -> Recording:
        """Rows lost, from so many milliseconds after the begin up to, but without, so many."""
        self.rows = [row for row in self.rows if not first <= int(row[6]) - self.begin < last]
        return self

    def table(self, columns: Iterable[str] = COLUMNS) -> bytes:
        return "\n".join([",".join(columns), *(",".join(row) for row in self.rows), ""]).encode()


def name(person: int, device: str, number: int = 1) -> str:
    return f"DATA/s{person:02}/s{person:02}_{number:02}_{device}.csv"


def everybody(**changed: Recording | bytes | None) -> dict[str, bytes]:
    """{name: bytes} of both devices of everybody. ``s01_sp=...``: instead of person 1's phone; None: not there."""
    files = {"DATA/executions_info.csv": b"execution_id\n", "DATA/subjects_info.csv": b"subject_id\n"}
    usual = Recording().table()
    for person in range(1, PEOPLE + 1):
        for device in ("sp", "sw"):
            other = changed.get(f"s{person:02}_{device}", usual)
            if other is not None:
                files[name(person, device)] = other.table() if isinstance(other, Recording) else other
    return files


def packed(files: dict[str, bytes], folder: str = "sp-sw-har-dataset-1234/", **extra: bytes) -> bytes:
    """A zip archive of the files, in a folder as of a repository."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in {**files, **extra}.items():
            archive.writestr(folder + path, content)
    return out.getvalue()
