"""Runs are kept under all that decides their numbers, or not at all."""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mmlib.compare as module
from mmlib import cache, fingerprint
from mmlib.cache import cache_folder
from mmlib.compare import compare
from mmlib.data.core import Splits
from mmlib.encoders import MLPEncoder
from mmlib.methods import MLA, Joint
from mmlib.setting import Setting, run
from tests.conftest import make_tiny

FIT = {"epochs": 2, "batch_size": 16, "device": "cpu"}
OURS = Setting("joint", data=make_tiny(), fit_options=FIT)


def own_data(seed: int, samples: int = 120) -> Splits:
    return make_tiny(("a", "b"), samples=samples, seed=seed)


OWN = Setting("joint", data=own_data, fit_options=FIT)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of the runs that were not found."""
    seeds: list[int] = []

    def noting(setting: Setting, seed: int, predictions: bool = False) -> dict[str, Any]:
        seeds.append(seed)
        return run(setting, seed, predictions)

    monkeypatch.setattr(module, "run", noting)
    return seeds


def again(setting: Setting, **options: Any) -> Any:
    return compare([setting], **{"seeds": 1, "workers": 1, "progress": False, **options})


@pytest.mark.parametrize("setting", [OURS, OWN], ids=["splits", "callable"])
def test_finished_runs_are_not_repeated(setting: Setting, trained: list[int]) -> None:
    first = again(setting, seeds=2)
    assert len(list(cache_folder().glob("*.json"))) == 2
    second = again(setting, seeds=3)
    assert trained == [0, 1, 2]
    assert second.values("joint")[:2] == first.values("joint")
    again(setting, seeds=3, cache=False)
    assert trained == [0, 1, 2, 0, 1, 2]


def test_data_of_a_callable_is_known_by_its_content(trained: list[int], tmp_path: Path) -> None:
    """A helper, a file, a constant: what a callable reads counts as soon as it changes what comes out."""
    file = tmp_path / "scale.txt"

    def scaled(seed: int) -> Splits:
        return own_data(seed).map(lambda d: type(d)({m: x * float(file.read_text()) for m, x in d.inputs.items()}, d.labels, 3))

    file.write_text("1")
    first = again(OWN.with_("x", data=scaled)).values("x")
    again(OWN.with_("x", data=lambda seed: scaled(seed)))
    again(OWN)
    assert trained == [0], "the same numbers, however they were made"
    file.write_text("0")
    second = again(OWN.with_("x", data=scaled)).values("x")
    assert trained == [0, 0]
    assert first != second == [pytest.approx(1 / 3, abs=0.1)]


METHOD = """
from helper import scale
from mmlib.methods import Joint

class Scaled(Joint):
    def step(self, model, batch, optimizer):
        return super().step(model, batch._replace(inputs={m: x * scale() for m, x in batch.inputs.items()}), optimizer)
"""


def test_a_foreign_method_is_never_stale(trained: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The issue's example: a helper in another module is scaled by 0."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "foreign.py").write_text(METHOD)
    numbers = []
    for factor in (1, 0):
        (tmp_path / "helper.py").write_text(f"def scale():\n    return {factor}\n")
        for name in ("helper", "foreign"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        method = importlib.import_module("foreign").Scaled
        numbers += again(OURS.with_("x", method=method, fit_options={"epochs": 5})).values("x", "val_accuracy")
    assert trained == [0, 0]
    assert numbers[0] > numbers[1] + 0.2
    assert not cache_folder().exists()


class Quiet(Joint):
    """A method written by a reader."""


def make_encoder() -> nn.Module:
    return MLPEncoder(6, 8, (8,))


@pytest.mark.parametrize(
    "change",
    [
        {"method": Quiet},
        {"method": Joint()},
        {"method": MLA(hgm="off")},
        {"method": type("Made", (Joint,), {"__module__": "mmlib.methods.joint", "__qualname__": "f.<locals>.Made"})},
        {"fusion": lambda dims, classes: None},
        {"model_options": {"encoders": {"a": make_encoder}}},
        {"model_options": {"encoders": {"a": MLPEncoder(6, 8)}}},
        {"model_options": {"encoders": {"a": functools.partial(MLPEncoder, 6)}}},
        {"fit_options": {"optimizer": lambda parameters: torch.optim.SGD(parameters, lr=0.1)}},
        {"fit_options": {"callback": print}},
        {"fit_options": {"scheduler": functools.partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.9)}},
    ],
)
def test_foreign_code_and_objects_are_not_kept(change: dict[str, Any]) -> None:
    for base in (OURS, OWN):
        changed = base.with_("x", **change)
        assert changed.foreign() != []
        assert cache.key(changed) is None
        (job,) = module._jobs(changed, [0], cache=True, predictions=False)
        assert (job.key, job.by_content) == (None, False)


def test_runs_on_files_that_nothing_verifies_are_not_kept() -> None:
    assert cache.key(Setting("a", data="digits")) is not None
    assert cache.key(Setting("a", data="cremad")) is None


@pytest.mark.parametrize("options", [{"optimizer": torch.optim.Rprop}, {"lr": np.float64(0.1), "epochs": np.int64(2)}])
def test_what_the_library_and_torch_bring_is_kept(options: dict[str, Any]) -> None:
    assert OURS.with_("x", method=MLA, fit_options=options).foreign() == []
    assert cache.key(OURS.with_("x", method=MLA, fit_options=options)) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"fit_options": {"lr": 0.5}},
        {"fit_options": {"epochs": 3}},
        {"data": make_tiny(samples=90)},
        {"fusion": "sum"},
        {"method": "late_fusion"},
        {"pretrain_epochs": 1},
        {"model_options": {"width": 2}},
    ],
)
def test_another_setting_is_another_run(change: dict[str, Any]) -> None:
    key = cache.key(OURS)
    assert key is not None
    assert key != cache.key(OURS.with_("joint", **change))
    assert key == cache.key(OURS.with_("other label"))
    assert cache.file_of(key, 0) != cache.file_of(key, 1)


def test_code_data_versions_and_device_are_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting("x", data="digits", fit_options=FIT)
    files = setting.code()
    assert {"mmlib/train.py", "mmlib/data/digits.py", "mmlib/fusion.py", "mmlib/encoders.py", "mmlib/methods/joint.py"} <= set(
        files
    )
    assert any(f.startswith("mmlib/data/assets/") for f in files)
    assert not {"mmlib/plots.py", "mmlib/widgets.py", "mmlib/methods/late_fusion.py", "mmlib/data/two_speed.py"} & set(files)
    before = cache.key(setting)
    for changed in ("train.py", "speech.npz"):
        real = fingerprint.file_hash
        with monkeypatch.context() as patch:
            patch.setattr(fingerprint, "file_hash", lambda p, c=changed, r=real: "other" if p.name == c else r(p))
            assert cache.key(setting) != before
    for what in ("_versions", "pick_device"):
        with monkeypatch.context() as patch:
            patch.setattr(cache, what, {"_versions": list, "pick_device": lambda _: torch.device("meta")}[what])
            assert cache.key(setting) != before
    assert cache.key(setting) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.train.inputs["a"].__setitem__((0, 0), 7.0),
        lambda s: s.test.labels.__setitem__(0, (s.test.labels[0] + 1) % 3),
        lambda s: s.val.present["b"].__setitem__(0, ~s.val.present["b"][0]),
        lambda s: s.train.groups["person"].__setitem__(0, 9),
        lambda s: setattr(s, "classes", ("x", "y", "z")),
    ],
)
def test_own_splits_are_hashed_by_content(change: Any) -> None:
    def made() -> Splits:
        splits = make_tiny(missing=0.2)
        for _, data in splits.items():
            data.groups["person"] = torch.zeros(len(data), dtype=torch.long)
        return splits

    before, same, other = made(), made(), made()
    change(other)
    assert fingerprint.splits_hash(before) == fingerprint.splits_hash(same) != fingerprint.splits_hash(other)
    assert cache.key(Setting("x", data=before)) == cache.key(Setting("x", data=same)) != cache.key(Setting("x", data=other))


def test_where_runs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == tmp_path / "cache" / "runs"
    outcome = again(OURS)
    [file] = cache_folder().iterdir()
    row = {k: v for k, v in outcome.runs[0].items() if k not in ("label", "seed")}
    assert file.read_text("utf8") == json.dumps(row, indent=1) + "\n"
    monkeypatch.delenv("MMLIB_CACHE")
    assert cache_folder().name == "runs"
    assert "mmlib" in cache_folder().parts


def test_code_hash_ignores_comments_and_layout_but_not_code(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        path = tmp_path / f"{abs(hash(text))}.py"
        path.write_text(text)
        return fingerprint.file_hash(path)

    plain = digest('def f(x):\n    "doc"\n    return x + 1\n')
    assert digest('# comment\ndef f(x):\n    "other doc"\n\n    return (x\n        + 1)  # why\n') == plain
    assert digest("def f(x):\n    return x + 2\n") != plain
    assert digest("def f(x, *, y=1):\n    return x + 1\n") != plain


def test_a_file_is_parsed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "code.py"
    path.write_text("x = 1\n")
    before = fingerprint.file_hash(path)
    path.write_text("x = 12\n")
    assert fingerprint.file_hash(path) != before
    fingerprint.code_files(["mmlib.train"])
    OURS.code()
    parsed: list[Any] = []
    monkeypatch.setattr(fingerprint.ast, "parse", lambda *a: parsed.append(a))
    assert "mmlib/train.py" in OURS.code()
    assert parsed == []


def test_a_key_is_worked_out_once_for_all_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = cache.key
    monkeypatch.setattr(cache, "key", lambda setting: asked.append(setting.label) or real(setting))
    again(OURS.with_("x", fit_options={"epochs": 1}), seeds=3)
    assert asked == ["x"]


def test_interrupted_comparison_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    finished: list[int] = []

    def interrupted(setting: Setting, seed: int, predictions: bool = False) -> dict[str, Any]:
        if len(finished) == 2:
            raise KeyboardInterrupt
        finished.append(seed)
        return run(setting, seed)

    monkeypatch.setattr(module, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        again(OWN, seeds=4)
    went_on: list[int] = []
    monkeypatch.setattr(module, "run", lambda setting, seed, _: went_on.append(seed) or run(setting, seed))
    again(OWN, seeds=4)
    assert finished == [0, 1]
    assert went_on == [2, 3]


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize("content", ["{ half a fi", "{}", "[]", "null", "3", DEEP, '{"test_accuracy": "high"}', "\x00", "spoil"])
def test_a_file_that_is_no_run_is_replaced(content: str, trained: list[int]) -> None:
    first = again(OURS)
    [file] = cache_folder().glob("*.json")
    row = json.loads(file.read_text())
    file.write_text(content if content != "spoil" else json.dumps({**row, "history": [1]}))
    assert again(OURS).values("joint") == first.values("joint")
    assert trained == [0, 0]
    assert set(json.loads(file.read_text())) == set(row)


def test_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("MMLIB_CACHE", str(blocker))
    with pytest.warns(UserWarning, match="cache: cannot write to .*; runs are not kept") as caught:
        outcome = compare([OURS], seeds=2, workers=1, progress=False)
    assert len(outcome.runs) == 2
    assert len(caught) == 1
    assert caught[0].filename == __file__, "it points at who called compare"


def test_full_cache_leaves_no_partial_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        again(OURS, predictions=True)
    assert list(cache_folder().iterdir()) == []
