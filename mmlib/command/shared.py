"""What the commands have in common: data, methods and files, tried before anything is trained."""

from __future__ import annotations

import inspect
import os
import re
from argparse import Namespace
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmlib.command.arrays import ArraysFile
from mmlib.command.parser import UsageError
from mmlib.data.catalogue import DATASETS, load
from mmlib.data.core import Splits
from mmlib.methods import METHODS, Method


def data(args: Namespace, seed: int) -> tuple[str | ArraysFile, dict[str, Any], Splits]:
    """The data for a `mmlib.Setting`, its options, and what they give for one seed."""
    options = {**dict(args.set), **({"modalities": args.modalities} if args.modalities else {})}
    if args.data in DATASETS:
        known = [k for k in inspect.signature(DATASETS[args.data].make).parameters if k not in ("modalities", "seed")]
        for name, _ in args.set:
            if name not in known:
                raise UsageError(f"--set {name}: unknown knob of {args.data!r}; known: {', '.join(known)}")
        return args.data, options, load(args.data, seed=seed, **options)
    if not args.data.endswith(".npz") and not Path(args.data).exists():
        raise UsageError(f"--data: unknown {args.data!r}; known: {', '.join(DATASETS)}, or a file arrays.npz (see --help)")
    file = ArraysFile(Path(args.data).resolve())
    splits = file(seed=seed, **options)
    return replace(file, quiet=True), options, splits


def fit_options(args: Namespace) -> dict[str, Any]:
    """What `mmlib.train.fit` is to be told; what is as it always was is left out, so that finished runs are found again."""
    options = {k: getattr(args, k) for k in ("epochs", "batch_size", "lr", "optimizer")}
    return options | {k: getattr(args, k) for k in ("weight_decay", "class_weights") if getattr(args, k)}


def method(name: str, options: Mapping[str, Any], prefix: str = "") -> Method:
    """A method with its options; ``prefix`` stands before an option's name on the command line."""
    parameters = list(inspect.signature(METHODS[name].__init__).parameters.values())[1:]
    known = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    for option in options:
        if option not in known:
            raise UsageError(f"--method-set {prefix}{option}: unknown option of {name!r}; known: {', '.join(known) or 'none'}")
    try:
        return METHODS[name](**options)
    except (TypeError, ValueError) as error:
        raise UsageError(f"--method-set {prefix}{error}" if options else f"--method-set: {name}: {error}") from None


def writable(path: Path, flag: str, overwrite: bool) -> None:
    """Find out now, not after hours, that a file cannot be written; one that is there stays as it is.

    Raises:
        FileExistsError: it is there, and is not to be replaced. OSError: it cannot be written.
    """
    if path.exists() and not overwrite:
        raise FileExistsError(f"{flag}: {path} exists; pass --overwrite, or name another file with {flag}")
    if path.is_dir():
        raise IsADirectoryError(f"{flag}: {path} is a folder")
    trial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        trial.touch()
    except OSError as error:
        raise OSError(f"{flag}: cannot write to {path.parent} ({error.strerror})") from None
    finally:
        with suppress(OSError):
            trial.unlink(missing_ok=True)


def in_flags(message: str, args: Namespace) -> str:
    """A message of the library in the words of the command line: flags in place of arguments."""
    argument = re.match(r"(\w+)(\[.*?\])?: ", message)
    flag = ""
    if argument is not None:
        name = argument[1]
        if name in _option_names(getattr(args, "set", [])):
            flag = f"--set {name}"
        elif name in _option_names(getattr(args, "method_set", [])):
            flag = f"--method-set {name}"
        elif name in ("inputs", "labels", "split_by", "split", "present") and hasattr(args, "data"):
            flag = f"--data: {name}{argument[2] or ''}"
        elif name == "path":
            flag = "--save" if args.command == "train" else "MODEL"
        elif hasattr(args, name):
            flag = f"--{name.replace('_', '-')}"
    if argument is not None and flag:
        message = f"{flag}: {message[argument.end() :]}"
    message = re.sub(r"\b(resume|overwrite)=True", r"--\1", message)
    return re.sub(r"normalise='(\w+)'", r"--normalise \1", message)


def _option_names(options: Iterable[tuple[Any, ...]]) -> set[str]:
    return {str(option[-2]) for option in options}
