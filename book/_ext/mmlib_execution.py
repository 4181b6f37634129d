"""Notebooks are executed once, for the tests and for the book.

`pytest --nbmake notebooks/` (conftest.py) puts what it ran into the cache that the book's build reads, and takes from
it what the build ran. Jupyter Book's cache knows a notebook by its code cells only: when `mmlib` or a stored result has
changed, its outputs may have too. So the cache carries a key of all that, and goes when the key differs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "_build" / ".jupyter_cache"  # where Jupyter Book keeps it
KEY = "mmlib.key"

os.environ.setdefault("TQDM_DISABLE", "1")  # kernels inherit it: pages show results, not bars


def _inputs(root: Path) -> Iterator[Path]:
    yield root / "requirements-hashes.txt"
    yield root / "requirements.txt"
    for folder in (root / "mmlib", root / "book" / "results", root / "book" / "claims"):
        yield from sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)


def execution_key(root: Path = ROOT) -> str:
    """A hash of what decides a notebook's outputs besides its own code: library, data, stored results, versions, seeds."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {int(os.environ.get('MMLIB_SEED_OFFSET') or 0)}".encode())
    for path in _inputs(root):
        if path.exists():
            content = path.read_bytes()
            digest.update(f"\n{path.relative_to(root).as_posix()} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()


def prepare_cache(cache: Path = CACHE, root: Path = ROOT) -> bool:
    """Remove ``cache`` unless it was made with the present `execution_key`; True if one was kept."""
    key = execution_key(root)
    marker = cache / KEY
    if marker.exists() and marker.read_text("utf8") == key:
        return True
    if cache.exists():
        shutil.rmtree(cache)
    cache.mkdir(parents=True)
    marker.write_text(key, "utf8")
    return False
