"""What one modality's turn does to what the shared head knows of the others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlib.data.core import Batch
from mmlib.methods.mla import MLA
from mmlib.methods.mla_projection import mean_feature

if TYPE_CHECKING:
    import pandas as pd

Head = tuple[Tensor, Tensor | None]  #: weight [C, D] and bias [C] of a linear head


def forgetting(before: Head, after: Head, features: Tensor, labels: Tensor) -> Tensor:
    """How much worse the head has become on one modality by an update that served another: a change of loss in nats.

    Positive: forgotten. Negative: the update helped.

    Args:
        before, after: weight [C, D] and bias [C] of the head, before and after the update.
        features, labels: [N, D] and [N], of the modality that rested.

    Returns:
        Mean cross-entropy after, minus before; a scalar.
    """
    f = features.detach()
    return F.cross_entropy(F.linear(f, *after), labels) - F.cross_entropy(F.linear(f, *before), labels)


def update_angle(update: Tensor, earlier: Tensor) -> float:
    """Angle in degrees between an update of the head and the span of earlier features.

    90: the update is orthogonal to all of them, so that what the head says about them does not change. 0: it lies in
    their span. ``cos = |U S| / |U|`` with the orthogonal projection S onto the span, norms of Frobenius.

    Args:
        update: U, [C, D]: a difference of weights, or a gradient. earlier: [K, D], features, or means of batches.

    Returns:
        From 0 to 90; NaN for an update of zeros.
    """
    if update.ndim != 2 or earlier.ndim != 2 or update.shape[1] != earlier.shape[1]:
        raise ValueError(f"update, earlier: expected [C, D] and [K, D], found {list(update.shape)} and {list(earlier.shape)}")
    u, h = update.detach().double(), earlier.detach().double()
    _, scale, rows = torch.linalg.svd(h, full_matrices=False)
    rows = rows[scale > scale.max() * 1e-6]  # an orthonormal basis of the span, [R, D]
    if not float(u.norm()):
        return math.nan
    inside, outside = u @ rows.T, u - u @ rows.T @ rows  # the tangent, as a cosine near 1 loses the angle to rounding
    return math.degrees(math.atan2(float(outside.norm()), float(inside.norm())))


class WatchedMLA(MLA):
    """`MLA`, taking notes: the same training, bit for bit, and one record per turn in ``records``.

    Slower by far, and it waits for the device: for looking, not for timing. Arguments as in `MLA`; the head must be
    shared, and turns taken.
    """

    memory = 8  #: angles are measured against the mean features of the other modalities among so many last turns

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.sharing == "separate" or self.turns == "together":
            raise ValueError("WatchedMLA: expected a shared head and alternating turns; otherwise no turn can spoil another")
        self.records: list[dict[str, Any]] = []
        self._earlier: list[tuple[str, Tensor]] = []
        self._note: dict[str, Tensor] = {}

    def take_turn(
        self, modality: str, loss: Tensor, features: dict[str, Tensor], batch: Batch, optimizer: torch.optim.Optimizer
    ) -> None:
        before = self._head()
        super().take_turn(modality, loss, features, batch, optimizer)
        after = self._head()
        update = after[0] - before[0]
        record: dict[str, Any] = {"epoch": self._epoch, "modality": modality, "update": update.norm()}
        for m, f in features.items():  # its own encoder moves as well: what a turn does to itself is another question
            if m != modality:
                record[f"forgetting_{m}"] = forgetting(before, after, f, batch.labels)
        gradient = self.head.weight.grad
        others = [h for m, h in self._earlier if m != modality]
        if others and gradient is not None:
            earlier = torch.stack(others)
            record |= {"angle_gradient": update_angle(gradient, earlier), "angle_update": update_angle(update, earlier)}
        self._earlier = [*self._earlier, (modality, mean_feature(features[modality], self._who(batch).get(modality)))][
            -self.memory :
        ]
        self.records.append(record | self._note)

    def modify_gradient(self, modality: str, feature: Tensor) -> None:
        gradient = self.head.weight.grad
        assert gradient is not None
        raw = gradient.clone()
        super().modify_gradient(modality, feature)
        eigenvalues = torch.linalg.eigvalsh(self.projections[0].double())  # [D]
        self._note = {
            "kept": gradient.norm() / raw.norm(),
            "turned": torch.rad2deg(torch.acos(F.cosine_similarity(gradient.flatten(), raw.flatten(), dim=0).clamp(-1, 1))),
            "eigenvalue_low": eigenvalues[0],
            "eigenvalue_median": eigenvalues.median(),
            "eigenvalue_high": eigenvalues[-1],
        }

    def _head(self) -> Head:
        return self.head.weight.detach().clone(), None if self.head.bias is None else self.head.bias.detach().clone()

    @property
    def frame(self) -> pd.DataFrame:
        """One row per turn: ``epoch``, ``modality`` (whose turn), ``forgetting_{m}`` of each other modality (nats, on the same
        batch), ``update`` (norm of the head's step), ``angle_gradient`` and ``angle_update`` (`update_angle` of what goes into
        the optimiser and of what comes out); with a projection also ``kept`` (share of the gradient's norm), ``turned``
        (degrees) and the lowest, median and highest ``eigenvalue_`` of P."""
        import pandas as pd

        return pd.DataFrame([{k: float(v) if isinstance(v, Tensor) else v for k, v in r.items()} for r in self.records])
