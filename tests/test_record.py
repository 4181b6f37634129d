"""What the command line writes can be read again, as `compare` would return it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mmlib import record
from mmlib.__main__ import main
from mmlib.book import results
from mmlib.compare import compare
from mmlib.methods import MLA
from mmlib.setting import Setting
from tests.conftest import make_tiny

FIT = {"epochs": 2, "batch_size": 32, "device": "cpu"}


def test_what_the_command_line_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "table.json"
    arguments = ["compare", "--data", "two_speed", "--set", "samples=120", "--epochs", "2", "--methods", "mla", "--seeds", "2"]
    assert main([*arguments, "--workers", "1", "--measures", "macro_f1", "--out", str(out)]) == 0
    assert "macro_f1" in capsys.readouterr().out
    outcome = record.read(out)
    content = json.loads(out.read_text())
    assert outcome.values("mla") == [r["test_accuracy"] for r in content["runs"] if r["label"] == "mla"]
    assert record.describe(outcome.settings) == content["configuration"]
    assert outcome.settings[0].code().items() <= content["code"].items(), "it could be run again"
    assert len(outcome.curve("mla", "val_loss_fast")[0]) == 2
    assert str(results.load(out)) == str(results.load(str(out))) == str(outcome)
    assert main([*arguments, "--measures", "f1", "--out", str(tmp_path / "other.json")]) == 2
    assert "--measures: unknown 'f1'; known: balanced_accuracy, macro_f1" in capsys.readouterr().err


def test_settings_of_ones_own_are_there_by_description(tmp_path: Path) -> None:
    rows = [Setting("data", data=make_tiny(), fit_options=FIT), Setting("method", data="digits", method=MLA(hgm="off"))]
    outcome = compare(rows[:1], seeds=2, workers=1, progress=False)
    path = tmp_path / "own.json"
    record.write(path, record.payload("own", outcome))
    again = record.read(path)
    np.testing.assert_allclose(again.values("data"), outcome.values("data"), atol=1e-6)
    for described in (again.settings[0], record._setting(path, "method", rows[1].describe())):
        assert isinstance(described, record.DescribedSetting)
        with pytest.raises(ValueError, match="was read from a file, without the code and the data"):
            described.code()
    assert again.settings[0].describe() == rows[0].describe()
    with pytest.raises(ValueError, match="none was kept"):
        again.curve("data", "val_loss")


def test_files_that_are_not_what_was_written(tmp_path: Path) -> None:
    outcome = compare([Setting("x", data=make_tiny(), fit_options=FIT)], seeds=1, workers=1, progress=False)
    path = tmp_path / "x.json"
    record.write(path, record.payload("x", outcome))
    good = path.read_text()
    for bad, why in (
        (good[:-40], "only the beginning"),
        ("[]", "expected an object, found list"),
        ("[" * 100_000, "not JSON"),
        (good.replace('"test_accuracy": 0', '"test_accuracy": 1', 1), "its digest"),
    ):
        path.write_text(bad)
        with pytest.raises(ValueError, match=f"edited by hand or damaged .*{why}.*restore it, or make it again"):
            record.read(path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        record.read(tmp_path / "nothing.json")
    odd = json.loads(good) | {"configuration": {"x": {"data": "digits", "speed": 3}}}
    record.write(path, {k: v for k, v in odd.items() if k != "digest"})
    with pytest.raises(ValueError, match="described in another way, perhaps by another version"):
        record.read(path)
