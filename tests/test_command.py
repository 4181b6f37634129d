"""The command line: what it prints and writes, and what it refuses before anything is trained."""

from __future__ import annotations

import csv
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mmlib
import mmlib.command.compare as compare_command
from mmlib import record
from mmlib.__main__ import main
from mmlib.book import results
from mmlib.command import arrays
from tests.conftest import make_tiny

SMALL = ["--data", "two_speed", "--set", "samples=120", "--epochs", "1"]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Labels are words, one modality is missing in some samples, ten people."""
    data = make_tiny(samples=150)
    whole = [torch.cat([d.inputs[m] for _, d in data.items()]).numpy() for m in ("a", "b")]
    labels = np.array(["cat", "dog", "emu"])[torch.cat([d.labels for _, d in data.items()]).numpy()]
    there = np.arange(150) % 5 > 0
    np.savez(tmp_path / "own.npz", labels=labels, left=whole[0], right=whole[1], present_right=there, group=np.arange(150) % 10)
    return tmp_path / "own.npz"


def test_compare_prints_a_table_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "table.json"
    arguments = ["compare", *SMALL, "--methods", "joint,late_fusion", "--seeds", "2", "--workers", "1", "--out", str(out)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert all(label in printed for label in ("fast alone", "slow alone", "joint", "late_fusion", "low", "high", "seconds"))
    assert "macro_f1" not in printed
    content = json.loads(out.read_text())
    assert len(content["runs"]) == 8
    assert content["seeds"] == [0, 1]
    assert content["code"]
    before = out.read_bytes()
    assert main(arguments) == 2
    assert "pass --overwrite" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert main([*arguments, "--overwrite", "--measures", "macro_f1,balanced_accuracy"]) == 0
    heading = capsys.readouterr().out.splitlines()[2].split()
    assert {"macro_f1", "balanced_accuracy"} <= set(heading)


def test_the_file_can_be_read_again(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also with data of one's own, which is in it by its hash alone."""
    for name, arguments in (("named", SMALL), ("own", ["--data", str(own), "--epochs", "1"])):
        out = tmp_path / f"{name}.json"
        options = ["--methods", "mla", "--method-set", "mla.hgm=off", "--seeds", "2", "--workers", "1", "--out", str(out)]
        assert main(["compare", *arguments, *options]) == 0
        outcome = record.read(out)
        stored = json.loads(out.read_text())
        assert outcome.values("mla") == [r["test_accuracy"] for r in stored["runs"] if r["label"] == "mla"]
        assert record.describe(outcome.settings) == stored["configuration"]
        assert len(outcome.curve("mla", "val_loss")[0]) == 1
        assert str(results.load(str(out))) == str(outcome)
        assert outcome.difference("mla", outcome.settings[0].label).mean == pytest.approx(
            outcome.interval("mla").mean - outcome.interval(outcome.settings[0].label).mean
        )
    assert stored["configuration"]["mla"]["data"].startswith("own.npz ")
    with pytest.raises(ValueError, match="was read from a file"):
        outcome.settings[0].code()
    out.write_text(out.read_text().replace('"seeds"', '"seeds "', 1))
    with pytest.raises(ValueError, match="edited by hand or damaged"):
        record.read(out)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        record.read(tmp_path / "nothing.json")
    capsys.readouterr()


def test_train_prints_json_alone_and_as_compare_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "table.json"
    assert main(["compare", *SMALL, "--methods", "mla", "--seeds", "2", "--workers", "1", "--out", str(out)]) == 0
    capsys.readouterr()
    torch.set_num_threads(2)
    try:
        assert main(["train", *SMALL, "--method", "mla", "--seed", "1", "--device", "cpu"]) == 0
        assert torch.get_num_threads() == 2, "as it was before"
    finally:
        torch.set_num_threads(1)
    captured = capsys.readouterr()
    scores = json.loads(captured.out)
    assert "History: 1 epochs" in captured.err
    row = json.loads(out.read_text())["runs"][-1]
    assert (row["label"], row["seed"]) == ("mla", 1)
    assert {k: row[k] for k in scores if k.startswith("test_")} == {k: v for k, v in scores.items() if k.startswith("test_")}
    assert {"test_balanced_accuracy", "test_macro_f1", "val_accuracy"} <= set(scores)


def test_class_weights_and_weight_decay_reach_the_training(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    losses = set()
    for more in ([], ["--class-weights", "balanced"], ["--weight-decay", "0.5"]):
        assert main(["train", "--data", str(own), "--set", "fractions=[0.5,0.2,0.3]", "--epochs", "2", *more]) == 0
        losses.add(json.loads(capsys.readouterr().out)["test_loss"])
    assert len(losses) == 3


def test_threads_are_those_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[int] = []
    monkeypatch.setattr("mmlib.command.train.fit", lambda *a, **k: seen.append(torch.get_num_threads()) or 1 / 0)
    for arguments in ([], ["--threads", "2"]):
        assert main(["train", *SMALL, *arguments]) == 2
    assert seen == [1, 2]
    assert torch.get_num_threads() == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_train_and_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "run.pt")
    assert main(["train", *SMALL, "--checkpoint", path, "--device", "cpu"]) == 0
    assert "test_accuracy" in capsys.readouterr().out
    assert main(["train", *SMALL, "--checkpoint", path, "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert "pass --resume to go on from it" in error
    assert "--checkpoint: " in error
    assert main(["train", *SMALL, "--checkpoint", path, "--device", "cpu", "--resume", "--epochs", "2"]) == 0
    assert "2 epochs" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["mmtm", "centralnet"])
def test_intermediate_fusion(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--data", "two_speed", "--set", "samples=100", "--epochs", "1", "--intermediate", kind]
    model, out = tmp_path / "model.mm", tmp_path / "table.json"
    assert main(["train", *small, "--device", "cpu", "--save", str(model)]) == 0
    assert type(mmlib.load_trained(model).exchange).__name__ == ("MMTM" if kind == "mmtm" else "NoneType")
    assert (
        main(["compare", *small, "--methods", "joint,ogm_ge", "--seeds", "1", "--workers", "1", "--no-cache", "--out", str(out)])
        == 0
    )
    told = json.loads(out.read_text())["configuration"]
    assert {label: row["model_options"].get("intermediate") for label, row in told.items()} == {
        "fast alone": None, "slow alone": None, "joint": kind, "ogm_ge": kind,
    }  # fmt: skip
    assert main(["train", *small[:-1], "film"]) == 2
    assert "--intermediate: unknown 'film'; known: mmtm, centralnet" in capsys.readouterr().err


def test_own_arrays_to_a_kept_model_to_predictions(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model.mm"
    options = ["--set", "scale=standard", "--normalise", "layer", "--method", "mla", "--method-set", "ridge=0.1", "--epochs", "5"]
    assert main(["train", "--data", str(own), *options, "--device", "cpu", "--save", str(model)]) == 0
    assert json.loads(capsys.readouterr().out)["test_accuracy"] > 0.6
    kept = model.read_bytes()
    assert main(["train", "--data", str(own), *options, "--device", "cpu", "--save", str(model)]) == 2
    assert "--save: " in capsys.readouterr().err
    assert model.read_bytes() == kept

    table, packed = tmp_path / "predictions.csv", tmp_path / "predictions.npz"
    for out in (table, packed):
        assert main(["predict", str(model), "--data", str(own), "--out", str(out)]) == 0
    with np.load(own) as raw, np.load(packed) as found:
        inputs, there = {m: raw[m] for m in ("left", "right")}, {"right": raw["present_right"]}
        expected = mmlib.predict(mmlib.load_trained(model), inputs, there)
        np.testing.assert_array_equal(found["probabilities"], expected)
        assert found["predictions"].tolist() == [["cat", "dog", "emu"][k] for k in expected.argmax(1)]
        assert (found["predictions"] == raw["labels"]).mean() > 0.6
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert list(rows[0]) == ["sample", "prediction", "p_cat", "p_dog", "p_emu"]
    assert [row["prediction"] for row in rows] == [["cat", "dog", "emu"][k] for k in expected.argmax(1)]
    assert float(rows[3]["p_dog"]) == pytest.approx(expected[3, 1], rel=1e-4)

    np.savez(tmp_path / "left.npz", left=inputs["left"])
    capsys.readouterr()
    assert main(["predict", str(model), "--data", str(tmp_path / "left.npz")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 151
    np.savez(tmp_path / "odd.npz", left=inputs["left"][:, :2], up=inputs["left"])
    for name, message in (("odd", "expected some of the modalities left, right, found up"), ("none", "no file")):
        assert main(["predict", str(model), "--data", str(tmp_path / f"{name}.npz"), "--out", str(table), "--overwrite"]) == 2
        assert message in capsys.readouterr().err
    assert len(table.read_text().splitlines()) == 151, "left as it was"
    assert main(["predict", str(own), "--data", str(own)]) == 2
    assert "MODEL: " in capsys.readouterr().err
    assert main(["predict", str(model), "--data", str(own), "--out", "p.txt"]) == 2
    assert "--out: expected a name that ends in .csv or .npz" in capsys.readouterr().err


def test_own_arrays_in_compare(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "--data", "own.npz", "--modalities", "left", "--seeds", "1", "--epochs", "1", "--workers", "1"]) == 0
    content = json.loads((tmp_path / "compare-own.json").read_text())
    assert list(content["configuration"]) == ["left alone", "joint", "late_fusion"]
    first, second = (arrays.ArraysFile(own)(seed=seed) for seed in (0, 1))
    assert first.classes == ("cat", "dog", "emu")
    assert {*first.train.groups["group"].tolist()} != {*second.train.groups["group"].tolist()}, (
        "every seed has a split of its own"
    )
    capsys.readouterr()


GOOD = {"labels": np.arange(60) % 3, "x": np.random.default_rng(0).normal(size=(60, 4))}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"x": GOOD["x"]}, "has no array 'labels', only x; a file arrays.npz of your own holds `labels`"),
        ({"labels": GOOD["labels"]}, "holds no modality, only labels"),
        (
            {**GOOD, "labels": np.array(["a", 1] * 30, dtype=object)},
            "array 'labels' of .* holds Python objects: save numbers, or text",
        ),
        ({**GOOD, "present_y": np.ones(60, bool)}, "array 'present_y' of .* names no modality; there are x"),
        ({**GOOD, "group": np.arange(60), "split_by": np.arange(60)}, "has both 'group' and 'split_by'"),
        ({**GOOD, "x": GOOD["x"][:10]}, r"--data: inputs\['x'\]: expected 60 samples, one per label, found 10"),
        ({**GOOD, "split": np.array(["tset"] * 60)}, "--data: split: "),
        (None, "is no file that np.savez writes"),
        (b"PK\x03\x04 and then nothing", "is no file that np.savez writes"),
    ],
)
def test_a_file_that_is_no_data(content: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "own.npz"
    if isinstance(content, dict):
        np.savez(path, **content)
    else:
        path.write_bytes(content or b"")
    assert main(["train", "--data", str(path), "--epochs", "1"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.search(message, captured.err), captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "--data", "digit"], "--data: unknown 'digit'; known: two_speed, digits"),
        (["compare", "--methods", "ogm"], "--methods: unknown 'ogm'; known: joint"),
        (["compare", "--methods", "joint,joint"], "--methods: expected names separated by commas, each once"),
        (["compare", "--data", "two_speed", "--modalities", "smell"], "--modalities: unknown 'smell'; known: fast, slow"),
        (["compare", "--fusion", "cat"], "--fusion: unknown 'cat'; known: concat"),
        (["compare", "--optimizer", "adamm"], "--optimizer: unknown 'adamm'; known: adam, adamw, adagrad, sgd"),
        (["compare", "--lr", "-1"], "--lr: expected a positive learning rate, found -1"),
        (["compare", "--lr", "fast"], "--lr: expected a positive learning rate, found fast"),
        (["compare", "--weight-decay", "-1"], "--weight-decay: expected a number of 0 or more, found -1"),
        (["compare", "--class-weights", "equal"], "--class-weights: unknown 'equal'; known: balanced"),
        (["compare", "--epochs", "0"], "--epochs: expected 1 or more, found 0"),
        (["compare", "--seeds", "0"], "--seeds: expected 1 or more, found 0"),
        (["compare", "--workers", "0"], "--workers: expected 1 or more, found 0"),
        (["compare", "--normalise", "batchh"], "--normalise: unknown 'batchh'; known: batch, layer, l2, rms, centre"),
        (["compare", "--measures", "f1"], "--measures: unknown 'f1'; known: balanced_accuracy, macro_f1"),
        (["compare", "--data", "two_speed", "--set", "samples=-3"], "--set samples: "),
        (["compare", "--method-set", "alpha=0.3"], "--method-set: expected METHOD.NAME=VALUE, such as ogm_ge.alpha=0.3"),
        (
            ["compare", "--method-set", "ogm_ge.alpha=0.3"],
            "--method-set ogm_ge.alpha: expected one of --methods joint,late_fusion",
        ),
        (
            ["compare", "--methods", "ogm_ge", "--method-set", "ogm_ge.alhpa=0.3"],
            "--method-set ogm_ge.alhpa: unknown option of 'ogm_ge'; known: alpha, window, noise",
        ),
        (["compare", "--methods", "ogm_ge", "--method-set", "ogm_ge.alpha=-1"], "--method-set ogm_ge.alpha: expected"),
        (["compare", "--data", "two_speed", "--normalise", "batch", "--batch-size", "1"], "--normalise layer or 'l2'"),
        (["compare", "--method", "joint"], "unrecognized arguments: --method joint"),
        (["train", "--data", "two_speed", "--lr", "-1"], "--lr: expected a positive learning rate, found -1"),
        (["train", "--data", "two_speed", "--set", "speed=3"], "--set speed: unknown knob of 'two_speed'; known: samples"),
        (["train", "--data", "two_speed", "--set", "speed"], "--set: expected NAME=VALUE, found 'speed'"),
        (["train", "--method", "magic"], "--method: unknown 'magic'; known: joint"),
        (["train", "--method", "unimodal"], "--method-set: unimodal needs to know which"),
        (["train", "--device", "abacus"], "--device: cannot use 'abacus'"),
        (["train", "--resume"], "--resume: expected together with --checkpoint"),
        (["train", "--threads", "0"], "--threads: expected 1 or more"),
        (["train", "--data", "nowhere.npz"], "--data: no file"),
        (["predict", "nothing.mm", "--data", "x.npz"], "MODEL: no file nothing.mm"),
        (["download", "moon"], "download: unknown data set 'moon'"),
        (["results", "nothing"], "result: unknown 'nothing'"),
        (["results", "--verify", "nothing"], "result: unknown 'nothing'"),
        (["results", "--against", "HEAD"], "--against: expected together with --verify"),
        (["results", "--verify", "--against", "no-such"], "--against: 'no-such' is no revision of a git repository"),
        (["results", "--verify", "--workers", "0"], "--workers: expected 1 or more, found 0"),
    ],
)
def test_wrong_input_is_one_line(arguments: list[str], message: str, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare_command, "compare", lambda *a, **k: pytest.fail("a worker was started"))
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (error,) = captured.err.strip().splitlines()
    assert message in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["compare", "train"])
def test_a_folder_that_cannot_be_written_is_told_at_once(command: str, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    (tmp_path / "file").write_text("mine")
    flag = {"compare": "--out", "train": "--save"}[command]
    monkeypatch.setattr("mmlib.command.shared.load", lambda *a, **k: pytest.fail("data was loaded"))
    assert main([command, flag, str(tmp_path / "file" / "x.json")]) == 2
    assert f"{flag}: cannot write to {tmp_path / 'file'}" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"
    assert main([command, flag, str(tmp_path)]) == 2
    assert f"{flag}: {tmp_path} exists" in capsys.readouterr().err


def test_interrupted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare_command, "compare", interrupted)
    assert main(["compare", *SMALL]) == 130
    assert "interrupted; finished runs and epochs are kept" in capsys.readouterr().err
    assert list(tmp_path.glob("*.json*")) == []


def test_no_score_is_not_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("mmlib.command.train.evaluate", lambda *a: {"accuracy": 0.5, "loss_x": math.nan})
    assert main(["train", *SMALL, "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["test_loss_x"] is None


@pytest.mark.parametrize("command", ["", "compare", "train", "predict"])
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*([command] if command else []), "--help"])
    assert ended.value.code == 0
    assert f"examples:\n  python -m mmlib {command}" in capsys.readouterr().out


def test_module_runs() -> None:
    done = subprocess.run([sys.executable, "-m", "mmlib", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"mmlib {mmlib.__version__}\n"
