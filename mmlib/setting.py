"""One row of a comparison: everything but the seed; and what it is to run it."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mmlib import fingerprint
from mmlib.data.catalogue import DATASETS, load
from mmlib.data.core import MultimodalData, Splits
from mmlib.fusion import FUSIONS, Fusion
from mmlib.history import NonFiniteLossError
from mmlib.methods import METHODS, Method
from mmlib.metrics.measures import logits
from mmlib.metrics.probes import linear_probe
from mmlib.metrics.recall import class_recall
from mmlib.model import MultimodalClassifier, build
from mmlib.train import evaluate, fit

#: ``measure(model, method, splits) -> {column: number}``, called once after training; see `mmlib.metrics.measures`
Measure = Callable[[MultimodalClassifier | None, Method, Splits], Mapping[str, float]]


@dataclass(frozen=True)
class Setting:
    """One row of a comparison: everything but the seed.

    Args:
        label: the row's name in the table.
        data: a data set's name, your own `Splits` (the same for every seed), or a callable ``data(seed=..., **data_options)``
            that returns them, for a split of its own for every seed.
        method: a method's name, a `Method` class, or a method such as ``MLA(ridge=0.1)``, of which every run gets a copy.
        fusion: a fusion's name, a `Fusion` class, or a callable that makes one.
        data_options, method_options, model_options, fit_options: keyword arguments of ``load``, of the method's class,
            of `mmlib.model.build` and of `mmlib.train.fit`. Every run gets copies of the objects in them. An encoder of
            yours in ``model_options={"encoders": {...}}`` is best a class or function that makes it: `build` calls it under
            the seed. A module starts every run, whatever the seed, from the weights it has.
        pretrain_epochs: train the encoders apart (late fusion) for so many epochs before the method starts.
        probe: also fit a linear probe on every frozen encoder (columns ``probe_{modality}``).
        by_class: also tell the share that is right of every class of the test data, together and by each modality alone
            (columns ``recall_{class}`` and ``recall_{class}_{modality}``).
        measures: functions that measure more of the trained model, such as `mmlib.metrics.without_each` and
            `mmlib.metrics.calibration_error`, or one of yours: ``measure(model, method, splits)`` returns columns for the row.
            Of a run that diverged it gets ``model=None``, and returns what guessing gives.

    Raises:
        TypeError: an argument of another kind. ValueError: an unknown name (the message lists the known ones), or
            ``method_options`` beside a method that has its options already.
    """

    label: str
    data: str | Splits | Callable[..., Splits] = "digits"
    method: str | type[Method] | Method = "joint"
    fusion: str | type[Fusion] | Callable[[Mapping[str, int], int], Fusion] = "concat"
    data_options: dict[str, Any] = field(default_factory=dict)
    method_options: dict[str, Any] = field(default_factory=dict)
    model_options: dict[str, Any] = field(default_factory=dict)
    fit_options: dict[str, Any] = field(default_factory=dict)
    pretrain_epochs: int = 0
    probe: bool = False
    by_class: bool = False
    measures: tuple[Measure, ...] = ()

    def __post_init__(self) -> None:
        known_names: dict[str, Mapping[str, Any]] = {"data": DATASETS, "method": METHODS, "fusion": FUSIONS}
        for what, known in known_names.items():
            value = getattr(self, what)
            if isinstance(value, str) and value not in known:
                raise ValueError(f"{what}: unknown {value!r}; known: {', '.join(known)}")
            if not (isinstance(value, str | Splits) if what == "data" else isinstance(value, str)) and not callable(value):
                raise TypeError(f"{what}: expected a name, or what its description names, found {type(value).__name__} {value!r}")
        if isinstance(self.method, Method) and self.method_options:
            name = type(self.method).__name__
            raise ValueError(f"method_options: {name}(...) has its options already; give method={name}, the class, or none here")
        for what in ("data_options", "method_options", "model_options", "fit_options"):
            if not isinstance(getattr(self, what), Mapping):
                raise TypeError(f"{what}: expected a dict of keyword arguments, found {type(getattr(self, what)).__name__}")
        if not isinstance(self.measures, tuple | list) or not all(map(callable, self.measures)):
            raise TypeError(
                f"measures: expected a tuple of functions (model, method, splits) -> columns, found {self.measures!r}"
            )

    def with_(self, label: str, **changes: Any) -> Setting:
        """A copy under another label; options are merged into those there are."""
        merged: dict[str, Any] = {k: {**getattr(self, k), **v} if k.endswith("_options") else v for k, v in changes.items()}
        return replace(self, label=label, **merged)

    def plain(self) -> dict[str, Any]:
        """The fields without the label, and without an option that older descriptions do not have, where it is off."""
        newer: dict[str, Any] = {"by_class": False, "measures": ()}
        return {k: v for k, v in self.__dict__.items() if k != "label" and not (k in newer and v == newer[k])}

    def describe(self) -> dict[str, Any]:
        """The setting as JSON can hold it, without the label."""
        plain = self.plain()
        for what in ("data", "method", "fusion"):
            if isinstance(plain[what], Splits):
                plain[what] = f"splits {fingerprint.splits_hash(plain[what])}"
            elif not isinstance(plain[what], str):
                plain[what] = _no_json(plain[what])
        return dict(json.loads(json.dumps(plain, default=_no_json)))

    def foreign(self) -> list[str]:
        """What decides this setting's numbers and has no hash, by name: methods, fusions, encoders, optimisers and other
        code from outside the library, and objects that were made at run time. (Data is hashed by its content.)"""
        options = (self.method_options, self.model_options, self.fit_options)
        things = [thing for value in (self.method, self.fusion, self.measures, *options) for thing in _things(value)]
        return [fingerprint.named(thing) for thing in things if not fingerprint.hashed_wholly(thing)]

    def code(self) -> dict[str, str]:
        """The files of the library, and the shipped data, that decide this setting's numbers, each with its hash."""
        modules = ["mmlib.train", "mmlib.model", "mmlib.fusion", *(["mmlib.metrics.probes"] if self.probe else [])]
        modules += ["mmlib.metrics.recall"] if self.by_class else []
        method = METHODS[self.method] if isinstance(self.method, str) else self.method
        modules += [method.__module__] + (["mmlib.methods.late_fusion"] if self.pretrain_epochs else [])
        options = (self.fusion, self.measures, self.method_options, self.model_options, self.fit_options)
        modules += [str(getattr(thing, "__module__", "")) for value in options for thing in _things(value)]
        assets: list[Path] = []
        if isinstance(self.data, str):
            modules.append(DATASETS[self.data].make.__module__)
            assets = list(DATASETS[self.data].assets)
        elif fingerprint.hashed_wholly(self.data):  # one of ours may load any of ours
            modules.append(self.data.__module__)
            assets = [asset for known in DATASETS.values() for asset in known.assets]
        root = fingerprint.PACKAGE.parent
        own = {"mmlib/setting.py: run": fingerprint.source_hash(run) or "?"}
        return own | fingerprint.code_files(modules) | {a.relative_to(root).as_posix(): fingerprint.file_hash(a) for a in assets}


def _things(value: Any) -> Iterator[Any]:
    """What stands in options beside texts and numbers."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from _things(part)
    elif value is not None and not isinstance(value, str | int | float | np.generic):
        yield value


def _no_json(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if callable(value):
        if not isinstance(value, type) and hasattr(value, "options"):
            return {"class": fingerprint.named(type(value)), "options": value.options()}
        return getattr(value, "described", None) or fingerprint.named(value)  # an object may say what it is
    raise TypeError(f"setting: expected numbers, texts and lists in the options, found {type(value).__name__} {value!r}")


class Predictions(NamedTuple):
    """What a trained model says about the test data."""

    probabilities: NDArray[np.float32]  #: [N, C]
    labels: NDArray[np.int64]  #: [N]


def run(setting: Setting, seed: int, predictions: bool = False) -> dict[str, Any]:
    """Train once and read the test data once. A run that diverges is a result, too.

    Returns:
        ``test_accuracy``, ``test_loss``, the same with ``_{modality}``, ``val_accuracy``, ``best_epoch``, ``seconds``
        (of training alone), ``probe_{modality}``, ``recall_{class}`` and those of ``measures`` where asked for, ``diverged``,
        and ``history``, the rows of `mmlib.history.History`.

        Where the loss became NaN or infinite, ``diverged`` is true and ``diverged_epoch`` says when. The network is of no
        use then, and who has it can only guess: every accuracy (and every other score) is 1 / C, every loss ln C,
        ``best_epoch`` is -1.

        With ``predictions`` also ``predictions``, the `Predictions` for the test data.
    """
    torch.set_num_threads(1)  # two runs on two cores beat one run on both, by far, on networks this small
    if isinstance(setting.data, Splits):
        splits = setting.data
    elif callable(setting.data):
        splits = setting.data(seed=seed, **setting.data_options)
    else:
        splits = load(setting.data, seed=seed, **setting.data_options)
    # copies: what one run makes of a method or an encoder must not reach the next
    make, method_options, model_options, fit_options = copy.deepcopy(
        (setting.method, setting.method_options, setting.model_options, setting.fit_options)
    )
    model = build(splits, setting.fusion, seed=seed, **model_options)
    method = make if isinstance(make, Method) else (METHODS[make] if isinstance(make, str) else make)(**method_options)
    options = {"progress": False, **fit_options}
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
        columns |= _recalls(model, method if hasattr(method, "recipe") else None, splits) if setting.by_class else {}
        row = {k if k.startswith(("probe", "recall")) else f"test_{k}": _guessing(k, splits.num_classes) for k in columns}
        row |= {"val_accuracy": _guessing("accuracy", splits.num_classes), "best_epoch": -1, "seconds": seconds}
        row |= _measured(setting, None, method, splits, row)
        said = {"predictions": _predictions(None, method, splits.test)} if predictions else {}
        return {**row, **said, "diverged": True, "diverged_epoch": error.epoch, "history": error.rows}
    seconds = time.perf_counter() - began
    row = {f"test_{k}": v for k, v in evaluate(model, splits.test, method).items()}
    best = history.rows[history.best_epoch]
    row |= {"val_accuracy": best["val_accuracy"], "best_epoch": history.best_epoch, "seconds": seconds, "diverged": False}
    if setting.probe:
        row |= {f"probe_{m}": a for m, a in linear_probe(model, splits.train, splits.test).items()}
    if setting.by_class:
        row |= _recalls(model, method, splits)
    row |= _measured(setting, model, method, splits, row)
    said = {"predictions": _predictions(model, method, splits.test)} if predictions else {}
    return {**row, **said, "history": history.rows}


def _recalls(model: MultimodalClassifier, method: Method | None, splits: Splits) -> dict[str, float]:
    """`class_recall` of the test data as columns; none for a class of which the test has no sample."""
    found = {
        f"recall_{name}" + ("" if head == "fused" else f"_{head}"): float(share)
        for head, shares in class_recall(model, splits.test, method).items()
        for name, share in zip(splits.classes, shares, strict=True)
    }
    return {column: share for column, share in found.items() if not math.isnan(share)}


def _measured(
    setting: Setting, model: MultimodalClassifier | None, method: Method, splits: Splits, row: Mapping[str, Any]
) -> dict[str, float]:
    """The columns of all ``measures``.

    Raises:
        TypeError: one did not return a mapping to numbers. ValueError: a column that the row has already.
    """
    found: dict[str, float] = {}
    for measure in setting.measures:
        name, columns = getattr(measure, "__name__", repr(measure)), measure(model, method, splits)
        if not isinstance(columns, Mapping):
            raise TypeError(f"measures: expected {name} to return {{column: number}}, found {type(columns).__name__}")
        for column, value in columns.items():
            if column in row or column in found:
                raise ValueError(f"measures: {name} returned the column {column!r}, which the row has already")
            try:
                found[column] = float(value)
            except (TypeError, ValueError):
                what = f"{type(value).__name__} {value!r}"
                raise TypeError(f"measures: expected {name} to return numbers, found {what} for {column!r}") from None
    return found


def _predictions(model: MultimodalClassifier | None, method: Method, data: MultimodalData) -> Predictions:
    """Without a model the same probability for every class."""
    if model is None:
        even = np.full((len(data), data.num_classes), 1 / data.num_classes, dtype=np.float32)
        return Predictions(even, torch.cat([batch.labels for batch in data.to("cpu").batches(1024)]).numpy())
    made, labels = logits(model, data, method)
    return Predictions(made.softmax(1).numpy(), labels.numpy())


def _guessing(column: str, classes: int) -> float:
    """What somebody has who gives every class the same probability."""
    return math.log(classes) if column.startswith("loss") else 1 / classes
