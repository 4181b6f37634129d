"""Stored results: sweeps too heavy for a chapter, made by `make results`, each traceable to what made it.

A result is a JSON file with the settings, seeds, versions, hashes of code and data, machine, seconds, and every run. When
the code has changed since, `mmlib.book.verify` runs a sample again and stamps the file. A digest of all else in the file
tells an edit by hand from what was made.
"""

from __future__ import annotations

import datetime
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmlib import fingerprint
from mmlib.book.studies import STUDIES
from mmlib.book.studies.base import Study
from mmlib.compare import compare
from mmlib.comparison import Comparison
from mmlib.randomness import seed_offset
from mmlib.record import code_of, describe, digest, payload, runs_of, stored
from mmlib.record import read as read_comparison
from mmlib.record import write as write
from mmlib.setting import Setting

Runs = dict[tuple[str, int], dict[str, Any]]


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


def study(name: str) -> Study:
    """The study of that name.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    if name not in STUDIES:
        raise ValueError(f"result: unknown {name!r}; known: {', '.join(STUDIES)}")
    return STUDIES[name]


def read(path: Path) -> dict[str, Any]:
    """The content of a stored result.

    Raises:
        FileNotFoundError: it was never made; the message says how.
        ValueError: the file is not what was written: truncated, edited by hand, or not a result at all.
    """
    name = path.stem
    if not path.is_file():
        raise FileNotFoundError(f"result: {path} does not exist; make it with: python -m mmlib results {name}")
    way_out = f"restore it from version control, or remove it and make it again: python -m mmlib results {name}"
    return stored(path, name=name, way_out=way_out)


def make(name: str, *, workers: int | None = None, progress: bool = True) -> Path:
    """Run a study and store it.

    Stored runs whose setting and whole code are unchanged are kept. Finished runs are cached, so that an interrupted
    study goes on where it stopped; until it is done the old file stays as it is.
    """
    settings, which, keep = study(name).settings(), study(name).which(), study(name).keep
    path = folder() / f"{name}.json"
    old = read(path) if path.exists() else None
    kept = _kept(old, settings, which, keep) if old is not None else {}
    if old is not None and len(kept) == len(old["runs"]) == len(settings) * len(which) and stale(path) is None:
        print(f"{name}: current, nothing to make", file=sys.stderr)
        return path
    print(f"{name}: {len(settings)} settings x {len(which)} seeds; {len(kept)} runs are there", file=sys.stderr)
    missing: dict[tuple[int, ...], list[Setting]] = {}
    for setting in settings:  # those that lack the same seeds go together
        missing.setdefault(tuple(s for s in which if (setting.label, s) not in kept), []).append(setting)
    fresh: list[dict[str, Any]] = []
    for lacking, rows in missing.items():
        if lacking:
            fresh += compare(rows, lacking, workers=workers, progress=progress).runs
    content = payload(name, Comparison(settings, which, fresh), keep)
    runs = kept | {(run["label"], run["seed"]): run for run in content["runs"]}
    content["runs"] = [runs[setting.label, seed] for setting in settings for seed in which]
    content["seconds"] = round(sum(run["seconds"] for run in content["runs"]), 1)
    if old is not None and kept:
        made_with = {k: old.get(k) for k in ("library", "torch", "device", "processor")}
        note = stamp(old["code"], content["code"], kept=len(kept), of=len(content["runs"]), made_with=made_with)
        content["stamps"] = [*old.get("stamps", []), note]
    write(path, content)
    return path


def _kept(old: dict[str, Any], settings: list[Setting], which: list[int], keep: tuple[str, ...]) -> Runs:
    """The stored runs that the code and the settings that are here would make."""
    if not same_columns(old, keep):
        return {}
    labels = {
        s.label for s in settings if old["configuration"].get(s.label) == s.describe() and s.code().items() <= old["code"].items()
    }
    return {(r["label"], r["seed"]): r for r in old["runs"] if r["label"] in labels and r["seed"] in which}


def same_columns(content: dict[str, Any], keep: tuple[str, ...]) -> bool:
    """Whether a result holds the learning curves that its study keeps."""
    if "keep" in content:
        return bool(content["keep"] == list(keep))
    columns = {column for run in content["runs"] for column in run.get("curves", {})}  # made before this was recorded
    return all(any(c.startswith(k) for c in columns) for k in keep) and all(c.startswith(keep) for c in columns)


def stamp(was: dict[str, str], code: dict[str, str], **facts: Any) -> dict[str, Any]:
    """A line of a result's history: what was done, with which code in place of which, and when."""
    return {**facts, "code": digest(code), "was": digest(was), "date": datetime.datetime.now(datetime.UTC).date().isoformat()}


def make_all(names: Sequence[str] = (), *, workers: int | None = None) -> list[str]:
    """Make these results, by default all. One that fails does not stop the others: returns what failed, and why."""
    failed = []
    for name in names:
        study(name)
    for name in names or STUDIES:
        try:
            print(f"{name}: in {make(name, workers=workers)}")
        except Exception as error:
            failed.append(f"{name}: {type(error).__name__}: {error}")
    return failed


def load(name: str | Path) -> Comparison:
    """A stored result, as `compare` would return it; of the learning curves, what the study keeps.

    ``name`` may also be a file that ``python -m mmlib compare`` wrote, such as ``compare-digits.json``: see `mmlib.record.read`.

    With shifted seeds (MMLIB_SEED_OFFSET) the result of those seeds where it was made, else the published one.

    Raises:
        FileNotFoundError: it was never made; the message says how.
        ValueError: the file is not what was written.
    """
    if isinstance(name, Path) or name.endswith(".json"):
        return read_comparison(Path(name))
    settings = study(name).settings()
    paths = [folder() / f"{name}.json", folder(0) / f"{name}.json"]
    content = read(next((path for path in paths if path.is_file()), paths[-1]))
    return Comparison(settings, content["seeds"], runs_of(content), content["seconds"])


def stale(path: Path) -> str | None:
    """Why the stored result at ``path`` no longer belongs to the code and settings that are here; None if it does, made
    or verified."""
    content = read(path)
    name = content["name"]
    if name not in STUDIES:
        return f"{path.name}: no study of that name any more; remove the file"
    settings = STUDIES[name].settings()
    again, verify = (f"python -m mmlib results {option}{name}" for option in ("", "--verify "))
    if set(content["configuration"]) != {s.label for s in settings} or not same_columns(content, STUDIES[name].keep):
        return f"{path.name}: its settings have changed; make it again: {again}"
    now = code_of(settings)
    changed = sorted(f for f in {*now, *content["code"]} if now.get(f) != content["code"].get(f))
    if changed:
        return f"{path.name}: made by other code ({', '.join(changed)} changed since); verify it: {verify}"
    if content["configuration"] != describe(settings):
        return f"{path.name}: its settings are described in another way; verify it: {verify}"
    if len(content["seeds"]) != STUDIES[name].seeds:
        return f"{path.name}: expected {STUDIES[name].seeds} seeds, found {len(content['seeds'])}; make the others: {again}"
    return None
