"""From arrays to predictions, over inputs that a user might bring: a result, or an error of ours that names the argument."""

from __future__ import annotations

import re
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mmlib
from mmlib.fusion import FUSIONS
from mmlib.methods import METHODS, GradientBlending, Unimodal
from mmlib.normalise import KINDS

NAMES = [
    "image",
    "audio",
    "text",
    "left.arm",
    "keys",
    "type",
    "forward",
    "phone accel",
    "joint",
    "fused",
    "",
    "x" * 40,
    "%2E",
    "é",
]
SHAPES = [(5,), (1,), (4, 3), (8, 8), (1, 8, 8), (8, 8, 3), (2, 3, 4, 5), ()]
ODD_LABELS = ["from one", "text", "bool", "series", "float", "huge", "regression", "negative", "two axes"]
KINDS_OF_NUMBERS = ["float32", "float64", "float16", "int64", "uint8", "bool", "nan", "huge", "constant", "text", "complex"]


Spec = tuple[tuple[int, ...], str, str, int]  # shape of a sample, kind of numbers, container, seed


def array(size: int, shape: tuple[int, ...], kind: str, container: str, seed: int) -> Any:
    generator = np.random.default_rng(seed)
    if kind in ("int64", "uint8"):
        values: Any = generator.integers(0, 200, (size, *shape)).astype(kind)
    elif kind == "bool":
        values = generator.random((size, *shape)) > 0.5
    elif kind == "text":
        values = np.array(["a few words"] * size)
    elif kind == "complex":
        values = np.ones((size, *shape), complex)
    else:
        values = generator.normal(size=(size, *shape)).astype(kind if kind.startswith("float") else "float32")
        if kind == "nan":
            values.flat[0] = np.nan
        elif kind == "huge":
            values *= 1e30
        elif kind == "constant":
            values[:] = 3.0
    if container == "torch" and kind not in ("text", "complex"):
        return torch.as_tensor(values)
    if container == "list":
        return values.tolist()
    return pd.DataFrame(values) if container == "frame" and values.ndim == 2 else values


def labels(size: int, classes: int, kind: str, seed: int) -> Any:
    at = np.random.default_rng(seed).integers(0, classes, size)
    made: dict[str, Any] = {
        "plain": at,
        "from one": at + 1,
        "text": [f"class {i}" for i in at],
        "bool": at > 0,
        "series": pd.Series(at.astype(str)),
        "float": at.astype(float),
        "huge": at * 10**9,
        "regression": np.linspace(0, 1, size),
        "negative": at - 1,
        "two axes": np.stack([at, at], axis=1),
    }
    return made[kind]


def groups(size: int, kind: str) -> Any:
    return {"numbers": np.arange(size) % 6, "text": [f"p{i % 7}" for i in range(size)], "one": np.zeros(size)}[kind]


@st.composite
def tasks(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(NAMES[:8] * 12 + NAMES), min_size=1, max_size=3, unique=True))
    shape = st.sampled_from(SHAPES[:6] * 2 + SHAPES[:2] * 6 + SHAPES)
    kind = st.sampled_from(KINDS_OF_NUMBERS[:6] * 8 + KINDS_OF_NUMBERS)
    classes = st.sampled_from([2, 3, 5, 2, 3, 5, 2, 3, 5, 1])
    container = st.sampled_from(["numpy", "numpy", "torch", "list", "frame"])
    return {
        "size": draw(st.sampled_from([40, 60, 60, 60, 40, 40, 12, 3])),
        "inputs": {m: (draw(shape), draw(kind), draw(container), draw(st.integers(0, 99))) for m in names},
        "one short": draw(st.integers(0, 30)) == 30,
        "labels": (draw(classes), draw(st.sampled_from(["plain"] * 18 + ODD_LABELS)), draw(st.integers(0, 99))),
        "seed": draw(st.integers(0, 3)),
        "scale": draw(st.sampled_from([None, "standard"])),
        "split_by": draw(st.sampled_from([None] * 6 + ["numbers", "text", "one"])),
        "missing": draw(st.sampled_from([0, 0, 0, 2, 5])),
        "tokens": draw(st.integers(0, 12)) == 12,
        "layout": draw(st.sampled_from([None, "NHW", "NLD", "NLD", "NHWC", "NCHW"])),
        "fusion": draw(st.sampled_from(["concat", *FUSIONS])),
        "normalise": draw(st.sampled_from([None, None, *KINDS])),
        "method": draw(st.sampled_from([*METHODS])),
        "batch_size": draw(st.sampled_from([8, 16, 16, 1])),
    }


def use(task: dict[str, Any], folder: Path) -> None:
    size, names = task["size"], list(task["inputs"])
    inputs = {m: array(size - task["one short"], *spec) for m, spec in task["inputs"].items()}
    options: dict[str, Any] = {"seed": task["seed"], "scale": task["scale"]}
    if task["split_by"]:
        options["split_by"] = groups(size, task["split_by"])
    if task["missing"] and len(names) > 1:
        options["present"] = {names[0]: np.arange(size) % task["missing"] > 0}
    if task["tokens"]:
        options["tokens"] = names[:1]
    axes = {m: len(spec[0]) + 1 for m, spec in task["inputs"].items()}
    if task["layout"]:
        usual = {3: "NLD", len(task["layout"]): task["layout"]}
        options["layout"] = {m: usual[n] for m, n in axes.items() if n in usual}
    splits = mmlib.from_arrays(inputs, labels(size, *task["labels"]), **options)
    model = mmlib.build(splits, task["fusion"], normalise=task["normalise"], dim=4, width=0.1)
    made = {"unimodal": lambda: Unimodal(names[0]), "gradient_blending": lambda: GradientBlending(super_epoch=1)}
    method = made.get(task["method"], METHODS[task["method"]])()
    mmlib.fit(model, splits, method, epochs=1, batch_size=task["batch_size"], device="cpu", progress=False)
    scores = mmlib.evaluate(model, splits.test)
    assert 0 <= scores["accuracy"] <= 1
    kept = mmlib.load_trained(mmlib.save(folder / "model.safetensors", model, overwrite=True))
    found = mmlib.predict(kept, {names[0]: inputs[names[0]]}, {names[0]: np.ones(size, bool)})
    assert found.shape == (size, len(splits.classes))
    assert found.sum(1) == pytest.approx(1, abs=1e-3)


def is_ours(error: Exception) -> bool:
    """Raised by a line of this library, with a message that begins with the argument."""
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    return "mmlib" in Path(last).parts and re.match(r"[\w.]+(\[.+?\]|\(.*?\))?( and \w+|, \w+)*: ", str(error)) is not None


@settings(max_examples=500, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(task=tasks())
def test_a_result_or_an_error_that_names_the_argument(task: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            use(task, folder)
        except Exception as error:
            if not is_ours(error):
                raise
