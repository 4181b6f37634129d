"""The lock, and what needs no PyTorch, with each Python from 3.11 to 3.14 that this machine has. `make pythons` runs it.

    python tools/check_pythons.py

On PATH and among pyenv's versions. Each is set up in a folder of its own by tools/set_up.py, gets the lock without PyTorch,
compiles every source, imports what the book is built with, and runs the tests of the tools. A Python that is not there is
named, and only asked for its pins.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lock
import set_up

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("mmlib", "book/_ext", "tools", "tests", "conftest.py")
IMPORTS = "numpy, pandas, scipy, sklearn, matplotlib, jupyter_book, sphinx, myst_nb, nbmake, sphinx_book_theme"
TESTS = ("tests/test_set_up.py", "tests/test_set_up_torch.py", "tests/test_lock.py", "tests/test_tools.py")
#: two small pins, one of which differs by Python: enough to see tools/set_up.py and this Python's pip at work
SMALL = ("soupsieve", "iniconfig")


def interpreters() -> list[set_up.Found]:
    """One of each release within the range, oldest first, but for the one that this runs in."""
    paths = set_up.candidates()
    if shutil.which("pyenv"):
        root = subprocess.run(["pyenv", "root"], capture_output=True, text=True).stdout.strip()
        paths += map(str, sorted(Path(root).glob("versions/*/bin/python")) if root else [])
    found = {one.version: one for one in map(set_up.look, paths) if one.in_range and one.venv}
    found.pop(sys.version_info[:3], None)
    return [found[version] for version in sorted(found)]


def missing(found: list[set_up.Found]) -> list[str]:
    have = {one.version[:2] for one in found} | {sys.version_info[:2]}
    minors = range(set_up.OLDEST[1], set_up.NEWEST[1] + 1)
    return [f"3.{minor}" for minor in minors if (3, minor) not in have]


def run(*command: str, **variables: str) -> None:
    """Run quietly; what it said comes with the error.

    Raises:
        RuntimeError: it failed.
    """
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHON", "TORCH_BACKEND")}
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**environment, **variables}
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}")


def check(python: set_up.Found, text: str) -> str:
    """Everything, with one interpreter; a line that says what passed.

    Raises:
        RuntimeError, set_up.Problem: something did not pass.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = {pin: hashes for pin, hashes in lock.hashed(text).items() if re.match(rf"({'|'.join(SMALL)})==", pin)}
        (folder / "requirements-hashes.txt").write_text(lock.written(small), "utf8")
        (folder / "requirements.txt").write_text("\n".join(small) + "\n", "utf8")  # there already
        set_up.set_up(folder, python.path, "none")
        inside = str(folder / ".venv" / "bin" / "python")
        (folder / "lock.txt").write_text(text, "utf8")
        uv = [sys.executable, "-m", "uv", "pip", "install", "-q", "--python", inside, "--require-hashes", "--no-deps"]
        run(*uv, "-r", str(folder / "lock.txt"))
        cache = {"PYTHONPYCACHEPREFIX": str(folder / "pycache")}
        run(inside, "-W", "error::SyntaxWarning", "-m", "compileall", "-q", *SOURCES, **cache)
        run(inside, "-c", f"import {IMPORTS}", **cache)
        path = os.pathsep.join(str(ROOT / part) for part in (".", "tools", "book/_ext"))
        # tests/conftest.py needs torch; these tests do not, but for the one that imports mmlib
        choice = ["--noconftest", "-m", "not slow", "-k", "not first_cell"]
        tests = [inside, "-m", "pytest", "-q", "-p", "no:cacheprovider", *choice, *TESTS]
        run(*tests, PYTHONPATH=path, **cache)
    return f"{python}: set up, the lock without PyTorch, sources, imports and tests of the tools"


def main() -> None:
    found = interpreters()
    failed = []
    with ThreadPoolExecutor(2) as pool:
        checks = {python: pool.submit(check, python, lock.LOCK.read_text("utf8")) for python in found}
        for python, result in checks.items():
            try:
                print("ok     ", result.result(), flush=True)
            except (RuntimeError, set_up.Problem) as error:
                failed.append(python)
                print("FAILED ", f"{python}: {error}", flush=True)
    absent = missing(found)
    for minor in absent:
        print(f"Python {minor} is not on this machine: not checked, but for whether all pins are ready-made for it", flush=True)
    wrong = lock.check(absent, lock.SYSTEMS[:1])
    print("\n".join(wrong), end="")
    if failed or wrong:
        sys.exit(1)


if __name__ == "__main__":
    main()
