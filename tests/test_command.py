"""The command line with a user's own arrays: compare, train, keep, predict; and what it refuses, in its own words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mmlib
from mmlib.__main__ import main
from mmlib.keep import load_trained, predict

SMALL = ["--epochs", "1", "--batch-size", "32"]


@pytest.fixture
def arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """120 samples of two modalities, the second in large units, with people and some missing."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    code = np.arange(120) % 3
    centres = 3 * np.eye(3)
    there = generator.random(120) > 0.2
    np.savez(
        tmp_path / "arrays.npz",
        labels=np.array(["cat", "dog", "eel"])[code],
        pose=(centres[code] + generator.normal(size=(120, 3))).astype(np.float32),
        sound=1000 * (centres[code] + generator.normal(size=(120, 3))),
        present_sound=there,
        group=np.arange(120) // 3,
    )
    return tmp_path / "arrays.npz"


def test_train_prints_json_alone_and_predict_uses_what_was_kept(arrays: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = ["train", "--data", "arrays.npz", "--scale", "standard", "--normalise", "batch", "--method", "mla"]
    options = ["--method-set", "ridge=0.5", "--epochs", "8", "--lr", "0.01", "--class-weights", "balanced", "--save", "model"]
    assert main([*train, *options]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["test_balanced_accuracy"] > 0.7
    model = load_trained("model")
    assert model.classes == ("cat", "dog", "eel")
    assert model.method.options()["ridge"] == 0.5
    assert model.prepare["sound"].mean

    new = dict(np.load(arrays))
    np.savez("new.npz", pose=new["pose"][:9])  # without labels, and without the sound
    assert main(["predict", "model", "--data", "new.npz", "--out", "out.csv"]) == 0
    table = pd.read_csv("out.csv")
    assert list(table) == ["cat", "dog", "eel", "prediction"]
    assert table[["cat", "dog", "eel"]].to_numpy() == pytest.approx(predict(model, {"pose": new["pose"][:9]}), abs=1e-5)
    assert list(table["prediction"]) == list(table[["cat", "dog", "eel"]].idxmax(axis=1))
    assert main(["predict", "model", "--data", "arrays.npz", "--out", "out.npz"]) == 0  # with labels, group and masks: aside
    whole = np.load("out.npz")
    masks = {"sound": new["present_sound"]}
    assert (whole["probabilities"] == predict(model, {m: new[m] for m in ("pose", "sound")}, masks)).all()
    capsys.readouterr()
    assert main(["predict", "model", "--data", "new.npz"]) == 0
    assert capsys.readouterr().out.startswith("cat,dog,eel,prediction\n")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_compare_own_arrays_with_options_for_each_method(arrays: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["compare", "--data", "arrays.npz", "--methods", "joint,mla", "--seeds", "2", "--workers", "1", *SMALL]
    assert main([*command, "--set-method", "mla.ridge=0.1", "--normalise", "l2", "--measures", "balanced_accuracy"]) == 0
    out = capsys.readouterr().out
    assert "balanced_accuracy" in out
    assert {"pose alone", "sound alone", "joint", "mla"} <= set(out.split("\n\n")[1].replace("  ", "\n").splitlines())
    told = json.loads(Path("compare-arrays.json").read_text())["configuration"]
    assert told["mla"]["method_options"] == {"ridge": 0.1}
    assert told["joint"]["method_options"] == {}
    assert told["joint"]["model_options"] == {"normalise": "l2"}
    # other numbers in the file are another comparison: nothing stale comes from the cache
    rows = json.loads(Path("compare-arrays.json").read_text())["runs"]
    changed = dict(np.load(arrays))
    changed["pose"] = np.zeros_like(changed["pose"])
    np.savez(arrays, **changed)
    assert main([*command, "--overwrite"]) == 0
    again = json.loads(Path("compare-arrays.json").read_text())["runs"]
    assert [r["test_loss"] for r in rows] != [r["test_loss"] for r in again]


def test_version_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.strip() == f"mmlib {mmlib.__version__}"
    for arguments in (["--help"], ["train", "--help"], ["compare", "--help"]):
        with pytest.raises(SystemExit):
            main(arguments)
        assert "examples:" in capsys.readouterr().out


REFUSED: list[tuple[list[str], str]] = [
    (["compare", "--lr", "-1"], "--lr: expected a positive learning rate, found -1.0"),
    (["compare", "--epochs", "0"], "--epochs: expected 1 or more, found 0"),
    (["compare", "--batch-size", "0"], "--batch-size: expected 1 or more"),
    (["compare", "--optimizer", "lion"], "--optimizer: unknown 'lion'; known: adam"),
    (["compare", "--fusion", "glue"], "--fusion: unknown 'glue'; known: concat"),
    (["compare", "--normalise", "x"], "--normalise: unknown 'x'; known: batch"),
    (["compare", "--modalities", "pose,smell"], "--modalities: unknown 'smell'; known: pose, sound"),
    (["compare", "--seeds", "0"], "--seeds: expected 1 or more, found 0"),
    (["compare", "--set", "depth=3"], "--set: unknown 'depth' for your arrays; known: layout"),
    (["compare", "--methods", "mla", "--set-method", "mla.rige=1"], "--set-method: mla has no option 'rige'; known: hgm, ridge"),
    (["compare", "--set-method", "mla.ridge=1"], "--set-method: expected METHOD.NAME=VALUE with one of joint, late_fusion"),
    (["compare", "--out", "there/is/a/file.json"], "--out: cannot write to"),
    (["train", "--threads", "0"], "--threads: expected 1 or more"),
    (["train", "--method", "mla", "--method-set", "rige=1"], "--method-set: mla has no option 'rige'"),
    (["train", "--lr", "nan"], "--lr: expected a positive learning rate"),
    (["train", "--save", "arrays.npz"], "--save: arrays.npz exists; pass --overwrite"),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[" ".join(a) for a, _ in REFUSED])
def test_refused_before_anything_starts_in_the_words_of_the_command_line(
    arguments: list[str], message: str, arrays: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def started(*_: Any, **__: Any) -> None:
        raise AssertionError("runs were started")

    (arrays.parent / "there").write_text("no folder")
    monkeypatch.setattr("mmlib.command.compare", started)
    assert main([arguments[0], "--data", "arrays.npz", *arguments[1:]]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"pose": np.zeros((9, 2))}, "has no 'labels', found pose; it holds 'labels' [N]"),
        ({"labels": np.arange(9) % 2}, "has no modality; it holds"),
        ({"labels": np.arange(9) % 2, "pose": np.zeros((9, 2)), "present_sound": np.ones(9)}, "no modality 'sound'"),
        ({"labels": np.array([None] * 9), "pose": np.zeros((9, 2))}, "cannot be read as numpy's .npz"),
        (None, "cannot be read as numpy's .npz"),
    ],
)
def test_files_that_hold_something_else(
    content: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is None:
        Path("own.npz").write_text("no zip")
    else:
        np.savez("own.npz", **content)
    assert main(["train", "--data", "own.npz", *SMALL]) == 2
    assert message in capsys.readouterr().err
    assert main(["train", "--data", "nothing.npz", *SMALL]) == 2
    assert "--data: no file nothing.npz" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_predict_refuses_what_the_model_does_not_know(arrays: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", "arrays.npz", *SMALL, "--save", "model"]) == 0
    np.savez("new.npz", smell=np.zeros((3, 2)))
    np.savez("wide.npz", pose=np.zeros((3, 5)))
    for arguments, message in (
        (["predict", "model", "--data", "new.npz"], "expected some of the modalities pose, sound, found smell"),
        (["predict", "model", "--data", "wide.npz"], "inputs['pose']: expected shape [N, 3]"),
        (["predict", "arrays.npz", "--data", "arrays.npz"], "damaged or no kept model"),
        (["predict", "model", "--data", "arrays.npz", "--out", "x.txt"], "--out: expected a name that ends in .csv or .npz"),
        (["predict", "model", "--data", "arrays.npz", "--out", "new.npz"], "--out: new.npz exists; pass --overwrite"),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err


def test_as_a_program_it_says_nothing_but_json(arrays: Path) -> None:
    command = [sys.executable, "-W", "error::ResourceWarning", "-m", "mmlib", "train", "--data", "arrays.npz", *SMALL]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "test_accuracy" in json.loads(done.stdout)
    assert "leaked" not in done.stderr
