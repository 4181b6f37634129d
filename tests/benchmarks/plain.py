"""`mmlib.fit` against loops written as public research code is: samples per second of joint training, OGM-GE and MLA.

Same model, same data, same batches, same optimiser. What differs is the way of writing: scores summed sample by sample in Python,
a loss read with ``.item()`` in every step, coefficients as Python numbers, gradients scaled parameter by parameter, noise drawn
for every tensor of four axes, a projection updated by the outer product. The loops are ours, written for this comparison; they
follow what was read in the public code of OGM-GE and MLA (the page *Paper, released code, here* has the revisions).

    python -m tests.benchmarks.plain
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlib.data import MultimodalData, Splits, load
from mmlib.methods import MLA, OGMGE, Joint, Method
from mmlib.model import MultimodalClassifier, Output, build
from mmlib.train import fit
from tests.benchmarks.timing import in_turns

EPOCHS, BATCH, RATE = 2, 64, 0.01


def clips(n: int = 512) -> Splits:
    """Noise in the shapes of short clips: a spectrogram and two frames."""
    draws = torch.Generator().manual_seed(0)

    def part(size: int) -> MultimodalData:
        inputs = {
            "audio": torch.randn(size, 1, 32, 64, generator=draws),
            "video": torch.randn(size, 2, 3, 32, 32, generator=draws),
        }
        return MultimodalData(inputs, torch.arange(size) % 6, 6)

    return Splits(part(n), part(6), part(6), name="clips")


def model_of(splits: Splits) -> MultimodalClassifier:
    return build(splits, seed=0)


def sgd(model: MultimodalClassifier) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)


def batches(splits: Splits, epoch: int) -> Any:
    return splits.train.batches(BATCH, torch.Generator().manual_seed(epoch))


def halves(model: MultimodalClassifier, features: dict[str, Tensor]) -> dict[str, Tensor]:
    """Logits of each modality alone: its part of the head, and half of the bias."""
    weight, bias = model.fusion.head.weight, model.fusion.head.bias
    parts = weight.split([f.shape[1] for f in features.values()], dim=1)
    return {m: f @ w.T + bias / len(features) for (m, f), w in zip(features.items(), parts, strict=True)}


def plain_joint(splits: Splits, change: Callable[..., None] | None = None) -> float:
    """``change(model, output, labels)`` may alter the gradients before the step."""
    model = model_of(splits)
    model.train()
    optimizer, total = sgd(model), 0.0
    for epoch in range(EPOCHS):
        for batch in batches(splits, epoch):
            optimizer.zero_grad()
            output = model(batch.inputs)
            loss = F.cross_entropy(output.logits, batch.labels)
            loss.backward()
            if change is not None:
                change(model, output, batch.labels)
            optimizer.step()
            total += loss.item()
    return total


def held_back(model: MultimodalClassifier, output: Output, labels: Tensor, alpha: float = 0.8) -> None:
    shares = {m: F.softmax(z, dim=1) for m, z in halves(model, output.features).items()}
    score = {m: sum(p[i][labels[i]] for i in range(len(labels))) for m, p in shares.items()}
    ratio = score["video"] / score["audio"]
    ahead, size = ("video", ratio) if ratio > 1 else ("audio", 1 / ratio)
    k = 1 - math.tanh(alpha * size.item())
    for name, parameter in model.named_parameters():
        if parameter.grad is None or f"encoders.{ahead}" not in name or parameter.grad.ndim != 4:
            continue
        noise = torch.zeros_like(parameter.grad).normal_(0, parameter.grad.std().item() + 1e-8)
        parameter.grad = parameter.grad * k + noise


def plain_ogm_ge(splits: Splits) -> float:
    return plain_joint(splits, held_back)


def plain_mla(splits: Splits) -> float:
    model = model_of(splits)
    model.train()
    optimizer, total = sgd(model), 0.0
    head = torch.nn.Linear(next(iter(model.dims.values())), splits.num_classes)
    head_optimizer = torch.optim.SGD(head.parameters(), lr=RATE, momentum=0.9)
    projection = torch.eye(head.in_features)
    for epoch in range(EPOCHS):
        for batch in batches(splits, epoch):
            for m in model.modalities:
                optimizer.zero_grad()
                head_optimizer.zero_grad()
                features = model.encoders[m](batch.inputs[m])
                loss = F.cross_entropy(head(features), batch.labels)
                loss.backward()
                with torch.no_grad():
                    r = features.mean(0, keepdim=True)
                    k = projection @ r.T
                    projection = projection - (k @ k.T) / (1 + k @ r)
                    projection = projection / torch.norm(projection)
                    assert head.weight.grad is not None
                    head.weight.grad = head.weight.grad @ projection.T
                optimizer.step()
                head_optimizer.step()
                total += loss.item()
    return total


PAIRS: dict[str, tuple[Callable[[], Method], Callable[[Splits], float]]] = {
    "joint": (Joint, plain_joint),
    "OGM-GE": (lambda: OGMGE(scale="conv"), plain_ogm_ge),
    "MLA": (MLA, plain_mla),
}


def measure() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for data, splits in (("clips", clips()), ("digits", load("digits", ["image", "audio"], 0))):
        splits.val = splits.val.select([0])  # what remains is the training
        if data == "digits":  # the plain loops were written for the names of clips
            splits = splits.map(lambda d: MultimodalData({"audio": d.inputs["audio"], "video": d.inputs["image"]}, d.labels, 10))
        for name, (make, plain) in PAIRS.items():
            options: dict[str, Any] = {"optimizer": "sgd", "lr": RATE, "epochs": EPOCHS, "batch_size": BATCH, "device": "cpu"}
            ours = lambda s=splits, k=make, o=options: fit(model_of(s), s, k(), keep="last", progress=False, **o)  # noqa: E731
            ratio = in_turns(lambda s=splits, p=plain: p(s), ours)
            found[f"{name}, {data}: samples per second of fit / of a plain loop, cpu"] = ratio
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, value in measure().items():
        print(name, value)
