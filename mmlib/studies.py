"""The experiments of the book, each defined once: chapters run them or read them from `book/results`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mmlib.compare import Setting


class Study(NamedTuple):
    """A stored experiment: its settings, and over how many seeds."""

    settings: Callable[[], list[Setting]]
    seeds: int


STUDIES: dict[str, Study] = {}
