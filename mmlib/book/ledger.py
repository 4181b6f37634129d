"""The ledger of claims: which claims the book makes, and on which seeds each of them held.

``python -m mmlib claims --offset N`` makes the studies with seeds from N on, runs the chapters with them, and writes what became
of every claim to ``book/claims/offset_N.json``.
"""

from __future__ import annotations

import ast
import json
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mmlib import fingerprint
from mmlib.book import claims, results
from mmlib.book.studies import STUDIES
from mmlib.cache import write_json
from mmlib.record import machine

ROOT = fingerprint.PACKAGE.parent


def notebooks() -> dict[str, Path]:
    """name -> chapter.

    Raises:
        FileNotFoundError: the chapters are not part of an installed package.
    """
    found = sorted((ROOT / "notebooks").glob("*.ipynb"))
    if not found:
        raise FileNotFoundError("notebooks: expected the chapters beside the package, as in the repository of the book")
    return {path.stem: path for path in found}


def path_of(offset: int) -> Path:
    """Where the outcome of an offset stands: ``book/claims`` of the repository, else inside the installed package."""
    folder = ROOT / "book" / "claims"
    return (folder if folder.is_dir() else fingerprint.PACKAGE / "_claims") / f"offset_{offset}.json"


def offsets() -> list[int]:
    """The offsets there are, 0 (the seeds of the printed tables) first."""
    return sorted(int(path.stem.removeprefix("offset_")) for path in path_of(0).parent.glob("offset_*.json"))


def read(offset: int) -> dict[str, Any]:
    """The outcome of an offset: ``claims`` by id, ``date``, ``chapters``, and the machine.

    Raises:
        FileNotFoundError: it was never run; the message says how.
    """
    path = path_of(offset)
    if not path.is_file():
        raise FileNotFoundError(f"claims: {path.name} does not exist; make it with: python -m mmlib claims --offset {offset}")
    content: dict[str, Any] = json.loads(path.read_text("utf8"))
    return content


def made_in(path: Path) -> dict[str, str | None]:
    """id -> sentence of every claim in a chapter, in order, without running it; None where the sentence is put together.

    Raises:
        ValueError: an id that is not written out, or one that is there twice; the message names the chapter.
    """
    cells = json.loads(path.read_text("utf8"))["cells"]
    found: dict[str, str | None] = {}
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code" or "claim(" not in source:
            continue
        calls = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "claim"]
        for call in sorted(calls, key=lambda n: n.lineno):
            first, second = call.args[:2]
            if not isinstance(first, ast.Constant) or not isinstance(first.value, str):
                raise ValueError(f"{path.name}: expected the id of a claim to be written out, found {ast.unparse(first)}")
            if first.value in found:
                raise ValueError(f"{path.name}: the claim {first.value!r} is there twice")
            found[first.value] = second.value if isinstance(second, ast.Constant) else None  # type: ignore[assignment]
    return found


def run(offset: int, chapters: Sequence[str] = (), *, studies: bool = True, workers: int | None = None) -> list[str]:
    """Make the studies and run the chapters with seeds from ``offset`` on; returns what went wrong, in words.

    Studies that only chose a constant are left out: their choice stands in the code. What is there already is kept, so that an
    interrupted call goes on. Outcomes of chapters that are not named are kept, too.

    Raises:
        ValueError: an unknown chapter, or an offset below 0.
    """
    known = notebooks()
    for name in chapters:
        if name not in known:
            raise ValueError(f"chapter: unknown {name!r}; known: {', '.join(known)}")
    if offset < 0:
        raise ValueError(f"offset: expected 0 or more, found {offset}")
    os.environ["MMLIB_SEED_OFFSET"] = str(offset)
    failed = results.make_all([name for name, s in STUDIES.items() if not s.chooses], workers=workers) if studies else []
    path = path_of(offset)
    content = read(offset) if path.is_file() else {}
    told: dict[str, dict[str, Any]] = content.get("claims", {})
    done: dict[str, dict[str, Any]] = content.get("chapters", {})
    order = [name for name, chapter in known.items() if made_in(chapter)]
    wanted = [known[name] for name in chapters or order]
    with ThreadPoolExecutor(workers or 1) as pool:
        outcomes = pool.map(lambda chapter: _run(chapter, offset), wanted)
        for chapter, (lines, seconds, error) in zip(wanted, outcomes, strict=True):
            name = chapter.stem
            told = {id: c for id, c in told.items() if c["chapter"] != name and c["chapter"] in order}
            told |= {id: {"chapter": name, **line} for id, line in _complete(made_in(chapter), lines).items()}
            told = dict(sorted(told.items(), key=lambda item: order.index(item[1]["chapter"])))
            done[name] = {"seconds": round(seconds), **({"error": error} if error else {})}
            failed += [f"{name}: {error}"] if error else []
            when = time.strftime("%Y-%m-%d", time.gmtime())
            write_json(path, {"offset": offset, "date": when, **machine(), "chapters": done, "claims": told})
            held = [c["holds"] for c in told.values() if c["chapter"] == name]
            counts = f"{held.count(True)} of {len(held)} hold, {held.count(False)} do not, {held.count(None)} not computed"
            print(f"{name}: {counts}", flush=True)
    return failed


def _complete(made: dict[str, str | None], lines: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """id -> what was recorded; a claim that the chapter did not get to does not hold."""
    recorded = {line["id"]: {k: v for k, v in line.items() if k != "id"} for line in lines}
    blank = {"number": "", "shown": "the chapter failed before it", "n": "", "of": [], "holds": False}
    return {id: recorded.get(id, {**blank, "sentence": sentence or id}) for id, sentence in made.items()}


def _run(chapter: Path, offset: int) -> tuple[list[dict[str, Any]], float, str]:
    """The claims that a chapter recorded, seconds, and the first error, if there was one."""
    import nbformat
    from nbclient import NotebookClient

    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "claims"
        file.touch()
        env = os.environ | {claims.RECORD: str(file), "MMLIB_SEED_OFFSET": str(offset), "OMP_NUM_THREADS": "1"}
        notebook = nbformat.read(chapter, 4)
        client = NotebookClient(notebook, timeout=3600, allow_errors=True, resources={"metadata": {"path": str(chapter.parent)}})
        client.execute(env=env)
        lines = [json.loads(line) for line in file.read_text("utf8").splitlines()]
    errors = [out for cell in notebook.cells for out in cell.get("outputs", []) if out.output_type == "error"]
    error = f"{errors[0].ename}: {errors[0].evalue}".splitlines()[0] if errors else ""
    return lines, time.monotonic() - start, error
