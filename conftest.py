"""What `pytest --nbmake notebooks/` ran is what the book shows, and the other way round; see book/_ext/mmlib_execution.py."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "book" / "_ext"))
sys.path.insert(0, str(ROOT / "tools"))

from mmlib_execution import CACHE, prepare_cache  # noqa: E402

#: a folder of this session, for what its processes executed; an environment variable, so that xdist's workers know it
EXECUTED = "MMLIB_EXECUTED"
REUSED = "already executed, with this code, for the book or an earlier test"
#: chapters that need data from the web; where they cannot have them they show stored results, and say so in these words
NEED_DATA = {"10_real_voices.ipynb": ("avmnist",), "11_real_recordings.ipynb": ("avmnist", "motion")}
SHOWS_STORED = "Stored results."
MIRROR = pytest.StashKey[ExitStack]()


def pytest_configure(config: pytest.Config) -> None:
    if not getattr(config.option, "nbmake", False):
        return
    import nbformat
    from jupyter_cache import get_cache

    if not hasattr(config, "workerinput"):
        prepare_cache()
        get_cache(CACHE).list_cache_records()  # makes the database, before the workers look into it at once
        config.stash[MIRROR] = ExitStack()
        _serve_real_files(config.stash[MIRROR])
        os.environ[EXECUTED] = tempfile.mkdtemp(prefix="executed-", dir=CACHE.parent)
    from nbmake import pytest_items
    from nbmake.nb_result import NotebookResult

    class RunOnce(pytest_items.NotebookRun):
        """Takes a notebook from the cache, or runs it and keeps it for the cache."""

        def execute(self) -> NotebookResult:
            name = Path(self.filename).relative_to(ROOT).as_posix().replace("/", "__")
            out = Path(os.environ[EXECUTED]) / name
            needs_data = NEED_DATA.get(Path(self.filename).name, ())
            _skip_without(needs_data)
            with suppress(KeyError):
                cache = get_cache(CACHE)
                notebook = nbformat.read(self.filename, 4)
                cache.match_cache_notebook(notebook)  # KeyError: not executed yet
                reused = cache.merge_match_into_notebook(notebook)[1]
                if not (needs_data and _shows_stored(reused)):  # then it ran when the data could not be reached
                    out.with_suffix(".reused").touch()
                    return NotebookResult(nb=reused, error=None)
            began = time.monotonic()
            result = super().execute()
            if result.error is None:
                for cell in result.nb.cells:
                    cell.metadata.pop("execution", None)  # timings would change the cache's key
                nbformat.write(result.nb, out)
                out.with_suffix(".json").write_text(json.dumps({"execution_seconds": time.monotonic() - began}))
            return result

    pytest_items.NotebookRun = RunOnce


def _serve_real_files(stack: ExitStack) -> None:
    """Where ``../shared/data`` is, as in continuous integration, kernels fetch from a server over it, not from the web."""
    from tests.data_server import SHARED, serve

    if SHARED.is_dir() and not os.environ.get("MMLIB_DATA_MIRROR"):
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("MMLIB_DATA_MIRROR", stack.enter_context(serve(SHARED)).url)
        patch.setenv("NO_PROXY", ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1"])))


def _skip_without(names: tuple[str, ...]) -> None:
    from mmlib.data import avmnist_files, motion_files
    from mmlib.data.download import data_folder

    there = {"avmnist": avmnist_files.available, "motion": motion_files.available}
    for name in names:
        if not there[name]():
            where = data_folder(name)
            pytest.skip(f"{name} is neither in {where} nor can it be downloaded; the book shows stored results instead")


def _shows_stored(notebook: Any) -> bool:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return any(SHOWS_STORED in str(output.get("data", {}).get("text/markdown", "")) for output in outputs)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not any(item.get_closest_marker("gpu") for item in items):
        return  # torch takes seconds to import
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if EXECUTED not in os.environ or hasattr(session.config, "workerinput"):
        return  # the cache is one SQLite file: only xdist's controller writes it
    import nbformat
    from jupyter_cache import get_cache
    from jupyter_cache.base import CacheBundleIn

    cache = get_cache(CACHE)
    for path in sorted(Path(os.environ[EXECUTED]).glob("*.ipynb")):
        data = json.loads(path.with_suffix(".json").read_text())
        bundle = CacheBundleIn(nbformat.read(path, 4), str(ROOT / path.name.replace("__", "/")), data=data)
        cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    folder = os.environ.get(EXECUTED)
    if not folder:
        return
    for path in sorted(Path(folder).iterdir()):
        name = path.stem.replace("__", "/") + ".ipynb"
        if path.suffix == ".reused":
            terminalreporter.write_line(f"{name}: {REUSED} ('make clean' forgets it)")
        elif path.suffix == ".json":
            terminalreporter.write_line(f"{name}: {json.loads(path.read_text())['execution_seconds']:.0f} s")


def pytest_unconfigure(config: pytest.Config) -> None:
    if MIRROR in config.stash:
        config.stash[MIRROR].close()
    if EXECUTED in os.environ and not hasattr(config, "workerinput"):
        import shutil

        shutil.rmtree(os.environ.pop(EXECUTED), ignore_errors=True)


@pytest.fixture(scope="session")
def site() -> Path:
    """The built pages. Their absence is a failure, so that no check passes for want of something to check."""
    folder = ROOT / "_build" / "html"
    if not (folder / "index.html").exists():
        pytest.fail("the book is not built: run 'make book' first", pytrace=False)
    return folder
