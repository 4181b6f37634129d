"""Counts where a GPU would make the host wait, also where there is no GPU.

On a CPU nothing ever waits, and ``.cpu()`` or ``.to(device)`` do nothing at all. So tensors get a side: whatever is made
without a ``device`` is on the host, as it would be beside a GPU; all else (weights, batches, and what is computed from
them) is on the device. Seen are calls of torch from Python, through a `TorchFunctionMode`, and the operations below them,
through a `TorchDispatchMode`, which also sees the backward pass.

Not seen: ``x.to(torch.device("cpu"))`` on a CPU, where it cannot be told from ``x.to(model.device)`` (``x.to("cpu")`` and
``x.cpu()`` are seen); what torch's own Python functions copy inside. With a real device `torch.cuda.set_sync_debug_mode`
sees these, too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ROOT = Path(__file__).parents[1]
TORCH = str(Path(torch.__file__).parent)

#: operations whose result, or its size, depends on values that the host must have
WAITING = set(
    "_local_scalar_dense nonzero masked_select equal is_nonzero _unique _unique2 unique_dim unique_consecutive "
    "unique_dim_consecutive bincount multinomial allclose _linalg_check_errors".split()
)
#: these wait where an index is a mask: its samples have to be counted
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
#: methods that bring values to the host
TO_HOST = {"cpu", "numpy", "tolist", "__array__"}
#: functions that make a tensor from Python's numbers or numpy's
FROM_DATA = {"tensor": 0, "as_tensor": 0, "asarray": 0, "new_tensor": 1}  # the position of the data


class Synchronisations(TorchFunctionMode):
    """Within it ``found`` grows by one line, "operation at file:line", each time that the host would wait.

    Args:
        device: the one that is, or stands for, the GPU.
    """

    def __init__(self, device: torch.device | str) -> None:
        super().__init__()
        self.real = torch.device(device).type != "cpu"
        self.found: list[str] = []
        self.quiet = False
        self.below = _Dispatched(self)

    def __len__(self) -> int:
        return len(self.found)

    def __enter__(self) -> Synchronisations:
        # from_numpy is the one way to make a tensor that no mode sees; this does the same
        self.from_numpy, torch.from_numpy = torch.from_numpy, lambda ndarray: torch.as_tensor(ndarray)
        self.below.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        torch.from_numpy = self.from_numpy
        super().__exit__(*error)
        self.below.__exit__(*error)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", str(func))
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        host = [self.on_host(t) for t in tensors]
        to_host = name in TO_HOST or self.goes_to_host(name, args, kwargs, host)
        waits = self._waits(name, args, kwargs, tensors, host, to_host)
        if waits:
            self.note(name)
        before, self.quiet = self.quiet, self.quiet or waits or all(host)  # what the host does alone keeps nobody waiting
        try:
            result = func(*args, **kwargs)
        finally:
            self.quiet = before
        return result if self.real or name.startswith("__set") else self._mark(result, tensors, to_host)

    def on_host(self, tensor: Tensor) -> bool:
        return tensor.device.type == "cpu" if self.real else getattr(tensor, "_on_host", False)

    def goes_to_host(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], host: list[bool]) -> bool:
        """Whether the result of a call is on the host: where a device was asked for, by that, otherwise by its tensors."""
        asked = kwargs.get("device")
        if name == "to":
            places = (asked, kwargs.get("other"), *args[1:2])
            asked = next((a for a in places if isinstance(a, str | torch.device | Tensor)), None)
        if isinstance(asked, Tensor):
            return self.on_host(asked)
        if asked is None:
            return all(host)  # also where there is no tensor: made without a device
        return torch.device(asked).type == "cpu" if self.real else asked == "cpu" and isinstance(asked, str)

    def _waits(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], tensors: list[Tensor], host: list[bool], to_host: bool
    ) -> bool:
        if name in TO_HOST:
            return not all(host)
        if name in FROM_DATA:
            data = args[FROM_DATA[name]] if len(args) > FROM_DATA[name] else kwargs.get("data")
            if not isinstance(data, Tensor):  # numbers are copied to the device; tensors in a list are read one by one
                return not to_host or not all(self.on_host(t) for t in tree_leaves(data) if isinstance(t, Tensor))
        moved = bool(host) and host[0] != to_host
        if name in ("to", "as_tensor", "asarray"):
            return moved and (to_host or not kwargs.get("non_blocking", False))
        if name == "copy_":
            return len(set(host)) == 2 and (host[0] or not kwargs.get("non_blocking", False))
        if all(host):
            return False
        if name in ("__getitem__", "__setitem__"):
            indices = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(i, list | np.ndarray) for i in indices):
                return True  # copied to the device
        # a single number may come from the host; more than one is copied there, or refused by a real device
        return any(h and t.ndim > 0 for t, h in zip(tensors, host, strict=True))

    def _mark(self, result: Any, tensors: list[Tensor], to_host: bool) -> Any:
        """Results with their side. What changes sides is copied, so that the original keeps its own."""
        if isinstance(result, Tensor):
            if any(result is t for t in tensors):
                if self.on_host(result) == to_host:
                    return result
                result = result.clone()
            if to_host or self.on_host(result):
                result._on_host = to_host
            return result
        if type(result) in (tuple, list):
            return type(result)(self._mark(r, tensors, to_host) for r in result)
        return result

    def note(self, operation: str) -> None:
        self.found.append(f"{operation} at {_place()}")


class _Dispatched(TorchDispatchMode):
    def __init__(self, above: Synchronisations) -> None:
        super().__init__()
        self.above = above

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        name = func.overloadpacket.__name__
        if not self.above.quiet and (
            name in WAITING
            or (name in INDEXING and _by_mask(args))
            or (name == "repeat_interleave" and (kwargs or {}).get("output_size") is None)
        ):
            self.above.note(name)
        return func(*args, **(kwargs or {}))


def _by_mask(args: Sequence[Any]) -> bool:
    indices: Iterable[Tensor | None] = args[1]
    if len(args) > 2 and args[2].numel() == 1:
        return False  # one number for all that is chosen: filled in place, nothing is counted
    return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices)


def _place() -> str:
    """The line of ours that is being executed: in mmlib where there is one, otherwise the innermost outside of torch."""
    frame, outside = sys._getframe(1), ""
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(str(ROOT / "mmlib")):
            return f"{Path(file).relative_to(ROOT).as_posix()}:{frame.f_lineno}"
        if not outside and file != __file__ and not file.startswith(TORCH):
            outside = f"{Path(file).name}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return outside
