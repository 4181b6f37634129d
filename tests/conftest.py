"""Small data for tests of the library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from mmlib.data.core import Splits
from mmlib.data.own import from_arrays

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MMLIB_SEED_OFFSET", raising=False)


def make_tiny(
    modalities: Sequence[str] = ("a", "b"), samples: int = 120, classes: int = 3, missing: float = 0.0, seed: int = 0
) -> Splits:
    """Splits of flat vectors [6], each modality a noisy copy of the class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(samples) % classes
    centres = torch.randn(classes, 6, generator=generator)
    inputs = {m: centres[labels] + 0.5 * torch.randn(samples, 6, generator=generator) for m in modalities}
    splits = from_arrays(inputs, labels, num_classes=classes, seed=seed)
    if missing:
        for i, m in enumerate(modalities):
            splits = splits.drop(m, missing, seed=i)
    return splits


@pytest.fixture
def tiny() -> Callable[..., Splits]:
    return make_tiny


class Bar:
    """In place of tqdm's: what was shown."""

    def __init__(self, total: int, initial: int, disable: bool | None, **_: Any) -> None:
        self.total, self.count, self.shown, self.closed = total, initial, not disable, False
        self.told: dict[str, str] = {}

    def update(self, more: int = 1) -> None:
        self.count += more

    def set_postfix(self, **told: str) -> None:
        self.told = told

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[Bar]:
    """The progress bars of a test, as they were made."""
    made: list[Bar] = []

    def bar(**options: Any) -> Bar:
        made.append(Bar(**options))
        return made[-1]

    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr("mmlib.progress.tqdm", bar)
    return made
