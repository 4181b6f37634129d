"""Hashes of code and data, so that a stored number can be traced to what made it."""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from mmlib.data.core import MultimodalData, Splits

PACKAGE = Path(__file__).parent


def _describe(node: Any) -> Any:
    """A nested tuple that holds what a piece of code does: no comments, no docstrings, no formatting, no empty fields
    (which is what keeps it the same from one Python version to the next)."""
    if isinstance(node, ast.AST):
        fields = {k: v for k, v in ast.iter_fields(node) if v not in (None, []) and k not in ("ctx", "type_comment", "kind")}
        body = fields.get("body")
        if isinstance(body, list) and body and isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            fields["body"] = [s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
        return (type(node).__name__, *((k, _describe(v)) for k, v in sorted(fields.items())))
    if isinstance(node, list):
        return tuple(_describe(n) for n in node)
    return repr(node)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_hash(path: Path) -> str:
    """Of a Python file: of what its code does. Of any other file: of its bytes."""
    return _file_hash(path, *_version(path))


def _version(path: Path) -> tuple[int, int]:
    """Changes when the file does: what was worked out from it holds as long as this is the same."""
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=1024)
def _file_hash(path: Path, *version: int) -> str:
    if path.suffix == ".py":
        return _digest(repr(_describe(ast.parse(path.read_text("utf8")))))
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@lru_cache(maxsize=1024)
def _imports(path: Path, *version: int) -> tuple[str, ...]:
    """Every module that a Python file may import, also inside functions."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text("utf8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return tuple(names)


def _module_path(module: str) -> Path | None:
    """The file of a module of ours; None for a package (its ``__init__`` imports everything) and for foreign modules."""
    if not module.startswith("mmlib."):
        return None
    path = PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")
    return path if path.is_file() else None


def code_files(modules: Iterable[str]) -> dict[str, str]:
    """The hashes of these modules and of every module of ours that they import: {"mmlib/train.py": hash, ...}."""
    found: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        path = _module_path(waiting.pop())
        if path is None:
            continue
        name = path.relative_to(PACKAGE.parent).as_posix()
        if name in found:
            continue
        found[name] = file_hash(path)
        waiting += _imports(path, *_version(path))
    return dict(sorted(found.items()))


def splits_hash(splits: Splits) -> str:
    """Of every number in one's own data: inputs, labels, masks, groups, and the names of the classes.

    Raises:
        TypeError: data that is read from elsewhere, batch by batch, and cannot be hashed.
    """
    total = hashlib.sha256(repr((splits.num_classes, getattr(splits, "classes", None))).encode())
    for split, data in splits.items():
        if not isinstance(data, MultimodalData):
            raise TypeError(f"{split}: expected data in memory, found {type(data).__name__}, which has no hash")
        named = [*data.inputs.items(), ("labels", data.labels), *(data.present or {}).items(), *data.groups.items()]
        for name, x in named:
            total.update(f"{split} {name} {x.dtype} {list(x.shape)}".encode())
            total.update(x.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:16]


@lru_cache(maxsize=256)
def source_hash(thing: Any) -> str | None:
    """Of the source of one class or function, written anywhere; None where it cannot be found. What the class or function
    calls, inherits or reads is not in it: enough to tell two of them apart, not to keep a run by it."""
    try:
        return _digest(repr(_describe(ast.parse(inspect.cleandoc("\n" + inspect.getsource(thing))))))
    except (OSError, TypeError, SyntaxError):
        return None


def named(thing: Any) -> str:
    """Module, name and hash of a class or function; of an object that is neither, of its class, with a question mark."""
    if isinstance(thing, type) or inspect.isroutine(thing):
        return f"{thing.__module__}.{thing.__qualname__} {source_hash(thing) or '?'}"
    return f"{type(thing).__module__}.{type(thing).__qualname__} ?"


def hashed_wholly(thing: Any) -> bool:
    """Whether the library's files and torch's version decide what a class or function does: it is a part of either, and no
    object made at run time (an instance, a `functools.partial`, a lambda), which may hold anything."""
    if not (isinstance(thing, type) or inspect.isfunction(thing) or inspect.isbuiltin(thing)):
        return False
    return str(thing.__module__).partition(".")[0] in ("mmlib", "torch") and "<" not in thing.__qualname__
