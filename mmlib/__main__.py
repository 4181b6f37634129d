"""The command line: ``python -m mmlib compare | train | predict | download | results``."""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmlib import __version__, command
from mmlib.data.catalogue import DATASETS
from mmlib.fusion import FUSIONS
from mmlib.methods import METHODS
from mmlib.normalise import KINDS

EXAMPLES = """examples:
  python -m mmlib compare --data digits --methods joint,late_fusion,ogm_ge,mla --seeds 5
  python -m mmlib compare --data arrays.npz --scale standard --methods joint,mla --set-method mla.ridge=0.1
  python -m mmlib train --data arrays.npz --method mla --save model.safetensors --checkpoint run.pt --resume
  python -m mmlib predict model.safetensors --data new.npz --out predictions.csv
"""
#: arguments of the library -> flags of the command line, where the flag is not the argument's name with dashes
FLAGS = {"name": "--data", "settings": "--methods", "method_options": "--method-set", "encoders": "--data"}
ASKED = {"resume=True": "--resume", "overwrite=True": "--overwrite"}


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
    add = parser.add_argument
    add("--data", default="digits", help=f"a data set ({', '.join(DATASETS)}), or your arrays: FILE.npz with {command.HOLDS}")
    add("--modalities", type=_names, help="some of its modalities, separated by commas")
    add("--set", type=_option, action="append", default=[], metavar="NAME=VALUE", help="a knob of the data set; of your arrays")
    add("--scale", choices=["standard"], help="your arrays: every column to mean 0 and deviation 1 on the training data")
    add("--fusion", default="concat", help=f"one of {', '.join(FUSIONS)}")
    add("--normalise", help=f"bring features to one scale: one of {', '.join(KINDS)}")
    add("--epochs", type=int, default=20)
    add("--batch-size", type=int, default=64)
    add("--lr", type=float, default=1e-3, help="learning rate")
    add("--weight-decay", type=float, default=0.0)
    add("--optimizer", default="adam", help="adam, adamw, adagrad or sgd")
    add("--class-weights", choices=["balanced"], help="rare classes count as much as frequent ones")


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m mmlib", description="Balanced multimodal learning.", epilog=EXAMPLES, formatter_class=raw
    )
    parser.add_argument("--version", action="version", version=f"mmlib {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser(
        "compare", help="methods over seeds: a table, and a JSON file", epilog=EXAMPLES, formatter_class=raw
    )
    _common(one)
    one.add_argument("--methods", type=_names, default=["joint", "late_fusion"], help=f"among {', '.join(METHODS)}, by commas")
    one.add_argument(
        "--set-method", type=_option, action="append", default=[], metavar="METHOD.NAME=VALUE", help="an option of one method"
    )
    one.add_argument("--seeds", type=int, default=5, help="how many (from MMLIB_SEED_OFFSET on)")
    one.add_argument("--measures", type=_names, default=[], help="also show balanced_accuracy, macro_f1")
    one.add_argument("--workers", type=int, help="processes; by default one per core")
    one.add_argument("--out", type=Path, help="the JSON file; by default compare-DATA.json")
    one.add_argument("--overwrite", action="store_true", help="replace the JSON file if it exists")
    one.add_argument("--no-cache", action="store_true", help="train every run anew")
    two = commands.add_parser(
        "train", help="one run: its scores as JSON; a checkpoint; a model to keep", epilog=EXAMPLES, formatter_class=raw
    )
    _common(two)
    two.add_argument("--method", default="joint", help=f"one of {', '.join(METHODS)}")
    two.add_argument("--method-set", type=_option, action="append", default=[], metavar="NAME=VALUE", help="of the method")
    two.add_argument("--seed", type=int, default=0)
    two.add_argument("--device", help="cuda, mps or cpu; by default the first there is")
    two.add_argument("--threads", type=int, default=1, help="of the CPU; 1 gives the numbers of compare, bit for bit")
    two.add_argument("--bf16", action="store_true", help="forward passes in bfloat16")
    two.add_argument("--checkpoint", type=Path, help="written at the end of every epoch")
    two.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    two.add_argument("--save", type=Path, metavar="FILE", help="keep the trained model")
    two.add_argument("--overwrite", action="store_true", help="replace the model if it exists")
    use = commands.add_parser("predict", help="probabilities from a kept model, for arrays in a file")
    use.add_argument("model", type=Path, help="a file that train --save, or mmlib.save, wrote")
    use.add_argument(
        "--data", type=Path, required=True, help="FILE.npz with an array for each modality; what is not there is missing"
    )
    use.add_argument("--out", type=Path, help="a .csv or .npz file; by default CSV on standard output")
    use.add_argument("--overwrite", action="store_true", help="replace that file if it exists")
    get = commands.add_parser("download", help="fetch, verify and prepare a data set that does not come with the package")
    get.add_argument("names", nargs="+", metavar="NAME", help=f"among {', '.join(n for n, d in DATASETS.items() if d.download)}")
    three = commands.add_parser("results", help="make the stored results of the book (book/results)")
    three.add_argument("names", nargs="*", help="by default all; an unknown name is answered with those there are")
    three.add_argument("--workers", type=int, help="processes; by default one per core")
    three.add_argument("--verify", action="store_true", help="run a sample of stale results again; stamp those that agree")
    three.add_argument("--against", metavar="REVISION", help="with --verify: compare with that git revision, run here")
    return parser


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


def in_flags(message: str, args: argparse.Namespace) -> str:
    """An error of the library in the words of the command line: ``lr: ...`` becomes ``--lr: ...``."""
    argument, colon, rest = message.partition(":")
    flag = FLAGS.get(argument, f"--{argument.replace('_', '-')}")
    if colon and (hasattr(args, argument) or argument in FLAGS) and argument != "command":
        message = f"{flag}:{rest}"
    for asked, answer in ASKED.items():
        message = re.sub(rf"(pass )?{asked}", rf"\1{answer}", message)
    return message


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    try:
        commands: dict[str, Callable[[argparse.Namespace], int | None]] = {
            "compare": command.compare_methods,
            "train": command.train,
            "predict": command.predict,
            "download": _download,
            "results": _results,
        }
        return commands[args.command](args) or 0
    except (ValueError, TypeError, OSError, RuntimeError, ArithmeticError) as error:
        print(f"{type(error).__name__}: {in_flags(str(error), args)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = "results verified so far are stamped" if getattr(args, "verify", False) else "finished runs and epochs are kept"
        print(f"\ninterrupted; {kept}, the same command goes on from there", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
