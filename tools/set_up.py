"""Set up .venv: find a Python, make the environment, install everything as locked, by its hashes, then PyTorch.

    python tools/set_up.py        # `make` runs it

PYTHON=python3.12     the interpreter to take, instead of the newest suitable one
TORCH_BACKEND=cpu     the build of PyTorch (cpu, cu126, ...). Unset on Linux: the one for this machine, by PyTorch's own
                      index; where that cannot be reached, the one pip takes. Empty or none: the one pip takes.

Nothing that is already there is overwritten. Written in the syntax of Python 3.6 and the standard library alone, so that
a Python too old for the book gets far enough to say so.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

ROOT = Path(__file__).resolve().parents[1]
OLDEST, NEWEST = (3, 11), (3, 14)
RANGE = "Python 3.11 to 3.14"
NAMES = ("python3.14", "python3.13", "python3.12", "python3.11", "python3", "python")
PROBE = """import sys
print("%d.%d.%d" % sys.version_info[:3])
try:
    import ensurepip, venv
    print("venv")
except ImportError:
    pass
"""
#: package manager, where it is found, and what installs what is missing
COMMANDS = (
    (
        "apt-get",
        "Debian, Ubuntu",
        {
            "python": "sudo apt install python3-venv    (Ubuntu 22.04: python3.11-venv)",
            "venv": "sudo apt install python{v}-venv",
            "compiler": "sudo apt install build-essential python{v}-dev",
            "rust": "sudo apt install cargo",
            "npm": "sudo apt install npm",
        },
    ),
    (
        "dnf",
        "Fedora",
        {
            "python": "sudo dnf install python3.13",
            "venv": "sudo dnf install python{v}",
            "compiler": "sudo dnf install gcc gcc-c++ python{v}-devel",
            "rust": "sudo dnf install cargo",
            "npm": "sudo dnf install nodejs-npm",
        },
    ),
    (
        "brew",
        "macOS",
        {
            "python": "brew install python@3.13",
            "venv": "brew reinstall python@{v}",
            "compiler": "xcode-select --install",
            "rust": "brew install rust",
            "npm": "brew install node",
        },
    ),
)
#: what pip prints when a package has to be built and the machine cannot
UNBUILT = (
    ("rust", re.compile(r"can't find Rust compiler|(cargo|rustc)\W.{0,60}(not (installed|found)|No such file)", re.I)),
    (
        "compiler",
        re.compile(
            r"(unable to execute|command) '?\S*(gcc|g\+\+|cc|clang|c\+\+)'?.{0,20}(failed|No such file)|Python\.h"
            r"|Unknown compiler|invalid active developer path|No CMAKE_CX*_COMPILER|linker `cc` not found",
        ),
    ),
)
LOCK = "requirements-hashes.txt"  # everything but PyTorch, with hashes
TORCH = "requirements.txt"  # the same pins, PyTorch, whose builds differ by index and have no common hash, and this package
INDEX_SECONDS = 12  # how long PyTorch's index may take to answer before pip goes on alone


class Problem(Exception):
    """What the reader has to do something about."""


class Found(NamedTuple):
    """An interpreter, as it answered."""

    path: str
    version: Tuple[int, ...] = ()  # empty: it does not run
    venv: bool = False

    @property
    def in_range(self) -> bool:
        return OLDEST <= self.version[:2] <= NEWEST

    def __str__(self) -> str:
        if not self.version:
            return self.path + ": does not run"
        text = "{}: {}".format(self.path, ".".join(map(str, self.version)))
        return text + (", without venv" if self.in_range and not self.venv else "")


def how_to(need: str, version: str = "3") -> str:
    """The command that installs what is missing, for this machine's package manager; for each, if it has none."""
    rows = [(system, commands[need].format(v=version)) for tool, system, commands in COMMANDS if shutil.which(tool)]
    rows = rows or [(system, commands[need].format(v=version)) for _, system, commands in COMMANDS]
    return "\n".join("  {:<16}{}".format(system + ":", command) for system, command in rows)


def look(path: str) -> Found:
    """Ask an interpreter what it is. A name on PATH need not run: those of pyenv often do not."""
    try:
        done = subprocess.run([path, "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return Found(path)
    match = re.match(r"(\d+)\.(\d+)\.(\d+)\s", done.stdout.decode("utf8", "replace"))
    if done.returncode or match is None:
        return Found(path)
    return Found(path, tuple(map(int, match.groups())), b"venv" in done.stdout)


def candidates() -> List[str]:
    """Everything on PATH that is named like a Python. Not only the first of a name: that one may not run."""
    folders = [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder]
    paths = [shutil.which(name, path=folder) for name in NAMES for folder in dict.fromkeys(folders)]
    return [path for path in paths if path]


def choose(wanted: str = "") -> Found:
    """The interpreter ``wanted``, or the newest suitable one; among equals the first on PATH.

    Raises:
        Problem: there is none, with what was found and what installs one.
    """
    if wanted:
        found = [look(shutil.which(wanted) or wanted)]
        if not found[0].in_range:
            raise Problem("PYTHON={}: {} is needed, found\n  {}".format(wanted, RANGE, found[0]))
    else:
        found = [look(path) for path in candidates()]
    in_range = [one for one in found if one.in_range]
    if not in_range:
        listing = "\n".join("  {}".format(one) for one in found) or "  none"
        text = "{} is needed. Found on PATH:\n{}\nTo install one:\n{}\nOr name one: make PYTHON=/path/to/python3.13"
        raise Problem(text.format(RANGE, listing, how_to("python")))
    usable = [one for one in in_range if one.venv]
    if not usable:
        raise Problem(no_venv(max(in_range, key=lambda one: one.version[:2])))
    return max(usable, key=lambda one: one.version[:2])


def no_venv(found: Found) -> str:
    version = ".".join(map(str, found.version[:2]))
    text = "{} has no venv (or no ensurepip), which makes the environment. To install it:\n{}"
    return text.format(found.path, how_to("venv", version))


def check_there(venv: Path, wanted: Optional[Found]) -> Found:
    """The Python of an environment that is already there.

    Raises:
        Problem: it is not one to use. It is left as it is.
    """
    inside = look(str(venv / "bin" / "python"))
    if not (venv / "pyvenv.cfg").is_file() or not inside.version:
        fault = "is not a virtual environment that runs"
    elif not inside.in_range:
        fault = "has Python {}.{}, and {} is needed".format(inside.version[0], inside.version[1], RANGE)
    elif wanted and wanted.version[:2] != inside.version[:2]:
        fault = "has Python {}.{}, and PYTHON is {}".format(inside.version[0], inside.version[1], wanted)
    elif subprocess.call([inside.path, "-m", "pip", "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        fault = "has no pip"
    else:
        return inside
    raise Problem("{0} {1}. It was left as it is. To have a new one made:\n  rm -r {0}\nand run make again.".format(venv, fault))


def create(venv: Path, python: Found) -> Found:
    """Make the environment; what is left of a failed attempt goes.

    Raises:
        Problem: it could not be made.
    """
    try:
        subprocess.check_output([python.path, "-m", "venv", str(venv)], stderr=subprocess.STDOUT)
        return look(str(venv / "bin" / "python"))
    except subprocess.CalledProcessError as error:
        shutil.rmtree(str(venv), ignore_errors=True)
        said = error.output.decode("utf8", "replace").strip()
    except KeyboardInterrupt:
        shutil.rmtree(str(venv), ignore_errors=True)
        raise
    raise Problem(no_venv(python) if "ensurepip" in said else "{} -m venv failed:\n{}".format(python.path, said))


def pip(python: Found, root: Path, *arguments: str) -> None:
    """Run pip install in ``root``, showing what it says.

    Raises:
        Problem: it failed; for want of a compiler, with what installs one.
    """
    command = [python.path, "-m", "pip", "install", "-q", "--disable-pip-version-check"] + list(arguments)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=str(root))
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line.decode("utf8", "replace"))
        sys.stdout.write(said[-1])
        sys.stdout.flush()
    if process.wait() == 0:
        return
    version = ".".join(map(str, python.version[:2]))
    for need, pattern in UNBUILT:
        if pattern.search("".join(said)):
            text = "A package has no ready-made build for this machine, and building it needs a compiler{}:\n{}"
            raise Problem(text.format(" for Rust" if need == "rust" else "", how_to(need, version)))
    raise Problem("pip failed; see above. Run make again when the cause is mended: it goes on from here.")


def pin(lock: str, name: str) -> str:
    """A package's line of a lock, without marker and hashes."""
    match = re.search(r"^{}==[^\s;]+".format(re.escape(name)), lock, re.M)
    if match is None:
        raise Problem("{}: expected a line {}==..., found none".format(TORCH, name))
    return match.group()


def installed(python: Found, name: str) -> str:
    code = "import importlib.metadata as m; print(m.version({!r}))".format(name)
    done = subprocess.run([python.path, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout.decode().strip()


def install_torch(python: Found, root: Path, backend: str) -> None:
    """PyTorch's build for this machine, by the lock's uv, which knows PyTorch's indexes; pip takes one for CUDA on every Linux.

    Raises:
        Problem: a build that was asked for cannot be had. Without one asked for, pip goes on alone.
    """
    explicit = backend != "auto"
    torch = pin((root / TORCH).read_text("utf8"), "torch")
    version, _, build = installed(python, "torch").partition("+")
    if torch == "torch==" + version and (not explicit or build == backend):
        return
    reason = ""
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "lock.txt"
        lines = [line.rstrip("\\ ") for line in (root / LOCK).read_text("utf8").splitlines()]
        constraints.write_text("\n".join(line for line in lines if not line.strip().startswith("-")), "utf8")
        uv = [python.path, "-m", "uv", "pip", "install", "--python", python.path, "--torch-backend", backend, torch]
        uv += ["--reinstall-package", "torch"] if version else []
        hurry = dict(os.environ, UV_HTTP_RETRIES="0", UV_HTTP_TIMEOUT=str(INDEX_SECONDS))
        try:
            # asked first, and briefly, so that nobody waits long for an index that the machine does not reach
            asked = uv + ["--dry-run", "--no-deps"]
            subprocess.run(asked, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=hurry, timeout=INDEX_SECONDS)
            subprocess.run(uv + ["--constraint", str(constraints)], check=True)
        except subprocess.TimeoutExpired:
            reason = "no answer within {} s".format(INDEX_SECONDS)
        except subprocess.CalledProcessError as error:
            said = [line.strip() for line in (error.output or b"").decode("utf8", "replace").splitlines()]
            reason = said[-1] if said else "see above"
    if reason and explicit:
        raise Problem("TORCH_BACKEND={}: this build of {} cannot be had ({})".format(backend, torch, reason))
    if reason:
        text = "NOTE: PyTorch's own index cannot be used ({}). pip takes the build that it finds, maybe a large one."
        print(text.format(reason))
        sys.stdout.flush()


def set_up(root: Path = ROOT, wanted: str = "", backend: Optional[str] = None) -> None:
    """``backend``: None for the default of this system; empty or "none" for what pip takes.

    Raises:
        Problem: what the reader has to do something about.
    """
    venv = root / ".venv"
    named = choose(wanted) if wanted else None
    if os.path.lexists(str(venv)):
        python = check_there(venv, named)
        print("== bringing {} up to date with requirements-hashes.txt".format(venv.name))
        sys.stdout.flush()
    else:
        chosen = named or choose()
        print("== setting up {} with {} (a few minutes the first time)".format(venv.name, chosen))
        python = create(venv, chosen)
    pip(python, root, "--require-hashes", "--no-deps", "-r", LOCK)  # all is in it but PyTorch, which one of them asks for
    if backend is None:
        if sys.platform.startswith("linux"):  # elsewhere pip takes a build for the CPU by itself
            install_torch(python, root, "auto")
    elif backend not in ("", "none"):
        install_torch(python, root, backend)
    pip(python, root, "-r", TORCH)
    (venv / ".ready").write_text("", "utf8")


def main() -> None:
    try:
        set_up(ROOT, os.environ.get("PYTHON", ""), os.environ.get("TORCH_BACKEND"))
    except Problem as problem:
        sys.exit("\n{}".format(problem))
    except KeyboardInterrupt:
        sys.exit("\nstopped; run make again to go on")


if __name__ == "__main__":
    main()
