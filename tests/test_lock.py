"""The lock, for each Python and system, and the check of the Pythons that a machine has."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import check_pythons
import lock
import pytest
import set_up
from packaging.requirements import Requirement

from tests.fake_python import PINS, TORCH, project, python

ROOT = Path(__file__).resolve().parents[1]


def locked(**environment: str) -> dict[str, str]:
    """The releases that pip takes from the lock, by name."""
    pins: dict[str, str] = {}
    for requirement in map(Requirement, lock.pins((ROOT / "requirements.txt").read_text("utf8"))):
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", requirement
        if requirement.marker is None or requirement.marker.evaluate(environment or None):
            name = re.sub(r"[-_.]+", "-", requirement.name).lower()
            assert name not in pins, f"{name}: two pins for {environment}"
            pins[name] = specifier.version
    return pins


def system(name: str, python: str) -> dict[str, str]:
    return {"sys_platform": name, "python_full_version": python, "python_version": python.rpartition(".")[0]}


RELEASES = ["3.11.0", "3.11.2", "3.11.4", "3.11.5", "3.12.0", "3.13.9", "3.14.0", "3.14.99"]


@pytest.mark.parametrize("python", RELEASES)
@pytest.mark.parametrize("name", ["linux", "darwin"])
def test_the_lock_satisfies_what_the_package_and_its_tools_ask_for(name: str, python: str) -> None:
    pins, project = locked(**system(name, python)), tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]
    for line in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        requirement = Requirement(line)
        version = pins[re.sub(r"[-_.]+", "-", requirement.name).lower()]
        assert requirement.specifier.contains(version), f"{line}: the lock has {version}"
    assert pins["torch"] == "2.13.0"  # no local part: it must install where there is no index of CPU builds
    assert not [pin for pin in pins if pin.startswith(("nvidia", "cuda", "triton"))]  # each build of PyTorch names its own


def test_the_lock_differs_between_pythons_only_where_it_must() -> None:
    rows = [set(locked(**system("linux", python)).items()) for python in RELEASES]
    assert {name for row in rows for name, _ in row ^ rows[-1]} == {"soupsieve"}
    assert ("soupsieve", "4.1.2") not in rows[RELEASES.index("3.11.2")]  # it needs 3.11.5


def test_pytorchs_libraries_for_cuda_stay_out_of_the_lock() -> None:
    given = "# uv\na==1 ; sys_platform == 'darwin'\nnvidia-cublas==13\ncuda-bindings==13\ntriton==3\ntritonlike==1\n-e .\n"
    assert lock.pins(given) == ["a==1 ; sys_platform == 'darwin'", "tritonlike==1"]


def test_every_pin_but_pytorchs_has_hashes_and_both_files_hold_the_same_pins() -> None:
    text, plain = ((ROOT / name).read_text("utf8") for name in ("requirements-hashes.txt", "requirements.txt"))
    found = lock.hashed(text)
    assert list(found) == lock.pins(text)
    assert all(hashes and len(set(hashes)) == len(hashes) for hashes in found.values())
    assert text == lock.written(found)
    assert plain == lock.plain(found)
    assert {*found, lock.TORCH} == set(lock.pins(plain))


def test_hashes_stay_with_their_pin_and_go_with_it() -> None:
    a, b = "--hash=sha256:" + "a" * 64, "--hash=sha256:" + "b" * 64
    given = f"one==1 ; sys_platform == 'darwin' \\\n    {b} \\\n    {a}\ntorch==2 \\\n    {a}\n"
    given += f"nvidia-x==1 \\\n    {b}\ntwo==2 \\\n    {a}\n"
    found = lock.hashed(given)
    assert found == {"one==1 ; sys_platform == 'darwin'": [b, a], "two==2": [a]}
    assert lock.written(found) == f"{lock.HEADER}one==1 ; sys_platform == 'darwin' \\\n    {a} \\\n    {b}\ntwo==2 \\\n    {a}\n"
    with pytest.raises(RuntimeError, match="no hashes are known for three==3"):
        lock.written({**found, "three==3": []})


#: (package, the first release without the holes that are known of it)
HOLES = [("torch", "2.10"), ("requests", "2.33"), ("tqdm", "4.66.3"), ("scikit-learn", "1.5"), ("filelock", "3.20.3")]


@pytest.mark.parametrize(("name", "first"), HOLES)
def test_releases_with_known_holes_are_out_of_the_ranges(name: str, first: str) -> None:
    from packaging.version import Version

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]
    (requirement,) = [one for one in map(Requirement, project["dependencies"]) if one.name == name]
    (specifier,) = requirement.specifier
    assert specifier.operator == ">="
    assert Version(specifier.version) >= Version(first)


def test_a_lock_without_a_needed_pin_is_an_error() -> None:
    assert set_up.pin(TORCH, "torch") == "torch==2.13.0"
    assert set_up.pin(PINS, "soupsieve") == "soupsieve==2.10"
    with pytest.raises(set_up.Problem, match=r"requirements\.txt: expected a line torch==\.\.\., found none"):
        set_up.pin(PINS, "torch")


def test_each_python_is_checked_once_pyenvs_too_and_the_others_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = project(tmp_path, monkeypatch)
    bin_ = root.parent / "bin"
    pyenv = python(bin_, "pyenv", "")
    pyenv.write_text(f"#!/bin/sh\necho {root}\n")
    for version in ("3.10.1", "3.11.2", "3.13.2", "3.14.1"):
        python(root / "versions" / version / "bin", "python", version)
    python(bin_, "python3.12", "", runs=False)
    monkeypatch.setattr(sys, "version_info", (3, 11, 7))
    found = check_pythons.interpreters()
    assert [one.version for one in found] == [(3, 11, 2), (3, 13, 2), (3, 14, 1)]
    assert check_pythons.missing(found) == ["3.12"]
