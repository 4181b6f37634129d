"""Labels of any kind become classes that occur, with their names; what is no class is refused with advice."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlib.data import MultimodalData, Splits, from_arrays
from mmlib.data.labels import encode
from mmlib.model import build
from mmlib.train import fit


def own(labels: Any, **options: Any) -> Splits:
    """Splits whose single input is the sample's number."""
    return from_arrays({"a": np.arange(len(labels)) / 10}, labels, **options)


def named(made: Splits) -> dict[int, Any]:
    """The number of each sample, and the name of its label."""
    return {
        round(10 * float(x)): made.classes[int(y)]
        for _, d in made.items()
        for x, y in zip(d.inputs["a"][:, 0], d.labels, strict=True)
    }


WORDS = ["dog", "cat", "bird"] * 10


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (WORDS, ("bird", "cat", "dog")),
        (np.array(WORDS), ("bird", "cat", "dog")),
        (np.array(WORDS, dtype=object), ("bird", "cat", "dog")),
        (np.array(WORDS, dtype="S"), ("bird", "cat", "dog")),
        (pd.Series(WORDS), ("bird", "cat", "dog")),
        (pd.DataFrame({"kind": WORDS}), ("bird", "cat", "dog")),
        (pd.Categorical(WORDS, categories=["dog", "fish", "cat", "bird"]), ("dog", "cat", "bird")),
        (pd.Series(pd.Categorical(WORDS, categories=["dog", "cat", "bird"], ordered=True)), ("dog", "cat", "bird")),
        ([7, 10, 1] * 10, (1, 7, 10)),
        ([np.int16(7), np.int64(10), 1] * 10, (1, 7, 10)),
        (np.array([7, 10, 1] * 10, dtype=np.uint8), (1, 7, 10)),
        (np.array([7, 10, 1] * 10, dtype=np.uint64), (1, 7, 10)),
        (torch.tensor([7, 10, 1] * 10), (1, 7, 10)),
        (list(torch.tensor([7, 10, 1] * 10)), (1, 7, 10)),
        (torch.tensor([7.0, 10, 1] * 10), (1, 7, 10)),
        ([[7], [10], [1]] * 10, (1, 7, 10)),
        (pd.Series([7, 10, 1] * 10, dtype="Int64"), (1, 7, 10)),
        ([10**9, -5, 3] * 10, (-5, 3, 10**9)),
        ([True, False, True] * 10, (False, True)),
        (np.array([True, False, True] * 10), (False, True)),
        (torch.tensor([True, False, True] * 10), (False, True)),
    ],
    ids=lambda x: type(x).__name__,
)
def test_classes_are_what_occurs_in_order(labels: Any, classes: tuple[Any, ...]) -> None:
    made = own(labels)
    assert made.classes == classes
    assert [type(c) for c in made.classes] == [type(c) for c in classes]
    assert made.num_classes == len(classes)
    flat = labels["kind"] if isinstance(labels, pd.DataFrame) else labels
    plain = [x.item() if hasattr(x, "item") else x for x in (np.ravel(flat) if not isinstance(flat, torch.Tensor) else flat)]
    assert named(made) == {i: x.decode() if isinstance(x, bytes) else x for i, x in enumerate(plain)}


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_every_label_keeps_its_name(data: st.DataObject) -> None:
    kind = data.draw(
        st.sampled_from([st.text(max_size=3).filter(lambda t: "\0" not in t), st.integers(-(2**63), 2**63 - 1), st.booleans()])
    )
    names = data.draw(st.lists(kind, min_size=2, max_size=6, unique=True))
    labels = data.draw(st.permutations(names * 4))
    codes, classes = encode(labels)
    assert list(classes) == sorted(names)
    assert [classes[c] for c in codes] == list(labels)
    assert encode(labels, classes=names)[1] == tuple(names)


def test_labels_from_1_to_10_are_ten_classes_and_intervals_keep_their_order() -> None:
    assert own(np.arange(60) % 10 + 1).num_classes == 10
    ages = np.tile(np.arange(18, 85), 12)
    cut = pd.cut(pd.Series(ages), [0, 30, 60, 100])
    assert own(cut).classes == ("(0, 30]", "(30, 60]", "(60, 100]")


def test_a_count_or_names_of_classes_are_for_the_user_to_give() -> None:
    assert own([0, 1] * 10, num_classes=5).classes == (0, 1, 2, 3, 4)
    made = own(["b", "a"] * 10, classes=["c", "b", "a"])
    assert made.classes == ("c", "b", "a")
    assert set(made.train.labels.tolist()) == {1, 2}
    model = build(made)
    fit(model, made, epochs=1, progress=False, device="cpu")
    assert model.num_classes == 3
    assert own([3, 1] * 10, classes=range(1, 4), num_classes=3).classes == (1, 2, 3)
    assert own([0.5, 2] * 10, classes=[2, 0.5]).classes == (2, 0.5)
    assert own([False, True] * 10, classes=[True, False]).classes == (True, False)
    assert "3 classes: c, b, a" in repr(made)
    assert "5 classes\n" in repr(own([0, 1] * 10, num_classes=5))


@pytest.mark.parametrize(
    ("labels", "options", "error", "message"),
    [
        (np.linspace(0, 1, 30), {}, ValueError, r"found fractions such as 0\.03.*A quantity .* is not supported.*qcut"),
        (np.arange(30), {}, ValueError, "found 30 different labels in 30 samples. A quantity.*If they are classes"),
        ([f"file{i}.png" for i in range(30)], {}, ValueError, "30 different labels in 30 samples. Are they names of samples"),
        (np.arange(60).reshape(30, 2) % 3, {}, ValueError, r"found \[30, 2\]. Several labels per sample are not supported"),
        (pd.DataFrame({"x": [0, 1], "y": ["a", "b"]}), {}, ValueError, r"found \[2, 2\]. Several labels per sample"),
        (np.eye(3)[np.arange(30) % 3], {}, ValueError, r"found one-hot \[30, 3\]; pass labels.argmax\(1\)"),
        ([[0], [1, 2]] * 10, {}, ValueError, "lists of different lengths"),
        ([0, None] * 10, {}, ValueError, "found 10 missing .* first in sample 1"),
        ([0, float("nan")] * 10, {}, ValueError, "found 10 missing"),
        (pd.Series(["x", None] * 10), {}, ValueError, "found 10 missing"),
        (pd.Series([0, None] * 10, dtype="Int64"), {}, ValueError, "found 10 missing"),
        (pd.Categorical(["x", None] * 10), {}, ValueError, "found 10 missing"),
        ([0, float("inf")] * 10, {}, ValueError, "expected whole numbers of 64 bits, found inf"),
        ([0, 2**70] * 10, {}, ValueError, "expected whole numbers of 64 bits"),
        ([1, "a"] * 10, {}, TypeError, "one kind for all, found int and str"),
        ([True, 3] * 10, {}, TypeError, "one kind for all, found bool and int"),
        ([(0, 1), (1, 0)] * 10, {}, ValueError, r"one-hot \[20, 2\]"),
        ([{"a"}, {"b"}] * 10, {}, TypeError, "found set"),
        ("words", {}, TypeError, "expected a list or an array"),
        (None, {}, TypeError, "found NoneType"),
        (np.ones(20, dtype=complex), {}, TypeError, "found complex128"),
        ([], {}, ValueError, "at least one sample"),
        ([4] * 20, {}, ValueError, "expected two classes or more, found 4 alone"),
        ([1, 2] * 10, {"num_classes": 2}, ValueError, r"expected values in 0 .. 1, found 1 .. 2; .*classes=\[...\] names all"),
        (["a", "b"] * 10, {"num_classes": 3}, ValueError, r"labels are numbered, but they are text such as 'a'; pass classes"),
        ([0, 1] * 10, {"num_classes": 10**9}, ValueError, "num_classes: expected a whole number from 0 to 1e"),
        ([0, 1] * 10, {"num_classes": 2.5}, TypeError, "num_classes"),
        ([0, 1] * 10, {"classes": ["a", "b"]}, ValueError, "expected some of the classes 'a', 'b', found 0, 1"),
        ([0, 1] * 10, {"classes": [0, 1, 1]}, ValueError, "classes: expected two names or more, each once"),
        ([0, 1] * 10, {"classes": [0, None]}, TypeError, "classes: expected text, numbers or booleans, found None"),
        ([0, 1] * 10, {"classes": 2}, TypeError, "classes: expected a list of all names, found 2"),
        ([0, 1] * 10, {"classes": "01"}, TypeError, "classes: expected a list of all names, found '01'"),
        ([0, 1] * 10, {"classes": [0, 1], "num_classes": 3}, ValueError, "num_classes: expected 2"),
    ],
)  # fmt: skip
def test_what_is_no_class_is_refused_with_advice(
    labels: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"(labels: .*)?{message}") as caught:
        encode(labels, **options)
    assert str(caught.value).startswith(("labels: ", "num_classes: ", "classes: "))


def test_many_numbers_with_few_samples_each_are_asked_about() -> None:
    ages = 18 + np.arange(201) % 67
    with pytest.warns(UserWarning, match=r"labels: 67 classes with 3.0 samples each on average, from 18 to 84. A quantity"):
        made = own(ages)
    assert made.num_classes == 67
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert own(ages, classes=range(18, 85)).num_classes == 67


def test_labels_up_to_a_million_take_no_time_and_no_memory() -> None:
    labels = np.array([0, 10**6, 10**9, 5] * 50)
    began = time.perf_counter()
    made = own(labels)
    assert made.classes == (0, 5, 10**6, 10**9)
    assert own([0, 999_999] * 20, num_classes=1_000_000).num_classes == 1_000_000
    many = np.repeat(np.arange(4_000), 2) * 250
    assert own(many, classes=range(0, 1_000_000, 250)).num_classes == 4_000
    assert time.perf_counter() - began < 8  # numbering up to the largest label, or a look at all samples per class, took minutes


def test_huge_labels_of_hand_made_data_are_refused_before_anything_is_allocated() -> None:
    x = {"a": np.ones((2, 1))}
    with pytest.raises(
        ValueError, match=r"labels: expected classes 0, 1, ..., found 1000000000, .* mmlib.from_arrays numbers them"
    ):
        MultimodalData(x, [0, 10**9])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="num_classes: expected a whole number from 0 to 1e"):
        MultimodalData(x, [0, 1], 10**9)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="labels: expected an array or a tensor of numbers.*from_arrays"):
        MultimodalData(x, ["a", "b"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="labels: expected whole numbers, found fractions or NaN"):
        MultimodalData(x, [0, float("inf")])  # type: ignore[arg-type]


def test_names_of_hand_made_splits() -> None:
    data = MultimodalData({"a": np.ones((2, 1))}, [0, 1])  # type: ignore[dict-item, arg-type]
    assert Splits(data, data, data).classes == (0, 1)
    assert Splits(data, data, data, classes=("no", "yes")).only("a").classes == ("no", "yes")
    for wrong in (("no",), ("no", "no")):
        with pytest.raises(ValueError, match="classes: expected 2 different names, found"):
            Splits(data, data, data, classes=wrong)
