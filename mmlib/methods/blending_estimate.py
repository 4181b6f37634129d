"""How Gradient-Blending measures overfitting: a part of the training data held out, and losses of all heads on both parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlib.data.core import Batch, MultimodalData
from mmlib.history import Meter
from mmlib.methods.base import Recipe, masked_cross_entropy
from mmlib.methods.batches import training_batches
from mmlib.model import MultimodalClassifier, Output
from mmlib.randomness import derive, seeded

#: the name of the head on the fused features, beside the modalities
JOINT = "joint"


def split_holdout(
    data: MultimodalData, kind: str | Sequence[str], fraction: float, seed: int
) -> tuple[MultimodalData, MultimodalData]:
    """The part to train on, and the part held out to measure overfitting.

    Args:
        kind: "random", a share of each class; or the name of a group (such as the voice), a share of its members with
            all their samples; or several groups: then a sample is held out if it is in a held-out member of all
            of them, trained on if in none, and left aside otherwise.
        fraction: the share, in (0, 1); at least one sample per class, or one member per group.

    Raises:
        TypeError: streamed data whose dataset has no attribute ``labels``.
        ValueError: an unknown group, or a class, a modality or every member of a group missing on one side.
    """
    known: Tensor | None = data.labels
    if known is None:
        raise TypeError(
            "data: a hold-out needs all labels beforehand, and the streamed dataset has no attribute labels; pass weights instead"
        )
    generator = torch.Generator().manual_seed(derive(seed, "holdout"))
    labels = known.cpu()
    if kind == "random":
        held = torch.zeros(len(data), dtype=torch.bool)
        for members in [(labels == c).nonzero().squeeze(1) for c in range(data.num_classes)]:
            count = max(1, round(fraction * len(members)))
            held[members[torch.randperm(len(members), generator=generator)[:count]]] = True
        kept = ~held
    else:
        names = [kind] if isinstance(kind, str) else list(kind)
        sides = []
        for name in names:
            if name not in data.groups:
                raise ValueError(f"holdout: unknown {name!r}; known: {', '.join(['random', *data.groups])}")
            members = data.groups[name].unique()
            count = max(1, round(fraction * len(members)))
            if count >= len(members):
                raise ValueError(
                    f"holdout: {fraction:.0%} of the {len(members)} members of {name!r} is all of them; none is left to train on"
                )
            chosen = members[torch.randperm(len(members), generator=generator)[:count]]
            sides.append(torch.isin(data.groups[name], chosen))
        if not sides:
            raise ValueError("holdout: expected 'random' or at least one group, found none")
        held, kept = torch.stack(sides).all(0), ~torch.stack(sides).any(0)
    for part, where in (("the held-out part", held), ("the part to train on", kept)):
        lacking = sorted(set(labels.tolist()) - set(labels[where].tolist()))
        if lacking:
            raise ValueError(f"holdout: {part} has no sample of class {lacking[0]}; try another holdout or holdout_fraction")
        for m, p in (getattr(data, "present", None) or {}).items():  # of streamed data it is not known beforehand
            if not bool(p.cpu()[where].any()):
                raise ValueError(f"holdout: {part} has no sample with modality {m!r}; try another holdout or holdout_fraction")
    return data.select(kept), data.select(held)


def blended(
    model: MultimodalClassifier, heads: nn.ModuleDict, batch: Batch, weights: Mapping[str, float], idle: bool,
    weight: Tensor | None = None,
) -> tuple[Tensor, Output]:  # fmt: skip
    """The blended loss sum_k w_k L_k (scalar, nats) and what every head says.

    Args:
        weights: {modality or "joint": weight}, plain numbers: a head without weight costs nothing.
        idle: let heads without weight learn as well, from features that they cannot change, so that they stay ready
            to be judged and to predict.
        weight: [C], one per class.
    """
    output: Output = model(batch.inputs, batch.present)
    logits, losses = output.logits, []
    if weights[JOINT]:
        losses.append(weights[JOINT] * F.cross_entropy(logits, batch.labels, weight))
    elif idle:
        logits, _ = model.fusion({m: f.detach() for m, f in output.features.items()}, batch.present)
        losses.append(F.cross_entropy(logits, batch.labels, weight))
    unimodal = {}
    for m, head in heads.items():
        unimodal[m] = head(output.features[m] if weights[m] else output.features[m].detach())  # [B, C]
        if weights[m] or idle:
            here = batch.present[m] if batch.present else None
            losses.append((weights[m] or 1.0) * masked_cross_entropy(unimodal[m], batch.labels, here, weight))
    return torch.stack(losses).sum(), Output(output.features, unimodal, logits)


def free_heads(model: MultimodalClassifier, heads: nn.ModuleDict, weights: Mapping[str, float]) -> None:
    """Undo the weights on the gradients of the heads' own parameters, so that they act on the encoders alone.

    No other loss reaches a head: there the weight is nothing but a factor on its learning rate.
    """
    for name, head in [*heads.items(), (JOINT, model.fusion)]:
        if 0 < weights[name] < 1:
            torch._foreach_div_([p.grad for p in head.parameters() if p.grad is not None], weights[name])


@torch.no_grad()
def head_losses(model: MultimodalClassifier, heads: nn.ModuleDict, data: MultimodalData) -> dict[str, float]:
    """Loss of every head in nats, {modality or "joint": loss}, in evaluation mode."""
    training, meter = model.training, Meter()
    model.eval()
    for batch in data.batches(1024):
        fused: Output = model(batch.inputs, batch.present)
        meter.add(Output(fused.features, {m: h(fused.features[m]) for m, h in heads.items()}, fused.logits), batch)
    model.train(training)
    row = meter.result()
    return {**{m: row[f"loss_{m}"] for m in heads}, JOINT: row["loss"]}


def train_aside(
    nets: Sequence[tuple[MultimodalClassifier, nn.ModuleDict, Mapping[str, float]]],
    data: MultimodalData, epochs: int, recipe: Recipe, seed: int, idle: bool = False,
    weight: Tensor | None = None,
) -> None:  # fmt: skip
    """Train networks side by side on the same batches, each with its own weights, in place, with a fresh optimiser.
    ``idle`` and ``weight`` as in `blended`."""
    optimizer = recipe.make_optimizer([(model, heads) for model, heads, _ in nets])
    with seeded(derive(seed, "dropout"), [data.device]):
        for epoch in range(epochs):
            order = torch.Generator().manual_seed(derive(seed, "batches", epoch))
            for batch in training_batches(nets[0][0], data, recipe.batch_size, order):
                loss = torch.stack(
                    [blended(model, heads, batch, weights, idle, weight)[0] for model, heads, weights in nets]
                ).sum()
                optimizer.zero_grad()
                loss.backward()
                for net in nets:
                    free_heads(*net)
                optimizer.step()
