"""One's own arrays in a file of NumPy's, as data."""

from __future__ import annotations

import inspect
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmlib import fingerprint
from mmlib.command.parser import OWN_DATA
from mmlib.data.core import Splits
from mmlib.data.own import from_arrays

#: what is no modality
RESERVED = ("labels", "split_by", "group", "split")
PRESENT = "present_"


def read(path: Path) -> dict[str, NDArray[Any]]:
    """Every array of a file, by name.

    Raises:
        FileNotFoundError, ValueError: no such file, or not one of arrays of numbers and text; the message says what it must hold.
    """
    if not path.is_file():
        raise FileNotFoundError(f"--data: no file {path}")
    name = ""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {}
            for name in arrays.files:  # the last one is named where it cannot be read
                found[name] = arrays[name]
            return found
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        what = f"array {name!r} of {path} cannot be read" if name else f"{path} is no file that np.savez writes"
        objects = (
            ", it holds Python objects: save numbers, or text as np.array(x, dtype=str)" if "allow_pickle" in str(error) else ""
        )
        why = objects if name and objects else f" ({type(error).__name__})"
        raise ValueError(f"--data: {what}{why}; {OWN_DATA}") from None


def modalities(arrays: Mapping[str, NDArray[Any]], path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """The arrays of the modalities, and those that say who is present, each by modality."""
    inputs = {k: v for k, v in arrays.items() if k not in RESERVED and not k.startswith(PRESENT)}
    present = {k.removeprefix(PRESENT): v for k, v in arrays.items() if k.startswith(PRESENT)}
    for m in present:
        if m not in inputs:
            raise ValueError(f"--data: array '{PRESENT}{m}' of {path} names no modality; there are {', '.join(inputs) or 'none'}")
    if not inputs:
        raise ValueError(f"--data: {path} holds no modality, only {', '.join(arrays) or 'nothing'}; {OWN_DATA}")
    return inputs, present


@dataclass(frozen=True)
class ArraysFile:
    """Data for `mmlib.Setting`: the file's own split, or one for each seed."""

    path: Path
    quiet: bool = False  #: warnings were shown already

    @property
    def described(self) -> str:
        return f"{self.path.name} {fingerprint.file_hash(self.path)}"

    def __call__(self, *, seed: int, modalities: Sequence[str] | None = None, **options: Any) -> Splits:
        with warnings.catch_warnings():
            if self.quiet:
                warnings.simplefilter("ignore")
            return self._splits(seed, modalities, options)

    def _splits(self, seed: int, names: Sequence[str] | None, options: dict[str, Any]) -> Splits:
        arrays = read(self.path)
        if "labels" not in arrays:
            raise ValueError(f"--data: {self.path} has no array 'labels', only {', '.join(arrays) or 'nothing'}; {OWN_DATA}")
        if "group" in arrays and "split_by" in arrays:
            raise ValueError(f"--data: {self.path} has both 'group' and 'split_by', which mean the same: keep one")
        known = [
            k for k in inspect.signature(from_arrays).parameters if k not in (*RESERVED, "inputs", "present", "name", "seed")
        ]
        for option in options:
            if option not in known:
                raise ValueError(f"--set {option}: unknown for a file; known: {', '.join(known)}")
        inputs, present = modalities(arrays, self.path)
        chosen = list(names or inputs)
        unknown = [m for m in chosen if m not in inputs]
        if unknown:
            raise ValueError(f"--modalities: unknown {unknown[0]!r}; known: {', '.join(inputs)}")
        groups = arrays.get("split_by", arrays.get("group"))
        return from_arrays(
            {m: inputs[m] for m in chosen},
            arrays["labels"],
            split_by=groups,
            split=arrays.get("split"),
            present={m: p for m, p in present.items() if m in chosen} or None,
            name=self.path.stem,
            seed=seed,
            **options,
        )
