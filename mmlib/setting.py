"""One row of a comparison: everything but the seed; and what it is to run it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from mmlib import fingerprint
from mmlib.data.catalogue import DATASETS, load
from mmlib.data.core import Splits
from mmlib.fusion import FUSIONS, Fusion
from mmlib.history import NonFiniteLossError
from mmlib.methods import METHODS, Method
from mmlib.metrics.probes import linear_probe
from mmlib.model import build
from mmlib.train import evaluate, fit


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
        own = {"mmlib/setting.py: run": fingerprint.source_hash(run) or "?"}
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
            shared = ("batch_size", "lr", "weight_decay", "optimizer", "device", "progress")
            alone = {k: v for k, v in options.items() if k in shared}
            fit(model, splits, METHODS["late_fusion"](), epochs=setting.pretrain_epochs, seed=seed, **alone)
        history = fit(model, splits, method, seed=seed, **options)
    except NonFiniteLossError as error:
        seconds = time.perf_counter() - began
        # its weights are of no use, but they tell which columns this method has; before its setup, those of joint training
        columns = evaluate(model, splits.val, method if hasattr(method, "recipe") else None)
        columns |= {f"probe_{m}": 0.0 for m in splits.modalities} if setting.probe else {}
        row = {k if k.startswith("probe") else f"test_{k}": _guessing(k, splits.num_classes) for k in columns}
        row |= {"val_accuracy": _guessing("accuracy", splits.num_classes), "best_epoch": -1, "seconds": seconds}
        return {**row, "diverged": True, "diverged_epoch": error.epoch, "history": error.rows}
    seconds = time.perf_counter() - began
    row = {f"test_{k}": v for k, v in evaluate(model, splits.test, method).items()}
    best = history.rows[history.best_epoch]
    row |= {"val_accuracy": best["val_accuracy"], "best_epoch": history.best_epoch, "seconds": seconds, "diverged": False}
    if setting.probe:
        row |= {f"probe_{m}": a for m, a in linear_probe(model, splits.train, splits.test).items()}
    return {**row, "history": history.rows}


def _guessing(column: str, classes: int) -> float:
    """What somebody has who gives every class the same probability."""
    return math.log(classes) if column.startswith("loss") else 1 / classes
