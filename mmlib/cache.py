"""Finished runs on disk: each under a hash of all that decides its numbers, or not kept at all."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mmlib import fingerprint
from mmlib.arguments import pick_device
from mmlib.data.core import MultimodalData, Splits
from mmlib.data.cremad_files import NAME as CREMAD
from mmlib.setting import Predictions, Setting

#: what every row has, beside numbers under other names
ROW: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("test_accuracy", "test_loss", "val_accuracy", "seconds"), (int, float)),
    "best_epoch": int,
    "diverged": bool,
    "history": list,
}


def cache_folder() -> Path:
    """Where runs are kept: MMLIB_CACHE, or the platform's folder for caches."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("MMLIB_CACHE") or user_cache_path("mmlib")) / "runs"


def key(setting: Setting) -> str | None:
    """What decides a setting's numbers: the setting, code, data, versions, kind of device. None where something has no hash:
    foreign code (`Setting.foreign`), and data that is read while training."""
    if setting.foreign() or not known_data(setting):
        return None
    device = pick_device(setting.fit_options.get("device")).type
    return json.dumps([setting.describe(), setting.code(), _versions(), device], sort_keys=True)


def known_data(setting: Setting) -> bool:
    """Whether a setting's data can be hashed as it is. What a callable from outside the library will make is known only when
    it was made."""
    if isinstance(setting.data, Splits):
        return all(isinstance(split, MultimodalData) for _, split in setting.data.items())
    if isinstance(setting.data, str):
        return setting.data != CREMAD  # in a folder of the user's, which nothing verifies
    return fingerprint.hashed_wholly(setting.data)


@lru_cache
def _versions() -> list[str]:
    return [importlib.metadata.version(name) for name in ("torch", "numpy", "scikit-learn")]


def file_of(key: str, seed: int) -> Path:
    """Where a run is kept."""
    return cache_folder() / f"{fingerprint._digest(json.dumps([key, seed]))}.json"


def read(file: Path, predictions: bool = False) -> dict[str, Any] | None:
    """A row as `mmlib.setting.run` returned it; None where there is none, or what is there is no row: then it is to be
    computed again, and written anew."""
    try:
        row = json.loads(file.read_text("utf8"))
        if not _is_row(row):
            return None
        return {**row, "predictions": _arrays(file.with_suffix(".npz"))} if predictions else row
    except (OSError, ValueError, KeyError, RecursionError, EOFError, zipfile.BadZipFile):
        return None


def write(file: Path, row: dict[str, Any]) -> None:
    """Keep a row, and its predictions in a file beside it."""
    found: Predictions | None = row.get("predictions")
    if found is not None:
        with whole(file.with_suffix(".npz")) as part, part.open("wb") as stream:
            np.savez(stream, probabilities=found.probabilities, labels=found.labels)
    write_json(file, {k: v for k, v in row.items() if k != "predictions"})


def write_json(path: Path, content: Any) -> None:
    """Write whole or not at all."""
    with whole(path) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", "utf8")


@contextlib.contextmanager
def whole(path: Path) -> Any:
    """A file to write to that becomes ``path`` at the end, and vanishes where something goes wrong."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _is_row(row: Any) -> bool:
    """Whether JSON holds what a run returns."""
    if not isinstance(row, dict) or not all(isinstance(row.get(k), kind) for k, kind in ROW.items()):
        return False
    rest = [v for k, v in row.items() if k != "history"]
    epochs_are_dicts = all(isinstance(epoch, dict) for epoch in row["history"])
    return epochs_are_dicts and all(isinstance(v, int | float) for v in [*rest, *(v for e in row["history"] for v in e.values())])


def _arrays(file: Path) -> Predictions:
    with np.load(file, allow_pickle=False) as arrays:
        found = Predictions(arrays["probabilities"], arrays["labels"])
    if found.probabilities.ndim != 2 or found.labels.shape != found.probabilities.shape[:1]:
        raise ValueError(f"{file}: expected probabilities [N, C] and labels [N]")
    return found
