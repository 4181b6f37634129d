"""Labels as people have them, words, ages 18 to 84, booleans, as classes 0 .. C - 1 with their names."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mmlib.data.arrays import is_frame
from mmlib.data.checks import check_between
from mmlib.data.prepare import ClassName

MOST_CLASSES = 1_000_000
#: fewer samples per class than this, in 20 numbered classes or more, look like a quantity
FEW = 10
REGRESSION = "A quantity (regression) is not supported: make classes of it, such as pandas.qcut(labels, 5, labels=False)"


def encode(
    labels: Any, classes: Sequence[ClassName] | None = None, num_classes: int = 0
) -> tuple[NDArray[np.int64], tuple[ClassName, ...]]:
    """Labels [N] -> their classes [N] from 0 to C - 1, and the C names.

    Args:
        labels: text, whole numbers or booleans; array, list, tensor, series or categorical. Without ``classes`` and
            ``num_classes`` the classes are what occurs, sorted (of a categorical: in its order).
        classes: all names in their order; some need not occur.
        num_classes: the labels are numbered from 0 to num_classes - 1 already; some need not occur.

    Raises:
        TypeError: labels of several kinds, or of none that can name a class.
        ValueError: missing labels, fewer than two classes, a label that is not among the ``classes``; and what looks like a
            quantity or like several labels per sample: the message says what to do.
    """
    check_between("num_classes", num_classes, 0, MOST_CLASSES, whole=True)
    if is_frame(labels) and labels.shape[1] == 1:
        labels = labels.iloc[:, 0]
    categorical = type(getattr(labels, "dtype", None)).__name__ == "CategoricalDtype"
    codes, found = _of_categories(labels) if categorical else _sorted(_one_kind(_flat(labels), fractions=classes is not None))
    if classes is not None:
        if isinstance(classes, str) or not isinstance(classes, Iterable):
            raise TypeError(f"classes: expected a list of all names, found {classes!r}")
        return _given(codes, found, list(classes), num_classes)
    if num_classes:
        return _numbered(codes, found, num_classes)
    if len(found) < 2:
        raise ValueError(f"labels: expected two classes or more, found {found[0]!r} alone")
    if not categorical:
        _check_quantity(found, len(codes))
    return codes, tuple(found)


def _sorted(values: NDArray[Any]) -> tuple[NDArray[np.int64], list[ClassName]]:
    names, codes = np.unique(values, return_inverse=True)
    return codes.reshape(-1).astype(np.int64), names.tolist()


def _of_categories(labels: Any) -> tuple[NDArray[np.int64], list[ClassName]]:
    """A pandas Categorical, or a Series of one: the categories that occur, in their order; intervals by what they print."""
    held = getattr(labels, "cat", labels)
    places = np.asarray(held.codes)
    if not len(places):
        raise ValueError("labels: expected at least one sample, found none")
    _check_missing((places < 0).tolist())
    occur, codes = np.unique(places, return_inverse=True)
    names = [_item(held.categories[i]) for i in occur]
    return codes.reshape(-1).astype(np.int64), [n if isinstance(n, str | int | float) else str(n) for n in names]


def _flat(labels: Any) -> NDArray[Any]:
    """[N], of numbers, booleans, text or objects; one column loses its second axis."""
    if isinstance(labels, str | bytes | dict | set) or labels is None:
        raise TypeError(f"labels: expected a list or an array [N], found {type(labels).__name__}")
    if isinstance(labels, Tensor):
        labels = labels.detach().cpu()
        array = (labels.float() if labels.is_floating_point() else labels).numpy()
    elif is_frame(labels):
        array = labels.to_numpy()
    elif isinstance(labels, list | tuple) and not any(isinstance(x, list | tuple) or getattr(x, "ndim", 0) for x in labels):
        array = np.empty(len(labels), dtype=object)  # numpy alone would make text of [1, "a"]
        array[:] = [x.item() if isinstance(x, Tensor) else x for x in labels]
    else:
        try:
            array = np.asarray(labels)
        except (TypeError, ValueError) as error:
            raise ValueError(f"labels: expected one label per sample, found lists of different lengths ({error})") from None
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and array.shape[1]:
        numeric = array.dtype.kind in "biuf"
        if numeric and bool(((array == 0) | (array == 1)).all()) and bool((array.sum(1) == 1).all()):
            raise ValueError(f"labels: expected shape [N], found one-hot {list(array.shape)}; pass labels.argmax(1)")
        raise ValueError(
            f"labels: expected one label per sample, [N], found {list(array.shape)}. Several labels per sample are not "
            "supported: train one model per column, or make a class of each combination"
        )
    if array.ndim != 1:
        raise ValueError(f"labels: expected shape [N], found {list(array.shape)}")
    if not len(array):
        raise ValueError("labels: expected at least one sample, found none")
    return array


def _one_kind(array: NDArray[Any], fractions: bool) -> NDArray[Any]:
    """Text, booleans or int64; float64 where there are ``fractions`` and they are welcome, as all classes are named."""
    if array.dtype.kind == "S":
        array = array.astype(object)
    if array.dtype.kind not in "biufUO":
        raise TypeError(f"labels: expected text, whole numbers or booleans, found {array.dtype}")
    if array.dtype.kind == "O":
        items = [_item(v) for v in array.tolist()]
        _check_missing([v is None or v != v for v in items])
        kinds = {type(v) for v in items}
        if not (kinds <= {int, float} or kinds in ({str}, {bool})):
            shown = " and ".join(sorted(k.__name__ for k in kinds))
            raise TypeError(f"labels: expected text, or whole numbers, or booleans, one kind for all, found {shown}")
        array = np.array(items)
        if array.dtype.kind == "O":
            raise ValueError(f"labels: expected whole numbers of 64 bits, found {max(items, key=abs)}")
    if array.dtype.kind == "f":
        _check_missing(np.isnan(array).tolist())
        if bool((array != np.round(array)).any()):
            if fractions:
                return array.astype(np.float64)
            odd = array[array != np.round(array)][0]
            raise ValueError(f"labels: expected classes, found fractions such as {odd:g}. {REGRESSION}")
    if array.dtype.kind in "uf" and not bool((np.abs(array) < 2.0**63).all()):
        raise ValueError(f"labels: expected whole numbers of 64 bits, found {np.abs(array).max():g}")
    return array.astype(np.int64) if array.dtype.kind in "iuf" else array


def _item(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    return value.decode("utf8", "replace") if isinstance(value, bytes) else str(value) if isinstance(value, str) else value


def _check_missing(missing: list[bool]) -> None:
    if any(missing):
        raise ValueError(
            f"labels: expected a label for every sample, found {sum(missing)} missing (NaN or None), first in sample "
            f"{missing.index(True)}; leave these samples out"
        )


def _check_quantity(found: list[ClassName], samples: int) -> None:
    several, numbers = len(found), not isinstance(found[0], str | bool)
    what = REGRESSION if numbers else "Are they names of samples rather than of classes?"
    if several > max(20, samples // 2):
        raise ValueError(
            f"labels: expected classes, found {several:,} different labels in {samples:,} samples. {what}. If they are classes, "
            "say so with classes=[...]"
        )
    if numbers and several >= 20 and samples < FEW * several:
        warnings.warn(
            f"labels: {several:,} classes with {samples / several:.1f} samples each on average, from {found[0]} to {found[-1]}. "
            f"{what}; classes=[...] says that they are classes, without this warning",
            stacklevel=4,
        )


def _given(
    codes: NDArray[np.int64], found: list[ClassName], classes: list[Any], num_classes: int
) -> tuple[NDArray[np.int64], tuple[ClassName, ...]]:
    names = [c.item() if isinstance(c, np.generic) else c for c in classes]
    odd = [c for c in names if not isinstance(c, str | int | float)]
    if odd:
        raise TypeError(f"classes: expected text, numbers or booleans, found {odd[0]!r}")
    place = {name: i for i, name in enumerate(names)}
    if len(place) < 2 or len(place) != len(names):
        raise ValueError(f"classes: expected two names or more, each once, found {names[:20]}")
    if num_classes not in (0, len(names)):
        raise ValueError(f"num_classes: expected {len(names)}, the number of classes given, or nothing, found {num_classes}")
    unknown = [f for f in found if f not in place]
    if unknown:
        raise ValueError(f"labels: expected some of the classes {_some(names)}, found {_some(unknown)}")
    return np.array([place[f] for f in found], dtype=np.int64)[codes], tuple(names)


def _numbered(codes: NDArray[np.int64], found: list[Any], num_classes: int) -> tuple[NDArray[np.int64], tuple[ClassName, ...]]:
    if isinstance(found[0], str):
        raise ValueError(
            f"num_classes: says that labels are numbered, but they are text such as {found[0]!r}; pass classes=[...]"
        )
    if min(found) < 0 or max(found) >= num_classes:
        raise ValueError(
            f"labels: expected values in 0 .. {num_classes - 1}, found {min(found)} .. {max(found)}; without num_classes "
            "the classes are what occurs, and classes=[...] names all"
        )
    if num_classes < 2:
        raise ValueError(f"num_classes: expected two classes or more, found {num_classes}")
    return np.array(found, dtype=np.int64)[codes], tuple(range(num_classes))


def _some(names: Sequence[Any], most: int = 10) -> str:
    return ", ".join(repr(n) for n in names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")
