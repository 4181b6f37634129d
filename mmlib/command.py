"""What the command line does, once its arguments are read."""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmlib import keep
from mmlib.arguments import check_fit
from mmlib.compare import compare, methods_table, write_json
from mmlib.data import arrays_file
from mmlib.data.arrays_file import HOLDS as HOLDS
from mmlib.data.catalogue import DATASETS, load
from mmlib.data.core import Splits
from mmlib.data.own import from_arrays
from mmlib.methods import METHODS, Method
from mmlib.model import build
from mmlib.optimizers import check_learning_rate, make_optimizer
from mmlib.randomness import seeds
from mmlib.record import payload
from mmlib.train import evaluate, fit


def compare_methods(args: argparse.Namespace) -> None:
    """``compare``: a table on standard output, and a JSON file."""
    name = Path(args.data).stem if _is_file(args.data) else args.data
    out: Path = args.out or Path(f"compare-{name}.json")
    if out.exists() and not args.overwrite:
        raise FileExistsError(f"--out: {out} exists; pass --overwrite, or name another file with --out")
    _writable("--out", out)
    for method in args.methods:
        if method not in METHODS:
            raise ValueError(f"--methods: unknown {method!r}; known: {', '.join(METHODS)}")
    options = _method_options(args)
    first = seeds(args.seeds)[0]
    splits = _load(args, first)
    for method in args.methods:
        if method != "unimodal":
            _try(args, splits, METHODS[method](**options.get(method, {})))
    base = {
        "fusion": args.fusion,
        "data_options": _data_options(args),
        "model_options": {"normalise": args.normalise} if args.normalise else {},
        "fit_options": _fit_options(args),
    }
    data: Any = arrays_file.splits if _is_file(args.data) else args.data
    settings = methods_table(data, args.methods, splits.modalities, base=base)
    settings = [s.with_(s.label, method_options=options.get(s.label, {})) for s in settings]
    outcome = compare(settings, args.seeds, workers=args.workers, cache=not args.no_cache)
    print(f"{name}: test accuracy, mean over {len(outcome.seeds)} seeds with 95 % interval\n")
    shown = [f"test_{m}" for m in args.measures]
    table = outcome.table() if not shown else outcome.table([*shown, "val_accuracy"])
    print(table.rename(columns=lambda c: c.removeprefix("test_")).to_string(float_format=lambda x: f"{x:.3f}", na_rep="-"))
    write_json(out, payload(f"compare-{name}", outcome))
    print(f"\nwritten to {out}; {outcome.seconds:.0f} s")


def train(args: argparse.Namespace) -> None:
    """``train``: scores as JSON on standard output, all else on standard error."""
    if args.method not in METHODS:
        raise ValueError(f"--method: unknown {args.method!r}; known: {', '.join(METHODS)}")
    if args.save is not None:
        if args.save.exists() and not args.overwrite:
            raise FileExistsError(f"--save: {args.save} exists; pass --overwrite, or name another file")
        _writable("--save", args.save)
    if args.threads < 1:
        raise ValueError(f"--threads: expected 1 or more, found {args.threads}")
    torch.set_num_threads(args.threads)
    splits = _load(args, args.seed)
    method = METHODS[args.method](**_known(args.method, dict(args.method_set), "--method-set"))
    model = build(splits, args.fusion, normalise=args.normalise, seed=args.seed)
    history = fit(
        model, splits, method, **_fit_options(args), seed=args.seed, device=args.device, bf16=args.bf16,
        checkpoint=args.checkpoint, resume=args.resume,
    )  # fmt: skip
    print(history, file=sys.stderr)
    print(json.dumps({f"test_{k}": round(v, 4) for k, v in evaluate(model, splits.test).items()}, indent=1))
    if args.save is not None:
        keep.save(args.save, model, overwrite=args.overwrite)
        print(f"kept in {args.save}", file=sys.stderr)


def predict(args: argparse.Namespace) -> None:
    """``predict``: one row per sample, a column of probabilities for each class and the class that is most likely."""
    import pandas as pd

    out: Path | None = args.out
    if out is not None:
        if out.suffix not in (".csv", ".npz"):
            raise ValueError(f"--out: expected a name that ends in .csv or .npz, found {out}")
        if out.exists() and not args.overwrite:
            raise FileExistsError(f"--out: {out} exists; pass --overwrite, or name another file")
        _writable("--out", out)
    model = keep.load_trained(args.model)
    arrays = arrays_file.read(args.data)
    masks = {m.removeprefix(arrays_file.PRESENT): x for m, x in arrays.items() if m.startswith(arrays_file.PRESENT)}
    aside = (arrays_file.LABELS, arrays_file.GROUP, arrays_file.SPLIT)
    inputs = {m: x for m, x in arrays.items() if m in model.modalities or not (m in aside or m.startswith(arrays_file.PRESENT))}
    found = keep.predict(model, inputs, masks or None)
    guessed = np.array([model.classes[i] for i in found.argmax(1)])
    if out is not None and out.suffix == ".npz":
        np.savez(out, probabilities=found, classes=np.array(model.classes), prediction=guessed)
    else:
        frame = pd.DataFrame(found, columns=[str(c) for c in model.classes]).assign(prediction=guessed)
        frame.to_csv(out if out is not None else sys.stdout, index=False, float_format="%.6g")
    if out is not None:
        print(f"{len(found)} samples, written to {out}", file=sys.stderr)


def _is_file(data: str) -> bool:
    return data not in DATASETS and data.endswith(".npz")


def _data_options(args: argparse.Namespace) -> dict[str, Any]:
    options = {**dict(args.set), **({"modalities": args.modalities} if args.modalities else {})}
    if not _is_file(args.data):
        if args.scale:
            raise ValueError(f"--scale: is for arrays of your own, found --data {args.data}")
        return options
    scale = {"scale": args.scale} if args.scale else {}
    return {**options, **scale, "file": str(Path(args.data).resolve()), "content": arrays_file.digest(args.data)}


def _load(args: argparse.Namespace, seed: int) -> Splits:
    if not _is_file(args.data):
        return load(args.data, seed=seed, **_data_options(args))
    if not Path(args.data).is_file():
        raise FileNotFoundError(f"--data: no file {args.data}")
    known = list(inspect.signature(from_arrays).parameters)[2:]
    unknown = [k for k, _ in args.set if k not in known or k in ("seed", "name", "split_by", "split", "present")]
    if unknown:
        raise ValueError(f"--set: unknown {unknown[0]!r} for your arrays; known: layout, tokens, fractions, classes, scale")
    return arrays_file.splits(seed, **_data_options(args))


def _fit_options(args: argparse.Namespace) -> dict[str, Any]:
    options = {k: getattr(args, k) for k in ("epochs", "batch_size", "lr", "optimizer")}
    return {
        **options,
        **({"weight_decay": args.weight_decay} if args.weight_decay else {}),
        **({"class_weights": args.class_weights} if args.class_weights else {}),
    }


def _try(args: argparse.Namespace, splits: Splits, method: Method) -> None:
    """What would fail in every run is to fail now, in the words of the command line, before any process starts."""
    model = build(splits, args.fusion, normalise=args.normalise)
    check_fit(model, splits, method, args.epochs, args.batch_size, args.weight_decay, "val_accuracy", "best", None, "running")
    check_learning_rate(args.lr, model.modalities)
    make_optimizer(args.optimizer, list(model.parameters()), args.lr)


def _method_options(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """--set-method METHOD.NAME=VALUE, by method."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in args.set_method:
        method, dot, name = key.partition(".")
        if not dot or method not in args.methods:
            raise ValueError(f"--set-method: expected METHOD.NAME=VALUE with one of {', '.join(args.methods)}, found {key!r}")
        found.setdefault(method, {}).update(_known(method, {name: value}, "--set-method"))
    return found


def _known(method: str, options: dict[str, Any], flag: str) -> dict[str, Any]:
    known = list(inspect.signature(METHODS[method].__init__).parameters)[1:]
    for name in options:
        if name not in known:
            raise ValueError(f"{flag}: {method} has no option {name!r}; known: {', '.join(known) or 'none'}")
    return options


def _writable(flag: str, path: Path) -> None:
    """Find out now, not after hours."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        part.touch()
        part.unlink()
    except OSError as error:
        raise OSError(f"{flag}: cannot write to {path.parent} ({error.strerror})") from None
