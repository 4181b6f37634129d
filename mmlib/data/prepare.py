"""From the arrays of a user to what a network sees: the same in training and, with a kept model, in prediction."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmlib.data.arrays import numbers
from mmlib.data.checks import as_mask
from mmlib.data.layout import LAYOUTS, arrange, raw_shape

ClassName = str | int | float | bool
#: a single embedding of so many ids already takes 256 MB
MOST_TOKENS = 1_000_000


@dataclass(frozen=True)
class Prepare:
    """How raw arrays of one modality become the tensors that encoders read. Fitted on training data, kept with the model.

    What `Splits.train` holds *is* prepared; a second time would scale it twice.

    Args:
        modality: its name, for messages.
        shape: of one prepared sample.
        layout: the axes of raw arrays, one of `mmlib.data.layout.LAYOUTS`; empty: as prepared.
        bytes: raw pictures are whole numbers from 0 to 255, divided by 255.
        mean, std: of the training data, for each column (of pictures: channel), taken off and divided by; empty: left as it is.
        columns: names of the columns, where data frames are passed: another order is put right.
        vocabulary: above 0 for token ids, which go from 0 (nothing) to vocabulary - 1.
        known: the ids that occur in training; any other is read as 0, with a warning. None: all within the vocabulary.
    """

    modality: str
    shape: tuple[int, ...]
    layout: str = ""
    bytes: bool = False
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    columns: tuple[str, ...] = ()
    vocabulary: int = 0
    known: tuple[int, ...] | None = None

    @property
    def tokens(self) -> bool:
        return self.vocabulary > 0

    def __call__(self, raw: Any, present: Any = None) -> Tensor:
        """Raw samples [N, ...] -> a tensor [N, *shape] on the CPU, float32 or, of token ids, int64.

        Args:
            raw: array, tensor, list or data frame, as it was given to `mmlib.from_arrays`.
            present: [N] booleans; what stands where nothing is becomes 0. Without it NaN in numbers is passed on.

        Raises:
            TypeError, ValueError: numbers of another kind or shape than in training; the message names the modality.
        """
        what = f"inputs[{self.modality!r}]"
        array, columns = numbers(raw, what)
        array = self._in_order(array, columns)
        expected = raw_shape(self.shape, self.layout, self.tokens)
        if array.shape[1:] != expected:
            told = f" ({self.layout})" if self.layout else ""
            raise ValueError(
                f"{what}: expected shape {['N', *expected]}{told} as in training, found {list(array.shape)}".replace("'N'", "N")
            )
        if present is not None:
            mask = as_mask(f"present[{self.modality!r}]", present, len(array)).cpu().numpy()
            array = np.where(mask.reshape(-1, *[1] * (array.ndim - 1)), array, np.zeros((), dtype=array.dtype))
        array = arrange(array, self.layout, self.tokens)
        return self._ids(array, what) if self.tokens else self._floats(array, what)

    def _in_order(self, array: NDArray[Any], columns: tuple[str, ...]) -> NDArray[Any]:
        """The columns in the order of the training data."""
        if not columns or not self.columns or columns == self.columns:
            return array
        missing, more = [c for c in self.columns if c not in columns], [c for c in columns if c not in self.columns]
        if missing or more:
            lacks, has = ", ".join(missing[:5]) or "none", ", ".join(more[:5]) or "none"
            raise ValueError(
                f"inputs[{self.modality!r}]: expected the {len(self.columns)} columns of the training data; missing: {lacks}; "
                f"unknown: {has}"
            )
        return array[:, [columns.index(c) for c in self.columns]]

    def _floats(self, array: NDArray[Any], what: str) -> Tensor:
        if self.bytes:
            if array.dtype.kind not in "iu" or (array.size and not 0 <= array.min() <= array.max() <= 255):
                raise TypeError(f"{what}: expected whole numbers from 0 to 255 (uint8) as in training, found {_told(array)}")
        elif array.dtype == np.uint8 and len(self.shape) == 3:
            raise TypeError(
                f"{what}: expected numbers as in training, found bytes (uint8); pass them as float32, in the units of the "
                "training data"
            )
        x = self._scaled(array)
        if array.dtype.itemsize > 4 and bool((np.isinf(x) & np.isfinite(array)).any()):
            raise ValueError(
                f"{what}: expected numbers up to 3.4e38 (float32), found {np.abs(array[np.isfinite(array)]).max():g}"
            )
        return torch.from_numpy(x)

    def _scaled(self, array: NDArray[Any]) -> NDArray[np.float32]:
        with np.errstate(over="ignore", invalid="ignore"):
            if not self.mean:
                x = np.array(array, dtype=np.float32, order="C")
                return x / np.float32(255) if self.bytes else x
            at = (-1, 1, 1) if len(self.shape) == 3 else (-1,)  # of each channel, or of each column
            whole = array.astype(np.float64) / (255 if self.bytes else 1)  # a time stamp needs more digits than float32 has
            return np.ascontiguousarray((whole - np.reshape(self.mean, at)) / np.reshape(self.std, at), dtype=np.float32)

    def _ids(self, array: NDArray[Any], what: str) -> Tensor:
        if array.dtype.kind == "f":
            if bool((array != np.round(array)).any()):  # NaN, too
                odd = array[array != np.round(array)][0]
                raise ValueError(f"{what}: expected whole numbers as token ids, found {odd:g}")
            if not bool((np.abs(array) < 2**53).all()):
                raise ValueError(f"{what}: expected token ids from 0 to {self.vocabulary - 1:,}, found {np.abs(array).max():g}")
        if array.dtype.kind == "b":
            array = array.astype(np.int64)
        if array.size and (array.min() < 0 or (self.known is None and array.max() >= self.vocabulary) or array.max() >= 2**63):
            odd = array.min() if array.min() < 0 else array.max()
            raise ValueError(f"{what}: expected token ids from 0 to {self.vocabulary - 1:,}, found {int(odd)}")
        ids = np.array(array, dtype=np.int64, order="C")
        if self.known is not None:
            unseen = ~np.isin(ids, [0, *self.known])
            if unseen.any():
                warnings.warn(
                    f"{what}: {int(unseen.sum())} of {ids.size} token ids, such as {int(ids[unseen][0])}, do not occur in the "
                    "training data and are read as 0, nothing. Where an encoder of your own knows them: "
                    f"from_arrays(..., tokens={{{self.modality!r}: size of its vocabulary}})",
                    stacklevel=4,
                )
                ids[unseen] = 0
        return torch.from_numpy(ids)

    def __str__(self) -> str:
        """How raw arrays are read, in a few words; empty where nothing is done to them."""
        if self.tokens and self.layout:
            return f"token ids below {self.vocabulary:,}"
        said = [LAYOUTS[self.layout].partition(" (")[0]] if self.layout else []
        said += ["bytes / 255"] if self.bytes else []
        said += ["standardised"] if self.mean else []
        return ", ".join(said)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, text and lists; `from_json` makes the same again."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Self:
        """What `to_json` gave.

        Raises:
            ValueError: anything else.
        """
        kinds = {f.name: str(f.type) for f in fields(cls)}
        if not isinstance(told, dict) or set(told) != set(kinds):
            raise ValueError(f"prepare: expected {', '.join(kinds)}, found {sorted(told) if isinstance(told, dict) else told!r}")
        for name, value in told.items():
            if not _is_a(value, kinds[name]):
                raise ValueError(f"prepare: expected {kinds[name]} as {name}, found {value!r}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in told.items()}
        made = cls(**values)
        size = made.shape[0 if len(made.shape) == 3 else -1] if made.mean else 0
        if made.layout not in ("", *LAYOUTS) or not len(made.mean) == len(made.std) == size or not all(s > 0 for s in made.std):
            raise ValueError(f"prepare: expected a known layout, a mean and a deviation above 0 for each column, found {made!r}")
        return made

    @classmethod
    def as_it_is(cls, modality: str, *parts: Tensor) -> Self:
        """For tensors [N, ...] that are prepared already: numbers stay as they are, and must have this shape.

        Args:
            parts: of all splits; the largest whole number in them sets the vocabulary.
        """
        first = parts[0]
        most = 0 if first.is_floating_point() or first.dtype == torch.bool else max(int(x.max()) for x in parts) + 1
        whole = first.dtype in (torch.int64, torch.int32)
        return cls(modality, tuple(first.shape[1:]), vocabulary=max(1, most) if whole else 0)


def _told(array: NDArray[Any]) -> str:
    return f"{array.dtype}" + (f" from {array.min():g} to {array.max():g}" if array.size else "")


def _is_a(value: Any, kind: str) -> bool:
    """Whether a value read from JSON is of the type that the annotation ``kind`` names."""
    if kind.startswith("tuple"):
        inner = kind.removeprefix("tuple[").split(",")[0]
        return (isinstance(value, list) and all(_is_a(v, inner) for v in value)) or (value is None and kind.endswith("None"))
    if kind in ("int", "float"):
        return isinstance(value, int if kind == "int" else int | float) and not isinstance(value, bool) and value == value
    return isinstance(value, {"str": str, "bool": bool}[kind])
