"""``python -m mmlib predict``: probabilities by a model that was kept."""

from __future__ import annotations

import csv
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from mmlib import keep
from mmlib.cache import whole
from mmlib.command import arrays, shared
from mmlib.command.parser import UsageError
from mmlib.command.train import device


def main(args: Namespace) -> None:
    out: Path | None = args.out
    if out is not None:
        if out.suffix not in (".csv", ".npz"):
            raise UsageError(f"--out: expected a name that ends in .csv or .npz, found {out}")
        shared.writable(out, "--out", args.overwrite)
    device(args.device)
    model = keep.load_trained(args.model, device=args.device)
    inputs, present = arrays.modalities(arrays.read(args.data), args.data)
    probabilities = keep.predict(model, inputs, present or None, batch_size=args.batch_size)
    names: tuple[Any, ...] = model.classes
    if out is None:
        _csv(sys.stdout, probabilities, names)
        return
    with whole(out) as part:
        if out.suffix == ".csv":
            with part.open("w", encoding="utf8", newline="") as stream:
                _csv(stream, probabilities, names)
        else:
            with part.open("wb") as stream:
                classes = np.array(names)
                best = probabilities.argmax(1)
                np.savez(stream, probabilities=probabilities, predictions=classes[best], classes=classes)
    print(f"{len(probabilities):,} samples: written to {out}", file=sys.stderr)


def _csv(stream: TextIO, probabilities: NDArray[Any], names: tuple[Any, ...]) -> None:
    """A line per sample: its number, the likeliest class, the probability of each."""
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(["sample", "prediction", *(f"p_{name}" for name in names)])
    for i, row in enumerate(probabilities):
        rows.writerow([i, names[int(row.argmax())], *(f"{p:.6g}" for p in row)])
