"""Setting up: which build of PyTorch is asked for, and what happens where it cannot be had."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import set_up

from tests.fake_python import asked, project


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return project(tmp_path, monkeypatch)


UV = "-m uv pip install --python {python} --torch-backend {backend} torch==2.13.0"


def uv_calls(root: Path, backend: str, again: str = "") -> list[str]:
    uv = UV.format(python=root / ".venv" / "bin" / "python", backend=backend) + again
    return [f"{uv} --dry-run --no-deps", f"{uv} --constraint "]


PIP = "-m pip install -q --disable-pip-version-check"
LOCKED, REST = f"{PIP} --require-hashes --no-deps -r requirements-hashes.txt", f"{PIP} -r requirements.txt"


@pytest.mark.parametrize("backend", [None, "auto", "cpu", "cu126"])
def test_on_linux_the_locked_uv_takes_the_build_and_pip_what_is_left(backend: str | None, root: Path) -> None:
    (root.parent / "bin" / "on_uv").write_text("true")
    set_up.set_up(root, backend=backend)
    venv, locked, probe, real, rest = asked(root)
    assert venv == f"-m venv {root / '.venv'}"
    assert (locked, rest) == (LOCKED, REST)  # by hashes, all but PyTorch, which has none in common
    expected = uv_calls(root, backend or "auto")
    assert probe == expected[0]
    assert real.startswith(expected[1])
    assert (root / ".venv" / ".ready").exists()


def test_uv_gets_the_pins_as_constraints_and_no_hashes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def run(command: list[str], **options: object) -> object:
        if "--constraint" in command:
            seen.append(Path(command[-1]).read_text())
        return real(command, **options)  # type: ignore[call-overload]

    real = set_up.subprocess.run
    monkeypatch.setattr(set_up.subprocess, "run", run)
    set_up.set_up(root)
    assert [text.splitlines() for text in seen] == [["soupsieve==2.10 ; python_full_version < '3.11.5'", "uv==0.13.9"]]


@pytest.mark.parametrize(("platform", "backend"), [("linux", ""), ("linux", "none"), ("darwin", None)])
def test_elsewhere_and_where_it_is_switched_off_pip_does_it_alone(
    platform: str, backend: str | None, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    set_up.set_up(root, backend=backend)
    assert asked(root)[1:] == [LOCKED, REST]


@pytest.mark.parametrize(("version", "backend"), [("2.13.0+cpu", None), ("2.13.0+cu126", "cu126"), ("2.13.0", "auto")])
def test_a_build_that_is_there_is_kept(version: str, backend: str | None, root: Path) -> None:
    (root.parent / "bin" / "torch").write_text(version)
    set_up.set_up(root, backend=backend)
    assert not [line for line in asked(root) if "uv" in line.split()]


def test_another_build_that_is_asked_for_replaces_it(root: Path) -> None:
    (root.parent / "bin" / "torch").write_text("2.13.0+cpu")
    set_up.set_up(root, backend="cu126")
    assert asked(root)[2] == uv_calls(root, "cu126", " --reinstall-package torch")[0]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [("echo error: no route >&2; exit 2", "error: no route"), ("exec sleep 30", "no answer within 0.5"), ("exit 2", "see above")],
)
def test_where_the_index_does_not_answer_pip_goes_on_soon_and_says_so(
    answer: str, reason: str, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(set_up, "INDEX_SECONDS", 0.5)
    (root.parent / "bin" / "on_uv").write_text(answer)
    began = time.monotonic()
    set_up.set_up(root)
    assert time.monotonic() - began < 20
    notes = [line for line in capsys.readouterr().out.splitlines() if "NOTE" in line]
    assert len(notes) == 1
    assert reason in notes[0]
    assert [line.split()[1] for line in asked(root)] == ["venv", "pip", "uv", "pip"]  # asked once, installed nothing
    assert (root / ".venv" / ".ready").exists()


def test_a_file_with_another_hash_stops_everything(root: Path) -> None:
    (root.parent / "bin" / "on_pip").write_text("echo THESE PACKAGES DO NOT MATCH THE HASHES; exit 1")
    with pytest.raises(set_up.Problem, match="pip failed"):
        set_up.set_up(root)
    assert [line.split()[1] for line in asked(root)] == ["venv", "pip"]
    assert not (root / ".venv" / ".ready").exists()


def test_a_build_that_was_asked_for_and_cannot_be_had_is_an_error(root: Path) -> None:
    (root.parent / "bin" / "on_uv").write_text("echo error: no such build; exit 2")
    with pytest.raises(set_up.Problem, match=r"TORCH_BACKEND=cu126: this build .* cannot be had \(error: no such build\)"):
        set_up.set_up(root, backend="cu126")
    assert not (root / ".venv" / ".ready").exists()
