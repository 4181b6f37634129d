"""Setting up: which Python is taken, what stays untouched, what an error says."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import set_up

from tests.fake_python import asked, files, project, python

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return project(tmp_path, monkeypatch)


# which Python


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ({"a/python3.12": "3.12.1", "a/python3.13": "3.13.0", "a/python3": "3.11.7"}, "a/python3.13"),
        ({"a/python3": "3.14.0", "a/python3.12": "3.12.1"}, "a/python3"),  # by what it says, not by its name
        ({"a/python3.13": "", "a/python3.12": "", "b/python3.12": "3.12.3"}, "b/python3.12"),  # pyenv's names need not run
        ({"a/python3": "3.10.12", "a/python": "2.7.18", "b/python3.11": "3.11.2"}, "b/python3.11"),
        ({"a/python3": "3.15.0", "b/python3": "3.11.2"}, "b/python3"),  # newer than the lock knows
        ({"a/python3.11": "3.11.2", "b/python3.11": "3.11.9"}, "a/python3.11"),  # among equals the order of PATH
        ({"a/python3.14": "3.14.0 novenv", "b/python3.12": "3.12.3"}, "b/python3.12"),
    ],
)
def test_the_newest_suitable_python_is_taken(
    there: dict[str, str], taken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, version in there.items():
        number, _, without = version.partition(" ")
        python(tmp_path / name.split("/")[0], name.split("/")[1], number, venv=not without, runs=bool(number))
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "nowhere"), str(tmp_path / "b")]))
    assert set_up.choose().path == str(tmp_path / taken)


def test_a_named_python_is_taken_even_if_there_is_a_newer_one(root: Path) -> None:
    older = python(root.parent / "bin", "python3.11", "3.11.2")
    assert set_up.choose("python3.11").path == str(older)
    assert set_up.choose(str(older)).version == (3, 11, 2)


@pytest.mark.parametrize(("version", "found"), [("3.10.12", "3.10.12"), ("3.15.0", "3.15.0"), ("", "does not run")])
def test_a_named_python_that_does_not_do_is_refused(version: str, found: str, root: Path) -> None:
    python(root.parent / "bin", "mine", version, runs=bool(version))
    with pytest.raises(set_up.Problem, match=rf"PYTHON=mine: Python 3\.11 to 3\.14 is needed, found\n.*mine: {found}"):
        set_up.set_up(root, "mine")
    assert list(files(root)) == [str(root / "requirements-hashes.txt"), str(root / "requirements.txt")]


@pytest.mark.parametrize("name", ["no-such-python", "/no/such/python"])
def test_a_named_python_that_is_not_there_is_refused(name: str, root: Path) -> None:
    with pytest.raises(set_up.Problem, match=f"found\n  {name}: does not run"):
        set_up.set_up(root, name)


def test_without_a_suitable_python_it_says_what_was_found_and_what_to_install(root: Path) -> None:
    python(root.parent / "bin", "python3.13", "", runs=False)
    python(root.parent / "bin", "python3", "3.9.2")
    with pytest.raises(set_up.Problem) as caught:
        set_up.set_up(root)
    said = str(caught.value)
    assert "python3.13: does not run" in said
    assert "python3: 3.9.2" in said
    for command in ("sudo apt install python3-venv", "sudo dnf install python3", "brew install python@3"):
        assert command in said
    assert list(files(root)) == [str(root / "requirements-hashes.txt"), str(root / "requirements.txt")]


def test_only_the_command_of_this_machine_is_named(root: Path) -> None:
    python(root.parent / "bin", "dnf", "")
    assert set_up.how_to("npm").split() == ["Fedora:", "sudo", "dnf", "install", "nodejs-npm"]


def test_a_missing_venv_is_named_with_its_package(root: Path) -> None:
    python(root.parent / "bin", "python3.13", "3.13.2", venv=False)
    with pytest.raises(set_up.Problem, match=r"python3\.13 has no venv[^$]*sudo apt install python3\.13-venv"):
        set_up.set_up(root)
    assert not (root / ".venv").exists()


def test_what_a_failed_venv_left_behind_goes(root: Path) -> None:
    (root.parent / "bin" / "on_venv").write_text("echo no space left on device; exit 1")
    with pytest.raises(set_up.Problem, match="-m venv failed:\nno space left on device"):
        set_up.set_up(root)
    assert not (root / ".venv").exists()


# an environment that is there


def no_python(root: Path) -> None:
    (root / ".venv").mkdir()


def a_file(root: Path) -> None:
    (root / ".venv").write_text("mine")


def broken_link(root: Path) -> None:
    (root / ".venv").symlink_to(root / "gone")


def made(root: Path, version: str = "3.13.2", runs: bool = True) -> None:
    python(root / ".venv" / "bin", "python", version, runs=runs)
    (root / ".venv" / "pyvenv.cfg").touch()


def without_pip(root: Path) -> None:
    made(root)
    (root / ".venv" / "bin" / "on_pip").write_text("exit 1")


@pytest.mark.parametrize(
    ("make", "wanted", "fault"),
    [
        (no_python, "", "not a virtual environment that runs"),
        (a_file, "", "not a virtual environment that runs"),
        (broken_link, "", "not a virtual environment that runs"),
        (lambda root: made(root, runs=False), "", "not a virtual environment that runs"),
        (lambda root: made(root, "3.10.1"), "", "has Python 3.10, and Python 3.11 to 3.14 is needed"),
        (lambda root: made(root, "3.11.7"), "python3.13", "has Python 3.11, and PYTHON is"),
        (without_pip, "", "has no pip"),
    ],
)
def test_an_environment_that_does_not_do_is_left_as_it_is(
    make: Callable[[Path], None], wanted: str, fault: str, root: Path
) -> None:
    make(root)
    before = {name: text for name, text in files(root).items() if not name.endswith("log")}
    with pytest.raises(set_up.Problem, match=fault) as caught:
        set_up.set_up(root, wanted)
    assert f"rm -r {root / '.venv'}\n" in str(caught.value)
    assert {name: text for name, text in files(root).items() if not name.endswith("log")} == before
    assert os.path.lexists(root / ".venv")


def test_an_environment_that_does_is_kept_whatever_else_there_is(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(root, "3.11.7")
    set_up.set_up(root, backend="none")
    assert "up to date" in capsys.readouterr().out
    assert not (root.parent / "bin" / "log").exists()  # the newer Python on PATH was not even asked
    log = (root / ".venv" / "bin" / "log").read_text().split("\n")
    installs = [line.split()[-1] for line in log if line.startswith("-m pip install")]
    assert installs == ["requirements-hashes.txt", "requirements.txt"]
    assert (root / ".venv" / ".ready").exists()


# when pip fails


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("error: command 'gcc' failed: No such file or directory", "sudo apt install build-essential python3.13-dev"),
        ("error: command '/usr/bin/x86_64-linux-gnu-gcc' failed with exit code 1", "build-essential"),
        ("x.c:1:10: fatal error: Python.h: No such file or directory", "python3.13-dev"),
        ("xcrun: error: invalid active developer path", "xcode-select --install"),
        ("error: can't find Rust compiler", "sudo apt install cargo"),
        ("ERROR: Could not find a version that satisfies the requirement x==1", "pip failed"),
    ],
)
def test_a_failed_build_is_told_from_other_failures(said: str, told: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root.parent / "bin" / "on_pip").write_text(f'echo "{said}" >&2; exit 1')
    with pytest.raises(set_up.Problem) as caught:
        set_up.set_up(root, backend="none")
    assert told in str(caught.value)
    assert ("needs a compiler" in str(caught.value)) == (told != "pip failed")
    assert said in capsys.readouterr().out
    assert not (root / ".venv" / ".ready").exists()


# make


def run_make(root: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """`make .venv/.ready` in a copy, where PATH has nothing but the shell's tools and what ``root`` has."""
    tools = root.parent / "tools"
    tools.mkdir()
    for name in ("bash", "sh", "find", "touch", "cat"):
        (tools / name).symlink_to(str(shutil.which(name, path="/usr/bin:/bin")))
    shutil.copy(ROOT / "Makefile", root)
    (root / "pyproject.toml").touch()
    (root / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "set_up.py", root / "tools")
    make = str(shutil.which("make", path="/usr/bin:/bin:/usr/local/bin"))
    environment = {"PATH": f"{root.parent / 'bin'}{os.pathsep}{tools}", **variables}
    return subprocess.run([make, ".venv/.ready"], cwd=root, capture_output=True, text=True, env=environment)


def test_make_with_a_python_too_old_says_so_and_makes_nothing(root: Path) -> None:
    (root.parent / "bin" / "python3.13").unlink()
    python(root.parent / "bin", "python3", "3.9.2")  # it runs scripts all the same
    done = run_make(root)
    assert done.returncode != 0
    assert "Python 3.11 to 3.14 is needed" in done.stderr
    assert "python3: 3.9.2" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (root / ".venv").exists()


def test_make_without_any_python_says_so(root: Path) -> None:
    (root.parent / "bin" / "python3.13").unlink()
    done = run_make(root)
    assert done.returncode != 0
    assert "Python 3.11 to 3.14 is needed, and none was found" in done.stderr


def test_make_passes_on_what_was_chosen(root: Path) -> None:
    python(root.parent / "bin", "python3", "3.9.2")  # it runs scripts all the same
    python(root.parent / "bin", "python3.12", "3.12.1")
    done = run_make(root, PYTHON="python3.12", TORCH_BACKEND="")
    assert done.returncode == 0, done.stderr
    assert "python3.12: 3.12.1" in done.stdout
    assert [line.split()[1] for line in asked(root)] == ["venv", "pip", "pip"]
    assert (root / ".venv" / ".ready").exists()


def test_an_old_python_can_read_the_script() -> None:
    tree = ast.parse((ROOT / "tools" / "set_up.py").read_text("utf8"), feature_version=(3, 6))
    imported = {n.name for node in ast.walk(tree) if isinstance(node, ast.Import) for n in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= sys.stdlib_module_names
    assert "__future__" not in imported  # annotations came with 3.7
