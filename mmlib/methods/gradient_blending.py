"""Gradient-Blending: a loss per modality and one for all, weighted by how well each generalises and how little it overfits."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from mmlib.data.core import Batch, MultimodalData
from mmlib.history import NonFiniteLossError
from mmlib.methods.base import Method, unimodal_heads
from mmlib.methods.blending_estimate import JOINT, blended, free_heads, head_losses, split_holdout, train_aside
from mmlib.model import MultimodalClassifier, Output
from mmlib.randomness import derive


def overfitting_to_generalization(train_loss: Tensor, val_loss: Tensor) -> Tensor:
    """OGR between two checkpoints (Wang et al., CVPR 2020): ``|dO / dG|``.

    O = L^V - L^T is the overfitting at a checkpoint, dO its growth; dG is how much the validation loss fell.
    Lower is better: little overfitting bought for what was gained. The absolute value hides a validation loss that
    *rose* (dG < 0); look at its sign, too.

    Args:
        train_loss, val_loss: [2] or [K, 2], losses in nats, the earlier checkpoint first.

    Returns:
        scalar or [K]; infinite where overfitting grew and nothing was gained, 0 where it did not grow.

    >>> overfitting_to_generalization(torch.tensor([2.0, 0.5]), torch.tensor([2.0, 1.0]))
    tensor(0.5000)
    """
    growth, gain = growth_and_gain(train_loss, val_loss)
    return torch.where(growth == 0, torch.zeros_like(growth), (growth / gain).abs())


def growth_and_gain(train_loss: Tensor, val_loss: Tensor) -> tuple[Tensor, Tensor]:
    """dO and dG, scalars or [K]."""
    if train_loss.shape != val_loss.shape or train_loss.shape[-1:] != (2,) or train_loss.ndim > 2:
        raise ValueError(
            "train_loss, val_loss: expected the same shape [2] or [K, 2], "
            f"found {list(train_loss.shape)} and {list(val_loss.shape)}"
        )
    overfitting = val_loss - train_loss  # [..., 2]
    return overfitting[..., 1] - overfitting[..., 0], val_loss[..., 0] - val_loss[..., 1]


def blend_weights(generalization: Tensor, overfitting: Tensor, floor: float = 0.01) -> Tensor:
    """The weights that minimise OGR^2 of the blend (Wang et al., CVPR 2020): w_k = G_k / O_k^2 / Z, sum 1.

    G_k is how much head k's validation loss fell between two checkpoints, O_k how much its overfitting grew. The paper
    leaves the limits open. Here:

    - a head whose validation loss rose or stood still (G_k <= 0, also a head that did not move) gets no weight;
    - the size of O_k counts as at least ``floor`` times the largest size of any G or O, so that a head which by chance did
      not overfit does not get everything;
    - where no head has G_k > 0, nothing is known, and all weigh the same.

    Args:
        generalization, overfitting: [K], in nats. floor: greater than 0, relative.

    Returns:
        [K], float64, 0 or more, never NaN. The same for losses in any unit, and for any order of heads.

    >>> blend_weights(torch.tensor([1.0, 1.0, -0.5]), torch.tensor([0.5, 1.0, 0.1]))
    tensor([0.8000, 0.2000, 0.0000], dtype=torch.float64)
    """
    if generalization.ndim != 1 or generalization.shape != overfitting.shape or len(generalization) == 0:
        raise ValueError(
            "generalization, overfitting: expected the same shape [K], "
            f"found {list(generalization.shape)} and {list(overfitting.shape)}"
        )
    if not 0 < floor <= 1:
        raise ValueError(f"floor: expected a number in (0, 1], found {floor}")
    g, o = generalization.detach().double().cpu(), overfitting.detach().double().cpu()
    if not bool(torch.isfinite(g).all() and torch.isfinite(o).all()):
        raise ValueError(f"generalization, overfitting: expected finite numbers, found {g.tolist()} and {o.tolist()}")
    scale = torch.maximum(g.abs().max(), o.abs().max())
    if not bool((g > 0).any()):
        return torch.full_like(g, 1 / len(g))
    gains = g.clamp(min=0)
    g, o = (g / scale).clamp(min=0), (o / scale).abs().clamp(min=floor)
    raw = g / o**2
    if not bool(raw.any()):  # gains so small beside the overfitting that all of them became 0
        raw = gains / gains.max() / o**2
    return raw / raw.sum()


class GradientBlending(Method):
    """Gradient-Blending (Wang et al., CVPR 2020): minimise sum_k w_k L_k over the M unimodal heads and the joint head.

    Each modality gets a linear head of its own on its features, with its own cross-entropy; the joint head is the
    model's fusion, whichever it is. The weights w_k = G_k / O_k^2 / Z (`blend_weights`) come from a part of the
    training data that is held out to measure overfitting, unless they are given.

    Args:
        weights: {modality or "joint": weight}, or one per modality in the model's order and then the joint head's;
            0 or more, brought to sum 1. Without them they are estimated.
        mode: "offline" estimates once, from the start, and then trains on everything. "online" estimates anew every
            ``super_epoch`` from the model as it is then; what is held out is never trained on.
        estimate: "separate" trains copies on the side for ``super_epoch`` epochs, one per head, as the paper does (the
            unimodal ones share no parameter and run as one network). "shared" trains that one network only: unimodal
            losses as before, while the joint head learns on the features that they make, and cannot change them.
        super_epoch: epochs between two checkpoints, on what is not held out; long enough for the slowest modality to begin
            to learn, or it is judged by noise.
        holdout: "random", a share of each class; or the name of a group, such as "voice", or several: whole groups are
            held out (`split_holdout`). A hold-out that shares its voices with the rest makes learning voices by heart
            look like generalisation.
        holdout_fraction: share that is held out, of each class or of the groups; in (0, 1).
        weights_on: "loss" is the formula to the letter: under SGD a head with weight 0.01 learns 100 times slower, and one
            without weight not at all. "encoders" is a variant of ours: the weights decide what reaches the encoders, while
            each head's own parameters learn at the full rate (those of a head without weight, from features that it cannot
            change). Adam and its kin hardly see the difference.
        predict: "joint" takes the joint head's word; "vote", a variant of ours, averages the probabilities of all heads by
            their weights.
        floor: as in `blend_weights`.

    Attributes:
        weights: {head: weight} in use. The history has them, too, in columns ``weight_{head}``.
        measured: one dict per estimate of this process: epoch, and per head the losses at both checkpoints, ``train`` and
            ``val``, [2] in nats, and ``weights``.

    Raises:
        TypeError: streamed data whose dataset has no attribute ``labels``, where something is to be held out.
        ValueError: weights of the wrong length, negative, not finite or all zero; a share outside (0, 1); a super-epoch below
            1 or longer than the run; an unknown group; a hold-out that leaves a class, a modality or no group on one side.
    """

    name = "gradient_blending"
    blend: Tensor  # [K], weights of the modalities and of the joint head; a buffer, so that a checkpoint has them

    def __init__(
        self,
        weights: Mapping[str, float] | Sequence[float] | None = None,
        *,
        mode: Literal["offline", "online"] = "offline",
        estimate: Literal["separate", "shared"] = "separate",
        super_epoch: int = 5,
        holdout: str | Sequence[str] = "random",
        holdout_fraction: float = 0.25,
        weights_on: Literal["loss", "encoders"] = "loss",
        predict: Literal["joint", "vote"] = "joint",
        floor: float = 0.01,
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("mode", mode, ("offline", "online")),
            ("estimate", estimate, ("separate", "shared")),
            ("weights_on", weights_on, ("loss", "encoders")),
            ("predict", predict, ("joint", "vote")),
        ):
            if value not in known:
                raise ValueError(f"{name}: unknown {value!r}; known: {', '.join(known)}")
        if not 0 < holdout_fraction < 1:
            raise ValueError(f"holdout_fraction: expected a share between 0 and 1, found {holdout_fraction}")
        if super_epoch < 1:
            raise ValueError(f"super_epoch: expected 1 epoch or more, found {super_epoch}")
        if not 0 < floor <= 1:
            raise ValueError(f"floor: expected a number in (0, 1], found {floor}")
        self.given = weights
        self.mode, self.estimate, self.super_epoch, self.floor = mode, estimate, super_epoch, floor
        self.holdout, self.holdout_fraction = holdout, holdout_fraction
        self.free, self.vote = weights_on == "encoders", predict == "vote"
        self.weights: dict[str, float] = {}
        self.measured: list[dict[str, Any]] = []

    def make_heads(self, model: MultimodalClassifier, seed: int) -> None:
        self.heads = unimodal_heads(model, seed)
        self.names = [*model.modalities, JOINT]
        start = [1.0] * len(self.names) if self.given is None else _checked(self.given, self.names)
        self.register_buffer("blend", torch.tensor(start) / sum(start))
        self._read_weights()

    def setup(self, model: MultimodalClassifier, data: MultimodalData, seed: int) -> None:
        super().setup(model, data, seed)
        self.seed, self.measured = seed, []
        if self.given is None:
            recipe = getattr(self, "recipe", None)
            if recipe is not None and self.super_epoch > recipe.epochs:
                raise ValueError(f"super_epoch: expected at most the {recipe.epochs} epochs of the run, found {self.super_epoch}")
            self.fit_part, self.held_part = split_holdout(data, self.holdout, self.holdout_fraction, seed)

    def samples(self, epoch: int, data: MultimodalData) -> MultimodalData:
        return self.fit_part if self.given is None and self.mode == "online" else data

    def start_epoch(self, epoch: int, model: MultimodalClassifier, data: MultimodalData) -> None:
        due = epoch == 0 if self.mode == "offline" else epoch % self.super_epoch == 0
        if self.given is None and due:
            self._weigh(epoch, self._losses(model, self.heads), self._after_a_super_epoch(epoch, model))
        self._read_weights()  # also after a resume

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: torch.optim.Optimizer) -> tuple[Tensor, Output]:
        loss, output = blended(model, self.heads, batch, self.weights, idle=self.free, weight=self.class_weights)
        optimizer.zero_grad()
        loss.backward()
        if self.free:
            free_heads(model, self.heads, self.weights)
        optimizer.step()
        return loss, output

    def predict(
        self, model: MultimodalClassifier, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None
    ) -> Output:
        output: Output = model(inputs, present)
        unimodal = {m: head(output.features[m]) for m, head in self.heads.items()}
        logits = self._voted(output.logits, unimodal, inputs, present) if self.vote else output.logits
        return Output(output.features, unimodal, logits)

    def report(self) -> dict[str, float]:
        return {f"weight_{head}": weight for head, weight in self.weights.items()}

    def _voted(
        self, fused: Tensor, unimodal: Mapping[str, Tensor], inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None
    ) -> Tensor:
        """Log of the average of all heads' probabilities, by weight, over the heads whose modality is there; [B, C]."""
        logp = torch.stack([torch.log_softmax(u, dim=1) for u in [*unimodal.values(), fused]])  # [K, B, C]
        weight = self.blend[:, None].repeat(1, logp.shape[1])  # [K, B]
        for row, m in enumerate(unimodal):
            weight[row] *= 0.0 if m not in inputs else present[m] if present is not None else 1.0
        weight[-1] += weight.sum(0) == 0  # nobody with a weight is there: the joint head's word
        return torch.logsumexp(logp + weight.log()[:, :, None], dim=0) - weight.sum(0).log()[:, None]

    def _read_weights(self) -> None:
        self.weights = dict(zip(self.names, self.blend.tolist(), strict=True))

    def _losses(self, model: MultimodalClassifier, heads: torch.nn.ModuleDict) -> Tensor:
        """[K, 2]: every head's loss on what is trained on and on what is held out, on the CPU."""
        sides = [head_losses(model, heads, part) for part in (self.fit_part, self.held_part)]
        return torch.tensor([[side[head] for side in sides] for head in self.names])

    def _after_a_super_epoch(self, epoch: int, model: MultimodalClassifier) -> Tensor:
        """Losses [K, 2] of each head after a super-epoch on its own, from the model as it is, which is left alone."""
        apart = copy.deepcopy(model), copy.deepcopy(self.heads)
        alone = {head: float(head != JOINT) for head in self.names}
        nets, shared = [(*apart, alone)], self.estimate == "shared"
        if not shared:
            together = copy.deepcopy(model), copy.deepcopy(self.heads)
            nets.append((*together, {head: 1 - weight for head, weight in alone.items()}))
        seed = derive(self.seed, "aside", epoch)
        train_aside(nets, self.fit_part, self.super_epoch, self.recipe, seed, idle=shared, weight=self.class_weights)
        after = self._losses(*apart)
        if not shared:
            after[-1] = self._losses(*together)[-1]
        return after

    def _weigh(self, epoch: int, earlier: Tensor, later: Tensor) -> None:
        """Losses [K, 2] (training, validation) at two checkpoints -> new weights."""
        train, val = torch.stack([earlier, later], dim=2).unbind(1)  # [K, 2] each: earlier, later
        if not bool(torch.isfinite(later).all()):
            raise NonFiniteLossError(
                f"estimate: a loss became NaN or infinite on the side in epoch {epoch}, of "
                f"{', '.join(h for h, row in zip(self.names, later, strict=True) if not bool(torch.isfinite(row).all()))}; "
                "try a smaller learning rate",
                epoch,
            )
        growth, gain = growth_and_gain(train, val)
        if bool((gain > 0).any()):  # where no head generalised, there is no reason to change anything
            self.blend.copy_(blend_weights(gain, growth, self.floor))
        per_head = {"train": train, "val": val, "weights": self.blend}
        self.measured.append({"epoch": epoch, **{k: dict(zip(self.names, v.tolist(), strict=True)) for k, v in per_head.items()}})


def _checked(given: Mapping[str, float] | Sequence[float], names: Sequence[str]) -> list[float]:
    """Weights given by hand, in the order of ``names``."""
    expected = f"expected one per head: {', '.join(names)}"
    if isinstance(given, Mapping):
        unknown, missing = [k for k in given if k not in names], [k for k in names if k not in given]
        if unknown or missing:
            raise ValueError(f"weights: {expected}; found {', '.join(map(str, given))}")
        given = [given[k] for k in names]
    values = [float(w) for w in given]
    if len(values) != len(names):
        raise ValueError(f"weights: {expected}; found {len(values)} numbers")
    for name, value in zip(names, values, strict=True):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"weights[{name!r}]: expected a number of 0 or more, found {value}")
    if not any(values):
        raise ValueError("weights: expected at least one above 0, found all zero")
    return values
