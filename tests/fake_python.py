"""Interpreters that are small shell scripts and say what they are told to say, for the tests of setting up."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

SOME = "0123456789abcdef" * 4
PINS = f"""soupsieve==2.10 ; python_full_version < '3.11.5' \\
    --hash=sha256:{SOME}
uv==0.13.9 \\
    --hash=sha256:{SOME} \\
    --hash=sha256:{SOME[::-1]}
"""
TORCH = "torch==2.13.0\n-e .\n"
FAKE = """#!/bin/sh
# {folder}/log gets what it was asked; the files beside it say how it behaves
given=$PATH PATH=/usr/bin:/bin
echo "$*" | tr '\\n' ' ' >> {folder}/log; echo >> {folder}/log
case "$1 $2" in
  "-c import sys"*) {runs} && printf '{version}\\n{venv}\\n' ;;
  "-c import importlib"*) cat {folder}/torch ;;
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && touch "$3/pyvenv.cfg" && sh {folder}/on_venv ;;
  "-m pip") sh {folder}/on_pip ;;
  "-m uv") sh {folder}/on_uv ;;
  *) PATH=$given exec {real} "$@" ;;
esac
"""


def python(folder: Path, name: str, version: str, venv: bool = True, runs: bool = True) -> Path:
    """An interpreter that says what it is told to say."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("torch", "on_venv", "on_pip", "on_uv"):
        (folder / part).touch()
    path = folder / name
    does = {"version": version, "venv": "venv" if venv else "", "runs": "true" if runs else "exit 127;"}
    text = FAKE.format(folder=folder, real=sys.executable, **does)
    path.write_text(text)
    path.chmod(0o755)
    return path


def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project to set up on Linux, where PATH holds one Python, 3.13."""
    python(tmp_path / "bin", "python3.13", "3.13.2")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(sys, "platform", "linux")
    root = tmp_path / "project"
    root.mkdir()
    (root / "requirements-hashes.txt").write_text(PINS)
    (root / "requirements.txt").write_text(TORCH)
    return root


def asked(root: Path) -> list[str]:
    """What Python was asked to install or make, in order."""
    lines = (root.parent / "bin" / "log").read_text().splitlines()
    return [line.strip() for line in lines if line.startswith("-m")]


def files(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
