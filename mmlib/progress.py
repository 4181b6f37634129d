"""Progress bars, in terminals and notebooks."""

from __future__ import annotations

import os
from typing import Any

from tqdm.auto import tqdm


def bar(total: int, done: int, what: str, unit: str, shown: bool = True) -> Any:
    """A bar that goes away when it is done. None is drawn where ``shown`` is false, where output is not a terminal or a
    notebook, or where the environment variable TQDM_DISABLE is set (as while the book is built)."""
    disable = True if not shown or os.environ.get("TQDM_DISABLE") else None
    return tqdm(total=total, initial=done, desc=what, unit=unit, leave=False, disable=disable)
