"""Where randomness comes from: explicit seeds, and seeds derived from them by name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_offset() -> int:
    """The value of the environment variable MMLIB_SEED_OFFSET, 0 where it is not set.

    Raises:
        ValueError: it is not a whole number of 0 or more.
    """
    text = os.environ.get("MMLIB_SEED_OFFSET", "0").strip() or "0"
    if not text.isdecimal():
        raise ValueError(f"MMLIB_SEED_OFFSET: expected a whole number of 0 or more, found {text!r}")
    return int(text)


def seeds(n: int) -> list[int]:
    """``n`` seeds in a row, from MMLIB_SEED_OFFSET (0) on: everyone can repeat an experiment on seeds nobody chose."""
    if n < 1:
        raise ValueError(f"seeds: expected 1 or more, found {n}")
    return [seed_offset() + i for i in range(n)]


def derive(seed: int, *keys: str | int) -> int:
    """A seed of its own for each purpose: the same arguments give the same seed, others an unrelated one."""
    digest = hashlib.sha256(repr((int(seed), *keys)).encode()).digest()
    return int.from_bytes(digest[:7], "big")


@contextmanager
def seeded(seed: int, devices: list[torch.device] | None = None) -> Iterator[None]:
    """Within it torch's global generators (CPU, and those of the CUDA ``devices``) start from ``seed``; afterwards
    they go on as if nothing had been drawn. For initialisation and dropout, which take no generator."""
    cuda = [d for d in devices or [] if d.type == "cuda"]
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        for device in cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
