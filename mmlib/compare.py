"""Settings x seeds -> one table: in parallel, cached, resumable."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from operator import index
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mmlib import cache as kept
from mmlib.cache import cache_folder, write_json
from mmlib.comparison import Comparison
from mmlib.data.core import Splits
from mmlib.progress import bar as progress_bar
from mmlib.randomness import seeds as default_seeds
from mmlib.setting import Predictions, Setting, run
from mmlib.workers import Failed, side_by_side

__all__ = ["RunsFailedError", "cache_folder", "compare", "methods_table", "write_json"]


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


class Job(NamedTuple):
    """One run, and how it is kept."""

    setting: Setting
    seed: int
    key: str | None  #: of the setting
    by_content: bool  #: whether it is kept under its data, which is to be made first
    predictions: bool


class Done(NamedTuple):
    """What came of a job."""

    row: dict[str, Any]
    file: Path | None  #: where the row belongs, if it is not there already


def compare(
    settings: Sequence[Setting],
    seeds: int | Sequence[int] = 5,
    *,
    workers: int | None = None,
    cache: bool = True,
    progress: bool = True,
    predictions: bool = False,
) -> Comparison:
    """Train every setting with every seed.

    Runs go to ``workers`` processes (by default one per core), one thread each: the same seed on the same machine gives the
    same numbers, bit for bit, in whatever process, and with `mmlib.train.fit` on one thread, too (another number of threads
    may change the last bits).

    A finished run is kept on disk under a hash of all that decides its numbers: its setting, its seed, the library's
    code and data, and the versions it builds on. The next call finds it there, also after an interrupt. Data of your
    own is hashed by its content: `Splits` as they are, those of a callable as it makes them, once for every run. Kept
    **never** are runs with code or objects from outside the library, since a hash of them would miss what they call, inherit
    and read: own methods, fusions, encoders, optimisers, callbacks, lambdas and partials, methods and modules as objects
    (the library's as well: give the class and its options), and data streamed from a data set of yours. They are trained
    anew each time. A cache that cannot be written to is left alone, with one warning; a file in it that is no run is
    replaced.

    Args:
        seeds: how many (from MMLIB_SEED_OFFSET on), or which; each once.
        cache: whether to look for finished runs, and to keep them.
        predictions: keep what every trained model says about the test data (`Comparison.predictions`).

    A run that diverges is a row like any other (`mmlib.setting.run`). One that fails in another way does not stop the rest,
    nor does one whose process dies.

    Raises:
        ValueError: no setting, two settings with one label, a seed that comes twice, or workers below 1.
        TypeError: something that is no `Setting`, or a seed that is no whole number.
        RunsFailedError: at the end, when some runs failed: which, and why. Those that finished are kept.
    """
    which = _seeds(seeds)
    strange = [s for s in settings if not isinstance(s, Setting)]
    if strange:
        raise TypeError(f"settings: expected Setting(label, ...), found {type(strange[0]).__name__} {strange[0]!r}")
    labels = [s.label for s in settings]
    if not labels or not which:
        raise ValueError("compare: expected at least one setting and one seed")
    if len(set(labels)) != len(labels):
        raise ValueError(f"settings: expected labels that differ, found {labels}")
    if workers is not None and workers < 1:
        raise ValueError(f"workers: expected 1 or more, found {workers}")
    began = time.perf_counter()
    jobs = [job for s in settings for job in _jobs(s, which, cache, predictions)]
    done = {i: row for i, job in enumerate(jobs) if job.key and (row := kept.read(kept.file_of(job.key, job.seed), predictions))}
    missing = [i for i in range(len(jobs)) if i not in done]
    bar = progress_bar(len(jobs), len(done), "runs", "run", progress)
    unwritable = False
    failed: list[tuple[str, int, str]] = []
    try:
        with closing(_run_all([jobs[i] for i in missing], workers)) as outcomes:
            for number, outcome in outcomes:
                bar.update()
                i = missing[number]
                if isinstance(outcome, Failed):
                    failed.append((jobs[i].setting.label, jobs[i].seed, outcome.message))
                    continue
                done[i], file = outcome
                if file is not None and not unwritable:
                    try:
                        kept.write(file, outcome.row)
                    except OSError as error:
                        unwritable = True
                        why = f"cache: cannot write to {file.parent} ({error.strerror}); runs are not kept"
                        warnings.warn(why, stacklevel=2)
    finally:
        bar.close()
    runs = [{"label": job.setting.label, "seed": job.seed, **done[i]} for i, job in enumerate(jobs) if i in done]
    said = {(run["label"], run["seed"]): Predictions(*run.pop("predictions")) for run in runs if predictions}
    if failed:
        raise RunsFailedError(failed, runs)
    return Comparison(list(settings), which, runs, time.perf_counter() - began, said)


def _seeds(seeds: int | Sequence[int]) -> list[int]:
    if isinstance(seeds, int):
        return default_seeds(seeds)
    try:
        which = [index(seed) for seed in seeds]
    except TypeError:
        raise TypeError(f"seeds: expected how many, or whole numbers, found {seeds!r}") from None
    twice = sorted({seed for seed in which if which.count(seed) > 1})
    if twice:
        raise ValueError(f"seeds: expected each once, found {twice[0]} {which.count(twice[0])} times; a run that is counted "
                         "again narrows the interval and tells nothing new")  # fmt: skip
    return which


def _jobs(setting: Setting, seeds: list[int], cache: bool, predictions: bool) -> list[Job]:
    key = kept.key(setting) if cache else None
    by_content = cache and not kept.known_data(setting) and not isinstance(setting.data, Splits) and not setting.foreign()
    return [Job(setting, seed, key, by_content, predictions) for seed in seeds]


def _done(*job: Any) -> Done | Failed:
    """Run a job, or say what went wrong."""
    setting, seed, key, by_content, predictions = Job(*job)
    try:
        if by_content and callable(setting.data):
            made = setting.data(seed=seed, **setting.data_options)
            setting = replace(setting, data=made, data_options={})
            key = kept.key(setting)
            found = kept.read(kept.file_of(key, seed), predictions) if key is not None else None
            if found is not None:
                return Done(found, None)
        return Done(run(setting, seed, predictions), kept.file_of(key, seed) if key is not None else None)
    except Exception as error:
        return Failed(f"{type(error).__name__}: {error}")


def _run_all(jobs: list[Job], workers: int | None) -> Generator[tuple[int, Done | Failed], None, None]:
    """Yield (number, what came of it) as runs finish."""
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    if workers > 1:
        with closing(side_by_side(_done, jobs, workers)) as outcomes:
            yield from outcomes
        return
    threads = torch.get_num_threads()
    try:
        for i, job in enumerate(jobs):
            yield i, _done(*job)
    finally:
        torch.set_num_threads(threads)


def methods_table(
    data: str | Splits | Callable[..., Splits],
    methods: Sequence[str],
    modalities: Sequence[str],
    *,
    base: Mapping[str, Any] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Setting]:
    """The rows that belong in every comparison: each modality alone, then the methods asked for.

    Args:
        data: as in `Setting`. base: what all rows have in common, arguments of `Setting`.
        options: method -> its ``method_options``.
    """
    common = Setting("", data=data, **(base or {}))
    own = options or {}
    alone = [common.with_(f"{m} alone", method="unimodal", method_options={"modality": m}) for m in modalities]
    asked = [method for method in methods if method != "unimodal"]
    return alone + [common.with_(method, method=method, method_options=dict(own.get(method, {}))) for method in asked]
