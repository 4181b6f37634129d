"""``python -m mmlib compare``: methods over seeds, a table and a JSON file."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmlib import record
from mmlib.command import shared
from mmlib.command.parser import UsageError
from mmlib.compare import compare, methods_table
from mmlib.data.core import Splits
from mmlib.methods.batches import check_batch_size
from mmlib.model import build
from mmlib.randomness import seeds
from mmlib.setting import Setting

#: the learning curves that the file holds, of the fused prediction and of each modality
CURVES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")


def main(args: Namespace) -> None:
    name = Path(args.data).stem if args.data.endswith(".npz") else args.data
    out: Path = args.out or Path(f"compare-{name}.json")
    shared.writable(out, "--out", args.overwrite)
    given: dict[str, dict[str, Any]] = {}
    for method, option, value in args.method_set:
        if method not in args.methods:
            raise UsageError(f"--method-set {method}.{option}: expected one of --methods {','.join(args.methods)}")
        given.setdefault(method, {})[option] = value
    for method in args.methods:
        if method != "unimodal":  # every modality alone is in the table anyway
            shared.method(method, given.get(method, {}), f"{method}.")
    data, options, splits = shared.data(args, seeds(1)[0])
    base = {
        "fusion": args.fusion,
        "data_options": options,
        "model_options": {k: v for k in ("normalise", "intermediate") if (v := getattr(args, k))},
        "fit_options": shared.fit_options(args),
    }
    settings = methods_table(data, args.methods, splits.modalities, base=base, options=given)
    plain = {"normalise": args.normalise} if args.normalise else {}
    settings = [replace(row, model_options=plain) if row.method == "unimodal" else row for row in settings]  # nobody to meet
    _try(settings[0], splits, args.batch_size)
    outcome = compare(settings, args.seeds, workers=args.workers, cache=not args.no_cache)
    print(f"{name}: test accuracy, mean over {len(outcome.seeds)} seeds with 95 % interval\n")
    print(outcome.text(measures=args.measures))
    record.write(out, record.payload(f"compare-{name}", outcome, CURVES))
    print(f"\nwritten to {out}; {outcome.seconds:.0f} s")


def _try(setting: Setting, splits: Splits, batch_size: int) -> None:
    """Whether a model can be built of all that the settings share; its errors come now and once, not from every run."""
    check_batch_size(build(splits, setting.fusion, **setting.model_options), batch_size)
