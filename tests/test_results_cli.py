"""Stored results are what the present code would make, and the command line does what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmlib.__main__ import main
from mmlib.book import results
from mmlib.book.studies import STUDIES, Study
from mmlib.cache import write_json
from mmlib.compare import compare
from mmlib.record import digest
from mmlib.setting import Setting
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
    reason = results.stale(path)
    assert reason is None, reason


@pytest.mark.parametrize("path", STORED, ids=lambda p: p.stem)
def test_stored_results_are_complete(path: Path) -> None:
    content = json.loads(path.read_text())
    assert {"configuration", "seeds", "library", "torch", "device", "seconds", "code", "runs"} <= set(content)
    only_choose = path.stem.endswith(("_rates", "_constants"))  # on validation data: four to six things a row, three seeds each
    searches = path.stem.startswith("verdict_trials_")  # on validation data: twelve trials a row, two seeds each
    assert len(content["seeds"]) >= (2 if searches else 3 if only_choose else 5)
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

    monkeypatch.setitem(STUDIES, "small", keeping._replace(keep=()))
    assert results.stale(path) == "small.json: its settings have changed; make it again: python -m mmlib results small"


def test_stale_says_what_changed_and_what_to_do(small_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = results.make("small", workers=1, progress=False)
    content = results.read(path)
    (joint,) = STUDIES["small"].settings()
    monkeypatch.setitem(STUDIES, "small", Study(lambda: [joint], 3))
    assert results.stale(path) == "small.json: expected 3 seeds, found 2; make the others: python -m mmlib results small"
    described = {"joint": {**content["configuration"]["joint"], "probe": None}}
    results.write(path, {**content, "configuration": described})
    verify = "verify it: python -m mmlib results --verify small"
    assert results.stale(path) == f"small.json: its settings are described in another way; {verify}"
    results.write(path, {**content, "code": {**content["code"], "mmlib/train.py": "something else"}})
    assert results.stale(path) == f"small.json: made by other code (mmlib/train.py changed since); {verify}"
    monkeypatch.setitem(STUDIES, "small", Study(lambda: [joint, joint.with_("again")], 2))
    assert results.stale(path) == "small.json: its settings have changed; make it again: python -m mmlib results small"
    monkeypatch.delitem(STUDIES, "small")
    assert "no study of that name" in str(results.stale(path))


def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The runs that `make` asks for from here on."""
    asked: list[tuple[str, int]] = []

    def noting(settings: list[Setting], which: list[int], **options: Any) -> Any:
        asked.extend((s.label, seed) for s in settings for seed in which)
        return compare(settings, which, cache=False, **options)

    monkeypatch.setattr(results, "compare", noting)
    return asked


def test_make_runs_only_what_is_new(small_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = results.read(results.make("small", workers=1, progress=False))
    asked = trained(monkeypatch)
    before = small_study.read_bytes()
    results.make("small", workers=1, progress=False)
    assert (asked, small_study.read_bytes()) == ([], before)

    (joint,) = STUDIES["small"].settings()
    more = [joint.with_("a", method="unimodal", method_options={"modality": "a"}), joint]
    monkeypatch.setitem(STUDIES, "small", Study(lambda: more, 3))
    content = results.read(results.make("small", workers=1, progress=False))
    assert sorted(asked) == [("a", 0), ("a", 1), ("a", 2), ("joint", 2)]
    assert content["runs"][3:5] == first["runs"]  # seconds included: they were not made again
    assert results.stale(small_study) is None
    fresh = compare(more, 3, workers=1, cache=False, progress=False)
    assert results.load("small").values("joint", "test_loss") == pytest.approx(fresh.values("joint", "test_loss"), abs=1e-6)
    (note,) = content["stamps"]
    assert {"kept": 2, "of": 6, "was": digest(first["code"]), "code": digest(content["code"])}.items() <= note.items()
    assert note["made_with"] == {k: first[k] for k in ("library", "torch", "device", "processor")}

    asked.clear()  # a row fewer, and a row that is another
    other = [joint.with_("joint", fit_options={"lr": 0.1})]
    monkeypatch.setitem(STUDIES, "small", Study(lambda: other, 2))
    assert "stamps" not in results.read(results.make("small", workers=1, progress=False))
    assert asked == [("joint", 0), ("joint", 1)]


def test_make_makes_stale_runs_again(small_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = results.read(results.make("small", workers=1, progress=False))
    asked = trained(monkeypatch)
    results.write(small_study, {**content, "code": {**content["code"], "mmlib/train.py": "something else"}})
    assert results.read(results.make("small", workers=1, progress=False))["code"] == content["code"]
    assert asked == [("joint", 0), ("joint", 1)]


def spoil_truncate(path: Path) -> None:
    path.write_text(path.read_text()[:-200])


def spoil_number(path: Path) -> None:
    content = json.loads(path.read_text())
    content["runs"][0]["test_accuracy"] = 1.0
    write_json(path, content)


def spoil_digest(path: Path) -> None:
    content = json.loads(path.read_text())
    del content["digest"]
    write_json(path, content)


def spoil_shape(path: Path) -> None:
    path.write_text("[]\n")


def spoil_runs(path: Path) -> None:
    content = results.read(path)
    results.write(path, {**content, "runs": content["runs"][:1]})


def spoil_name(path: Path) -> None:
    results.write(path, {**results.read(path), "name": "other"})


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (spoil_truncate, "it is not JSON, or only the beginning of it"),
        (spoil_number, "its digest is not that of the rest"),
        (spoil_digest, "it carries no digest"),
        (spoil_shape, "expected an object, found list"),
        (spoil_runs, "runs: expected one for each setting and seed"),
        (spoil_name, "name: expected 'small', found 'other'"),
    ],
)
def test_a_damaged_result_is_refused_by_all(
    spoil: Callable[[Path], None], why: str, small_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = results.make("small", workers=1, progress=False)
    spoil(path)
    spoiled = path.read_bytes()
    message = re.escape(f"{path}: edited by hand or damaged ({why}") + ".*restore it from version control, or remove it and"
    for reading in (lambda: results.load("small"), lambda: results.stale(path), lambda: results.make("small", workers=1)):
        with pytest.raises(ValueError, match=message):
            reading()
    for command in (["results", "small"], ["results", "--verify", "small"]):
        assert main(command) == 1
        assert re.search(message, capsys.readouterr().err)
    assert path.read_bytes() == spoiled


def test_an_interrupted_study_leaves_the_old_file(
    small_study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = results.read(results.make("small", workers=1, progress=False))
    results.write(small_study, {**content, "code": {}})
    before = small_study.read_bytes()

    def interrupted(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(results, "compare", interrupted)
    assert main(["results", "small"]) == 130
    assert "interrupted; finished runs" in capsys.readouterr().err
    assert small_study.read_bytes() == before
    assert [p.name for p in small_study.parent.iterdir()] == ["small.json"]


def test_one_failing_study_does_not_stop_the_others(
    small_study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = [s.with_("fails", fit_options={"lr": -1}) for s in STUDIES["small"].settings()]
    monkeypatch.setitem(STUDIES, "failing", Study(lambda: failing, 1))
    assert main(["results", "failing", "small", "--workers", "1"]) == 1
    captured = capsys.readouterr()
    assert f"small: in {small_study}" in captured.out
    told = captured.err.strip().splitlines()[-3:]
    assert told[:2] == ["1 not done:", "failing: RunsFailedError: 1 of 1 runs failed, the others are kept:"]
    assert told[2].startswith("  setting 'fails', seed 0: ValueError: lr: expected")
    assert [p.name for p in small_study.parent.iterdir()] == ["small.json"]


def test_diverged_runs_are_stored_as_such(small_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_diverges(settings: list[Setting], which: list[int], **options: Any) -> Any:
        outcome = compare(settings, which, **options)
        outcome.runs[0] |= {"diverged": False}
        outcome.runs[1] |= {"diverged": True, "diverged_epoch": 3, "test_loss": float("nan"), "history": []}
        return outcome

    monkeypatch.setattr(results, "compare", one_diverges)
    monkeypatch.setitem(STUDIES, "small", STUDIES["small"]._replace(keep=("val_loss",)))
    runs = results.read(results.make("small", workers=1, progress=False))["runs"]
    assert "diverged" not in runs[0]
    assert (runs[1]["diverged"], runs[1]["diverged_epoch"], runs[1]["curves"]) == (True, 3, {})
    loaded = results.load("small").runs
    assert [run["diverged"] for run in loaded] == [False, True]
    assert (len(loaded[0]["history"]), loaded[1]["history"]) == (1, [])


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
