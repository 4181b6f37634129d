"""The library knows nothing of the book's workshop, and stays small enough to read."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmlib import needs

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mmlib"
FILES = sorted(PACKAGE.rglob("*.py"))
LIBRARY = [path for path in FILES if PACKAGE / "book" not in path.parents]
#: what must be held in view to understand the library
CORE = ("model.py", "fusion.py", "fusion_base.py", "methods/base.py", "methods/joint.py", "train.py")


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path, tree: ast.AST) -> Iterator[str]:
    """Every module that a piece of this file may import, inside functions too."""
    package = module(path) if path.name == "__init__.py" else module(path).rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def of_the_book(names: Iterator[str]) -> list[str]:
    return [name for name in names if f"{name}.".startswith("mmlib.book.")]


def lines(path: Path) -> int:
    return len(path.read_text("utf8").splitlines())


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import mmlib.book", ["mmlib.book"]),
        ("from mmlib import book", ["mmlib.book"]),
        ("def f():\n    from mmlib.book.studies import gap", ["mmlib.book.studies.gap"]),
        ("from . import book", ["mmlib.book"]),
        ("from .book import plots", ["mmlib.book.plots"]),
        ("from mmlib import bookkeeping", []),
    ],
)
def test_the_walk_sees_every_way_to_import(source: str, found: list[str]) -> None:
    assert of_the_book(imported(PACKAGE / "train.py", ast.parse(source))) == found


@pytest.mark.parametrize("path", LIBRARY, ids=module)
def test_the_library_never_imports_the_book(path: Path) -> None:
    tree = ast.parse(path.read_text("utf8"))
    if path.name == "__main__.py":  # the doors: the bodies of the two commands for the book itself
        doors = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in ("_results", "_claims")]
        assert len(doors) == 2
        for door in doors:
            assert of_the_book(imported(path, door))
            tree.body.remove(door)
    assert of_the_book(imported(path, tree)) == []


def test_importing_the_whole_library_leaves_the_book_alone() -> None:
    names = [module(path) for path in LIBRARY]
    assert {"mmlib", "mmlib.__main__", "mmlib.record", "mmlib.train"} <= set(names)
    program = f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\n"
    program += "print([name for name in sys.modules if name.startswith('mmlib.book')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_core_can_be_held_in_view() -> None:
    assert sum(lines(PACKAGE / name) for name in CORE) < 750


@pytest.mark.parametrize("path", FILES, ids=module)
def test_no_file_is_long(path: Path) -> None:
    assert lines(path) <= 330


def test_what_is_missing_is_named_with_what_to_do() -> None:
    program = "import sys; sys.modules['pooch'] = sys.modules['cloudpickle'] = None; import mmlib"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith(
        "ModuleNotFoundError: mmlib is installed without what it needs: cloudpickle, pooch. Install it with: pip"
    )


def test_what_is_asked_for_is_what_the_package_needs() -> None:
    declared = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text("utf8"))["project"]["dependencies"]
    assert sorted(needs.NEEDS.values()) == sorted(re.split(r"[<>=!~ ]", line)[0] for line in declared)
    assert needs.missing() == []
