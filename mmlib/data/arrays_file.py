"""Your own arrays in one file of numpy's: what the command line takes for ``--data``."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmlib.data.checks import check_modalities
from mmlib.data.core import Splits
from mmlib.data.own import from_arrays

#: arrays that are no modalities
LABELS, GROUP, SPLIT, PRESENT = "labels", "group", "split", "present_"
HOLDS = (
    "'labels' [N], an array [N, ...] for each modality under its name, and where you have them 'group' [N] (the person, the "
    "recording), 'split' [N] (train, val, test) and 'present_NAME' [N] booleans"
)


def read(path: str | Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file; nothing in it is run.

    Raises:
        FileNotFoundError: no such file. ValueError: another kind of file, or arrays of Python objects.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"data: no file {file}")
    try:
        with np.load(file, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError, AttributeError) as error:
        raise ValueError(f"data: {file} cannot be read as numpy's .npz ({error}); it holds {HOLDS}") from None


def digest(path: str | Path) -> str:
    """Of the file's bytes."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def splits(
    seed: int = 0, *, file: str, content: str | None = None, modalities: Sequence[str] | None = None, **options: Any
) -> Splits:
    """The arrays of a file as `Splits`.

    Args:
        content: the `digest` that the file had when it was asked for: runs of one comparison read the same numbers.
        modalities: some of those in the file, by default all. options: of `mmlib.data.own.from_arrays`.

    Raises:
        ValueError: no labels, no or an unknown modality, a file that has changed, or anything `from_arrays` refuses.
    """
    if content is not None and digest(file) != content:
        raise ValueError(f"data: {file} has changed since the comparison began")
    arrays = read(file)
    if LABELS not in arrays:
        raise ValueError(f"data: {file} has no 'labels', found {', '.join(arrays) or 'nothing'}; it holds {HOLDS}")
    inputs = {m: x for m, x in arrays.items() if m not in (LABELS, GROUP, SPLIT) and not m.startswith(PRESENT)}
    if not inputs:
        raise ValueError(f"data: {file} has no modality; it holds {HOLDS}")
    if modalities is not None:
        check_modalities(modalities, tuple(inputs))
        inputs = {m: inputs[m] for m in modalities}
    masks = {m: arrays[PRESENT + m] for m in inputs if PRESENT + m in arrays}
    unknown = [m for m in arrays if m.startswith(PRESENT) and m.removeprefix(PRESENT) not in arrays]
    if unknown:
        raise ValueError(f"data: {file} has {unknown[0]!r}, but no modality {unknown[0].removeprefix(PRESENT)!r}")
    return from_arrays(
        inputs, arrays[LABELS], split_by=arrays.get(GROUP), split=arrays.get(SPLIT), present=masks or None,
        name=Path(file).stem, seed=seed, **options,
    )  # fmt: skip
