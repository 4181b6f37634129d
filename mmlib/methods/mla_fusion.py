"""The fusion of MLA: how much each modality's opinion counts, sample by sample."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def predictive_entropy(logits: Tensor) -> Tensor:
    """How unsure a prediction is: e = -sum_c p_c ln p_c of p = softmax(logits), in nats; [..., C] -> [...].

    0 for certainty, ln C for the uniform distribution, finite for any finite logits (0 ln 0 counts as 0).

    >>> predictive_entropy(torch.tensor([[0.0, 0.0], [1000.0, 0.0]]))
    tensor([0.6931, 0.0000])
    """
    return torch.special.entr(torch.softmax(logits, dim=-1)).sum(-1)


def uncertainty_weights(unimodal_logits: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Weights that fall with the entropy: w_m = exp(max_k e_k - e_m), normalised over the modalities of each sample.

    {m: [B, C]}, {m: [B] booleans} -> {m: [B]}; 0 for a modality that a sample lacks (Zhang et al., CVPR 2024).
    """
    entropy = torch.stack([predictive_entropy(u) for u in unimodal_logits.values()])  # [M, B]
    there = presence(unimodal_logits, present)
    if there is not None:
        entropy = entropy.masked_fill(~there, torch.inf)
    # exp(max e - e_m), normalised, is the softmax of -e over the modalities: any shift of the exponents cancels
    return dict(zip(unimodal_logits, torch.softmax(-entropy, dim=0), strict=True))


def fixed_weights(
    unimodal_logits: Mapping[str, Tensor],
    present: Mapping[str, Tensor] | None = None,
    weights: Mapping[str, float] | None = None,
) -> dict[str, Tensor]:
    """The same weights for every sample (equal ones by default), normalised over the modalities it has.

    {m: [B, C]}, {m: [B] booleans}, {m: positive number} -> {m: [B]}.
    """
    first = next(iter(unimodal_logits.values()))
    # filled on the device: a list copied to it would make the host wait
    share = torch.stack([first.new_full((len(first),), weights[m] if weights else 1.0) for m in unimodal_logits])  # [M, B]
    there = presence(unimodal_logits, present)
    share = share if there is None else share * there
    return dict(zip(unimodal_logits, share / share.sum(0), strict=True))


def log_mixture(unimodal_logits: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    """ln sum_m w_m softmax(u_m), without ever leaving the logarithm: {m: [B, C]}, {m: [B]} -> [B, C]."""
    names = list(unimodal_logits)
    votes = torch.log_softmax(torch.stack([unimodal_logits[m] for m in names]), dim=-1)  # [M, B, C]
    return torch.logsumexp(votes + torch.stack([weights[m] for m in names]).log()[..., None], dim=0)


def fuse_by_uncertainty(
    unimodal_logits: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Average what the modalities say, the surer ones counting more: p = sum_m w_m softmax(u_m).

    The weights are those of `uncertainty_weights`: per sample, and independent of the rest of the batch.

    Args:
        unimodal_logits: {m: [B, C]}. present: {m: [B]} booleans; a modality that is not named is always there.

    Returns:
        probabilities [B, C], and for each modality weights [B] that add up to 1 over the modalities a sample has.

    Raises:
        ValueError: no modality at all, shapes that disagree, or a sample with no modality present (looking for one
            waits for the device; without ``present`` there is nothing to look for).
    """
    check_votes(unimodal_logits, present)
    weights = uncertainty_weights(unimodal_logits, present)
    return log_mixture(unimodal_logits, weights).exp(), weights


def presence(unimodal_logits: Mapping[str, Tensor], present: Mapping[str, Tensor] | None) -> Tensor | None:
    """Masks as one tensor [M, B] in the order of the modalities; None where every sample has everything."""
    if present is None or not any(m in present for m in unimodal_logits):
        return None
    first = next(iter(unimodal_logits.values()))
    everywhere = torch.ones(len(first), dtype=torch.bool, device=first.device)
    return torch.stack([present.get(m, everywhere) for m in unimodal_logits])


def check_votes(unimodal_logits: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> None:
    """Raise ValueError where there is nothing to average; see `fuse_by_uncertainty`."""
    if not unimodal_logits:
        raise ValueError("unimodal_logits: expected at least one modality, found none")
    shapes = {m: list(u.shape) for m, u in unimodal_logits.items()}
    if len({tuple(s) for s in shapes.values()}) != 1 or len(next(iter(shapes.values()))) != 2:
        raise ValueError(f"unimodal_logits: expected one shape [B, C] for all modalities, found {shapes}")
    for m, mask in (present or {}).items():
        if m in shapes and list(mask.shape) != shapes[m][:1]:
            raise ValueError(f"present[{m!r}]: expected shape {shapes[m][:1]}, found {list(mask.shape)}")
    there = presence(unimodal_logits, present)
    if there is not None:
        nobody = (~there.any(0)).nonzero().flatten()
        if len(nobody):
            raise ValueError(
                f"present: every sample needs at least one modality, {len(nobody)} of {there.shape[1]} have none "
                f"(the first is sample {int(nobody[0])})"
            )


def check_weights(weights: Mapping[str, float], modalities: tuple[str, ...]) -> None:
    """Raise ValueError unless every modality has a positive weight."""
    if set(weights) != set(modalities):
        raise ValueError(f"fusion: expected a weight for each of {', '.join(modalities)}, found {', '.join(weights) or 'none'}")
    for m, w in weights.items():
        if isinstance(w, bool) or not isinstance(w, int | float) or not 0 < w < math.inf:
            raise ValueError(f"fusion[{m!r}]: expected a finite weight larger than 0, found {w!r}")
