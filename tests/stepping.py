"""For tests of methods: the gradients that one step hands to the optimiser, and the weights after a short training."""

from __future__ import annotations

import copy
from typing import Any

import torch

from mmlib.data.core import Batch, Splits
from mmlib.methods import Method
from mmlib.model import MultimodalClassifier, build
from mmlib.train import fit
from tests.conftest import make_tiny

OPTIONS: dict[str, Any] = {"epochs": 3, "batch_size": 16, "lr": 1e-2, "device": "cpu", "progress": False}


def steps(method: Method, model: MultimodalClassifier, *batches: Batch) -> dict[str, torch.Tensor]:
    """The gradients of the last step (none without one), of the model's and the method's tensors: SGD with learning rate 1,
    from the same model for every batch. ``method`` is set up first, and left as the steps left it."""
    model = copy.deepcopy(model)
    method.setup(model, make_tiny(tuple(model.modalities)).train, 0)
    start = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD([*model.parameters(), *method.parameters()], lr=1.0)
    before: dict[str, torch.Tensor] = {}
    for batch in batches:
        model.load_state_dict(start)
        before = {n: p.detach().clone() for part in (model, method) for n, p in part.named_parameters()}
        method.step(model, batch, optimizer)
    after = {n: p.detach() for part in (model, method) for n, p in part.named_parameters()}
    return {n: p - after[n] for n, p in before.items()}


def weights(method: Method, splits: Splits | None = None, fusion: str = "concat", **options: Any) -> dict[str, torch.Tensor]:
    """What is in the model after three epochs, with dropout, at the end of the last."""
    splits = make_tiny(("a", "b", "c")) if splits is None else splits
    model = build(splits, fusion, dropout=0.2)
    fit(model, splits, method, **{**OPTIONS, "keep": "last", **options})
    return model.state_dict()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Bit for bit, in the tensors of ``one``."""
    return all(torch.equal(one[n], other[n]) for n in one)
