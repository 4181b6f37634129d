"""Settings x seeds -> one table: in parallel, cached, resumable."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmlib import fingerprint
from mmlib.data.catalogue import DATASETS, load
from mmlib.data.core import Splits
from mmlib.fusion import FUSIONS, Fusion
from mmlib.history import NonFiniteLossError
from mmlib.methods import METHODS, Method
from mmlib.metrics.intervals import Interval, mean_interval
from mmlib.metrics.probes import linear_probe
from mmlib.model import build
from mmlib.progress import bar as progress_bar
from mmlib.randomness import seeds as default_seeds
from mmlib.train import evaluate, fit

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Setting:
    """One row of a comparison: everything but the seed.

    Args:
        label: the row's name in the table.
        data: a data set's name, your own `Splits`, or a callable ``data(seed=..., **data_options)`` that returns them.
        method: a method's name, or a `Method` class. fusion: a fusion's name, or a `Fusion` class.
        data_options, method_options, model_options, fit_options: keyword arguments of ``load``, of the method's class,
            of `mmlib.model.build` and of `mmlib.train.fit`.
        pretrain_epochs: train the encoders apart (late fusion) for so many epochs before the method starts.
        probe: also fit a linear probe on every frozen encoder (columns ``probe_{modality}``).
    """

    label: str
    data: str | Splits | Callable[..., Splits] = "digits"
    method: str | type[Method] = "joint"
    fusion: str | type[Fusion] = "concat"
    data_options: dict[str, Any] = field(default_factory=dict)
    method_options: dict[str, Any] = field(default_factory=dict)
    model_options: dict[str, Any] = field(default_factory=dict)
    fit_options: dict[str, Any] = field(default_factory=dict)
    pretrain_epochs: int = 0
    probe: bool = False

    def __post_init__(self) -> None:
        known_names: dict[str, Mapping[str, Any]] = {"data": DATASETS, "method": METHODS, "fusion": FUSIONS}
        for what, known in known_names.items():
            value = getattr(self, what)
            if isinstance(value, str) and value not in known:
                raise ValueError(f"{what}: unknown {value!r}; known: {', '.join(known)}")

    def with_(self, label: str, **changes: Any) -> Setting:
        """A copy under another label; options are merged into those there are."""
        merged: dict[str, Any] = {k: {**getattr(self, k), **v} if k.endswith("_options") else v for k, v in changes.items()}
        return replace(self, label=label, **merged)

    def describe(self) -> dict[str, Any]:
        """The setting as JSON can hold it, without the label."""
        plain = {k: v for k, v in self.__dict__.items() if k != "label"}
        for what in ("data", "method", "fusion"):
            if isinstance(plain[what], Splits):
                plain[what] = f"splits {fingerprint.splits_hash(plain[what])}"
            elif not isinstance(plain[what], str):
                plain[what] = f"{plain[what].__module__}.{plain[what].__qualname__} {fingerprint.source_hash(plain[what]) or '?'}"
        return dict(json.loads(json.dumps(plain, default=_no_json)))

    def code(self) -> dict[str, str]:
        """The files of the library, and the shipped data, that decide this setting's numbers, each with its hash."""
        modules = ["mmlib.train", "mmlib.model", "mmlib.fusion", *(["mmlib.metrics.probes"] if self.probe else [])]
        method = METHODS[self.method] if isinstance(self.method, str) else self.method
        modules += [method.__module__] + (["mmlib.methods.late_fusion"] if self.pretrain_epochs else [])
        assets: list[Path] = []
        if isinstance(self.data, str):
            modules.append(DATASETS[self.data].make.__module__)
            assets = list(DATASETS[self.data].assets)
        elif callable(self.data) and self.data.__module__.startswith("mmlib."):  # one of ours may load any of ours
            modules.append(self.data.__module__)
            assets = [asset for known in DATASETS.values() for asset in known.assets]
        root = fingerprint.PACKAGE.parent
        own = {"mmlib/compare.py: run": fingerprint.source_hash(run) or "?"}
        return own | fingerprint.code_files(modules) | {a.relative_to(root).as_posix(): fingerprint.file_hash(a) for a in assets}


def _no_json(value: Any) -> Any:
    if callable(value):
        return f"{value.__module__}.{value.__qualname__} {fingerprint.source_hash(value) or '?'}"
    raise TypeError(f"setting: expected numbers, texts and lists in the options, found {type(value).__name__} {value!r}")


def run(setting: Setting, seed: int) -> dict[str, Any]:
    """Train once and read the test data once. A run that diverges is a result, too.

    Returns:
        ``test_accuracy``, ``test_loss``, the same with ``_{modality}``, ``val_accuracy``, ``best_epoch``, ``seconds``
        (of training alone), ``probe_{modality}`` where asked for, ``diverged``, and ``history``, the rows of
        `mmlib.history.History`.

        Where the loss became NaN or infinite, ``diverged`` is true and ``diverged_epoch`` says when. The network is of no
        use then, and who has it can only guess: every accuracy is 1 / C, every loss ln C, ``best_epoch`` is -1.
    """
    torch.set_num_threads(1)  # two runs on two cores beat one run on both, by far, on networks this small
    if isinstance(setting.data, Splits):
        splits = setting.data
    elif callable(setting.data):
        splits = setting.data(seed=seed, **setting.data_options)
    else:
        splits = load(setting.data, seed=seed, **setting.data_options)
    model = build(splits, setting.fusion, seed=seed, **setting.model_options)
    make = METHODS[setting.method] if isinstance(setting.method, str) else setting.method
    method = make(**setting.method_options)
    options = {"progress": False, **setting.fit_options}
    began = time.perf_counter()
    try:
        if setting.pretrain_epochs:
            alone = {k: v for k, v in options.items() if k in ("batch_size", "lr", "weight_decay", "optimizer", "device", "progress")}
            fit(model, splits, METHODS["late_fusion"](), epochs=setting.pretrain_epochs, seed=seed, **alone)
        history = fit(model, splits, method, seed=seed, **options)
    except NonFiniteLossError as error:
        guess = {f"{kind}{m}": 0.0 for kind in ("accuracy", "loss") for m in ("", *(f"_{m}" for m in splits.modalities))}
        if error.rows:  # the columns that this method has
            guess = {k.removeprefix("val_"): 0.0 for k in error.rows[-1] if k.startswith("val_")}
        chance = {"accuracy": 1 / splits.num_classes, "loss": math.log(splits.num_classes)}
        row = {f"test_{k}": chance[k.partition("_")[0]] for k in guess} | {"val_accuracy": chance["accuracy"], "best_epoch": -1}
        row |= {"seconds": time.perf_counter() - began, "diverged": True, "diverged_epoch": error.epoch}
        if setting.probe:
            row |= {f"probe_{m}": chance["accuracy"] for m in splits.modalities}
        return {**row, "history": error.rows}
    seconds = time.perf_counter() - began
    row = {f"test_{k}": v for k, v in evaluate(model, splits.test, method).items()}
    best = history.rows[history.best_epoch]
    row |= {"val_accuracy": best["val_accuracy"], "best_epoch": history.best_epoch, "seconds": seconds, "diverged": False}
    if setting.probe:
        row |= {f"probe_{m}": a for m, a in linear_probe(model, splits.train, splits.test).items()}
    return {**row, "history": history.rows}


@dataclass
class Comparison:
    """The outcome of `compare`: ``runs``, one dict per setting and seed in the order asked for."""

    settings: list[Setting]
    seeds: list[int]
    runs: list[dict[str, Any]]
    seconds: float = 0.0  #: wall clock of the call; cached runs cost nothing

    @property
    def frame(self) -> pd.DataFrame:
        """One row per setting and seed."""
        import pandas as pd

        return pd.DataFrame([{k: v for k, v in r.items() if k != "history"} for r in self.runs])

    @property
    def history(self) -> pd.DataFrame:
        """One row per setting, seed and epoch: the columns of `mmlib.history.History` after ``label`` and ``seed``."""
        import pandas as pd

        return pd.DataFrame([{"label": r["label"], "seed": r["seed"], **row} for r in self.runs for row in r["history"]])

    def values(self, label: str, column: str = "test_accuracy") -> list[float]:
        """One number per seed, in the order of the seeds.

        Raises:
            KeyError: an unknown label or column; the message lists the known ones.
        """
        rows = [r for r in self.runs if r["label"] == label]
        if not rows:
            raise KeyError(f"label: unknown {label!r}; known: {', '.join(s.label for s in self.settings)}")
        if column not in rows[0]:
            raise KeyError(f"column: unknown {column!r}; known: {', '.join(k for k in rows[0] if k != 'history')}")
        return [float(r[column]) for r in rows]

    def interval(self, label: str, column: str = "test_accuracy") -> Interval:
        """Mean over seeds with its 95 % interval."""
        return mean_interval(self.values(label, column))

    def difference(self, label: str, other: str, column: str = "test_accuracy") -> Interval:
        """Mean of ``label`` minus ``other`` with its 95 % interval, paired by seed (same data, same start)."""
        pairs = zip(self.values(label, column), self.values(other, column), strict=True)
        return mean_interval([a - b for a, b in pairs])

    def best(self, labels: Sequence[str]) -> str:
        """The setting with the highest mean accuracy on validation data: how to choose without looking at the test."""
        return max(labels, key=lambda label: self.interval(label, "val_accuracy").mean)

    def curve(self, label: str, column: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Epochs, and the mean over seeds of a column of the history with the ends of its 95 % interval; [E] each."""
        runs = np.array([[row[column] for row in r["history"]] for r in self.runs if r["label"] == label])
        mean, low, high = np.array([mean_interval(values) for values in runs.T]).T
        return np.arange(len(mean)), mean, low, high

    def table(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """One row per setting: the mean over seeds of every column, and ``low`` and ``high``, the ends of the 95 %
        interval of ``test_accuracy``."""
        import pandas as pd

        rows = []
        for setting in self.settings:
            frame = pd.DataFrame([r for r in self.runs if r["label"] == setting.label]).drop(columns=["label", "seed", "history"])
            mean = mean_interval(frame["test_accuracy"].tolist())
            means = frame.mean().to_dict()
            first = {"setting": setting.label, "accuracy": mean.mean, "low": mean.low, "high": mean.high, "seeds": len(frame)}
            rest = columns if columns is not None else [c for c in means if c != "test_accuracy" and "loss" not in c]
            rows.append({**first, **{c: means.get(c, float("nan")) for c in rest}})
        return pd.DataFrame(rows).set_index("setting")

    def __str__(self) -> str:
        table = self.table().rename(columns=lambda c: c.removeprefix("test_"))
        return str(table.to_string(float_format=lambda x: f"{x:.3f}", na_rep="-"))


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

    Raises:
        ValueError: no setting, two settings with one label, or workers below 1.
        RuntimeError: a run failed; the message names setting and seed, and the runs that finished are kept.
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
    try:
        for i, row in _run_all([(i, *jobs[i]) for i in missing], workers):
            done[i] = row
            bar.update()
            file = files[i]
            if file is not None and not unwritable:
                try:
                    write_json(file, row)
                except OSError as error:
                    unwritable = True
                    warnings.warn(f"cache: cannot write to {file.parent} ({error.strerror}); runs are not kept", stacklevel=2)
    finally:
        bar.close()
    runs = [{"label": s.label, "seed": seed, **done[i]} for i, (s, seed) in enumerate(jobs)]
    return Comparison(list(settings), which, runs, time.perf_counter() - began)


def _guarded(i: int, setting: Setting, seed: int) -> tuple[int, dict[str, Any]]:
    try:
        return i, run(setting, seed)
    except Exception as error:
        raise RuntimeError(f"setting {setting.label!r}, seed {seed}: {type(error).__name__}: {error}") from error


def _run_all(jobs: list[tuple[int, Setting, int]], workers: int | None) -> Any:
    """Yield (number, row) as runs finish."""
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
