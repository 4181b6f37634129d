"""Hashes of code and data, so that a stored number can be traced to what made it."""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmlib.data.core import Splits

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


@lru_cache
def file_hash(path: Path) -> str:
    """Of a Python file: of what its code does. Of any other file: of its bytes."""
    if path.suffix == ".py":
        return _digest(repr(_describe(ast.parse(path.read_text("utf8")))))
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


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
        for node in ast.walk(ast.parse(path.read_text("utf8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
    return dict(sorted(found.items()))


def splits_hash(splits: Splits) -> str:
    """Of every number in one's own data."""
    total = hashlib.sha256()
    for split, data in splits.items():
        for name, x in [*data.inputs.items(), ("labels", data.labels), *(data.present or {}).items()]:
            total.update(f"{split} {name} {x.dtype} {list(x.shape)}".encode())
            total.update(x.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:16]


def source_hash(thing: Any) -> str | None:
    """Of a class or function written elsewhere, such as in a notebook; None where its source cannot be found."""
    try:
        return _digest(repr(_describe(ast.parse(inspect.cleandoc("\n" + inspect.getsource(thing))))))
    except (OSError, TypeError, SyntaxError):
        return None
