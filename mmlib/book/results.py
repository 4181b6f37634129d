"""Stored results: sweeps too heavy for a chapter, made by `make results`, each traceable to what made it.

A result is a JSON file with the settings, seeds, versions, hashes of code and data, device, seconds, and every run.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from mmlib import fingerprint
from mmlib.book.studies import STUDIES
from mmlib.compare import Comparison, Setting, compare, write_json
from mmlib.randomness import seed_offset, seeds
from mmlib.record import code_of, payload


def folder(offset: int | None = None) -> Path:
    """Where results stand: MMLIB_RESULTS; else ``book/results`` of the repository; else those inside the installed
    package. Results of shifted seeds (MMLIB_SEED_OFFSET) stand beside them, in ``offset_<n>``."""
    offset = seed_offset() if offset is None else offset
    root = fingerprint.PACKAGE.parent / "book" / "results"
    if os.environ.get("MMLIB_RESULTS"):
        root = Path(os.environ["MMLIB_RESULTS"])
    elif not root.is_dir():
        root = fingerprint.PACKAGE / "_results"
    return root / f"offset_{offset}" if offset else root


def _study(name: str) -> tuple[list[Setting], int]:
    if name not in STUDIES:
        raise ValueError(f"result: unknown {name!r}; known: {', '.join(STUDIES)}")
    return STUDIES[name].settings(), STUDIES[name].seeds


def make(name: str, *, workers: int | None = None, progress: bool = True) -> Path:
    """Run a study and store it. Finished runs are cached, so that an interrupted study goes on where it stopped."""
    settings, count = _study(name)
    print(f"{name}: {len(settings)} settings x {count} seeds", file=sys.stderr)
    outcome = compare(settings, seeds(count), workers=workers, progress=progress)
    path = folder() / f"{name}.json"
    write_json(path, payload(name, outcome, STUDIES[name].keep))
    return path


def load(name: str) -> Comparison:
    """A stored result, as `compare` would return it; of the learning curves, what the study keeps.

    With shifted seeds (MMLIB_SEED_OFFSET) the result of those seeds where it was made, else the published one.

    Raises:
        FileNotFoundError: it was never made; the message says how.
    """
    settings, _ = _study(name)
    paths = [folder() / f"{name}.json", folder(0) / f"{name}.json"]
    for path in paths:
        if path.is_file():
            content = json.loads(path.read_text("utf8"))
            runs = [{"history": _rows(run.pop("curves", {})), **run} for run in content["runs"]]
            return Comparison(settings, content["seeds"], runs, content["seconds"])
    raise FileNotFoundError(f"result: {paths[-1]} does not exist; make it with: python -m mmlib results {name}")


def _rows(curves: dict[str, str]) -> list[dict[str, float]]:
    """Curves {column: E numbers in a text} as one dict per epoch."""
    columns = [map(float, text.split()) for text in curves.values()]
    return [dict(zip(curves, values, strict=True)) for values in zip(*columns, strict=True)]


def stale(path: Path) -> str | None:
    """Why the stored result at ``path`` no longer belongs to the code and settings that are here; None if it does."""
    content = json.loads(path.read_text("utf8"))
    name = content["name"]
    if name not in STUDIES:
        return f"{path.name}: no study of that name any more; remove the file"
    settings, _ = _study(name)
    again = f"re-run: python -m mmlib results {name}"
    if content["configuration"] != {s.label: s.describe() for s in settings}:
        return f"{path.name}: its settings have changed; {again}"
    now, then = code_of(settings), content["code"]
    changed = sorted(f for f in {*now, *then} if now.get(f) != then.get(f))
    return f"{path.name}: made by other code ({', '.join(changed)} changed since); {again}" if changed else None
