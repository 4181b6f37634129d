"""For the chapter on scaling up: joint training that notes what half precision and small parts would change; stored speeds."""

from __future__ import annotations

import json
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlib import fingerprint
from mmlib.data.core import Batch, MultimodalData
from mmlib.methods.joint import Joint
from mmlib.model import MultimodalClassifier, Output

FACTOR = 2.0**16  #: of the first step, as in `mmlib.half.GradientScale`
PARTS = (1, 2, 4, 8, 16, 32)  #: samples


class WatchedGradients(Joint):
    """Joint training, bit for bit, with what float16 would make of the gradients that reach the features.

    After each epoch the history gets, of the gradient's entries that are not zero, over all steps: ``vanish``, the share that
    float16 rounds to zero; ``vanish_scaled`` and ``overflow_scaled``, the shares that become zero or infinite after
    multiplication by `FACTOR`; and ``median``, of the last step.
    """

    def start_epoch(self, epoch: int, model: MultimodalClassifier, data: MultimodalData) -> None:
        self.seen: list[Tensor] = []
        super().start_epoch(epoch, model, data)

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: torch.optim.Optimizer) -> tuple[Tensor, Output]:
        output: Output = model(batch.inputs, batch.present)
        for f in output.features.values():
            f.retain_grad()
        loss = F.cross_entropy(output.logits, batch.labels, self.class_weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        g = torch.cat([f.grad.abs().flatten() for f in output.features.values() if f.grad is not None])
        there = g > 0
        shares = [(x & there).sum() / there.sum() for x in (g.half() == 0, (g * FACTOR).half() == 0, (g * FACTOR).half().isinf())]
        self.seen.append(torch.stack([*shares, g[there].median()]))
        return loss, output

    def report(self) -> dict[str, float]:
        told = torch.stack(self.seen)
        shares = told[:, :3].mean(0).tolist()
        names = ("vanish", "vanish_scaled", "overflow_scaled")
        return {**super().report(), **dict(zip(names, shares, strict=True)), "median": float(told[-1, 3])}


class WatchedParts(Joint):
    """Joint training, bit for bit, with what parts of a batch would say of it.

    After each epoch the history gets ``other_{n}`` for every n of `PARTS`: the share of parts of n samples in which another
    modality has the largest discrepancy ratio (Peng et al., CVPR 2022) than in the whole batch.
    """

    def start_epoch(self, epoch: int, model: MultimodalClassifier, data: MultimodalData) -> None:
        self.others: dict[int, list[Tensor]] = {n: [] for n in PARTS}
        super().start_epoch(epoch, model, data)

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: torch.optim.Optimizer) -> tuple[Tensor, Output]:
        loss, output = super().step(model, batch, optimizer)
        labels = batch.labels[:, None]
        p = torch.stack([u.detach().softmax(1).gather(1, labels)[:, 0] for u in output.unimodal.values()])  # [M, B]
        whole = p.sum(1).argmax()  # whoever has the largest score has the largest ratio
        for n in PARTS:
            parts = p[:, : p.shape[1] // n * n].unflatten(1, (-1, n)).sum(2)  # [M, parts]
            if parts.shape[1]:
                self.others[n].append(parts.argmax(0) != whole)
        return loss, output

    def report(self) -> dict[str, float]:
        return {
            **super().report(),
            **{f"other_{n}": float(torch.cat(found).float().mean()) for n, found in self.others.items()},
        }


def speed(device: str) -> dict[str, Any] | None:
    """What ``python -m tests.benchmarks.scale --device ...`` wrote ("cpu", "cuda"); None where it was never run."""
    root = fingerprint.PACKAGE.parent / "book" / "speed"
    path = (root if root.is_dir() else fingerprint.PACKAGE / "_speed") / f"{device}.json"
    return dict(json.loads(path.read_text("utf8"))) if path.is_file() else None


def ratio(found: dict[str, float] | None) -> str:
    """ "1.12 (1.10 to 1.18)", or that it is not yet measured."""
    if found is None:
        return "not yet measured"
    return f"{found['ratio']:.2f} ({found['lowest']:.2f} to {found['highest']:.2f})"
