"""What the command line takes. A value that cannot be is refused here, by the name of its flag."""

from __future__ import annotations

import argparse
import ast
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from mmlib.arguments import AUTOCAST
from mmlib.comparison import MEASURES
from mmlib.data.catalogue import DATASETS
from mmlib.fusion import FUSIONS
from mmlib.intermediate import KINDS as INTERMEDIATE
from mmlib.methods import METHODS
from mmlib.normalise import KINDS
from mmlib.optimizers import NAMES as OPTIMIZERS

EXAMPLES = {
    "": """examples:
  python -m mmlib compare --data digits --methods joint,late_fusion,ogm_ge,mla --seeds 5
  python -m mmlib compare --data arrays.npz --methods joint,mla --set scale=standard --normalise batch
  python -m mmlib train --data arrays.npz --method mla --save model.safetensors
  python -m mmlib predict model.safetensors --data new.npz --out predictions.csv
  python -m mmlib diagnose arrays.npz --set scale=standard --html report.html
""",
    "compare": """examples:
  python -m mmlib compare --data digits --modalities image,audio --methods joint,ogm_ge --seeds 5
  python -m mmlib compare --data two_speed --set samples=2000 --methods mla --method-set mla.hgm=off
  python -m mmlib compare --data arrays.npz --set scale=standard --measures balanced_accuracy,macro_f1

The table goes to standard output; mmlib.record.read reads the JSON file.
""",
    "train": """examples:
  python -m mmlib train --data digits --method ogm_ge --method-set alpha=0.3 --lr 3e-3
  python -m mmlib train --data arrays.npz --set scale=standard --save model.safetensors > scores.json
  python -m mmlib train --data digits --checkpoint run.pt --resume
  python -m mmlib train --data cremad --set folder=CREMA-D --encoders resnet18 --method mla --batch-size 32

Standard output is JSON alone: the scores on the test data.
""",
    "diagnose": """examples:
  python -m mmlib diagnose digits --modalities image,audio --lr 3e-3
  python -m mmlib diagnose arrays.npz --set scale=standard --html report.html

It reads training and validation data; the test data is left alone.
""",
    "predict": """examples:
  python -m mmlib predict model.safetensors --data new.npz > predictions.csv
  python -m mmlib predict model.safetensors --data new.npz --out predictions.npz

The file holds the modalities as raw as they were for training; one that it lacks is missing in every sample.
""",
}
OWN_DATA = """a file arrays.npz of your own holds `labels` [N], one array [N, ...] per modality, and where there is one \
`split_by` (or `group`) [N], the person of each sample; `split` [N], train, val or test; `present_NAME` [N], which samples \
have modality NAME"""


class UsageError(ValueError):
    """A command line that says what cannot be."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message.removeprefix("argument "))


def parser() -> argparse.ArgumentParser:
    from mmlib import __version__

    top = _parser(Parser, "", prog="python -m mmlib", description="Balanced multimodal learning.")
    top.add_argument("--version", action="version", version=f"mmlib {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    one = _parser(commands.add_parser, "compare", help="methods over seeds: a table, and a JSON file")
    _common(one)
    one.add_argument("--methods", type=_among(METHODS), default=["joint", "late_fusion"], help=f"by commas: {', '.join(METHODS)}")
    one.add_argument("--method-set", type=_method_option, action="append", default=[], metavar="METHOD.NAME=VALUE",
                     help="an option of a method, such as ogm_ge.alpha=0.3")  # fmt: skip
    one.add_argument("--seeds", type=count, default=5, help="how many (from MMLIB_SEED_OFFSET on)")
    one.add_argument("--workers", type=count, help="processes, one thread each; by default one per core")
    one.add_argument("--measures", type=_among(MEASURES), default=[], help=f"show also, by commas: {', '.join(MEASURES)}")
    one.add_argument("--out", type=Path, help="the JSON file; by default compare-DATA.json")
    one.add_argument("--overwrite", action="store_true", help="replace the JSON file if it exists")
    one.add_argument("--no-cache", action="store_true", help="train every run anew")

    two = _parser(commands.add_parser, "train", help="one run, with a checkpoint after every epoch where you name one")
    _common(two)
    two.add_argument("--method", type=_one_of(METHODS), default="joint", help=f"one of {', '.join(METHODS)}")
    two.add_argument("--method-set", type=_option, action="append", default=[], metavar="NAME=VALUE", help="of the method")
    two.add_argument("--seed", type=_whole, default=0)
    two.add_argument(
        "--threads", type=count, default=1, help="another number may change the last bits; compare has 1 (default 1)"
    )
    two.add_argument("--device", help="cuda, mps or cpu; by default the first there is")
    two.add_argument("--encoders", default="small", metavar="NETWORK",
                     help="of pictures, spectrograms and clips: small, or a network of timm such as resnet18")  # fmt: skip
    two.add_argument("--weights", type=Path, metavar="FILE", help="a file of weights for that network, as timm publishes them")
    two.add_argument("--precision", type=_one_of(AUTOCAST), default="fp32", help=f"of the encoders: {', '.join(AUTOCAST)}")
    two.add_argument("--checkpoint", type=Path)
    two.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    two.add_argument("--save", type=Path, metavar="FILE", help="keep the trained model, for predict and mmlib.load_trained")
    two.add_argument("--overwrite", action="store_true", help="replace the file of --save if it exists")

    use = _parser(commands.add_parser, "predict", help="probabilities by a model that train --save kept")
    use.add_argument("model", type=Path, metavar="MODEL")
    use.add_argument(
        "--data", type=Path, required=True, metavar="FILE.npz", help="an array [N, ...] per modality; `present_NAME`"
    )
    use.add_argument("--out", type=Path, metavar="FILE", help="a .csv or .npz file; by default CSV to standard output")
    use.add_argument("--overwrite", action="store_true", help="replace the file of --out if it exists")
    use.add_argument("--device", default="cpu", help="cuda, mps or cpu (default cpu)")
    use.add_argument("--batch-size", type=count, default=1024)

    ill = _parser(commands.add_parser, "diagnose", help="what keeps joint training from using all modalities, if anything")
    ill.add_argument("data", metavar="DATA", help=f"a data set: {', '.join(DATASETS)}; or {OWN_DATA}")
    _training(ill)
    ill.add_argument("--seeds", type=count, default=5, help="trainings of each network, 2 or more (default 5)")
    ill.add_argument("--workers", type=count, help="processes, one thread each; by default one per core")
    ill.add_argument("--html", type=Path, metavar="FILE", help="also a page that needs no other file")
    ill.add_argument("--overwrite", action="store_true", help="replace the file of --html if it exists")

    get = _parser(
        commands.add_parser, "download", help="fetch, verify and prepare a data set that does not come with the package"
    )
    get.add_argument("names", nargs="+", metavar="NAME", help=f"among {', '.join(n for n, d in DATASETS.items() if d.download)}")

    book = _parser(commands.add_parser, "results", help="make the stored results of the book (book/results)")
    book.add_argument("names", nargs="*", help="by default all; an unknown name is answered with those there are")
    book.add_argument("--workers", type=count, help="processes; by default one per core")
    book.add_argument("--verify", action="store_true", help="run a sample of stale results again; stamp those that agree")
    book.add_argument("--against", metavar="REVISION", help="with --verify: compare with that git revision, run here")

    ledger = _parser(
        commands.add_parser, "claims", help="run the chapters on other seeds and record which claims hold (book/claims)"
    )
    ledger.add_argument("chapters", nargs="*", help="by default all, such as 02_naive_fusion")
    ledger.add_argument(
        "--offset", type=_seed, default=0, metavar="N", help="seeds from N on (default 0, those of the printed tables)"
    )
    ledger.add_argument("--no-studies", action="store_true", help="do not make the stored results of these seeds first")
    ledger.add_argument("--workers", type=count, help="processes for the studies, and chapters at a time")
    return top


def _parser(make: Callable[..., argparse.ArgumentParser], name: str, **options: Any) -> argparse.ArgumentParser:
    how = {"epilog": EXAMPLES.get(name), "formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    return make(*([name] if name else []), **options, **how)


def _common(to: argparse.ArgumentParser) -> None:
    to.add_argument("--data", default="digits", help=f"a data set: {', '.join(DATASETS)}; or {OWN_DATA}")
    to.add_argument("--fusion", type=_one_of(FUSIONS), default="concat", help=f"one of {', '.join(FUSIONS)}")
    to.add_argument("--intermediate", type=_one_of(INTERMEDIATE),
                    help=f"let modalities meet between the layers of their encoders: {', '.join(INTERMEDIATE)}")  # fmt: skip
    to.add_argument("--normalise", type=_one_of(KINDS), help=f"bring all features to one scale: {', '.join(KINDS)}")
    _training(to)


def _training(to: argparse.ArgumentParser) -> None:
    to.add_argument("--modalities", type=_names, help="some of its modalities, separated by commas")
    to.add_argument("--epochs", type=count, default=20)
    to.add_argument("--batch-size", type=count, default=64)
    to.add_argument("--lr", type=_positive, default=1e-3, help="learning rate (default 0.001)")
    to.add_argument("--weight-decay", type=_not_negative, default=0.0)
    to.add_argument("--class-weights", type=_one_of(["balanced"]), help="balanced: rare classes count as much as frequent ones")
    to.add_argument("--optimizer", type=_one_of(OPTIMIZERS), default="adam", help=f"one of {', '.join(OPTIMIZERS)}")
    to.add_argument("--set", type=_option, action="append", default=[], metavar="NAME=VALUE",
                    help="a knob of the data set; for a file of mmlib.from_arrays, such as scale=standard")  # fmt: skip


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    twice = [name for name in names if names.count(name) > 1]
    if twice or not names:
        raise argparse.ArgumentTypeError(f"expected names separated by commas, each once, found {text!r}")
    return names


def _one_of(known: Sequence[str] | dict[str, Any]) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(f"unknown {text!r}; known: {', '.join(known)}")
        return text

    return check


def _among(known: Sequence[str] | dict[str, Any]) -> Callable[[str], list[str]]:
    return lambda text: [_one_of(known)(name) for name in _names(text)]


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, found {text!r}") from None


def count(text: str) -> int:
    """A whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {text}")
    return int(text)


def _seed(text: str) -> int:
    """A whole number of 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of 0 or more, found {text}")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a positive learning rate, found {text}")
    return value


def _not_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number of 0 or more, found {text}")
    return value


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, found {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _method_option(text: str) -> tuple[str, str, Any]:
    name, value = _option(text)
    method, dot, option = name.partition(".")
    if not dot or not option or method not in METHODS:
        raise argparse.ArgumentTypeError(f"expected METHOD.NAME=VALUE, such as ogm_ge.alpha=0.3, found {text!r}")
    return method, option, value
