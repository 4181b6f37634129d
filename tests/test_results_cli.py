"""Stored results are what the present code would make, and the command line does what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmlib.__main__ import main
from mmlib.book import results
from mmlib.book.studies import STUDIES, Study
from mmlib.compare import Setting
from tests.test_compare import own_data

STORED = sorted((Path(__file__).parents[1] / "book" / "results").glob("*.json"))
FIT = {"epochs": 1, "batch_size": 16, "device": "cpu"}


@pytest.fixture
def small_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MMLIB_RESULTS", str(tmp_path / "results"))
    settings = [Setting("joint", data=own_data, fit_options=FIT)]
    monkeypatch.setitem(STUDIES, "small", Study(lambda: settings, 2))
    return tmp_path / "results" / "small.json"


def test_every_study_is_stored() -> None:
    assert {p.stem for p in STORED} == set(STUDIES), "make them with: make results"


@pytest.mark.parametrize("path", STORED, ids=lambda p: p.stem)
def test_stored_results_belong_to_this_code(path: Path) -> None:
    assert results.stale(path) is None, results.stale(path)


@pytest.mark.parametrize("path", STORED, ids=lambda p: p.stem)
def test_stored_results_are_complete(path: Path) -> None:
    content = json.loads(path.read_text())
    assert {"configuration", "seeds", "library", "torch", "device", "seconds", "code", "runs"} <= set(content)
    assert len(content["seeds"]) >= 5
    assert len(content["runs"]) == len(content["configuration"]) * len(content["seeds"])


def test_make_load_and_stale(small_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = results.make("small", workers=1, progress=False)
    assert path == small_study
    loaded = results.load("small")
    content = json.loads(path.read_text())
    assert loaded.values("joint") == [r["test_accuracy"] for r in content["runs"]]
    assert loaded.seeds == [0, 1]
    assert results.stale(path) is None
    assert "curves" not in content["runs"][0]
    keeping = STUDIES["small"]._replace(keep=("val_loss",))
    monkeypatch.setitem(STUDIES, "small", keeping)
    again = results.load(results.make("small", workers=1, progress=False).stem)
    _, mean, *_ = again.curve("joint", "val_loss")
    fresh = results.compare(keeping.settings(), keeping.seeds, workers=1, progress=False).curve("joint", "val_loss")
    np.testing.assert_allclose(mean, fresh[1], rtol=1e-3)
    assert again.values("joint") == loaded.values("joint")
    assert "train_loss" not in again.runs[0]["history"][0]
    assert len(again.table()) == len(loaded.table())

    content["code"]["mmlib/train.py"] = "something else"
    path.write_text(json.dumps(content))
    assert (
        results.stale(path)
        == "small.json: made by other code (mmlib/train.py changed since); re-run: python -m mmlib results small"
    )
    content["configuration"]["joint"]["fit_options"]["epochs"] = 7
    path.write_text(json.dumps(content))
    assert "its settings have changed; re-run: python -m mmlib results small" in str(results.stale(path))
    monkeypatch.delitem(STUDIES, "small")
    assert "no study of that name" in str(results.stale(path))


def test_shifted_seeds_stand_beside(small_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = results.make("small", workers=1, progress=False).read_bytes()
    monkeypatch.setenv("MMLIB_SEED_OFFSET", "40")
    assert results.load("small").seeds == [0, 1]  # not made yet: the published ones
    path = results.make("small", workers=1, progress=False)
    assert path == small_study.parent / "offset_40" / "small.json"
    assert small_study.read_bytes() == published
    assert results.load("small").seeds == [40, 41]


def test_missing_result(small_study: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make it with: python -m mmlib results small"):
        results.load("small")
    with pytest.raises(ValueError, match="result: unknown 'smal'; known: "):
        results.load("smal")


SMALL = ["--data", "two_speed", "--set", "samples=120", "--epochs", "1"]


def test_compare_prints_a_table_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "table.json"
    arguments = ["compare", *SMALL, "--methods", "joint,late_fusion", "--seeds", "2", "--workers", "1", "--out", str(out)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert all(label in printed for label in ("fast alone", "slow alone", "joint", "late_fusion", "low", "high", "seconds"))
    content = json.loads(out.read_text())
    assert len(content["runs"]) == 8
    assert content["seeds"] == [0, 1]
    assert content["code"]
    before = out.read_bytes()
    assert main(arguments) == 2
    assert "pass --overwrite" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert main([*arguments, "--overwrite"]) == 0


def test_train_and_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "run.pt")
    assert main(["train", *SMALL, "--checkpoint", path, "--device", "cpu"]) == 0
    assert "test_accuracy" in capsys.readouterr().out
    assert main(["train", *SMALL, "--checkpoint", path, "--device", "cpu"]) == 2
    assert "resume" in capsys.readouterr().err
    assert main(["train", *SMALL, "--checkpoint", path, "--device", "cpu", "--resume", "--epochs", "2"]) == 0
    assert "2 epochs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "--data", "digit"], "unknown 'digit'; known: two_speed, digits"),
        (["compare", "--methods", "ogm"], "method: unknown 'ogm'"),
        (["compare", "--data", "two_speed", "--modalities", "smell"], "unknown 'smell'; known: fast, slow"),
        (["train", "--data", "two_speed", "--lr", "-1"], "lr: expected a positive learning rate, found -1"),
        (["train", "--data", "two_speed", "--set", "speed=3"], "speed"),
        (["train", "--method", "magic"], "--method: unknown 'magic'; known: joint"),
        (["results", "nothing"], "result: unknown 'nothing'"),
    ],
)
def test_wrong_input_is_one_line(arguments: list[str], message: str, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error
    assert list(tmp_path.glob("*.json")) == []


def test_module_runs() -> None:
    done = subprocess.run([sys.executable, "-m", "mmlib", "--help"], capture_output=True, text=True, check=True)
    assert "compare" in done.stdout
    assert "results" in done.stdout
