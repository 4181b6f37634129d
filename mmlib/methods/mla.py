"""MLA: modalities take turns at one shared head, a projection protects what it has learned, and the surer vote counts more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from mmlib.data.core import Batch, MultimodalData
from mmlib.methods.base import Method, masked_cross_entropy, unimodal_heads
from mmlib.methods.mla_fusion import (
    check_votes,
    check_weights,
    fixed_weights,
    fuse_by_uncertainty,
    log_mixture,
    predictive_entropy,
    uncertainty_weights,
)
from mmlib.methods.mla_projection import Ridge, mean_feature, project_gradient, ridge_at, update_projection
from mmlib.model import MultimodalClassifier, Output
from mmlib.randomness import derive, seeded

__all__ = ["MLA", "fuse_by_uncertainty", "predictive_entropy", "update_projection"]

HGM = Literal["off", "paper", "project_before", "update_before", "others"]


class MLA(Method):
    """Multimodal learning with alternating unimodal adaptation (Zhang et al., CVPR 2024).

    For every batch each modality makes one update of its own: its encoder and the shared head move, everybody else
    rests. The head's gradient is multiplied by a projection (head gradient modification, HGM), so that the turn of one
    modality spoils little of what the head knows of the features before it. The prediction averages the modalities'
    probabilities, the surer ones counting more (dynamic fusion, DF). The model's own fusion is not used.

    Args:
        hgm: when the projection P takes in the mean feature of a batch, and whose. P starts at the identity.

            - "off": no projection. What the public code effectively does as of revision ab6c184.
            - "paper": before a turn, P takes in the mean feature of the turn before, of whichever modality.
            - "project_before": the gradient is projected first, then P takes in the modality's own feature. With two
              modalities or more this is "paper" seen from the other side, and the numbers are the same; with one
              modality "paper" has nothing to remember and leaves the gradient alone.
            - "update_before": P takes in the modality's own feature first, then the gradient is projected.
            - "others": one P per modality, of the features of all the others. Nobody is in the way of himself. Ours.
        ridge: of the projection, see `update_projection`; a number, or a function of the time in epochs.
        fusion: "uncertainty" (per sample, see `fuse_by_uncertainty`), "mean", or a positive weight per modality.
        order: of the turns: "fixed" (as in the model), "reversed", "shuffled" (anew for every batch), or all names.
        missing: what happens to samples that lack a modality. "skip": no part in its turn, no vote; where a whole batch
            lacks it, nothing moves. "zero": zeros are an input like any other, in training and in the vote, as in
            the public code.
        head: "shared"; a `torch.nn.Linear` of your own to share, [D] -> [C]; or "separate", one head for each modality:
            an ensemble of networks that never meet, to see whether sharing is needed.
        turns: "alternating"; or "together": the sum of all losses, one backward pass, one update.

    Raises:
        ValueError, TypeError: an argument out of range; at setup, modalities that the model does not have, or encoders
            whose features differ in size.
    """

    name = "mla"
    head: nn.Linear
    heads: nn.ModuleDict
    projections: Tensor

    def __init__(
        self,
        hgm: HGM = "paper",
        ridge: Ridge = 1.0,
        fusion: Literal["uncertainty", "mean"] | Mapping[str, float] = "uncertainty",
        order: Literal["fixed", "reversed", "shuffled"] | Sequence[str] = "fixed",
        missing: Literal["skip", "zero"] = "skip",
        head: Literal["shared", "separate"] | nn.Linear = "shared",
        turns: Literal["alternating", "together"] = "alternating",
    ) -> None:
        super().__init__()
        _one_of("hgm", hgm, get_args(HGM))
        _one_of("missing", missing, ("skip", "zero"))
        _one_of("turns", turns, ("alternating", "together"))
        if not isinstance(fusion, Mapping):
            _one_of("fusion", fusion, ("uncertainty", "mean"))
        if isinstance(order, str):
            _one_of("order", order, ("fixed", "reversed", "shuffled"))
        if isinstance(head, str):
            _one_of("head", head, ("shared", "separate"))
        elif not isinstance(head, nn.Linear):
            kind = type(head).__name__
            raise TypeError(f"head: expected torch.nn.Linear, 'shared' or 'separate', found {kind}; P protects one linear layer")
        if hgm != "off" and (turns == "together" or head == "separate"):
            what = "turns='together'" if turns == "together" else "head='separate'"
            raise ValueError(f"hgm: expected 'off' with {what}, where no update follows another in one head; found {hgm!r}")
        if not callable(ridge):
            ridge_at(ridge, 0.0)
        self.hgm, self.ridge, self.fusion, self.order = hgm, ridge, fusion, order
        self.missing, self.turns = missing, turns
        self.sharing = "given" if isinstance(head, nn.Linear) else head
        if isinstance(head, nn.Linear):
            self.head = head

    def make_heads(self, model: MultimodalClassifier, seed: int) -> None:
        names, sizes = model.modalities, set(model.dims.values())
        if not isinstance(self.order, str) and sorted(self.order) != sorted(names):
            raise ValueError(f"order: expected each of {', '.join(names)} once, found {', '.join(self.order) or 'nothing'}")
        if isinstance(self.fusion, Mapping):
            check_weights(self.fusion, names)
        if self.sharing == "separate":
            self.heads = unimodal_heads(model, seed)
        else:
            if len(sizes) != 1:
                raise ValueError(f"encoders: a shared head needs features of one size from all modalities, found {model.dims}")
            self._share_head(model, sizes.pop(), seed)
        self._names = names

    def setup(self, model: MultimodalClassifier, data: MultimodalData, seed: int) -> None:
        super().setup(model, data, seed)
        self._seed, self._samples = seed, len(data)
        self.start_epoch(0, model, data)

    def _share_head(self, model: MultimodalClassifier, dim: int, seed: int) -> None:
        if self.sharing == "given":
            found = (self.head.in_features, self.head.out_features)
            if found != (dim, model.num_classes):
                raise ValueError(f"head: expected Linear({dim}, {model.num_classes}), features to classes, found Linear{found}")
        else:
            with seeded(derive(seed, "head", "shared")):
                self.head = nn.Linear(dim, model.num_classes).to(model.device)
        if self.hgm != "off":
            rows = len(model.modalities) if self.hgm == "others" else 1
            identity = torch.eye(dim, device=model.device)
            self.register_buffer("projections", identity.repeat(rows, 1, 1))  # [1 or M, D, D]

    def start_epoch(self, epoch: int, model: MultimodalClassifier, data: MultimodalData) -> None:
        # everything that the order and the ridge depend on follows from the epoch: nothing to save for a restart
        self._epoch, self._seen = epoch, 0
        self._draws = torch.Generator().manual_seed(derive(self._seed, "order", epoch))

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: torch.optim.Optimizer) -> tuple[Tensor, Output]:
        features = model.encode(batch.inputs)  # {m: [B, D]}; encoders share nothing, so that no turn makes these stale
        present = self._who(batch)
        losses, logits = {}, {}
        for m in self._turns():
            logits[m] = self.head_of(m)(features[m])  # [B, C], by the head as the turn before left it
            losses[m] = masked_cross_entropy(logits[m], batch.labels, present.get(m), self.class_weights)
            if self.turns == "alternating":
                self.take_turn(m, losses[m], features, batch, optimizer)
        total = torch.stack(list(losses.values())).sum()
        if self.turns == "together":
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
        self._seen += len(batch.labels)
        unimodal = {m: logits[m].detach() for m in self._names}
        return total.detach(), Output(features, unimodal, self._fuse(unimodal, present))

    def take_turn(
        self, modality: str, loss: Tensor, features: dict[str, Tensor], batch: Batch, optimizer: torch.optim.Optimizer
    ) -> None:
        """One modality's update: of its encoder, and of the shared head within what the projection allows."""
        present = self._who(batch).get(modality)
        for group in optimizer.param_groups:  # zeros instead of None would move idle encoders by momentum and decay
            for p in group["params"]:
                p.grad = None  # what zero_grad does, which takes a hundredth of a joint step for itself, at every turn
        loss.backward()
        if self.hgm != "off":
            self.modify_gradient(modality, mean_feature(features[modality], present))
        step_where_any(optimizer, present)

    def _who(self, batch: Batch) -> dict[str, Tensor]:
        """Masks {m: [B]} of who counts; none where everybody does."""
        return batch.present or {} if self.missing == "skip" else {}

    @torch.no_grad()
    def modify_gradient(self, modality: str, feature: Tensor) -> None:
        """Head gradient modification: G <- G P, and P takes in a mean feature [D]; when, and whose, says ``hgm``."""
        ridge = ridge_at(self.ridge, self._epoch + self._seen / self._samples)
        own = self._names.index(modality) if self.hgm == "others" else 0
        if self.hgm == "update_before":
            self.projections[0] = update_projection(self.projections[0], feature, ridge)
        gradient = self.head.weight.grad
        assert gradient is not None  # there was a backward pass
        gradient.copy_(project_gradient(gradient, self.projections[own]))
        if self.hgm == "project_before" or (self.hgm == "paper" and len(self._names) > 1):
            # for "paper" this is the feature of the previous turn, as the next one will find it
            self.projections[0] = update_projection(self.projections[0], feature, ridge)
        elif self.hgm == "others":
            for row in range(len(self._names)):
                if row != own:
                    self.projections[row] = update_projection(self.projections[row], feature, ridge)

    def predict(
        self, model: MultimodalClassifier, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None
    ) -> Output:
        features = model.encode(inputs)
        unimodal = {m: self.head_of(m)(f) for m, f in features.items()}
        there: dict[str, Tensor] = {}
        if self.missing == "skip":
            there = dict(present or {})
            nobody = torch.zeros(len(next(iter(inputs.values()))), dtype=torch.bool, device=model.device)
            there |= {m: nobody for m in features if m not in inputs}  # a modality that was not passed at all
        check_votes(unimodal, there)
        return Output(features, unimodal, self._fuse(unimodal, there))

    def _fuse(self, unimodal: dict[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Log-probabilities of all modalities together, [B, C]."""
        if self.fusion == "uncertainty":
            return log_mixture(unimodal, uncertainty_weights(unimodal, present))
        given = self.fusion if isinstance(self.fusion, Mapping) else None
        return log_mixture(unimodal, fixed_weights(unimodal, present, given))

    def head_of(self, modality: str) -> nn.Module:
        """The head that this modality speaks through: the shared one, unless heads are separate."""
        return self.heads[modality] if self.sharing == "separate" else self.head

    def _turns(self) -> list[str]:
        if not isinstance(self.order, str):
            return list(self.order)
        if self.order == "shuffled":  # drawn on the CPU: no waiting for the device, and the same on every device
            return [self._names[i] for i in torch.randperm(len(self._names), generator=self._draws).tolist()]
        return list(self._names if self.order == "fixed" else reversed(self._names))


def step_where_any(optimizer: torch.optim.Optimizer, present: Tensor | None) -> None:
    """``optimizer.step()``, unless no sample is present [B]: a loss of zero would still move weights by momentum.

    A fused optimiser (the default of `mmlib.train.fit` on CUDA) is told on the device, by the flag with which a
    `torch.amp.GradScaler` makes it skip a step. Any other has to be asked on the host: on a GPU one wait per turn.
    """
    if any(group.get("fused") and group.get("momentum") for group in optimizer.param_groups):
        _make_momentum(optimizer)
    if present is None:
        optimizer.step()
    elif getattr(optimizer, "_step_supports_amp_scaling", False):
        flags: dict[str, Tensor | None] = {"grad_scale": None, "found_inf": (~present.any()).float()}
        for name, flag in flags.items():
            setattr(optimizer, name, flag)
        try:
            optimizer.step()
        finally:
            for name in flags:
                delattr(optimizer, name)
    elif bool(present.any()):
        optimizer.step()


def _make_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Fused SGD expects all momenta of a step to exist or none: the head has one when the second encoder's turn comes."""
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is not None and optimizer.state[p].get("momentum_buffer") is None:
                optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)


def _one_of(name: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{name}: unknown {value!r}; known: {', '.join(known)}")
