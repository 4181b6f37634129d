"""Modalities may be called anything: no name of theirs meets one of torch's or of the library's."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmlib.data.by_modality import ByModality
from mmlib.fusion import FUSIONS
from mmlib.methods import Method, Unimodal
from mmlib.model import build
from mmlib.train import evaluate, fit
from tests.conftest import make_tiny
from tests.test_contract import CASES

ODD = ("left.arm", "keys", "phone accel", "type", "forward", "%2E", "Ärm/links", "training", "_modules", "")
OPTIONS = {"epochs": 2, "batch_size": 16, "lr": 1e-2, "device": "cpu", "progress": False}


@given(st.lists(st.text(max_size=6) | st.sampled_from(ODD), unique=True, min_size=1, max_size=6))
@settings(deadline=None, max_examples=60)
def test_a_dictionary_of_modules_with_any_keys(names: list[str]) -> None:
    modules = {name: nn.Linear(i + 1, 1) for i, name in enumerate(names)}
    held = ByModality(modules)
    assert list(held) == list(held.keys()) == names
    assert dict(held.items()) == modules
    assert [held[name] for name in names] == list(held.values()) == list(modules.values())
    assert all(name in held for name in names)
    assert len(held.state_dict()) == 2 * len(names)
    other = ByModality({name: nn.Linear(i + 1, 1) for i, name in enumerate(names)})
    other.load_state_dict(held.state_dict())
    assert all(torch.equal(other[name].weight, modules[name].weight) for name in names)  # type: ignore[arg-type]
    assert list(pickle.loads(pickle.dumps(held))) == list(copy.deepcopy(held)) == names
    first = held.pop(names[0])
    assert first is modules[names[0]]
    assert list(held) == names[1:]


def test_names_that_torch_takes_stay_as_they_are_in_checkpoints() -> None:
    names = ["image", "phone accel", "a/b", "50 % louder"]
    plain, ours = (kind({m: nn.Linear(1, 1) for m in names}) for kind in (nn.ModuleDict, ByModality))
    assert list(ours.state_dict()) == list(plain.state_dict())
    assert 3 not in ours


#: every method, and every fusion, at least once
WAYS = [(case, list(FUSIONS)[number % len(FUSIONS)]) for number, case in enumerate(CASES)]


@pytest.mark.parametrize(("case", "fusion"), WAYS)
def test_every_method_and_fusion_takes_odd_names(case: str, fusion: str) -> None:
    splits = make_tiny(ODD[:5], samples=90)
    splits = splits.drop("keys", 0.2)
    make: Callable[[], Method] = CASES[case] if case != "unimodal" else lambda: Unimodal("left.arm")
    model, method = build(splits, fusion), make()
    history = fit(model, splits, method, **OPTIONS)
    assert history.rows[-1]["train_loss"] < history.rows[0]["train_loss"]
    scores = evaluate(model, splits.test, method)
    for m in ("left.arm",) if case == "unimodal" else splits.modalities:
        assert 0 <= scores[f"accuracy_{m}"] <= 1
    again, other = build(splits, fusion), make()
    fit(again, splits, other, **OPTIONS)
    again.load_state_dict(model.state_dict())
    assert evaluate(again, splits.test, other) == scores


def test_the_escape_stays_inside() -> None:
    splits = make_tiny(("left.arm", "keys"))
    model = build(splits)
    assert next(iter(model.state_dict())).startswith("encoders.%left%2Earm.")
    assert set(model(splits.test.inputs).unimodal) == {"left.arm", "keys"}
    compiled = torch.compile(model, backend="eager")
    assert torch.equal(compiled(splits.test.inputs).logits, model(splits.test.inputs).logits)
