"""``python -m mmlib train``: one run. Standard output is JSON alone."""

from __future__ import annotations

import json
import math
import os
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from typing import Any

import torch
from torch import nn

from mmlib import distributed, keep
from mmlib.backbones import encoders
from mmlib.command import shared
from mmlib.command.parser import UsageError
from mmlib.data.core import Splits
from mmlib.model import build
from mmlib.train import evaluate, fit


def main(args: Namespace) -> None:
    with redirect_stdout(sys.stderr):
        scores = _train(args)
    if scores is not None:
        print(json.dumps(scores, indent=1))


def _train(args: Namespace) -> dict[str, Any] | None:
    """The scores; of several processes those of the first, and None of the others."""
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
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    state = distributed.processes(cpu=args.device == "cpu") if several else None
    first = state is None or state.is_main_process
    threads = torch.get_num_threads()
    torch.set_num_threads(args.threads)
    try:
        with state.main_process_first() if state is not None else nullcontext():  # it downloads and decodes, the others find it
            _, _, splits = shared.data(args, args.seed)
        model = build(
            splits, args.fusion, encoders=_encoders(args, splits), seed=args.seed, normalise=args.normalise,
            intermediate=args.intermediate,
        )  # fmt: skip
        options = shared.fit_options(args) | {"seed": args.seed, "precision": args.precision, "checkpoint": args.checkpoint}
        if several:
            history = distributed.fit(model, splits, method, cpu=args.device == "cpu", resume=args.resume, **options)
        else:
            history = fit(model, splits, method, device=args.device, resume=args.resume, **options)
        if not first:
            return None
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
    """Where the default encoders are not asked for; None otherwise."""
    if args.encoders == "small":
        if args.weights is not None:
            raise UsageError("--weights: expected together with --encoders NETWORK; the small ones have none to load")
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
