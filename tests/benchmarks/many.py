"""Many seeds of one small model at once (`torch.func`) against one after the other, joint training.

Parameters of K models are stacked, [K, ...], and one step moves all of them: K times fewer kernels, less Python. Adam and SGD
look at one number at a time, so that stacked parameters learn as they would alone.

    python -m tests.benchmarks.many
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from mmlib.data import Splits, load
from mmlib.model import MultimodalClassifier, build
from mmlib.randomness import derive
from mmlib.train import fit
from tests.benchmarks.timing import in_turns

EPOCHS, BATCH, RATE = 3, 64, 1e-3
Weights = dict[str, Tensor]


def at_once(splits: Splits, seeds: list[int], epochs: int = EPOCHS) -> Weights:
    """The weights [K, ...] of joint training with each of these seeds; a last batch that is smaller is trained on, too."""
    models = [build(splits, seed=s).to(splits.train.device).train() for s in seeds]
    weights, buffers = stack_module_state(models)  # type: ignore[arg-type]
    shape: MultimodalClassifier = copy.deepcopy(models[0]).to("meta")
    optimizer = torch.optim.Adam(weights.values(), lr=RATE, fused=True)

    def loss(weights: Weights, buffers: Weights, inputs: Weights, labels: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(shape, (weights, buffers), (inputs,)).logits, labels)

    x, y = splits.train.inputs, splits.train.labels
    for epoch in range(epochs):
        orders = [torch.randperm(len(y), generator=torch.Generator().manual_seed(derive(s, "batches", epoch))) for s in seeds]
        for at in torch.stack(orders).to(y.device).split(BATCH, 1):  # [K, B]
            total = vmap(loss)(weights, buffers, {m: v[at] for m, v in x.items()}, y[at]).sum()
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
    return {name: w.detach() for name, w in weights.items()}


def one_by_one(splits: Splits, seeds: list[int], epochs: int = EPOCHS) -> list[MultimodalClassifier]:
    models = [build(splits, seed=s) for s in seeds]
    for s, model in zip(seeds, models, strict=True):
        fit(
            model,
            splits,
            seed=s,
            epochs=epochs,
            batch_size=BATCH,
            lr=RATE,
            keep="last",
            device=splits.train.device,
            progress=False,
        )
    return models


def measure(device: str = "cpu", count: int = 16) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for data in ("two_speed", "digits"):
        splits = load(data, seed=0).to(device)
        splits.val = splits.val.select([0])  # what remains is the training
        seeds = list(range(count))
        ratio = in_turns(lambda s=splits, k=seeds: one_by_one(s, k), lambda s=splits, k=seeds: at_once(s, k), turns=3)
        found[f"{count} seeds of joint training, {data}: one after the other / at once"] = ratio
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, value in measure().items():
        print(name, value)
