"""Run the chapters as on Colab: its versions as far as the registries have them, an empty folder, and only the built wheel.

    python tools/colab.py                        # every chapter; `make colab` runs it
    python tools/colab.py 00_tour 02_naive_fusion

The environment is made once, in .venv-colab: Python 3.13 where there is one, with PyTorch for CPUs where its own index can be
reached (elsewhere pip takes a build with CUDA, a few GB). The wheel is installed beside it with --no-deps, as the first cell of
a chapter does, so that torch stays as it is. What the chapters print is not looked at: that they run, claims included, is.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import set_up

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv-colab"
PYTHON = (3, 13)
TORCH = "torch==2.11.*"
INDEX = "https://download.pytorch.org/whl/cpu"
#: Colab's image of August 2026; what has no version here is there as well, in one that we do not know
VERSIONS = (
    "numpy==2.1.*", "matplotlib==3.10.*", "scikit-learn==1.6.*", "ipywidgets==7.7.1", "pandas", "scipy", "tqdm", "requests",
    "safetensors", "cloudpickle", "platformdirs", "pooch", "filelock", "accelerate", "ipykernel", "nbclient", "nbformat",
)  # fmt: skip
RUN = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=1800, kernel_name="python3").execute()
import mmlib, torch
print("mmlib from", mmlib.__file__, "torch", torch.__version__)
"""


def interpreter() -> str:
    """Python 3.13, or the one that this runs in."""
    paths = [*set_up.candidates(), *map(str, Path("~/.pyenv/versions").expanduser().glob("3.13*/bin/python"))]
    found = [one for one in map(set_up.look, paths) if one.version[:2] == PYTHON and one.venv]
    if not found:
        print(f"no Python {'.'.join(map(str, PYTHON))} here; going on with {sys.version.split()[0]}", flush=True)
    return found[0].path if found else sys.executable


def environment() -> Path:
    """The interpreter of .venv-colab, made where it is not there yet."""
    python = VENV / "bin" / "python"
    done = VENV / ".ready"
    if not done.exists():
        shutil.rmtree(VENV, ignore_errors=True)
        subprocess.run([interpreter(), "-m", "venv", str(VENV)], check=True)
        pip = [str(python), "-m", "pip", "install", "-q"]
        if subprocess.run([*pip, "--index-url", INDEX, TORCH], stderr=subprocess.DEVNULL).returncode:
            print(f"{INDEX} cannot be used: {TORCH} as pip finds it", flush=True)
            if subprocess.run([*pip, TORCH]).returncode:
                print(f"no {TORCH} for this Python: the newest that there is", flush=True)
                subprocess.run([*pip, "torch"], check=True)
        subprocess.run([*pip, *VERSIONS], check=True)
        done.touch()
    return python


def main(names: list[str]) -> int:
    chapters = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    unknown = [name for name in names if name not in chapters]
    if unknown:
        print(f"no chapter {unknown[0]!r}; there are {', '.join(chapters)}", file=sys.stderr)
        return 2
    python, failed = environment(), []
    with tempfile.TemporaryDirectory() as folder:
        wheels = Path(folder) / "wheels"
        pip = [str(python), "-m", "pip"]
        subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", str(wheels), str(ROOT)], check=True)
        (wheel,) = wheels.glob("mmlib-*.whl")
        subprocess.run([*pip, "install", "-q", "--no-deps", "--force-reinstall", str(wheel)], check=True)
        empty = Path(folder) / "content"
        empty.mkdir()
        around = {**os.environ, "MMLIB_CACHE": str(Path(folder) / "cache"), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
        around.pop("PYTHONPATH", None)
        for name in names or chapters:
            shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", empty)
            began = time.perf_counter()
            done = subprocess.run(
                [str(python), "-c", RUN, f"{name}.ipynb"], cwd=empty, env=around, capture_output=True, text=True
            )
            good = done.returncode == 0
            told = done.stdout.strip() if good else "\n" + "\n".join(done.stderr.splitlines()[-25:])
            print(f"{name}: {'ran' if good else 'FAILED'}, {time.perf_counter() - began:.0f} s; {told}", flush=True)
            failed += [] if good else [name]
    print(f"failed: {', '.join(failed)}" if failed else "all ran")
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER")
    sys.exit(main(parser.parse_args().chapters))
