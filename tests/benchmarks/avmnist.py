"""avmnist: seconds of one core to prepare the spectrograms, to read them from the cache, and to make the splits."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from mmlib.data import avmnist, avmnist_files
from mmlib.data.download import data_folder


def core_seconds(work: Callable[[], Any], turns: int = 5) -> float:
    """Processor time, which a busy machine does not change much; the median of the turns."""
    found = []
    for _ in range(turns):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return round(median(found), 3)


def cached() -> None:
    avmnist_files.recordings.cache_clear()
    avmnist_files.recordings()


def measure() -> dict[str, Any]:
    if not avmnist_files.available():
        return {"avmnist": "not measured: the data are not reachable"}
    archive = avmnist_files.download() / avmnist_files.SPEECH.name
    assert archive.parent == data_folder(avmnist_files.NAME)
    files = avmnist_files.read_archive(archive)
    return {
        "avmnist: verifying the archive, seconds": core_seconds(lambda: avmnist_files.check_recordings(archive)),
        "avmnist: 3,000 spectrograms, seconds (at most 10)": core_seconds(lambda: avmnist_files.prepare(files)),
        "avmnist: from the cache, seconds (at most 0.5)": core_seconds(cached),
        "avmnist: the splits of one seed, seconds": core_seconds(avmnist.make),
    }
