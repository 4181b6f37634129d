"""What was done to the training data is kept, travels as JSON, and is done again in prediction."""

from __future__ import annotations

import dataclasses
import json
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlib.data import MultimodalData, Splits, from_arrays, load
from mmlib.data.prepare import Prepare

N = 60
LABELS = np.arange(N) // 3 % 3
RNG = np.random.default_rng(1)
BYTES = RNG.integers(0, 256, (N, 8, 9, 3)).astype(np.uint8)
FRAME = pd.DataFrame({"age": RNG.integers(18, 90, N), "pay": RNG.normal(3e4, 1e4, N), "same": 7.0})
INPUTS: dict[str, Any] = {
    "photo": BYTES,
    "table": FRAME,
    "watch": RNG.normal(5, 3, (N, 6, 20)),
    "word": np.tile(np.arange(12), (N, 1)),
}
OPTIONS: dict[str, Any] = {"layout": {"photo": "NHWC", "watch": "NDL"}, "tokens": ["word"]}


def own(**options: Any) -> Splits:
    return from_arrays(INPUTS, LABELS, **OPTIONS, **options)


@pytest.mark.parametrize("scale", [None, "standard", {"table": "standard"}])
def test_prediction_prepares_what_training_prepared(scale: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error" if scale == "standard" else "ignore")
        made = own(scale=scale, split=["train", "val", "test"] * (N // 3))
    for number, (_, data) in enumerate(made.items()):
        for m, x in data.inputs.items():
            kept = Prepare.from_json(json.loads(json.dumps(made.prepare[m].to_json())))
            assert kept == made.prepare[m]
            assert torch.equal(kept(INPUTS[m])[number::3], x), "bit for bit"
            raw = INPUTS[m].iloc[number::3] if m == "table" else INPUTS[m][number::3]
            assert torch.equal(kept(raw), x), "in parts, too"
            assert kept.shape == tuple(x.shape[1:])


def test_bytes_are_scaled_and_said() -> None:
    with pytest.warns(UserWarning, match="very different scale"):
        made = own()
    assert "photo    [3, 8, 9] a picture, channels last, bytes / 255" in repr(made)
    assert float(made.train.inputs["photo"].max()) == 1.0
    point = made.prepare["photo"](BYTES)[4, 2, 5, 6].item()
    assert point == np.float32(BYTES[4, 5, 6, 2]) / np.float32(255)
    assert torch.equal(made.prepare["photo"](BYTES.tolist()), made.prepare["photo"](BYTES)), "lists of whole numbers will do"
    with pytest.raises(TypeError, match=r"inputs\['photo'\]: expected whole numbers from 0 to 255 .* found float64 from 0 to 1"):
        made.prepare["photo"](BYTES / 255)
    with pytest.raises(TypeError, match="found int64 from -1 to"):
        made.prepare["photo"](BYTES.astype(int) - 1)
    flat = from_arrays({"a": BYTES.reshape(N, -1)}, LABELS)
    assert float(flat.train.inputs["a"].max()) == 255, "only pictures are scaled"
    floats = from_arrays({"a": BYTES / 255}, LABELS, layout={"a": "NHWC"})
    with pytest.raises(TypeError, match=r"inputs\['a'\]: expected numbers as in training, found bytes"):
        floats.prepare["a"](BYTES)


def test_standard_scaling_knows_the_training_data_alone() -> None:
    made = own(scale="standard")
    for m, axes in (("photo", (0, 2, 3)), ("table", (0,)), ("watch", (0, 1))):
        x = made.train.inputs[m].double()
        assert x.mean(axes).abs().max() < 1e-6
        std = x.std(axes, correction=0)
        expected = torch.ones_like(std)
        if m == "table":
            expected[2] = 0
            assert made.test.inputs["table"][:, 2].eq(0).all(), "constant columns are left at divisor 1"
        torch.testing.assert_close(std, expected, atol=1e-5, rtol=0)
        assert len(made.prepare[m].mean) == len(made.prepare[m].std) == len(std)
    assert made.prepare["table"].std[2] == 1
    assert "standardised" in repr(made)
    assert "scale='standard'" in repr(made)
    other = {**INPUTS, "table": FRAME.copy()}
    gone = sorted(
        set(range(N)) - {i for i in range(N) if (made.prepare["table"](FRAME)[i] == made.train.inputs["table"]).all(1).any()}
    )
    other["table"].loc[gone, "pay"] = 1e9  # what stands in validation and test changes nothing
    assert from_arrays(other, LABELS, **OPTIONS, scale="standard").prepare == made.prepare


def test_standard_scaling_looks_at_what_is_there() -> None:
    x = np.where(np.arange(N)[:, None] % 2, RNG.normal(100, 5, (N, 2)), np.nan)
    there = np.arange(N) % 2 == 1
    made = from_arrays({"a": x, "b": np.ones((N, 1))}, LABELS, present={"a": there}, scale="standard")
    assert made.train.present is not None
    here = made.train.inputs["a"][made.train.present["a"]]
    assert here.mean(0).abs().max() < 1e-5
    assert made.train.inputs["a"][~made.train.present["a"]].eq(0).all()
    assert torch.isfinite(made.prepare["a"](x, there)).all()
    assert made.prepare["a"].mean[0] == pytest.approx(x[there, 0].mean(), abs=3)


def test_nothing_to_measure_is_told() -> None:
    there = np.arange(N) % 3 == 2
    with pytest.raises(ValueError, match=r"scale\['a'\]: nothing to measure, no training sample has this modality"):
        from_arrays(
            {"a": np.ones(N), "b": np.ones(N)},
            LABELS,
            present={"a": there},
            scale="standard",
            split=["train", "val", "test"] * 20,
        )
    with pytest.raises(ValueError, match=r"inputs\['a'\]: expected numbers that can be squared, found 1e\+300"):
        from_arrays({"a": np.where(np.arange(N) % 2, 1e300, -1e300)}, LABELS, scale="standard")


def test_time_stamps_keep_their_digits() -> None:
    stamps = 1.7e9 + np.arange(N) * 1.0  # float32 knows them to within 128 seconds
    made = from_arrays({"a": stamps}, LABELS, scale="standard")
    assert len(made.prepare["a"](stamps).unique()) == N


@pytest.mark.parametrize(
    ("scale", "error", "message"),
    [
        ("minmax", ValueError, "scale: unknown 'minmax'; known: 'standard'"),
        (2, TypeError, "scale: expected 'standard', None, or a dict"),
        ({"b": "standard"}, ValueError, "scale: unknown modality 'b'; known: photo, table, watch, word"),
        ({"word": "standard"}, ValueError, r"scale\['word'\]: token ids have no scale"),
    ],
)
def test_no_scale(scale: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        own(scale=scale)


def test_columns_of_very_different_scale_are_told_by_name() -> None:
    with pytest.warns(
        UserWarning, match=r"inputs\['t'\]: columns of very different scale, .* \(age\) to .* \(pay\); scale='standard'"
    ):
        from_arrays({"t": FRAME}, LABELS)
    with pytest.warns(UserWarning, match=r"from 0.\d+ \(column 0\) to .* \(column 1\)"):
        from_arrays({"t": np.stack([RNG.random(N), 17_572 * RNG.random(N)], 1)}, LABELS)
    with pytest.warns(UserWarning, match=r"inputs\['t'\]: columns of large scale, standard deviations from .*e\+03"):
        from_arrays({"t": RNG.normal(0, 5000, (N, 2))}, LABELS)
    with pytest.warns(UserWarning, match=r"inputs: modalities of very different scale, .* in 'a' and up to .* in 'b'"):
        from_arrays({"a": RNG.random(N), "b": 1e5 * RNG.random(N)}, LABELS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_arrays({"t": FRAME}, LABELS, scale="standard")
        from_arrays({"a": RNG.normal(size=(N, 5)), "b": 30 * RNG.normal(size=(N, 5))}, LABELS)


def test_columns_are_found_by_name() -> None:
    made = from_arrays({"t": FRAME}, LABELS, scale="standard")
    turned = FRAME[["same", "pay", "age"]]
    assert torch.equal(made.prepare["t"](turned), made.prepare["t"](FRAME))
    assert torch.equal(made.prepare["t"](FRAME.to_numpy()), made.prepare["t"](FRAME))
    with pytest.raises(
        ValueError, match=r"inputs\['t'\]: expected the 3 columns of the training data; missing: pay; unknown: wage"
    ):
        made.prepare["t"](FRAME.rename(columns={"pay": "wage"}))
    with pytest.raises(ValueError, match=r"inputs\['t'\]: expected the 3 columns .* unknown: more"):
        made.prepare["t"](FRAME.assign(more=1))


@pytest.mark.parametrize(
    ("modality", "raw", "message"),
    [
        ("table", np.ones((4, 2)), r"inputs\['table'\]: expected shape \[N, 3\] \(ND\) as in training, found \[4, 2\]"),
        ("photo", BYTES[0], r"inputs\['photo'\]: expected shape \[N, 8, 9, 3\] \(NHWC\) as in training, found \[8, 9, 3\]"),
        ("photo", BYTES.transpose(0, 3, 1, 2), r"expected shape \[N, 8, 9, 3\] \(NHWC\) as in training, found \[60, 3, 8, 9\]"),
        (
            "watch",
            np.ones((4, 20, 6)),
            r"inputs\['watch'\]: expected shape \[N, 6, 20\] \(NDL\) as in training, found \[4, 20, 6\]",
        ),
        ("word", np.full((4, 12), 0.5), r"inputs\['word'\]: expected whole numbers as token ids, found 0.5"),
        ("word", np.full((4, 12), np.nan), r"inputs\['word'\]: expected whole numbers as token ids, found nan"),
    ],
)
def test_what_is_not_as_in_training_is_refused(modality: str, raw: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        own(scale="standard").prepare[modality](raw)


def test_absent_samples_may_hold_anything() -> None:
    made = own(scale="standard")
    words = np.where(np.arange(N)[:, None] % 2, np.nan, INPUTS["word"])
    assert made.prepare["word"](words, np.arange(N) % 2 == 0)[1].tolist() == [0] * 12
    with pytest.raises(ValueError, match=r"present\['word'\]: expected shape \[60\], found \[3\]"):
        made.prepare["word"](words, [True] * 3)


def test_built_in_data_is_left_as_it_is() -> None:
    made = load("digits", seed=0)
    assert "[1, 8, 8]\n" in repr(made), "nothing to say"
    for m, x in made.test.inputs.items():
        assert made.prepare[m](x).dtype == x.dtype
        assert torch.equal(made.prepare[m](x), x)
        assert torch.equal(made.prepare[m](x.numpy()), x)
        with pytest.raises(ValueError, match=rf"inputs\['{m}'\]: expected shape"):
            made.prepare[m](x[:, :1, :1] if m != "text" else x[:, :1])
    assert made.only("text").prepare == {"text": made.prepare["text"]}
    with pytest.raises(ValueError, match=r"inputs\['text'\]: expected token ids from 0 to 26, found 40"):
        made.prepare["text"](torch.full_like(made.test.inputs["text"], 40))


def test_a_change_of_shape_forgets_the_preparation() -> None:
    made = own(scale="standard")
    turned = made.map(lambda d: dataclasses.replace(d, inputs={**d.inputs, "table": d.inputs["table"][:, :2]}))
    assert turned.prepare["table"] == Prepare("table", (2,))
    assert turned.prepare["photo"] == made.prepare["photo"]
    assert made.to("cpu").prepare == made.prepare


@pytest.mark.parametrize(
    "change",
    [
        {"shape": None}, {"shape": [1.5]}, {"mean": ["x"]}, {"mean": [0.0]}, {"layout": "NXY"}, {"bytes": 1},
        {"vocabulary": True}, {"mean": [0.0], "std": [1.0]}, {"mean": [0.0] * 3, "std": [0.0] * 3},
        {"modality": 3}, {"more": 1}, {"known": [0.5]}, {"std": [float("nan")]},
    ],
)  # fmt: skip
def test_another_json_is_refused(change: dict[str, Any]) -> None:
    told = Prepare("a", (3,), "ND").to_json()
    assert Prepare.from_json(told) == Prepare("a", (3,), "ND")
    with pytest.raises(ValueError, match="prepare: expected"):
        Prepare.from_json({**told, **change})
    for other in ({}, [], None):
        with pytest.raises(ValueError, match="prepare: expected"):
            Prepare.from_json(other)  # type: ignore[arg-type]


def test_half_precision_becomes_single_in_hand_made_data() -> None:
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        data = MultimodalData({"a": torch.ones(2, 3, dtype=kind)}, torch.tensor([0, 1]))
        assert data.inputs["a"].dtype == torch.float32
    with pytest.raises(TypeError, match=r"inputs\['a'\]: expected real numbers, found torch.complex64"):
        MultimodalData({"a": torch.ones(2, 3, dtype=torch.complex64)}, torch.tensor([0, 1]))


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_any_array_is_read_or_refused_by_name(data: st.DataObject) -> None:
    """Whatever comes: splits whose preparation repeats itself, or an error that begins with an argument."""
    n = data.draw(st.integers(3, 40))
    size = data.draw(st.lists(st.sampled_from([1, 2, 3, 4, 8, 9]), max_size=4))
    kind = data.draw(
        st.sampled_from(["int64", "uint8", "bool", "float16", "float32", "float64", "complex64", "object", "U3", "M8[s]"])
    )
    x = (
        (RNG.normal(0, data.draw(st.sampled_from([1, 100])), (n, *size)))
        .astype("int64" if kind == "M8[s]" else "float64")
        .astype(kind)
    )
    if kind in ("float32", "float64") and data.draw(st.booleans()) and x.size:
        x.flat[0] = data.draw(st.sampled_from([np.nan, np.inf, 1e300 if kind == "float64" else 1e38]))
    raw = data.draw(
        st.sampled_from([lambda a: a, lambda a: a.tolist(), lambda a: torch.tensor(a.tolist()) if kind != "U3" else a])
    )
    labels = (
        [data.draw(st.sampled_from([0, 1, 2, 10**9])) for _ in range(n)] if data.draw(st.booleans()) else ["x", "y"] * (n // 2)
    )
    layout = data.draw(st.sampled_from([None, "ND", "NL", "NLD", "NHW", "NCHW", "NHWC"]))
    options: dict[str, Any] = {
        "layout": {"a": layout} if layout else None,
        "scale": data.draw(st.sampled_from([None, "standard"])),
    }
    options["tokens"] = ["a"] if data.draw(st.booleans()) else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            given_as = raw(x)
        except (TypeError, ValueError, RuntimeError):
            return  # no tensor of such things
        try:
            made = from_arrays({"a": given_as}, labels, **options)
        except (TypeError, ValueError) as error:
            assert str(error).startswith(("inputs['a']: ", "labels: ", "layout['a']: ", "val: ", "test: ", "scale['a']: "))  # noqa: PT017
            return
        prepared = made.prepare["a"](given_as)
        assert torch.isfinite(prepared).all()
        rows = {tuple(r.flatten().tolist()) for r in prepared}
        assert all(tuple(r.flatten().tolist()) in rows for _, d in made.items() for r in d.inputs["a"])
