"""Renew the two requirements*.txt: every pin for Python 3.11 to 3.14 on every system, from the ranges of pyproject.toml.

    python tools/lock.py                              # after a change of pyproject.toml: pins stay where they can
    python tools/lock.py --upgrade-package pytest     # any option of `uv pip compile`
    python tools/lock.py --check                      # each Python and system: all that is installed is pinned and ready-made

Needs the network. requirements-hashes.txt has, with every pin but PyTorch's, the SHA-256 of each file of its release, so that pip
takes no other file. PyTorch's builds (for the CPU, for each CUDA) come from different indexes or from disk, each a file of its
own: it is pinned by its exact release. Its libraries for CUDA are not pinned, since most machines have no use for them and
each build names its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements-hashes.txt"
PLAIN = ROOT / "requirements.txt"
TORCH = "torch==2.13.0"
CUDA = re.compile(r"(nvidia-|cuda-|triton\b)")
#: Debian 12 has 3.11.2, and some packages need 3.11.5
PYTHONS = ("3.11.0", "3.11.5", "3.12", "3.13", "3.14")
SYSTEMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin")
MACOS = "14.0"  # the oldest that PyTorch has builds for
SOURCES_ONLY = ("docopt",)  # pure Python, published without a wheel
HEADER = """\
# The pins of requirements.txt with the hashes of their files, but for PyTorch, whose builds come from different indexes, or from
# disk, and have no hash in common. `make` installs these first: pip install --require-hashes --no-deps -r requirements-hashes.txt
"""
PLAIN_HEADER = """\
# The exact environment of the book and the tests, Python 3.11 to 3.14: `python tools/lock.py` renews it, and the same pins with
# their hashes in requirements-hashes.txt. pyproject.toml says what each is for. PyTorch's libraries for CUDA are not pinned.
"""
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def pins(text: str) -> list[str]:
    """The lines that pin a package, with their markers, without hashes and without PyTorch's libraries for CUDA."""
    lines = [line.strip(" \\") for line in text.splitlines()]
    return [line for line in lines if "==" in line and not line.startswith("#") and not CUDA.match(line)]


def hashed(text: str) -> dict[str, list[str]]:
    """Each pin with the hashes below it, without PyTorch and its libraries."""
    found: dict[str, list[str]] = {}
    below: list[str] = []  # of a pin that is left out, these go nowhere
    for line in text.splitlines():
        if pins(line):
            below = []
            if not line.startswith("torch=="):
                below = found.setdefault(pins(line)[0], below)
        elif not line.startswith(" "):
            below = []
        below += HASH.findall(line)
    return found


def written(found: dict[str, list[str]]) -> str:
    """The lock's text, as pip reads it.

    Raises:
        RuntimeError: a pin without a hash, which pip would refuse.
    """
    without = [pin for pin, hashes in found.items() if not hashes]
    if without:
        raise RuntimeError(f"no hashes are known for {', '.join(without)}: does this index tell them?")
    blocks = [" \\\n    ".join([pin, *sorted(hashes)]) for pin, hashes in found.items()]
    return HEADER + "\n".join(blocks) + "\n"


def plain(found: dict[str, list[str]]) -> str:
    """The text of requirements.txt: the same pins without hashes, PyTorch among them, and this package."""
    return PLAIN_HEADER + "\n".join(sorted([*found, TORCH], key=lambda pin: pin.partition("==")[0])) + "\n-e .\n"


def compile_(*arguments: str, text: str) -> str:
    """What `uv pip compile` prints for the requirements in ``text``.

    Raises:
        RuntimeError: there is no solution, or no network.
    """
    command = [sys.executable, "-m", "uv", "pip", "compile", "-q", "--no-header", "--no-annotate", "--no-python-downloads"]
    environment = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": MACOS}
    done = subprocess.run([*command, *arguments], input=text, capture_output=True, text=True, cwd=ROOT, env=environment)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return done.stdout


def renew(path: Path, *arguments: str) -> None:
    """Write the lock anew."""
    old = path.with_suffix(".tmp")  # uv keeps the pins of the file that it is to write
    try:
        old.write_text("\n".join(pins(path.read_text("utf8"))) + "\n", "utf8")
        options = ["--universal", "--python-version", PYTHONS[0], "--extra", "dev", "--constraint", "-", "-o", str(old)]
        compile_("pyproject.toml", *options, "--generate-hashes", *arguments, text=TORCH)
        found = hashed(old.read_text("utf8"))
        path.write_text(written(found), "utf8")
        path.with_name(PLAIN.name).write_text(plain(found), "utf8")
    finally:
        old.unlink(missing_ok=True)


def faults(text: str, python: str, system: str) -> list[str]:
    """What is wrong with the lock for one Python on one system: metadata alone, nothing is downloaded."""
    builds = [option for name in SOURCES_ONLY for option in ("--no-binary", name)]
    options = ["--python-version", python, "--python-platform", system, "--only-binary", ":all:", *builds]
    try:
        found = compile_("-", *options, text="\n".join(pins(text)))
    except RuntimeError as error:
        return [f"Python {python}, {system}: {error}"]
    locked = {line.partition(";")[0].strip() for line in pins(text)}
    return [f"Python {python}, {system}: {line} is needed and not pinned" for line in pins(found) if line not in locked]


def check(pythons: Sequence[str], systems: Sequence[str]) -> list[str]:
    """What is wrong with the lock, for each of these Pythons on each of these systems."""
    text = PLAIN.read_text("utf8")
    with ThreadPoolExecutor(4) as pool:  # mostly waiting for answers
        checks = [pool.submit(faults, text, python, system) for system in systems for python in pythons]
        return [fault for each in checks for fault in each.result()]


def main(arguments: list[str]) -> None:
    if arguments != ["--check"]:
        try:
            renew(LOCK, *arguments)
        except RuntimeError as error:
            sys.exit(str(error))
        return
    found = check(PYTHONS, SYSTEMS)
    if found:
        sys.exit("\n".join(found))
    print(f"the lock holds for Python {', '.join(PYTHONS)} on {', '.join(SYSTEMS)}")


if __name__ == "__main__":
    main(sys.argv[1:])
