"""What happened in training: one row per epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlib.data.core import Batch
from mmlib.model import Output

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, float]


@dataclass
class History:
    """One row per epoch: ``epoch``, ``seconds``, ``lr``, and for train and val ``{split}_loss``, ``{split}_accuracy``
    of the fused prediction and ``{split}_loss_{modality}``, ``{split}_accuracy_{modality}`` of each modality's own.

    Losses in nats, accuracies from 0 to 1. ``best_epoch`` is the row whose weights the model now holds.
    """

    rows: list[Row] = field(default_factory=list)
    best_epoch: int = -1
    stopped_early: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def since_best(self) -> int:
        """How many epochs came after the best one."""
        return len(self) - 1 - self.best_epoch

    def ends_best(self, monitor: str) -> bool:
        """Whether the last epoch is better by ``monitor`` than all before; the earlier one wins a tie."""
        sign = -1.0 if monitor == "val_loss" else 1.0
        scores = [sign * row[monitor] for row in self.rows]
        return len(scores) == 1 or scores[-1] > max(scores[:-1])

    @property
    def frame(self) -> pd.DataFrame:
        """One row per epoch, as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.rows)

    @property
    def tidy(self) -> pd.DataFrame:
        """One row per epoch, split and head ("fused" or a modality), with columns loss and accuracy."""
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for row in self.rows:
            for key in row:
                split, _, rest = key.partition("_loss")
                if split in ("train", "val") and key.startswith(f"{split}_loss"):
                    head = rest.removeprefix("_") or "fused"
                    accuracy = row[f"{split}_accuracy{rest}"]
                    rows.append({"epoch": row["epoch"], "split": split, "head": head, "loss": row[key], "accuracy": accuracy})
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        if not self.rows:
            return "History: no epoch yet"
        last, best = self.rows[-1], self.rows[self.best_epoch]
        end = ", stopped early" if self.stopped_early else ""
        return (
            f"History: {len(self.rows)} epochs in {sum(r['seconds'] for r in self.rows):.1f} s{end}; "
            f"validation accuracy {best['val_accuracy']:.3f} in epoch {self.best_epoch}, {last['val_accuracy']:.3f} in the last"
        )


class NonFiniteLossError(ArithmeticError):
    """The loss became NaN or infinite: the run diverged. The message names epoch, step and modality.

    Attributes:
        epoch: in which it happened, counted from 0. rows: of the history, one for each epoch before it.
    """

    def __init__(self, message: str, epoch: int = 0, rows: Sequence[Row] = ()) -> None:
        super().__init__(message, epoch, rows)  # all of them, or they are lost on the way from another process
        self.epoch, self.rows = epoch, list(rows)

    def __str__(self) -> str:
        return str(self.args[0])


class Meter:
    """Sums up what a model said over many batches without asking the device in between.

    ``add`` only keeps references; every ``chunk`` batches, or as soon as ``most`` logits wait, they are reduced to one loss
    and one hit per sample and head, still on the device. ``result`` copies the sums to the host once.
    """

    def __init__(self, chunk: int = 128, most: int = 2**22) -> None:
        self.chunk, self.most, self.logits = chunk, most, 0
        self.waiting: list[tuple[Tensor, dict[str, Tensor], Tensor, dict[str, Tensor] | None]] = []
        self.sizes: list[int] = []
        self.reduced: dict[str, list[Tensor]] = {}  # head -> [3, n]: loss, hit, counts

    def add(self, output: Output, batch: Batch) -> None:
        self.waiting.append(
            (output.logits.detach(), {m: u.detach() for m, u in output.unimodal.items()}, batch.labels, batch.present)
        )
        self.sizes.append(len(batch.labels))
        self.logits += output.logits.numel() * (1 + len(output.unimodal))
        if len(self.waiting) >= self.chunk or self.logits >= self.most:
            self._reduce()

    def _reduce(self) -> None:
        if not self.waiting:
            return
        labels = torch.cat([w[2] for w in self.waiting])
        heads: dict[str, list[Tensor]] = {"": [w[0] for w in self.waiting]}
        heads.update({f"_{m}": [w[1][m] for w in self.waiting] for m in self.waiting[0][1]})
        for head, parts in heads.items():
            logits = torch.cat(parts).float()  # [n, C]
            counts = torch.ones_like(labels, dtype=torch.float32)
            if head and self.waiting[0][3] is not None:
                counts = torch.cat([w[3][head[1:]] for w in self.waiting if w[3] is not None]).float()
            loss = torch.where(counts > 0, F.cross_entropy(logits, labels, reduction="none"), 0.0)
            hit = (logits.argmax(1) == labels) * counts
            self.reduced.setdefault(head, []).append(torch.stack([loss, hit, counts]))
        self.waiting.clear()
        self.logits = 0

    def result(self, prefix: str = "") -> Row:
        """``{prefix}loss``, ``{prefix}accuracy`` and the same with ``_{modality}``; NaN for a modality no sample had."""
        self._reduce()
        heads = {head: torch.cat(parts, dim=1) for head, parts in self.reduced.items()}  # [3, N]
        sums = torch.stack([h.double().sum(1) if h.device.type != "mps" else h.sum(1) for h in heads.values()]).cpu().tolist()
        row: Row = {}
        for head, (loss, hit, count) in zip(heads, sums, strict=True):
            row[f"{prefix}loss{head}"] = loss / count if count else float("nan")
            row[f"{prefix}accuracy{head}"] = hit / count if count else float("nan")
        return row

    def check_finite(self, epoch: int, rows: Sequence[Row] = ()) -> None:
        """Raise `NonFiniteLossError` for the first step whose loss is not finite; ``rows`` are those of the epochs before."""
        self._reduce()
        bad = {head: (~torch.isfinite(torch.cat(parts, dim=1)[0])).cpu() for head, parts in self.reduced.items()}
        everywhere = torch.stack(list(bad.values())).any(0)
        if not bool(everywhere.any()):
            return
        first, step = int(everywhere.nonzero()[0]), 0
        while first >= sum(self.sizes[: step + 1]):
            step += 1
        start = sum(self.sizes[:step])
        guilty = [head[1:] for head, b in bad.items() if head and bool(b[start : start + self.sizes[step]].any())]
        who = f"modality {', '.join(guilty)}" if guilty else "the fused logits (every modality's own are finite)"
        raise NonFiniteLossError(
            f"loss: NaN or infinite in epoch {epoch}, step {step}, from {who}; "
            "try a smaller learning rate, or look for extreme values in the inputs",
            epoch,
            rows,
        )
