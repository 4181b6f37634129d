"""OGM-GE: on-the-fly gradient modulation with generalisation enhancement (Peng et al., CVPR 2022, arXiv 2203.15332)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlib.data.core import Batch, MultimodalData
from mmlib.methods.base import Method
from mmlib.methods.ogm_noise import covariance_noise, gradient_noises
from mmlib.model import MultimodalClassifier, Output
from mmlib.randomness import derive

Form = Literal["paper", "continuous"]
Noise = Literal["released", "covariance"] | None
Scale = Literal["all", "conv"]


def _true_class(unimodal_logits: Mapping[str, Tensor], labels: Tensor) -> Tensor:
    """{m: [B, C]}, [B] -> log-probability of the true class [M, B], in float32 or better; finite for finite logits."""
    for m, u in unimodal_logits.items():
        if u.ndim != 2 or len(u) != len(labels):
            raise ValueError(
                f"unimodal_logits[{m!r}]: expected shape [{len(labels)}, C], one row per label, found {list(u.shape)}"
            )
    logits = torch.stack(list(unimodal_logits.values()))  # [M, B, C]
    logp = F.log_softmax(logits, dim=2, dtype=torch.promote_types(logits.dtype, torch.float32))
    return logp.gather(2, labels.expand(len(logits), -1)[:, :, None])[:, :, 0].clamp(min=-1e30)


def unimodal_scores(
    unimodal_logits: Mapping[str, Tensor], labels: Tensor, present: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """How much probability each modality alone gives to the true classes, summed over the batch (Peng et al., CVPR 2022).

        s_m = sum_i softmax(u_m,i)[y_i]

    Args:
        unimodal_logits: {m: [B, C]}. labels: [B]. present: {m: [B]} booleans; samples without the modality do not count.

    Returns:
        a scalar from 0 to B for each modality.

    >>> scores = unimodal_scores({"a": torch.zeros(2, 4), "b": torch.tensor([[0.0, -99, -99, -99]] * 2)}, torch.tensor([0, 0]))
    >>> {m: s.item() for m, s in scores.items()}
    {'a': 0.5, 'b': 2.0}
    """
    p = _true_class(unimodal_logits, labels).exp()  # [M, B]
    if present is not None:
        p = p * torch.stack([present[m] for m in unimodal_logits])
    return dict(zip(unimodal_logits, p.sum(1), strict=True))


def _ratios(unimodal_logits: Mapping[str, Tensor], labels: Tensor, present: Mapping[str, Tensor] | None) -> Tensor:
    """`discrepancy_ratios` as one tensor [M]."""
    if len(unimodal_logits) < 2:
        raise ValueError(
            f"unimodal_logits: expected two modalities or more to compare, found {', '.join(unimodal_logits) or 'none'}"
        )
    logp = _true_class(unimodal_logits, labels)  # [M, B]
    size = len(logp)
    others = ~torch.eye(size, dtype=torch.bool, device=logp.device)  # [M, M]
    if present is None:
        log_score = logp.logsumexp(1)  # [M]; the number of samples cancels
    else:
        there = torch.stack([present[m] for m in unimodal_logits])  # [M, B]
        count = there.sum(1)
        log_score = logp.masked_fill(~there, -torch.inf).logsumexp(1) - count.clamp(min=1).log()  # of the mean
        others = others & (count > 0)
    # relative to the largest, which becomes 1: what then underflows to 0 is too small to matter, and nothing overflows
    score = (log_score - log_score.amax().clamp(min=-1e30)).exp()  # [M]
    rivals = (others * score).sum(1) / others.sum(1).clamp(min=1)
    ratio = score / rivals.clamp(min=1e-30)
    if present is None:
        return ratio
    return torch.where((count > 0) & others.any(1), ratio, 1.0)  # nobody to compare with


def discrepancy_ratios(
    unimodal_logits: Mapping[str, Tensor], labels: Tensor, present: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """How far each modality is ahead: its score over the mean of the others' scores (Peng et al., CVPR 2022).

        rho_m = s_m / mean over n other than m of s_n

    For two modalities this is the paper's ratio, and the two ratios are inverse to each other. For more it is a choice
    of ours: "ahead" then means ahead of the average of the rest, and a modality is compared with as many scores as there
    are, neither with their sum (it would hardly ever be ahead) nor with one of them (which one?).

    Where modalities are missing, scores are means over the samples that have them; a modality that no sample has is not
    compared, and its ratio is 1. Computed from log-probabilities: finite (at most 1e30) whatever underflows.

    Args:
        unimodal_logits: {m: [B, C]}, two modalities or more. labels: [B]. present: {m: [B]} booleans.

    Returns:
        a scalar for each modality.

    Raises:
        ValueError: a single modality, or logits of another length than the labels.
    """
    return dict(zip(unimodal_logits, _ratios(unimodal_logits, labels, present), strict=True))


def coefficient(ratio: Tensor, alpha: float, form: Form = "paper") -> Tensor:
    """What the gradient is multiplied by, for each discrepancy ratio; exactly 1 for a ratio of 1 or less.

        paper:       k = 1 - tanh(alpha rho)         if rho > 1, else 1      (Peng et al., CVPR 2022, Eq. 10)
        continuous:  k = 1 - tanh(alpha (rho - 1))   if rho > 1, else 1      (an early revision of their public code)

    The paper's jumps from 1 to 1 - tanh(alpha) as a modality gets ahead; the other starts from 1.

    Args:
        ratio: any shape. alpha: strength, 0 or more.

    Returns:
        coefficients from 0 to 1, of the shape of ``ratio``.
    """
    return torch.where(ratio > 1, 1 - torch.tanh(alpha * (ratio if form == "paper" else ratio - 1)), 1.0)


def modulation_coefficients(
    unimodal_logits: Mapping[str, Tensor],
    labels: Tensor,
    alpha: float,
    present: Mapping[str, Tensor] | None = None,
    form: Form = "paper",
) -> dict[str, Tensor]:
    """What each encoder's gradient is multiplied by (Peng et al., CVPR 2022, Eq. 10): `coefficient` of `discrepancy_ratios`.

    Exactly 1 for a modality that is not ahead of the others, so for all of them where the scores are equal.

    Args:
        unimodal_logits: {m: [B, C]}, two modalities or more. labels: [B]. alpha: strength, 0 or more; the released code
            has 0.8 for CREMA-D and 0.1 for VGGSound. present: {m: [B]} booleans. form: as in `coefficient`.

    Returns:
        a scalar from 0 to 1 for each modality, detached, on the logits' device.

    Raises:
        ValueError: an argument out of range, or as in `discrepancy_ratios`.

    >>> ahead = {"a": torch.tensor([[9.0, 0.0]]), "b": torch.zeros(1, 2)}
    >>> {m: round(k.item(), 3) for m, k in modulation_coefficients(ahead, torch.tensor([0]), alpha=0.5).items()}
    {'a': 0.238, 'b': 1.0}
    """
    _check(alpha, form)
    with torch.no_grad():
        return dict(zip(unimodal_logits, coefficient(_ratios(unimodal_logits, labels, present), alpha, form), strict=True))


def _check(alpha: float, form: str) -> None:
    if not 0 <= alpha < math.inf:
        raise ValueError(f"alpha: expected a strength of 0 or more, found {alpha}")
    if form not in ("paper", "continuous"):
        raise ValueError(f"form: unknown {form!r}; known: paper, continuous")


class OGMGE(Method):
    """Joint training in which the encoder of a modality that is ahead gets a smaller gradient, and noise in its place.

    In each step the discrepancy ratio of the batch gives every modality a coefficient k from 0 to 1 (`coefficient`), and

        gradient of its encoder <- k * gradient + noise

    The head keeps its gradient. A modality without a sample in the batch is neither scaled nor counted.

    Args:
        alpha: strength. The released code has 0.8 for CREMA-D and 0.1 for VGGSound. With 0 and without noise this is `Joint`.
        window: first and last epoch, counted from 0, in which gradients are changed; all by default. The released code
            changes epochs 0 to 50 of 100.
        noise: "released" draws noise with one standard deviation per tensor (`gradient_noise`); "covariance" as the paper
            writes it, at the cost of a second backward pass (`covariance_noise`); None is OGM without GE. All encoders
            get noise, whether scaled or not.
        scale: which tensors of an encoder are changed. "all", as the paper writes; "conv": the weights of convolutions
            alone, as released (which takes every tensor of four dimensions; here any convolution counts).
        form: "paper", or "continuous" as in an early revision of the public code; see `coefficient`.
        gradients: also report the norm of each encoder's gradient, as it was before it was changed.

    After every epoch the history gets ``ratio_{m}`` (geometric mean over the steps), ``coefficient_{m}`` (mean) and, where
    asked for, ``gradient_{m}`` (mean).

    Raises:
        ValueError: an argument out of range. At setup: a model with one modality, or an encoder without any tensor to
            scale. In the first step: a model that gives no unimodal logits.
    """

    name = "ogm_ge"

    def __init__(
        self,
        alpha: float = 0.8,
        window: tuple[int, int] | None = None,
        noise: Noise = "released",
        scale: Scale = "all",
        form: Form = "paper",
        gradients: bool = False,
    ) -> None:
        super().__init__()
        _check(alpha, form)
        first, last = window if window is not None else (0, math.inf)
        if not 0 <= first <= last:
            raise ValueError(f"window: expected the first and the last epoch, 0 <= first <= last, found {window}")
        if noise not in ("released", "covariance", None):
            raise ValueError(f"noise: unknown {noise!r}; known: released, covariance, None")
        if scale not in ("all", "conv"):
            raise ValueError(f"scale: unknown {scale!r}; known: all, conv")
        self.alpha, self.first, self.last = alpha, first, last
        self.noise, self.scale, self.form, self.gradients = noise, scale, form, gradients

    def setup(self, model: MultimodalClassifier, data: MultimodalData, seed: int) -> None:
        if len(model.modalities) < 2:
            raise ValueError(f"model: OGM-GE compares modalities and needs two or more, found {', '.join(model.modalities)}")
        super().setup(model, data, seed)
        self.tensors = {m: self._scaled(m, model.encoders[m]) for m in model.modalities}
        self.seed = seed
        self.start_epoch(0, model, data)

    def _scaled(self, modality: str, encoder: nn.Module) -> list[Tensor]:
        """The tensors of one encoder that are changed."""
        found: list[Tensor] = [p for p in encoder.parameters() if p.requires_grad]
        if not found:
            raise ValueError(f"encoders[{modality!r}]: {type(encoder).__name__} has no tensor that is trained, nothing to scale")
        if self.scale == "conv":
            found = [c.weight for c in encoder.modules() if isinstance(c, nn.modules.conv._ConvNd) and c.weight.requires_grad]
            if not found:
                raise ValueError(
                    f"encoders[{modality!r}]: {type(encoder).__name__} has no convolution that is trained; "
                    "scale='all' scales every tensor of an encoder"
                )
        return found

    def start_epoch(self, epoch: int, model: MultimodalClassifier, data: MultimodalData) -> None:
        self.active = self.first <= epoch <= self.last
        # a new generator every epoch: a run that is resumed draws what it would have drawn
        self.generator = torch.Generator(model.device).manual_seed(derive(self.seed, "gradient noise", epoch))
        self.seen: list[Tensor] = []  # of each step [rows, M], on the device

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: torch.optim.Optimizer) -> tuple[Tensor, Output]:
        output: Output = model(batch.inputs, batch.present)
        self._check_unimodal(model, output)
        loss = F.cross_entropy(output.logits, batch.labels, self.class_weights)
        noise = self._noise_of_samples(output, batch) if self.noise == "covariance" and self.active else {}
        optimizer.zero_grad()
        loss.backward()
        self._modulate(output, batch, noise)
        optimizer.step()
        return loss, output

    @torch.no_grad()
    def _modulate(self, output: Output, batch: Batch, noise: dict[str, list[Tensor | None]]) -> None:
        """Change the gradients of the encoders in place, without asking the device for anything."""
        ratio = _ratios({m: output.unimodal[m] for m in self.tensors}, batch.labels, batch.present)  # [M]
        k = coefficient(ratio, self.alpha, self.form) if self.active else torch.ones_like(ratio)  # [M]
        told = [ratio.log(), k]
        if self.gradients:
            told.append(torch.stack([_norm([p.grad for p in ps if p.grad is not None], ratio) for ps in self.tensors.values()]))
        self.seen.append(torch.stack(told))
        if not self.active:
            return
        for (m, parameters), k_m in zip(self.tensors.items(), k.unbind(), strict=True):
            drawn = noise.get(m, [None] * len(parameters))
            pairs = [(p.grad, h) for p, h in zip(parameters, drawn, strict=True) if p.grad is not None]
            gradients = [g for g, _ in pairs]
            added = [h for _, h in pairs if h is not None]
            if self.noise == "released":
                added = gradient_noises(gradients, self.generator) if gradients else []  # before the gradient is scaled
            if gradients:  # none where a modality was not passed at all
                torch._foreach_mul_(gradients, k_m)
            if added:
                torch._foreach_add_(gradients, added)

    def _noise_of_samples(self, output: Output, batch: Batch) -> dict[str, list[Tensor | None]]:
        losses = F.cross_entropy(output.logits, batch.labels, self.class_weights, reduction="none")  # [B]
        if self.class_weights is not None:  # so that their mean is the weighted mean
            losses = losses * (len(losses) / self.class_weights[batch.labels].sum())
        drawn = iter(covariance_noise(losses, [p for ps in self.tensors.values() for p in ps], self.generator))
        return {m: [next(drawn) for _ in ps] for m, ps in self.tensors.items()}

    def _check_unimodal(self, model: MultimodalClassifier, output: Output) -> None:
        mute = [m for m in self.tensors if m not in (output.unimodal or {})]
        if mute:
            raise ValueError(
                f"model: {type(model.fusion).__name__} gives no unimodal logits for {', '.join(mute)}; OGM-GE needs [B, C] for "
                "every modality, as mmlib.fusion.Fusion.unimodal gives them"
            )

    def report(self) -> dict[str, float]:
        rows: list[list[float]] = torch.stack(self.seen).mean(0).cpu().tolist()
        names = ("ratio", "coefficient", "gradient")
        told = {f"{name}_{m}": x for name, row in zip(names, rows, strict=False) for m, x in zip(self.tensors, row, strict=True)}
        return {name: math.exp(x) if name.startswith("ratio_") else x for name, x in told.items()}


def _norm(gradients: list[Tensor], like: Tensor) -> Tensor:
    """The norm of all of them together, a scalar of the dtype of ``like``."""
    if not gradients:
        return torch.zeros_like(like[0])
    return torch.stack(torch._foreach_norm(gradients)).norm().to(like.dtype)
