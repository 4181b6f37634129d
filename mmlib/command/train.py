"""``python -m mmlib train``: one run. Standard output is JSON alone."""

from __future__ import annotations

import json
import math
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import torch
from torch import nn

from mmlib import keep
from mmlib.backbones import encoders
from mmlib.command import shared
from mmlib.command.parser import UsageError
from mmlib.data.core import Splits
from mmlib.model import build
from mmlib.train import evaluate, fit


def main(args: Namespace) -> None:
    with redirect_stdout(sys.stderr):
        scores = _train(args)
    print(json.dumps(scores, indent=1))


def _train(args: Namespace) -> dict[str, Any]:
    if args.resume and args.checkpoint is None:
        raise UsageError("--resume: expected together with --checkpoint")
    if args.save is not None:
        shared.writable(args.save, "--save", args.overwrite)
    if args.checkpoint is not None and not args.checkpoint.exists():
        shared.writable(args.checkpoint, "--checkpoint", overwrite=True)
    options = dict(args.method_set)
    if args.method == "unimodal" and "modality" not in options:
        raise UsageError("--method-set: unimodal needs to know which, such as --method-set modality=image")
    method = shared.method(args.method, options)
    device(args.device)
    threads = torch.get_num_threads()
    torch.set_num_threads(args.threads)
    try:
        _, _, splits = shared.data(args, args.seed)
        model = build(
            splits, args.fusion, encoders=_encoders(args, splits), seed=args.seed, normalise=args.normalise,
            intermediate=args.intermediate,
        )  # fmt: skip
        history = fit(
            model, splits, method, **shared.fit_options(args), seed=args.seed, device=args.device, bf16=args.bf16,
            checkpoint=args.checkpoint, resume=args.resume,
        )  # fmt: skip
        print(history)
        if args.save is not None:
            print(f"kept in {keep.save(args.save, model, overwrite=args.overwrite)}")
        scores = {f"test_{k}": v for k, v in evaluate(model, splits.test).items()}
    finally:
        torch.set_num_threads(threads)
    scores["val_accuracy"] = history.rows[history.best_epoch]["val_accuracy"]
    numbers = {k: round(v, 6) if math.isfinite(v) else None for k, v in scores.items()}
    return {**numbers, "best_epoch": history.best_epoch, "epochs": len(history), "seed": args.seed}


def _encoders(args: Namespace, splits: Splits) -> dict[str, Callable[[], nn.Module]] | None:
    """Where the default encoders are not asked for, or cannot read what there is; None otherwise."""
    clips = any(len(shape) == 4 for shape in splits.train.shapes.values())
    if args.encoders == "small" and args.weights is None and not clips:
        return None
    try:
        return encoders(splits, args.encoders, args.weights)
    except (ValueError, FileNotFoundError, ModuleNotFoundError) as error:
        raise UsageError(f"--{str(error).replace('network:', 'encoders:')}") from None


def device(name: str | None) -> None:
    """Raise UsageError where there is no such device."""
    if name is None:
        return
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device: cannot use {name!r}: {str(error).splitlines()[0]}") from None
