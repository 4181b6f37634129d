"""MultimodalData, Splits and from_arrays: batches, missing modalities, splits by group, and clear errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlib.data import MultimodalData, Splits, from_arrays


def numbered(n: int = 12, classes: int = 3, **more: Any) -> MultimodalData:
    """Data whose every column holds the sample's number, so that a mix-up shows."""
    number = torch.arange(n)
    inputs = {"a": number.float()[:, None] + 1, "b": (number + 1)[:, None, None].expand(n, 2, 3).float()}
    groups, raw = {"person": number // 2}, {"name": [f"s{i}" for i in range(n)], "wave": number.numpy()[:, None] * 1.0}
    return MultimodalData(inputs, number % classes, classes, groups=groups, raw=raw, **more)


def aligned(data: MultimodalData, numbers: list[int]) -> bool:
    columns = [data.inputs["a"][:, 0] - 1, data.inputs["b"][:, 1, 2] - 1, torch.as_tensor(data.raw["wave"])[:, 0]]
    return (
        all(c.tolist() == numbers for c in columns)
        and data.raw["name"] == [f"s{i}" for i in numbers]
        and data.labels.tolist() == [i % 3 for i in numbers]
        and data.groups["person"].tolist() == [i // 2 for i in numbers]
    )


# --- MultimodalData


@given(st.lists(st.integers(0, 11), min_size=1, max_size=30))
@settings(deadline=None, max_examples=30)
def test_select_keeps_every_column_together(index: list[int]) -> None:
    data = numbered()
    assert aligned(data.select(index), index)
    assert aligned(data.select(torch.tensor(index)), index)
    assert data.select(index).num_classes == 3


def test_what_data_says_of_itself() -> None:
    data = numbered()
    assert (len(data), data.num_classes, data.modalities) == (12, 3, ("a", "b"))
    assert data.shapes == {"a": (1,), "b": (2, 3)}
    assert data.device.type == "cpu"
    wider = MultimodalData({**data.inputs, "a": torch.ones(12, 2)}, data.labels)
    with pytest.raises(ValueError, match=r"val: expected modalities and shapes as in train, .* found \{'a': \(2,\)"):
        Splits(data, wider, data)


def test_select_by_booleans() -> None:
    data = numbered()
    assert aligned(data.select(data.labels == 1), [1, 4, 7, 10])
    with pytest.raises(ValueError, match="empty split"):
        data.select(data.labels == 7)


@given(n=st.integers(1, 40), size=st.integers(1, 50), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_batches_show_every_sample_once(n: int, size: int, seed: int) -> None:
    data = numbered(n)
    for generator in (None, torch.Generator().manual_seed(seed)):
        batches = list(data.batches(size, generator))
        assert [len(b.labels) for b in batches[:-1]] == [size] * (len(batches) - 1)
        seen = torch.cat([b.inputs["a"][:, 0] for b in batches]).long() - 1
        assert sorted(seen.tolist()) == list(range(n))
        assert torch.equal(torch.cat([b.labels for b in batches]), seen % 3)
        assert torch.equal(torch.cat([b.inputs["b"][:, 0, 0] for b in batches]).long() - 1, seen)
        if generator is None:
            assert seen.tolist() == list(range(n))


def test_batches_follow_their_generator() -> None:
    def order(seed: int) -> list[float]:
        batches = numbered(40).batches(7, torch.Generator().manual_seed(seed))
        return [v for b in batches for v in b.inputs["a"][:, 0].tolist()]

    assert order(1) == order(1) != order(2)
    with pytest.raises(ValueError, match="batch_size: expected 1 or more, found 0"):
        next(numbered().batches(0))


@given(rate=st.floats(0, 1), seed=st.integers(0, 50))
@settings(deadline=None, max_examples=40)
def test_drop_takes_away_the_share_it_says(rate: float, seed: int) -> None:
    data = numbered(40)
    without = data.drop("a", rate, seed)
    assert without.present is not None
    gone = ~without.present["a"]
    assert int(gone.sum()) == round(rate * 40)
    assert without.present["b"].all()
    assert (without.inputs["a"][gone] == 0).all()
    assert torch.equal(without.inputs["a"][~gone], data.inputs["a"][~gone])
    assert torch.equal(without.inputs["b"], data.inputs["b"])
    assert data.present is None, "the original is left alone"
    assert (data.inputs["a"] > 0).all()
    again = data.drop("a", rate, seed)
    assert again.present is not None
    assert torch.equal(again.present["a"], without.present["a"])


def test_drop_leaves_every_sample_something() -> None:
    half = numbered(40).drop("a", 0.5)
    both = half.drop("b", 0.5, seed=1)
    assert both.present is not None
    assert (both.present["a"] | both.present["b"]).all()
    assert int(both.present["a"].sum()) == int(both.present["b"].sum()) == 20
    with pytest.raises(ValueError, match="only 20 have another modality left"):
        half.drop("b", 0.6)
    with pytest.raises(ValueError, match="have another modality left"):
        numbered().only("a").drop("a", 0.1)
    for batch in both.batches(8, torch.Generator().manual_seed(0)):
        assert batch.present is not None
        assert torch.equal(batch.inputs["a"][:, 0] > 0, batch.present["a"])


@pytest.mark.parametrize(
    ("modality", "rate", "message"),
    [
        ("c", 0.1, "unknown 'c'; known: a, b"),
        ("a", 1.1, "rate: expected a share"),
        ("a", -0.1, "rate"),
        ("a", float("nan"), "rate"),
    ],
)
def test_drop_refuses(modality: str, rate: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        numbered().drop(modality, rate)


def test_nan_is_welcome_only_where_the_modality_is_absent() -> None:
    a = np.ones((4, 2))
    a[2] = np.nan
    labels = [0, 1, 0, 1]
    with pytest.raises(
        ValueError, match=r"inputs\['a'\]: expected finite numbers, found NaN .* in 1 of 4 samples, first in sample 2"
    ):
        MultimodalData({"a": a}, labels)
    data = MultimodalData({"a": a, "b": np.ones((4, 1))}, labels, present={"a": [True, True, False, True]})
    assert data.inputs["a"][2].tolist() == [0, 0]
    assert data.present is not None
    assert data.present["b"].all()
    a[2] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        MultimodalData({"a": a}, labels)
    a[1, 1] = np.nan  # the error names the first of several, not the last
    with pytest.raises(ValueError, match="in 2 of 4 samples, first in sample 1;"):
        MultimodalData({"a": a}, labels)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: MultimodalData({}, [0, 1]), TypeError, "at least one modality"),
        (lambda: MultimodalData(np.ones((2, 2)), [0, 1]), TypeError, "expected a dict"),  # type: ignore[arg-type]
        (lambda: MultimodalData({"a": [["x"], ["y"]]}, [0, 1]), TypeError, r"inputs\['a'\]: .* numbers"),  # type: ignore[dict-item]
        (lambda: MultimodalData({"a": np.ones(2)}, [0, 1]), ValueError, r"inputs\['a'\]: .* at least two axes, found \[2\]"),
        (lambda: MultimodalData({"a": np.ones((3, 1))}, [0, 1]), ValueError, r"inputs\['a'\]: expected 2 samples.* found 3"),
        (lambda: MultimodalData({"a": np.ones((2, 1))}, [[0], [1]]), ValueError, r"labels: expected shape \[N\], found \[2, 1\]"),
        (lambda: MultimodalData({"a": np.ones((0, 1))}, []), ValueError, "empty split"),
        (
            lambda: MultimodalData({"a": np.ones((2, 1))}, [0, 2], 2),
            ValueError,
            r"labels: expected values in 0 .. 1, found 0 .. 2",
        ),
        (lambda: MultimodalData({"a": np.ones((2, 1))}, [-1, 0]), ValueError, "found -1 .. 0"),
        (lambda: MultimodalData({"a": np.ones((2, 1))}, [0.5, 1]), ValueError, "fractions or NaN"),
        (lambda: MultimodalData({"a": np.ones((2, 1))}, [0, np.nan]), ValueError, "fractions or NaN"),
        (lambda: numbered(present={"c": [True] * 12}), ValueError, "present: unknown modality 'c'; known: a, b"),
        (lambda: numbered(present={"a": [True] * 3}), ValueError, r"present\['a'\]: expected shape \[12\], found \[3\]"),
        (lambda: numbered(present={"a": [False] * 12, "b": [False] + [True] * 11}), ValueError, "1 of 12 have none"),
        (
            lambda: MultimodalData({"a": np.ones((2, 1))}, [0, 1], groups={"person": [1]}),  # type: ignore[dict-item]
            ValueError,
            r"groups\['person'\]: expected 2 entries, one per label, found 1",
        ),
        (lambda: MultimodalData({"a": np.ones((2, 1))}, [0, 1], raw={"word": ["x"]}), ValueError, r"raw\['word'\]"),
        (lambda: numbered().only("a", "c"), ValueError, "unknown 'c'; known: a, b"),
    ],
)
def test_bad_data(build: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build()


def test_numbers_become_tensors_of_one_kind() -> None:
    data = MultimodalData({"a": np.ones((2, 3)), "t": np.array([[1, 2], [3, 0]])}, np.array([0.0, 1.0]))
    assert data.inputs["a"].dtype == torch.float32
    assert data.inputs["t"].dtype == torch.int64
    assert data.labels.dtype == torch.int64
    assert data.num_classes == 2


def test_only_and_to_keep_the_rest() -> None:
    data = numbered().drop("a", 0.25)
    turned = data.only("b", "a")
    assert turned.modalities == ("b", "a")
    assert turned.raw["name"] == data.raw["name"]
    moved = data.to("cpu")
    assert moved.present is not None
    assert data.present is not None
    assert torch.equal(moved.present["a"], data.present["a"])
    assert moved.raw is not None
    assert moved.device.type == "cpu"


def test_a_readable_repr() -> None:
    text = repr(numbered().drop("a", 0.25))
    assert text.splitlines() == [
        "MultimodalData: 12 samples, 3 classes, on cpu",
        "  a        [1] float32, 25% missing",
        "  b        [2, 3] float32",
        "  by person: 6 groups",
    ]
    assert repr(numbered()).splitlines()[1:3] == ["  a        [1] float32", "  b        [2, 3] float32"]


def test_data_is_itself_and_nothing_else() -> None:
    data = numbered()
    assert data == data  # numbers are not compared: that would be a tensor of answers
    assert data != numbered()
    both = splits()
    assert both == both
    assert both != splits()
    assert len({data, both}) == 2


def test_drop_at_its_bounds() -> None:
    data = numbered(40)
    for rate, left in ((0, 40), (1, 0)):
        dropped = data.drop("a", rate)
        assert dropped.present is not None
        assert int(dropped.present["a"].sum()) == left
    fewer = data.drop("a", 0.5, seed=1).drop("a", 0.2)  # more are gone already: nothing comes back, and no more goes
    assert fewer.present is not None
    assert int(fewer.present["a"].sum()) == 20


# --- Splits


def splits(**more: Any) -> Splits:
    data = numbered(30)
    return Splits(data.select(range(18)), data.select(range(18, 24)), data.select(range(24, 30)), **more)


def test_splits_repr_says_whether_groups_are_apart() -> None:
    text = repr(splits(name="mine", settings={"seed": 4}))
    assert text.startswith("Splits 'mine': train 18, val 6, test 6; 3 classes")
    assert "  by person: 9 + 3 + 3 groups, disjoint" in text
    assert "seed=4" in text
    data = numbered(30)
    assert "shared between splits" in repr(Splits(data, data, data))


def test_splits_must_agree() -> None:
    data = numbered()
    with pytest.raises(ValueError, match="test: expected modalities and shapes as in train"):
        Splits(data, data, data.only("a"))
    other = MultimodalData(data.inputs, data.labels, num_classes=4)
    with pytest.raises(ValueError, match="val: expected 3 classes as in train, found 4"):
        Splits(data, other, data)


def test_splits_drop_on_the_named_splits_alone() -> None:
    made = splits().drop("a", 0.5, seed=1, splits=["test"])
    assert made.train.present is None
    assert made.val.present is None
    assert made.test.present is not None
    assert int(made.test.present["a"].sum()) == 3
    everywhere = splits().drop("a", 0.5)
    for _, data in everywhere.items():
        assert data.present is not None
        assert data.present["a"].float().mean() == 0.5
    with pytest.raises(ValueError, match=r"splits: unknown \['dev'\]; known: train, val, test"):
        splits().drop("a", 0.5, splits=["dev"])


def test_splits_drop_with_a_draw_of_its_own_for_every_split_and_seed() -> None:
    data = numbered(60)
    same = Splits(data, data, data)

    def lost(made: Splits) -> list[tuple[int, ...]]:
        return [tuple((~d.present["a"]).nonzero().flatten().tolist()) for _, d in made.items()]  # type: ignore[index]

    draws = [draw for seed in range(5) for draw in lost(same.drop("a", 0.5, seed))]
    assert len(set(draws)) == 15
    # stored results rely on which: split number i of seed s is the draw 3 s + i
    assert draws == [tuple((~data.drop("a", 0.5, d).present["a"]).nonzero().flatten().tolist()) for d in range(15)]  # type: ignore[index]
    assert lost(same.drop("a", 0.5)) == draws[:3]
    assert lost(same.map(lambda d: d.drop("a", 0.5))) == [draws[0]] * 3


def test_splits_only_and_map() -> None:
    one = splits().only("b")
    assert one.modalities == ("b",)
    assert [len(d) for _, d in one.items()] == [18, 6, 6]
    assert one.map(lambda d: d.select([0])).num_classes == 3


# --- from_arrays


@given(
    people=st.lists(st.integers(0, 8), min_size=30, max_size=60).filter(lambda p: len(set(p)) >= 6),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=40)
def test_from_arrays_keeps_groups_apart(people: list[int], seed: int) -> None:
    n = len(people)
    made = from_arrays({"a": np.arange(n)[:, None] * 1.0}, np.arange(n) % 2, split_by=people, num_classes=2, seed=seed)
    found = [set(d.groups["group"].tolist()) for _, d in made.items()]
    assert sum(map(len, found)) == len(set.union(*found)) == len(set(people))
    seen = torch.cat([d.inputs["a"][:, 0] for _, d in made.items()]).long()
    assert sorted(seen.tolist()) == list(range(n))
    for _, data in made.items():
        assert data.groups["group"].tolist() == [people[i] for i in data.inputs["a"][:, 0].long().tolist()]


def test_from_arrays_without_groups_keeps_the_classes_in_proportion() -> None:
    labels = np.repeat([0, 1, 2], [50, 100, 250])
    made = from_arrays({"a": np.ones((400, 2))}, labels, fractions=(0.7, 0.1, 0.2), seed=3)
    assert [d.labels.bincount().tolist() for _, d in made.items()] == [[35, 70, 175], [5, 10, 25], [10, 20, 50]]


def test_from_arrays_one_seed_one_split() -> None:
    x, y = {"a": np.arange(60)[:, None] * 1.0}, np.arange(60) % 3
    first, again, other = (from_arrays(x, y, seed=s).train.inputs["a"] for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_from_arrays_passes_on_what_is_missing() -> None:
    here = np.arange(60) % 4 > 0
    made = from_arrays({"a": np.ones((60, 1)), "b": np.ones((60, 1))}, np.arange(60) % 3, present={"a": here})
    total = 0
    for _, data in made.items():
        assert data.present is not None
        assert torch.equal(data.inputs["a"][:, 0] > 0, data.present["a"])
        total += int(data.present["a"].sum())
    assert total == here.sum()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fractions": (0.5, 0.5, 0.5)}, "fractions: expected three positive shares that add to 1"),
        ({"fractions": (1.0, 0.0, 0.0)}, "fractions"),
        ({"fractions": (0.5, 0.5)}, "fractions"),
        ({"split_by": [0] * 10 + [1] * 10}, r"empty with fractions=\(0.6, 0.2, 0.2\) and 2 groups"),
        ({"split_by": [0, 1, 2]}, "split_by: expected 20 entries"),
        ({"num_classes": 1}, "labels: expected values in 0 .. 0, found 0 .. 1"),
    ],
)
def test_from_arrays_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_arrays({"a": np.ones((20, 2))}, np.arange(20) % 2, **arguments)
    with pytest.raises(ValueError, match="empty with fractions"):
        from_arrays({"a": np.ones((2, 2))}, [0, 1])
