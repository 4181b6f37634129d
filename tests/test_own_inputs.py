"""from_arrays reads arrays as people have them, and asks where a reading is open."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mmlib.data import MultimodalData, Splits, from_arrays
from mmlib.encoders import SequenceEncoder
from mmlib.model import build
from mmlib.train import evaluate, fit

N = 30
LABELS = np.arange(N) % 3
RNG = np.random.default_rng(0)
WHOLE = RNG.integers(0, 2, (N, 4))


@pytest.fixture(autouse=True)
def _no_warning_but_those_asked_for() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def everything(made: Splits, modality: str = "a") -> torch.Tensor:
    return torch.cat([d.inputs[modality] for _, d in made.items()])


@pytest.mark.parametrize(
    "raw",
    [
        WHOLE.astype(np.int64),
        WHOLE.astype(np.uint8),
        WHOLE.astype(bool),
        WHOLE.astype(np.float16),
        WHOLE.astype(np.float64),
        WHOLE.astype(">f8"),
        WHOLE.astype(np.longdouble),
        WHOLE[::-1][::-1],
        WHOLE.tolist(),
        [tuple(row) for row in WHOLE.tolist()],
        list(WHOLE),
        [torch.tensor(row) for row in WHOLE],
        torch.tensor(WHOLE, dtype=torch.bfloat16),
        torch.tensor(WHOLE, dtype=torch.float64, requires_grad=True),
        WHOLE.astype(object),
        pd.DataFrame(WHOLE),
        pd.DataFrame({"w": WHOLE[:, 0], "x": WHOLE[:, 1] > 0, "y": WHOLE[:, 2] * 1.0, "z": pd.array(WHOLE[:, 3], dtype="Int64")}),
        pd.DataFrame(WHOLE, dtype=object),
        pd.Series(list(WHOLE)),
        np.ma.MaskedArray(WHOLE),
    ],
    ids=lambda raw: f"{type(raw).__name__}-{getattr(raw, 'dtype', type(raw[0]) if isinstance(raw, list) else '')}",
)
def test_all_of_these_are_the_same_vectors(raw: Any) -> None:
    reference = from_arrays({"a": WHOLE.astype(np.float32)}, LABELS)
    made = from_arrays({"a": raw}, LABELS)
    assert everything(made).dtype == torch.float32
    assert torch.equal(everything(made), everything(reference))
    assert torch.equal(made.prepare["a"](raw), torch.tensor(WHOLE).float())
    assert "a vector" in repr(made)


@pytest.mark.parametrize("raw", [pd.Series(np.arange(N) * 1.0), np.arange(N), list(range(N)), torch.arange(N)])
def test_one_number_per_sample_is_one_column(raw: Any) -> None:
    made = from_arrays({"a": raw}, LABELS)
    assert made.train.shapes == {"a": (1,)}
    assert sorted(everything(made)[:, 0].tolist()) == list(range(N))


def test_whole_numbers_are_numbers_unless_they_are_declared_to_be_tokens() -> None:
    counts = {"a": RNG.integers(0, 40, (N, 5))}
    made = from_arrays(counts, LABELS)
    assert type(build(made).encoders["a"]).__name__ == "MLPEncoder"
    many = np.tile(np.arange(40), (N, 1))
    told = from_arrays({"a": many}, LABELS, tokens=["a"])
    assert everything(told).dtype == torch.int64
    assert isinstance(build(told).encoders["a"], SequenceEncoder)
    assert "token ids below 40" in repr(told)
    assert torch.equal(from_arrays({"a": many * 1.0}, LABELS, tokens=["a"]).train.inputs["a"], told.train.inputs["a"])


def test_ids_that_training_lacks_are_read_as_nothing_and_said_so() -> None:
    ids = np.tile([1, 2, 3], (N, 1))
    split = np.array(["train", "val", "test"])[np.arange(N) // 3 % 3]
    ids[split == "test", 1] = 500
    with pytest.warns(UserWarning, match=r"inputs\['a'\]: 9 of 90 token ids, such as 500, do not occur in the training data"):
        made = from_arrays({"a": ids}, LABELS, tokens=["a"], split=split)
    assert made.test.inputs["a"].unique().tolist() == [0, 1, 3]
    with pytest.warns(UserWarning, match="1 of 3 token ids, such as 7,"):
        assert made.prepare["a"]([[1, 7, 0]]).tolist() == [[1, 0, 0]]
    wide = from_arrays({"a": ids}, LABELS, tokens={"a": 600}, split=split)  # an encoder of one's own may know all
    assert wide.test.inputs["a"].max() == 500
    model = build(wide)
    fit(model, wide, epochs=1, progress=False, device="cpu")
    assert 0 <= evaluate(model, wide.test)["accuracy"] <= 1
    with pytest.raises(ValueError, match=r"inputs\['a'\]: expected token ids from 0 to 599, found 600"):
        wide.prepare["a"]([[1, 600, 0]])


def test_hand_made_splits_whose_test_has_larger_ids_do_not_die() -> None:
    data = [MultimodalData({"a": torch.full((6, 3), most)}, torch.arange(6) % 2) for most in (3, 200, 300)]
    made = Splits(*data)
    model = build(made)
    fit(model, made, epochs=1, progress=False, device="cpu")
    assert 0 <= evaluate(model, made.test)["accuracy"] <= 1


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([[1, -2]] * N, r"inputs\['a'\]: expected token ids from 0 to 999,999, found -2"),
        ([[1, 10**9]] * N, r"inputs\['a'\]: expected token ids from 0 to 999,999, found 1000000000"),
        ([[1, 0.5]] * N, r"inputs\['a'\]: expected whole numbers as token ids, found 0.5"),
        ([[1, 1e300]] * N, r"inputs\['a'\]: expected token ids"),
        (np.ones((N, 2, 2)), r"inputs\['a'\]: expected token ids \[N, L\], found \[30, 2, 2\]"),
    ],
)
def test_no_token_ids(ids: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_arrays({"a": ids}, LABELS, tokens=["a"])


@pytest.mark.parametrize(
    ("layout", "raw_size", "size", "kind"),
    [
        ("NHW", (8, 9), (1, 8, 9), "a grey picture"),
        ("NLD", (8, 9), (8, 9), "a sequence"),
        ("NDL", (8, 9), (9, 8), "a sequence, steps last"),
        ("NL", (8,), (8, 1), "a series of single numbers"),
        ("ND", (8,), (8,), "a vector"),
        ("NHWC", (8, 9, 3), (3, 8, 9), "a picture, channels last"),
        ("NCHW", (3, 8, 9), (3, 8, 9), "a picture, channels first"),
        ("nchw", (9, 8, 3), (9, 8, 3), "a picture, channels first"),
    ],
)
def test_layouts(layout: str, raw_size: tuple[int, ...], size: tuple[int, ...], kind: str) -> None:
    raw = RNG.normal(size=(N, *raw_size)).astype(np.float32)
    made = from_arrays({"a": raw}, LABELS, layout={"a": layout})
    assert made.train.shapes == {"a": size}
    assert f"a        {list(size)} {kind}" in repr(made)
    prepared = made.prepare["a"](raw)
    letters = {letter: i for i, letter in enumerate(layout.upper())}
    point = tuple(4 if i == letters["N"] else (2 if n > 2 else 0) for i, n in enumerate(raw.shape))
    order = {"NHW": "NHW", "NLD": "NLD", "NDL": "NLD", "NL": "NL", "ND": "ND", "NHWC": "NCHW", "NCHW": "NCHW"}[layout.upper()]
    at = [point[letters[letter]] for letter in order]
    at = [at[0], 0, *at[1:]] if layout == "NHW" else [*at, 0] if layout == "NL" else at
    assert prepared[tuple(at)] == float(raw[point])
    fit(build(made), made, epochs=1, progress=False, device="cpu")


def test_channels_last_are_recognised_and_said() -> None:
    raw = RNG.normal(size=(N, 8, 9, 3))
    with pytest.warns(UserWarning, match=r"inputs\['a'\]: \[30, 8, 9, 3\] is read as pictures with 3 channels last; layout="):
        made = from_arrays({"a": raw}, LABELS)
    assert made.train.shapes == {"a": (3, 8, 9)}


@pytest.mark.parametrize(
    ("raw", "options", "message"),
    [
        (np.ones((N, 28, 28)), {}, r"inputs\['a'\]: three axes, \[30, 28, 28\], can be read in three ways.*'NLD'.*'NDL'.*'NHW'"),
        (np.ones((N, 2)), {"layout": {"a": "NHW"}}, r"layout\['a'\]: NHW has 3 axes, inputs\['a'\] has 2: \[30, 2\]"),
        (np.ones((N, 2)), {"layout": {"a": "HW"}}, r"layout\['a'\]: unknown 'HW'; known: ND, NL"),
        (np.ones((N, 2)), {"layout": {"a": 3}}, r"layout\['a'\]: unknown 3"),
        (np.ones((N, 2)), {"layout": {"b": "ND"}}, "layout: unknown modality 'b'; known: a"),
        (np.ones((N, 2)), {"tokens": ["b"]}, "tokens: unknown modality 'b'; known: a"),
        (np.ones((N, 2)), {"tokens": ["a"], "layout": {"a": "ND"}}, r"layout\['a'\]: token ids are NL, found ND"),
        (np.ones((N, 0)), {}, r"inputs\['a'\]: expected at least one number per sample, found shape \[30, 0\]"),
        (np.ones((N + 1, 2)), {}, r"inputs\['a'\]: expected 30 samples, one per label, found 31"),
        ([[1, 2]] * (N - 1) + [[1]], {}, r"inputs\['a'\]: expected samples of one shape"),
        (pd.Series([np.ones(2)] * (N - 1) + [np.ones(3)]), {}, r"inputs\['a'\]: expected samples of one shape"),
        (3.0, {}, r"inputs\['a'\]: expected shape \[N, ...\], found a single number"),
        (np.full((N, 2), 1e300), {}, r"inputs\['a'\]: expected numbers up to 3.4e38 \(float32\), found 1e\+300"),
        ([[None, 1.0]] + [[0.0, 1.0]] * (N - 1), {}, r"inputs\['a'\]: expected finite numbers, found NaN .* first in sample 0"),
        (np.ma.MaskedArray(WHOLE, mask=np.arange(N)[:, None] == [[3] * 4]), {}, "found NaN or infinity in 1 of 30 .* sample 3"),
        (pd.DataFrame({"x": pd.array([None] + [1] * (N - 1), dtype="Int64")}), {}, "found NaN or infinity in 1 of 30"),
        (np.ones((N, 2)), {"present": {"b": [True] * N}}, "present: unknown modality 'b'; known: a"),
        (np.ones((N, 2)), {"present": {"a": [0.2] * N}}, r"present\['a'\]: expected booleans, or 0 and 1, found 0.2"),
        (np.ones((N, 2)), {"present": {"a": [np.nan] * N}}, r"present\['a'\]: expected booleans, or 0 and 1, found nan"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(raw: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_arrays({"a": raw}, LABELS, **options)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("text", "expected an array.*found str"),
        (None, "found NoneType"),
        ({"x": 1}, "found dict"),
        (object(), "found object"),
        ([["x", "y"]] * N, "expected numbers, found text such as 'x'.*tokens="),
        ([[1, "y"]] * N, "expected numbers, found text"),
        (np.ones((N, 2), dtype=complex), "expected real numbers, found complex128"),
        (torch.ones(N, 2, dtype=torch.complex64), "expected a dense tensor of real numbers"),
        (torch.eye(N).to_sparse(), "expected a dense tensor"),
        (np.array(["2020-01-01"] * N, dtype="M8[D]"), "expected real numbers, found datetime64"),
        (pd.DataFrame({"x": range(N), "city": ["Ulm"] * N}), "expected columns of numbers, found string in column 'city'"),
        (pd.DataFrame({"when": pd.date_range("2020", periods=N)}), "found datetime64 in column 'when'"),
        (pd.DataFrame({"kind": pd.Categorical(["u", "v"] * (N // 2))}), "in column 'kind'.*get_dummies"),
    ],
)
def test_what_holds_no_numbers_is_refused_by_name(raw: Any, message: str) -> None:
    with pytest.raises(TypeError, match=r"inputs\['a'\]: .*" + message):
        from_arrays({"a": raw}, LABELS)


def test_sparse_matrices_are_not_made_dense_unasked() -> None:
    from scipy.sparse import csr_matrix

    with pytest.raises(TypeError, match=r"inputs\['a'\]: expected a dense array, found csr_matrix; pass .*toarray\(\)"):
        from_arrays({"a": csr_matrix(WHOLE)}, LABELS)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        (0, TypeError, "inputs: expected text for the name of a modality, found 0; call it 'modality 0'"),
        ("joint", ValueError, "inputs: a modality cannot be called 'joint'"),
        ("fused", ValueError, "inputs: a modality cannot be called 'fused'"),
        (" ", ValueError, "inputs: expected a name for every modality, found ' '"),
    ],
)
def test_names_that_cannot_be(name: Any, error: type[Exception], message: str) -> None:
    for make in (from_arrays, MultimodalData):
        with pytest.raises(error, match=message):
            make({name: np.ones((N, 2))}, LABELS)  # type: ignore[operator]


def test_inputs_must_have_names() -> None:
    for nameless in (pd.DataFrame(WHOLE), WHOLE, {}, None):
        with pytest.raises(TypeError, match="inputs: expected a dict from modality name to an array, at least one, found"):
            from_arrays(nameless, LABELS)  # type: ignore[arg-type]


def test_rows_in_another_order_are_refused_not_paired() -> None:
    frame, labels = pd.DataFrame(WHOLE), pd.Series(LABELS)
    with pytest.raises(ValueError, match=r"labels: expected the rows in the order of inputs\['a'\], found another index"):
        from_arrays({"a": frame.sample(frac=1, random_state=0)}, labels)
    shuffled = frame.sample(frac=1, random_state=0)
    made = from_arrays({"a": shuffled}, labels.loc[shuffled.index])
    assert len(made.train) == 18
    other = frame.set_index(np.arange(N) + 1000)  # no common rows: paired by place, as arrays are
    assert torch.equal(everything(from_arrays({"a": other}, labels)), everything(from_arrays({"a": frame}, labels)))
