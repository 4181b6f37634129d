"""The command line: ``python -m mmlib compare | train | download | results``."""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmlib.compare import compare, methods_table, write_json
from mmlib.data.catalogue import DATASETS, load
from mmlib.fusion import FUSIONS
from mmlib.methods import METHODS
from mmlib.model import build
from mmlib.record import payload
from mmlib.setting import Setting
from mmlib.train import evaluate, fit


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected name=value, found {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", default="digits", help=f"a data set: {', '.join(DATASETS)}")
    parser.add_argument("--modalities", type=_names, help="some of its modalities, separated by commas")
    parser.add_argument("--fusion", default="concat", help=f"one of {', '.join(FUSIONS)}")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate")
    parser.add_argument("--optimizer", default="adam", help="adam, adamw, adagrad or sgd")
    parser.add_argument("--set", type=_option, action="append", default=[], metavar="NAME=VALUE", help="a knob of the data set")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mmlib", description="Balanced multimodal learning.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("compare", help="methods over seeds: a table, and a JSON file")
    _common(one)
    one.add_argument("--methods", type=_names, default=["joint", "late_fusion"], help=f"among {', '.join(METHODS)}, by commas")
    one.add_argument("--seeds", type=int, default=5, help="how many (from MMLIB_SEED_OFFSET on)")
    one.add_argument("--workers", type=int, help="processes; by default one per core")
    one.add_argument("--out", type=Path, help="the JSON file; by default compare-DATA.json")
    one.add_argument("--overwrite", action="store_true", help="replace the JSON file if it exists")
    one.add_argument("--no-cache", action="store_true", help="train every run anew")
    two = commands.add_parser("train", help="one run, with a checkpoint after every epoch")
    _common(two)
    two.add_argument("--method", default="joint", help=f"one of {', '.join(METHODS)}")
    two.add_argument("--method-set", type=_option, action="append", default=[], metavar="NAME=VALUE", help="of the method")
    two.add_argument("--seed", type=int, default=0)
    two.add_argument("--device", help="cuda, mps or cpu; by default the first there is")
    two.add_argument("--bf16", action="store_true", help="forward passes in bfloat16")
    two.add_argument("--checkpoint", type=Path)
    two.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    get = commands.add_parser("download", help="fetch, verify and prepare a data set that does not come with the package")
    get.add_argument("names", nargs="+", metavar="NAME", help=f"among {', '.join(n for n, d in DATASETS.items() if d.download)}")
    three = commands.add_parser("results", help="make the stored results of the book (book/results)")
    three.add_argument("names", nargs="*", help="by default all; an unknown name is answered with those there are")
    three.add_argument("--workers", type=int, help="processes; by default one per core")
    three.add_argument("--verify", action="store_true", help="run a sample of stale results again; stamp those that agree")
    three.add_argument("--against", metavar="REVISION", help="with --verify: compare with that git revision, run here")
    return parser


def _compare(args: argparse.Namespace) -> None:
    out: Path = args.out or Path(f"compare-{args.data}.json")
    if out.exists() and not args.overwrite:
        raise FileExistsError(f"--out: {out} exists; pass --overwrite, or name another file with --out")
    options = {**dict(args.set), **({"modalities": args.modalities} if args.modalities else {})}
    base = {
        "fusion": args.fusion,
        "data_options": options,
        "fit_options": {"epochs": args.epochs, "batch_size": args.batch_size, "lr": args.lr, "optimizer": args.optimizer},
    }
    Setting("", data=args.data)  # an unknown name is refused before anything is loaded
    for method in args.methods:
        Setting("", method=method)
    modalities = args.modalities or load(args.data, **options).modalities
    settings = methods_table(args.data, args.methods, modalities, base=base)
    outcome = compare(settings, args.seeds, workers=args.workers, cache=not args.no_cache)
    print(f"{args.data}: test accuracy, mean over {len(outcome.seeds)} seeds with 95 % interval\n\n{outcome}")
    write_json(out, payload(f"compare-{args.data}", outcome))
    print(f"\nwritten to {out}; {outcome.seconds:.0f} s")


def _train(args: argparse.Namespace) -> None:
    options = {**dict(args.set), **({"modalities": args.modalities} if args.modalities else {})}
    if args.method not in METHODS:
        raise ValueError(f"--method: unknown {args.method!r}; known: {', '.join(METHODS)}")
    splits = load(args.data, seed=args.seed, **options)
    model = build(splits, args.fusion, seed=args.seed)
    method = METHODS[args.method](**dict(args.method_set))
    history = fit(
        model, splits, method, epochs=args.epochs, batch_size=args.batch_size, lr=args.lr, optimizer=args.optimizer,
        seed=args.seed, device=args.device, bf16=args.bf16, checkpoint=args.checkpoint, resume=args.resume,
    )  # fmt: skip
    print(history)
    print(json.dumps({f"test_{k}": round(v, 4) for k, v in evaluate(model, splits.test, method).items()}, indent=1))


def _results(args: argparse.Namespace) -> int:
    from mmlib.book import results, verify  # the one door from the library to the book's workshop

    if args.against is not None and not args.verify:
        raise ValueError("--against: expected together with --verify")
    if args.verify:

        def say(report: verify.Report) -> None:
            print(report if report.good else f"{report.name}: not verified, see the end", flush=True)

        reports = verify.verify(args.names, workers=args.workers, against=args.against, say=say)
        failed = [str(report) for report in reports if not report.good]
        if not reports:
            print("no result is stale, nothing to verify")
    else:
        failed = results.make_all(args.names, workers=args.workers)
    if failed:
        print(f"\n{len(failed)} not done:", *failed, sep="\n", file=sys.stderr)
    return 1 if failed else 0


def _download(args: argparse.Namespace) -> None:
    for name in args.names:
        if name not in DATASETS:
            raise ValueError(f"download: unknown data set {name!r}; known: {', '.join(DATASETS)}")
    for name in args.names:
        fetch = DATASETS[name].download
        print(f"{name}: verified, in {fetch()}" if fetch else f"{name}: comes with the package, there is nothing to download")


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    try:
        commands: dict[str, Callable[[argparse.Namespace], int | None]] = {
            "compare": _compare,
            "train": _train,
            "download": _download,
            "results": _results,
        }
        return commands[args.command](args) or 0
    except (ValueError, TypeError, OSError, RuntimeError, ArithmeticError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = "results verified so far are stamped" if getattr(args, "verify", False) else "finished runs and epochs are kept"
        print(f"\ninterrupted; {kept}, the same command goes on from there", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
