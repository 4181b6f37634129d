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


@st.composite
def arrays(draw: st.DrawFn, size: int) -> Any:
    shape = draw(st.sampled_from(SHAPES[:6] + SHAPES[:2] * 3 + SHAPES[6:]))
    kind = draw(st.sampled_from(KINDS_OF_NUMBERS[:6] * 2 + KINDS_OF_NUMBERS))
    generator = np.random.default_rng(draw(st.integers(0, 99)))
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
    how = draw(st.sampled_from(["numpy", "numpy", "torch", "list", "frame"]))
    if how == "torch" and kind not in ("text", "complex"):
        return torch.as_tensor(values)
    if how == "list":
        return values.tolist()
    return pd.DataFrame(values) if how == "frame" and values.ndim == 2 else values


@st.composite
def labels(draw: st.DrawFn, size: int) -> Any:
    classes = draw(st.integers(1, 5))
    at = np.random.default_rng(draw(st.integers(0, 99))).integers(0, classes, size)
    kind = draw(
        st.sampled_from(
            ["plain"] * 4 + ["from one", "text", "bool", "series", "float", "huge", "regression", "negative", "two axes"]
        )
    )
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


@st.composite
def tasks(draw: st.DrawFn) -> dict[str, Any]:
    size = draw(st.sampled_from([40, 60, 60, 12, 3]))
    names = draw(st.lists(st.sampled_from(NAMES[:8] * 3 + NAMES), min_size=1, max_size=3, unique=True))
    inputs = {m: draw(arrays(size if draw(st.integers(0, 30)) else size - 1)) for m in names}
    options: dict[str, Any] = {"seed": draw(st.integers(0, 3))}
    if draw(st.booleans()):
        options["scale"] = "standard"
    if not draw(st.integers(0, 4)):
        options["split_by"] = draw(st.sampled_from([np.arange(size) % 6, [f"p{i % 7}" for i in range(size)], np.zeros(size)]))
    if not draw(st.integers(0, 4)) and len(names) > 1:
        there = np.ones(size, bool)
        there[:: draw(st.integers(2, 5))] = False
        options["present"] = {names[0]: there}
    if not draw(st.integers(0, 6)):
        options["tokens"] = names[:1]
    method = draw(st.sampled_from([*METHODS, *METHODS]))
    return {
        "inputs": inputs,
        "labels": draw(labels(size)),
        "options": options,
        "fusion": draw(st.sampled_from(["concat", *FUSIONS])),
        "normalise": draw(st.sampled_from([None, None, *KINDS])),
        "method": method,
        "batch_size": draw(st.sampled_from([8, 16, 1])),
    }


def use(task: dict[str, Any], folder: Path) -> None:
    splits = mmlib.from_arrays(task["inputs"], task["labels"], **task["options"])
    model = mmlib.build(splits, task["fusion"], normalise=task["normalise"], dim=4, width=0.1)
    first = splits.modalities[0]
    made = {"unimodal": lambda: Unimodal(first), "gradient_blending": lambda: GradientBlending(super_epoch=1)}
    method = made.get(task["method"], METHODS[task["method"]])()
    mmlib.fit(model, splits, method, epochs=1, batch_size=task["batch_size"], device="cpu", progress=False)
    scores = mmlib.evaluate(model, splits.test)
    assert 0 <= scores["accuracy"] <= 1
    kept = mmlib.load_trained(mmlib.save(folder / "model.safetensors", model, overwrite=True))
    found = mmlib.predict(kept, {first: task["inputs"][first]})
    assert found.shape == (len(task["labels"]), len(splits.classes))
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
