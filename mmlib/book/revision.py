"""The code of another git revision, at work beside the code that is here: the same runs, on the same machine, by both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmlib import fingerprint

#: what the other revision runs. It must do with what every revision has: its studies, `Setting` and `compare`
PROGRAM = """
import json, sys
try:
    from mmlib.book.studies import STUDIES
except ModuleNotFoundError:  # where the studies stood before
    from mmlib.studies import STUDIES
from mmlib.compare import compare
out, sys.stdout = sys.stdout, sys.stderr  # what a run prints is no answer
for line in sys.stdin:
    job = json.loads(line)
    settings = STUDIES[job["name"]].settings() if job["name"] in STUDIES else []
    if "label" in job:
        (setting,) = [s for s in settings if s.label == job["label"]]
        answer = compare([setting], [job["seed"]], workers=1, cache=False, progress=False).runs[0]
    else:
        code = {file: hashed for s in settings for file, hashed in s.code().items()}
        answer = {"code": code, "configuration": {s.label: s.describe() for s in settings}}
    print(json.dumps(answer), file=out, flush=True)
"""


Ask = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Revision:
    """A revision that is checked out in a folder of its own."""

    commit: str
    folder: Path

    def recorded(self, name: str) -> dict[str, Any]:
        """What this revision would record with a study: its ``code`` and ``configuration``; empty without such a study."""
        with self.process() as ask:
            return ask({"name": name})

    @contextmanager
    def process(self) -> Iterator[Ask]:
        """A process of this revision, which answers one job after the other: ``{"name": study, "label": setting, "seed": n}``
        with the run, as `compare` returns it. Whatever goes wrong in it is a RuntimeError here."""
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # as for runs here
        environment = {**os.environ, **threads, "PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        with tempfile.TemporaryFile("w+") as told, subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            cwd=self.folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=told, text=True,
        ) as running:  # fmt: skip
            assert running.stdin is not None
            assert running.stdout is not None
            there, back = running.stdin, running.stdout

            def ask(job: dict[str, Any]) -> dict[str, Any]:
                with suppress(BrokenPipeError):
                    there.write(json.dumps(job) + "\n")
                    there.flush()
                answer = back.readline()
                if not answer:
                    running.wait()
                    told.seek(0)
                    last = (told.read().strip().splitlines() or ["no message"])[-1]
                    raise RuntimeError(f"revision {self.commit[:12]}, {' '.join(map(str, job.values()))}: {last}")
                return dict(json.loads(answer))

            try:
                yield ask
            finally:
                running.kill()


def commit_of(revision: str) -> str:
    """The full hash of a revision.

    Raises:
        ValueError: there is no such revision, or no git repository around the library.
    """
    try:
        return _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except RuntimeError as error:
        raise ValueError(f"--against: {revision!r} is no revision of a git repository at {repository()}") from error


@contextmanager
def checked_out(commit: str) -> Iterator[Revision]:
    """A worktree at that commit, in a temporary folder; it is gone afterwards, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="mmlib-") as parent:
        folder = Path(parent) / "code"
        try:
            _git("worktree", "add", "--detach", str(folder), commit)
            yield Revision(commit, folder)
        finally:
            if folder.exists():
                _git("worktree", "remove", "--force", str(folder))


def repository() -> Path:
    """Where the library's repository is, if it has one."""
    return fingerprint.PACKAGE.parent


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(repository()), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"git {arguments[0]}: {done.stderr.strip() or f'failed with {done.returncode}'}")
    return done.stdout.strip()
