"""Settings x seeds -> one table: in parallel, cached, resumable."""

from __future__ import annotations

import contextlib
import json
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mmlib import fingerprint
from mmlib.comparison import Comparison
from mmlib.progress import bar as progress_bar
from mmlib.randomness import seeds as default_seeds
from mmlib.setting import Setting, run


def cache_folder() -> Path:
    """Where runs are kept: MMLIB_CACHE, or the platform's folder for caches."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("MMLIB_CACHE") or user_cache_path("mmlib")) / "runs"


def _cache_file(setting: Setting, seed: int) -> Path | None:
    """Named by setting, seed, code, data and torch; None where something has no hash, such as a lambda."""
    described = setting.describe()
    if " ?" in json.dumps(described):
        return None
    key = json.dumps([described, seed, setting.code(), torch.__version__], sort_keys=True)
    return cache_folder() / f"{fingerprint._digest(key)}.json"


def _read(file: Path | None) -> dict[str, Any] | None:
    try:
        return dict(json.loads(file.read_text("utf8"))) if file is not None and file.exists() else None
    except (OSError, ValueError):
        return None  # unreadable: computed again, and written anew


def write_json(path: Path, content: Any) -> None:
    """Write whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(content, indent=1) + "\n", "utf8")
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


class RunsFailedError(RuntimeError):
    """Some runs of a comparison failed; the message says which and why.

    Attributes:
        failed: setting, seed and message of each. finished: the rows of the others.
    """

    def __init__(self, failed: list[tuple[str, int, str]], finished: list[dict[str, Any]]) -> None:
        self.failed, self.finished = sorted(failed), finished
        why: dict[tuple[str, str], list[int]] = {}
        for label, seed, message in self.failed:
            why.setdefault((label, message), []).append(seed)
        lines = [
            f"  setting {label!r}, seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}: {message}"
            for (label, message), seeds in why.items()
        ]
        total = len(failed) + len(finished)
        super().__init__("\n".join([f"{len(failed)} of {total} runs failed, the others are kept:", *lines]))


def compare(
    settings: Sequence[Setting],
    seeds: int | Sequence[int] = 5,
    *,
    workers: int | None = None,
    cache: bool = True,
    progress: bool = True,
) -> Comparison:
    """Train every setting with every seed.

    Runs go to ``workers`` processes (by default one per core), one thread each. A finished run is kept on disk under
    a hash of its setting, its seed, the library's code and data; the next call with the same finds it there, also
    after an interrupt. A cache that cannot be written to is left alone, with one warning.

    Args:
        seeds: how many (from MMLIB_SEED_OFFSET on), or which.

    A run that diverges is a row like any other (`mmlib.setting.run`). One that fails in another way does not stop the rest.

    Raises:
        ValueError: no setting, two settings with one label, or workers below 1.
        RunsFailedError: at the end, when some runs failed: which, and why. Those that finished are kept.
    """
    which = default_seeds(seeds) if isinstance(seeds, int) else list(seeds)
    labels = [s.label for s in settings]
    if not labels or not which:
        raise ValueError("compare: expected at least one setting and one seed")
    if len(set(labels)) != len(labels):
        raise ValueError(f"settings: expected labels that differ, found {labels}")
    if workers is not None and workers < 1:
        raise ValueError(f"workers: expected 1 or more, found {workers}")
    began = time.perf_counter()
    jobs = [(setting, seed) for setting in settings for seed in which]
    files = [_cache_file(s, seed) if cache else None for s, seed in jobs]
    done: dict[int, dict[str, Any]] = {i: found for i, f in enumerate(files) if (found := _read(f)) is not None}
    missing = [i for i in range(len(jobs)) if i not in done]
    bar = progress_bar(len(jobs), len(done), "runs", "run", progress)
    unwritable = False
    failed: list[tuple[str, int, str]] = []
    try:
        for i, row in _run_all([(i, *jobs[i]) for i in missing], workers):
            bar.update()
            if isinstance(row, str):
                failed.append((jobs[i][0].label, jobs[i][1], row))
                continue
            done[i] = row
            file = files[i]
            if file is not None and not unwritable:
                try:
                    write_json(file, row)
                except OSError as error:
                    unwritable = True
                    warnings.warn(f"cache: cannot write to {file.parent} ({error.strerror}); runs are not kept", stacklevel=2)
    finally:
        bar.close()
    runs = [{"label": s.label, "seed": seed, **done[i]} for i, (s, seed) in enumerate(jobs) if i in done]
    if failed:
        raise RunsFailedError(failed, runs)
    return Comparison(list(settings), which, runs, time.perf_counter() - began)


def _guarded(i: int, setting: Setting, seed: int) -> tuple[int, dict[str, Any] | str]:
    """The number of the job, and its row or what went wrong."""
    try:
        return i, run(setting, seed)
    except Exception as error:
        return i, f"{type(error).__name__}: {error}"


def _run_all(jobs: list[tuple[int, Setting, int]], workers: int | None) -> Any:
    """Yield (number, row or what went wrong) as runs finish."""
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    if workers <= 1:
        threads = torch.get_num_threads()
        try:
            for job in jobs:
                yield _guarded(*job)
        finally:
            torch.set_num_threads(threads)
        return
    import joblib

    with joblib.parallel_config("loky", inner_max_num_threads=1):
        parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")
        yield from parallel(joblib.delayed(_guarded)(*job) for job in jobs)


def methods_table(
    data: str, methods: Sequence[str], modalities: Sequence[str], *, base: Mapping[str, Any] | None = None
) -> list[Setting]:
    """The rows that belong in every comparison: each modality alone, then the methods asked for."""
    common = Setting("", data=data, **(base or {}))
    alone = [common.with_(f"{m} alone", method="unimodal", method_options={"modality": m}) for m in modalities]
    return alone + [common.with_(method, method=method) for method in methods if method != "unimodal"]
