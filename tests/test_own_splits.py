"""How from_arrays splits: groups of any name kept apart, official splits respected, no class lost where that can be helped."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlib.data import MultimodalData, Splits, from_arrays


def own(labels: Any, **options: Any) -> Splits:
    """Splits whose single input is the sample's number."""
    return from_arrays({"a": np.arange(len(labels)) / 10}, labels, **options)


def numbers(data: MultimodalData) -> list[int]:
    return [round(10 * x) for x in data.inputs["a"][:, 0].tolist()]


def trained(made: Splits) -> set[int]:
    return set(made.train.labels.tolist())


PEOPLE = [f"p{i // 5}" for i in range(60)]


@pytest.mark.parametrize(
    "people",
    [
        PEOPLE,
        np.array(PEOPLE),
        pd.Series(PEOPLE),
        pd.Series(pd.Categorical(PEOPLE)),
        [(p[0], int(p[1:])) for p in PEOPLE],
        [int(p[1:]) for p in PEOPLE],
        np.array([float(p[1:]) for p in PEOPLE]),
        torch.tensor([int(p[1:]) for p in PEOPLE]),
        [10**30 + int(p[1:]) for p in PEOPLE],
        [p if p != "p3" else 3 for p in PEOPLE],
    ],
    ids=["list", "array", "series", "categorical", "tuples", "ints", "floats", "tensor", "huge", "mixed"],
)
def test_groups_of_any_name_are_kept_apart(people: Any) -> None:
    made = own(np.arange(60) % 2, split_by=people)
    plain = people.tolist() if isinstance(people, torch.Tensor) else list(people)
    found = [{plain[i] for i in numbers(d)} for _, d in made.items()]
    assert sum(map(len, found)) == len(set.union(*found)) == len(set(plain))
    assert [len(d.groups["group"].unique()) for _, d in made.items()] == [7, 3, 2]
    if isinstance(people, list) and not isinstance(people[0], int):
        assert made.train.raw["group"] == [people[i] for i in numbers(made.train)], "their names are kept"


@pytest.mark.parametrize(
    ("people", "error", "message"),
    [
        (np.arange(60) / 2, ValueError, "split_by: expected names or whole numbers, found 0.5 in sample 1"),
        ([None, *PEOPLE[1:]], ValueError, "split_by: expected a name for every sample, found None in sample 0"),
        ([float("nan"), *range(59)], ValueError, "split_by: expected a name for every sample, found nan in sample 0"),
        ([[1]] * 60, TypeError, "split_by: expected names that can be told apart"),
        ("p" * 60, TypeError, "split_by: expected a list"),
        (np.ones((60, 2)), ValueError, r"split_by: expected one name per sample, \[60\], found shape \[60, 2\]"),
        (PEOPLE[1:], ValueError, "split_by: expected 60 entries, one per label, found 59"),
    ],
)
def test_groups_that_cannot_be_told_apart(people: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        own(np.arange(60) % 2, split_by=people)


def test_hand_made_groups_with_fractions_are_refused_not_merged() -> None:
    with pytest.raises(ValueError, match=r"groups\['voice'\]: expected whole numbers, found fractions or NaN"):
        MultimodalData({"a": np.ones((2, 1))}, [0, 1], groups={"voice": [0.2, 0.7]})  # type: ignore[dict-item, arg-type]


@given(
    counts=st.lists(st.integers(1, 9), min_size=2, max_size=12),
    seed=st.integers(0, 99),
    fractions=st.sampled_from([(0.6, 0.2, 0.2), (0.9, 0.05, 0.05), (0.2, 0.1, 0.7), (0.01, 0.98, 0.01)]),
)
@settings(deadline=None, max_examples=100)
def test_every_class_is_trained_on_however_rare(counts: list[int], seed: int, fractions: tuple[float, float, float]) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    if sum(counts) - len(counts) < 2:  # one sample of each class for training: none is left for validation or test
        with pytest.raises(ValueError, match="empty with fractions"):
            own(labels, seed=seed, fractions=fractions, classes=range(len(counts)))
        return
    made = own(labels, seed=seed, fractions=fractions, classes=range(len(counts)))
    assert trained(made) == set(range(len(counts)))
    assert sorted(i for _, d in made.items() for i in numbers(d)) == list(range(len(labels)))


@given(seed=st.integers(0, 300), rare=st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_groups_change_places_until_every_class_is_trained_on(seed: int, rare: int) -> None:
    """Classes 2, 3, ... have one person each."""
    person = np.arange(100) // 10
    labels = np.arange(100) % 2
    for c in range(rare):
        labels[10 * c : 10 * c + 4] = 2 + c
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = own(labels, split_by=person, seed=seed)
    assert trained(made) == set(range(2 + rare))
    assert [len(d.groups["group"].unique()) for _, d in made.items()] == [6, 2, 2]


def test_groups_stay_where_they_are_if_nothing_is_lacking() -> None:
    """The split of old: groups shuffled by the seed and cut, whatever their names."""
    person = np.arange(60) // 5
    made = own(np.arange(60) % 2, split_by=person, seed=4)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(4))
    assert set(made.train.groups["group"].tolist()) == set(order[:7].tolist())
    assert set(made.test.groups["group"].tolist()) == set(order[10:].tolist())


def test_a_class_that_cannot_be_trained_on_is_told() -> None:
    labels, split = np.arange(30) % 2, np.array((["train"] * 4 + ["val", "test"]) * 5)
    labels[split == "test"] = 2
    with pytest.warns(
        UserWarning, match=r"labels: no training sample of 2 \(0 in val and 5 in test\), so nothing can be learned"
    ):
        made = own(labels, split=split)
    assert made.classes == (0, 1, 2)


def test_official_splits_are_respected() -> None:
    split = np.random.default_rng(0).permutation(["train"] * 30 + ["val"] * 10 + ["test"] * 20)
    for given_as in (split, split.tolist(), pd.Series(split), pd.Series(pd.Categorical(split))):
        made = own(np.arange(60) % 2, split=given_as)
        for name, data in made.items():
            assert [split[i] for i in numbers(data)] == [name] * len(data)
            assert numbers(data) == np.nonzero(split == name)[0].tolist()


@pytest.mark.parametrize("by_person", [False, True])
def test_validation_is_cut_from_the_training_data_of_an_official_split(by_person: bool) -> None:
    split = np.array(["train", "train", "train", "test"] * 20)
    person = np.arange(80) // 4 * 2 + (split == "test")  # nobody stands in both
    labels = np.arange(80) // 4 % 2
    made = own(labels, split=split, split_by=person if by_person else None)
    assert sorted(numbers(made.test)) == np.nonzero(split == "test")[0].tolist()
    # a quarter, as fractions have it, 0.2 of 0.6 + 0.2: of 20 people, or of the 30 samples of each class, rounded
    assert (len(made.train), len(made.val)) == ((45, 15) if by_person else (44, 16))
    if by_person:
        assert "disjoint" in repr(made)
    else:
        assert made.val.labels.bincount().tolist() == [8, 8]


def test_validation_is_cut_even_from_a_handful() -> None:
    made = own([0, 0, 1, 0, 1], split=["train"] * 3 + ["test"] * 2)
    assert (len(made.train), len(made.val), len(made.test)) == (2, 1, 2)
    assert trained(made) == {0, 1}
    with pytest.raises(ValueError, match="val: empty with fractions"):
        own([0, 1, 0, 1], split=["train"] * 2 + ["test"] * 2)


def test_groups_that_an_official_split_tears_apart_are_told() -> None:
    split = ["train", "val", "test"] * 10
    with pytest.warns(UserWarning, match="split: 2 groups of split_by stand in more than one split"):
        own(np.arange(30) % 2, split=split, split_by=["x"] * 15 + ["y"] * 15)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (["train", "dev", "test"] * 4, "split: expected train, val, test, found 'dev'"),
        ([True, False, True] * 4, "split: expected train, val, test, found True"),
        (["train", "val"] * 6, "split: expected samples to test, found none"),
        (["test", "val"] * 6, "split: expected samples to train, found none"),
        (["train", "test"], "split: expected one of train, val, test for each of 12 samples, found 2"),
        ("train", "split: expected one of train, val, test for each of 12 samples, found 'train'"),
    ],
)
def test_no_official_split(split: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        own(np.arange(12) % 2, split=split)
