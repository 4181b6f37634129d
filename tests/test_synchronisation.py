"""The counter of tests/synchronisation.py finds every kind of wait, and nothing where there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmlib.methods.mla import fuse_by_uncertainty
from tests.synchronisation import Synchronisations

X = torch.arange(1.0, 19.0).view(6, 3)  # these stand for tensors on the device
Y = torch.tensor([0, 1, 2, 0, 1, 2])
DEVICE, ARRAY = X.device, np.ones(3, dtype=np.float32)

#: what the counter should call it -> what makes the host wait, once
WAITS: dict[str, list[Callable[[], Any]]] = {
    "_local_scalar_dense": [
        lambda: X[0, 0].item(),
        lambda: float(X[0, 0]),
        lambda: int(Y[0]),
        lambda: bool((X > 0).any()),
        lambda: 1 if X[0, 0] > 0 else 2,
        lambda: range(Y[1]),
        lambda: f"{X[0, 0]:.1f}",
        lambda: 3.0 in X,
        lambda: X[Y[0]],
        lambda: X[0, 0].is_nonzero(),
    ],
    "tolist": [lambda: X.tolist()],
    "cpu": [lambda: X.cpu(), lambda: X.cpu().tolist(), lambda: bool(X.cpu().numpy().any())],
    "numpy": [lambda: X.numpy()],
    "__array__": [lambda: np.asarray(X)],
    "to": [
        lambda: X.to("cpu"),
        lambda: X.to(device="cpu", dtype=torch.float64),
        lambda: torch.arange(6).to(DEVICE),
        lambda: torch.arange(6).to(device=DEVICE),
        lambda: torch.randperm(6).to(X),
        lambda: torch.from_numpy(ARRAY).to(DEVICE),
        lambda: torch.tensor([1.0, 2.0]).unbind()[0].to(DEVICE),
    ],
    "tensor": [
        lambda: torch.tensor([1.0, 2.0], device=DEVICE),
        lambda: torch.tensor(1.0, device=DEVICE),
        lambda: torch.tensor([X[0, 0], X[1, 1]]),
    ],
    "as_tensor": [lambda: torch.as_tensor([1], device=DEVICE), lambda: torch.as_tensor(ARRAY, device=DEVICE)],
    "asarray": [lambda: torch.asarray(ARRAY, device=DEVICE)],
    "new_tensor": [lambda: X.new_tensor([1.0])],
    "mul": [lambda: X * torch.tensor([1.0, 2.0, 3.0])],
    "copy_": [lambda: X.clone().copy_(torch.zeros(6, 3)), lambda: torch.zeros(6, 3).copy_(X)],
    "__getitem__": [lambda: X[torch.randperm(6)], lambda: X[[0, 1]], lambda: X[:, ARRAY > 0]],
    "__setitem__": [lambda: X.clone().__setitem__([0, 1], 1.0)],
    "index": [lambda: X[X > 3], lambda: X[Y == 0, 1]],
    "index_put_": [lambda: X.clone().__setitem__(Y == 0, torch.zeros(2, 3, device=DEVICE))],
    "nonzero": [lambda: X.nonzero(), lambda: torch.where(X > 3), lambda: torch.argwhere(X)],
    "masked_select": [lambda: X.masked_select(X > 3)],
    "equal": [lambda: torch.equal(X, X + 1)],
    "allclose": [lambda: torch.allclose(X, X + 1)],
    "_unique2": [lambda: Y.unique(), lambda: torch.unique(Y, return_counts=True)],
    "unique_dim": [lambda: torch.unique(Y, dim=0)],
    "unique_consecutive": [lambda: torch.unique_consecutive(Y)],
    "repeat_interleave": [lambda: torch.repeat_interleave(X, Y, dim=0), lambda: Y.repeat_interleave(Y)],
    "bincount": [lambda: torch.bincount(Y)],
    "multinomial": [lambda: torch.multinomial(X, 1)],
    "_linalg_check_errors": [lambda: torch.linalg.inv(torch.eye(3, device=DEVICE))],
}
CLEAN: dict[str, Callable[[], Any]] = {
    "arithmetic": lambda: (X * 2 + torch.tensor(1.0)).sum(),
    "a loss and its gradient": lambda: F.cross_entropy(X.clone().requires_grad_(), Y).backward(),
    "order drawn on the host": lambda: torch.randperm(3).tolist(),
    "numbers of the host": lambda: [v.item() for v in (torch.arange(3) + 1).unbind()],
    "the host's own mask": lambda: torch.arange(3)[torch.arange(3) > 1],
    "the host's own search": lambda: 2 in torch.arange(3),
    "values brought over before": lambda: torch.eye(3, device="cpu").sum().item(),
    "one number by mask": lambda: X.clone().__setitem__(X > 3, 0.0),
    "choice by mask": lambda: torch.where(X > 3, X, 1.0),
    "indices on the device": lambda: X[Y],
    "slices": lambda: X[0, 1:].clone().__setitem__(0, 1.0),
    "filled on the device": lambda: (X.new_full((3,), 2.0), torch.eye(3, device=DEVICE) @ X[0]),
    "another type": lambda: X.to(torch.float64),
    "already there": lambda: (X.to(DEVICE), torch.as_tensor(X)),
    "not waited for": lambda: torch.arange(6).to(DEVICE, non_blocking=True),
    "repeated a known number of times": lambda: (X.repeat_interleave(2, 0), Y.repeat_interleave(Y, output_size=6)),
    "a device's shape": lambda: (len(X), X.shape[0], X.numel(), X.device),
}


@pytest.mark.parametrize(("operation", "snippet"), [(name, f) for name, fs in WAITS.items() for f in fs])
def test_every_kind_of_wait_is_found_once(operation: str, snippet: Callable[[], Any]) -> None:
    with Synchronisations("cpu") as waits:
        snippet()
    assert [found.partition(" at ")[0] for found in waits.found] == [operation]
    assert waits.found[0].partition(" at ")[2].startswith("test_synchronisation.py:")
    snippet()
    assert len(waits) == 1  # nothing is counted afterwards


@pytest.mark.parametrize("snippet", CLEAN.values(), ids=CLEAN.keys())
def test_clean_code_counts_nothing(snippet: Callable[[], Any]) -> None:
    with Synchronisations("cpu") as waits:
        snippet()
    assert waits.found == []


def test_every_wait_counts_and_says_where() -> None:
    present = {"a": torch.tensor([True, False]), "b": torch.tensor([True, True])}
    votes = {m: torch.zeros(2, 3) for m in present}
    with Synchronisations("cpu") as waits:
        fuse_by_uncertainty(votes, present)
        assert sum(float(x) for x in X[0]) == 6.0
    places = [found.rpartition(":")[0] for found in waits.found]
    assert places == ["nonzero at mmlib/methods/mla_fusion.py", *["_local_scalar_dense at test_synchronisation.py"] * 3]


def test_waits_of_the_backward_pass_are_found() -> None:
    x = X.clone().requires_grad_()
    x.register_hook(lambda gradient: gradient * gradient.max().item())
    with Synchronisations("cpu") as waits:
        x.sum().backward()
    assert [found.partition(" at ")[0] for found in waits.found] == ["_local_scalar_dense"]


def test_what_comes_over_leaves_the_original_where_it_is() -> None:
    with Synchronisations("cpu") as waits:
        host = torch.arange(3)
        there = host.to(DEVICE)
        back = there.cpu()
        assert (waits.on_host(host), waits.on_host(there), waits.on_host(back)) == (True, False, True)
        assert host.tolist() == back.tolist() == [0, 1, 2]
    assert [found.partition(" at ")[0] for found in waits.found] == ["to", "cpu"]


def test_beside_a_device_of_its_own_sides_are_those_of_the_tensors() -> None:
    """Meta tensors have a device that is not the CPU, but no values: good enough to see where something is copied."""
    x = torch.ones(3, device="meta")
    with Synchronisations("meta") as waits:
        host = torch.arange(3.0)
        y = host.to("meta") + x * torch.tensor(2.0)  # a wait, and none
        torch.tensor([1.0], device="meta")
        y.copy_(host)
        y.to("meta"), host.to("cpu"), host.tolist()
        for bring in (lambda: y.cpu(), lambda: y.to(torch.device("cpu"))):
            with pytest.raises(NotImplementedError, match="no data"):
                bring()
    assert [found.partition(" at ")[0] for found in waits.found] == ["to", "tensor", "copy_", "cpu", "to"]
