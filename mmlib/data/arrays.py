"""What people have, arrays, tensors, lists and data frames, as plain arrays of numbers.

pandas is recognised, never imported: whoever passes a data frame has it loaded.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Found(NamedTuple):
    """An array of booleans, whole or floating-point numbers, and the names of its columns where a data frame gave them."""

    array: NDArray[Any]  # [N, ...], two axes or more
    columns: tuple[str, ...] = ()


def is_frame(thing: Any) -> bool:
    """Whether it is a pandas DataFrame (or one that behaves like it)."""
    return hasattr(thing, "iloc") and hasattr(thing, "columns")


def is_series(thing: Any) -> bool:
    """Whether it is a pandas Series."""
    return hasattr(thing, "iloc") and not hasattr(thing, "columns")


def numbers(raw: Any, what: str) -> Found:
    """``raw`` as an array [N, ...] of booleans, whole or floating-point numbers; a single column gets its second axis.

    Args:
        raw: array, tensor, (nested) list, data frame or series; missing values become NaN.
        what: the argument, for messages.

    Raises:
        TypeError: something that holds no numbers: text, dates, complex numbers, sparse matrices.
        ValueError: samples of different shapes, or no axis at all.
    """
    if isinstance(raw, Tensor):
        array = _from_tensor(raw, what)
    elif is_frame(raw):
        array = _from_frame(raw, what)
    elif isinstance(raw, str | bytes | dict | set) or raw is None:
        raise TypeError(f"{what}: expected an array, a tensor, a list or a data frame of numbers, found {type(raw).__name__}")
    elif type(raw).__module__.startswith("scipy.sparse"):
        raise TypeError(f"{what}: expected a dense array, found {type(raw).__name__}; pass {what}.toarray()")
    else:
        array = _from_others(raw, what)
    if array.dtype.kind not in "biuf":
        array = _of_objects(array, what)
    if array.ndim == 0:
        raise ValueError(f"{what}: expected shape [N, ...], found a single number")
    if array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if array.ndim == 1:
        array = array[:, None]
    if 0 in array.shape[1:]:
        raise ValueError(f"{what}: expected at least one number per sample, found shape {list(array.shape)}")
    columns: tuple[str, ...] = ()
    if is_frame(raw):
        names = tuple(str(c) for c in raw.columns)
        columns = names if len(set(names)) == len(names) else ()
    return Found(array, columns)


def _from_tensor(raw: Tensor, what: str) -> NDArray[Any]:
    if raw.is_complex() or raw.layout != torch.strided:
        raise TypeError(f"{what}: expected a dense tensor of real numbers, found {raw.dtype} with layout {raw.layout}")
    raw = raw.detach().cpu()
    return (raw.float() if raw.dtype == torch.bfloat16 else raw).numpy()


def _from_frame(raw: Any, what: str) -> NDArray[Any]:
    from pandas.api.types import infer_dtype, is_numeric_dtype

    for place, name in enumerate(raw.columns):
        column = raw.iloc[:, place]
        kind = "number" if is_numeric_dtype(column.dtype) else infer_dtype(column, skipna=True)
        if kind not in ("number", "integer", "floating", "mixed-integer-float", "boolean", "decimal", "empty"):
            raise TypeError(
                f"{what}: expected columns of numbers, found {kind} in column {name!r}; leave it out, or turn it into numbers "
                "(pandas.get_dummies)"
            )
    array: NDArray[Any] = raw.to_numpy()
    return array if array.dtype.kind in "biuf" else raw.to_numpy(dtype=np.float64, na_value=np.nan)


def _from_others(raw: Any, what: str) -> NDArray[Any]:
    if isinstance(raw, list | tuple) and any(isinstance(x, Tensor) for x in raw):
        raw = [_from_tensor(torch.as_tensor(x), what) for x in raw]
    if isinstance(raw, np.ma.MaskedArray):  # what is masked must not come back as a number
        return np.ma.filled(raw.astype(np.float64), np.nan)
    try:
        array = np.asarray(raw)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}: expected samples of one shape, found different ones ({error})") from None
    if array.ndim == 0 and array.dtype == object:
        raise TypeError(f"{what}: expected an array, a tensor, a list or a data frame of numbers, found {type(raw).__name__}")
    return array


def _of_objects(array: NDArray[Any], what: str) -> NDArray[Any]:
    """Python's numbers, or arrays within an array; missing values become NaN."""
    first = next((v for v in array.ravel()[:1000].tolist() if v is not None), None)
    if array.dtype.kind in "US" or isinstance(first, str | bytes):
        raise TypeError(
            f"{what}: expected numbers, found text such as {first!r}; turn words or letters into ids 1, 2, ... and declare them "
            "with tokens=[...]"
        )
    if array.dtype.kind != "O":
        raise TypeError(f"{what}: expected real numbers, found {array.dtype}")
    try:
        if array.ndim == 1 and isinstance(first, list | tuple | np.ndarray | Tensor):
            parts = [np.asarray(x) for x in array]
            if len({p.shape for p in parts}) > 1:
                raise ValueError(f"{what}: expected samples of one shape, found {sorted({p.shape for p in parts})[:3]}")
            return np.stack(parts)
        if any(isinstance(v, str | bytes) for v in array.ravel().tolist()):
            raise TypeError("text among the numbers")
        missing = np.array([v is None or type(v).__name__ in ("NAType", "NaTType") for v in array.ravel().tolist()], dtype=bool)
        return np.where(missing.reshape(array.shape), np.nan, array).astype(np.float64)
    except (TypeError, OverflowError) as error:
        raise TypeError(f"{what}: expected numbers, found objects of another kind ({error})") from None
