"""A checkpoint is resumed by the run that it is of, whole and unchanged, or not at all."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

from mmlib import checkpoint
from mmlib.checkpoint import CheckpointError
from mmlib.data.core import Splits
from mmlib.data.stream import StreamedData
from mmlib.identity import data_digest
from mmlib.methods import MLA, OGMGE, GradientBlending, Joint, Method, ModalityDropout, Unimodal
from mmlib.model import build
from mmlib.train import fit
from tests.conftest import make_tiny

OPTIONS: dict[str, Any] = {"epochs": 1, "batch_size": 16, "lr": 1e-2, "device": "cpu", "progress": False}


def run(path: Path, method: Method | None = None, splits: Splits | None = None, model: Any = None, **options: Any) -> None:
    data = splits or make_tiny(("a", "b"))
    fit(build(data, **(model or {})), data, method or Joint(), checkpoint=path, resume=path.exists(), **{**OPTIONS, **options})


def changed(splits: Splits, **parts: Any) -> Splits:
    return replace(splits, train=replace(splits.train, **parts))


TINY = make_tiny(("a", "b"))
OTHER_NUMBERS = {"a": TINY.train.inputs["a"] * 1.0001, "b": TINY.train.inputs["b"]}
OTHERS = TINY.train.labels.roll(1)

WHAT = {
    "numbers of the data": ({}, {"splits": changed(TINY, inputs=OTHER_NUMBERS)}, "data.train"),
    "labels of the data": ({}, {"splits": changed(TINY, labels=OTHERS)}, "data.train"),
    "what is missing": ({}, {"splits": TINY.drop("a", 0.2, splits=["train"])}, "data.train"),
    "validation data": ({}, {"splits": TINY.drop("a", 0.2, splits=["val"])}, "data.val"),
    "alpha": ({"method": OGMGE(0.8)}, {"method": OGMGE(0.5)}, "method.alpha is 0.5 here, 0.8 there"),
    "noise": ({"method": OGMGE()}, {"method": OGMGE(noise=None)}, "method.noise is None here, 'released' there"),
    "hgm": ({"method": MLA()}, {"method": MLA(hgm="update_before")}, "method.hgm"),
    "ridge": ({"method": MLA()}, {"method": MLA(ridge=2.0)}, "method.ridge is 2.0 here, 1.0 there"),
    "rate": ({"method": ModalityDropout()}, {"method": ModalityDropout(0.5)}, "method.rate is 0.5 here, 0.3 there"),
    "weights": (
        {"method": GradientBlending([1, 1, 1])},
        {"method": GradientBlending([1, 1, 2])},
        r"method.weights is \[1, 1, 2\]",
    ),
    "modality": ({"method": Unimodal("a")}, {"method": Unimodal("b")}, "method.modality is 'b' here, 'a' there"),
    "precision": ({}, {"precision": "bf16"}, "precision is 'bf16' here, 'fp32' there"),
    "class weights": ({}, {"class_weights": "balanced"}, "class_weights is 'balanced' here, None there"),
    "learning rates": ({}, {"lr": {"encoders": 1e-2, "head": 1e-3}}, "optimizer.lr is 0.001 here, 0.01 there"),
    "fusion": ({}, {"model": {"fusion": "sum"}}, "fusion.class is 'Sum' here, 'Concat' there"),
    "normalise": ({}, {"model": {"normalise": "batch"}}, "encoders.a.class is 'NormalisedEncoder' here"),
    "kind": ({"model": {"normalise": "l2"}}, {"model": {"normalise": "batch"}}, "encoders.a.kind is 'batch' here, 'l2' there"),
    "dropout": ({}, {"model": {"dropout": 0.5}}, "encoders.a.dropout is 0.5 here, 0.0 there"),
}


@pytest.mark.parametrize(("first", "second", "named"), WHAT.values(), ids=WHAT.keys())
def test_whatever_decides_the_numbers_is_checked(first: Any, second: Any, named: str, tmp_path: Path) -> None:
    run(tmp_path / "run.pt", **first)
    with pytest.raises(CheckpointError, match=f"belongs to another run: ({named})"):
        run(tmp_path / "run.pt", **second)
    run(tmp_path / "run.pt", **first)  # the same, made anew, may go on


def test_data_of_the_test_split_and_longer_training_do_not_matter(tmp_path: Path) -> None:
    run(tmp_path / "run.pt")
    run(tmp_path / "run.pt", splits=TINY.drop("a", 0.5, splits=["test"]), epochs=2)


def test_streamed_data_is_told_apart_by_samples_across_it() -> None:
    def streamed(x: torch.Tensor) -> StreamedData:
        pairs = TensorDataset(x, torch.arange(len(x)) % 2)

        class Items(torch.utils.data.Dataset[Any]):
            def __len__(self) -> int:
                return len(pairs)

            def __getitem__(self, i: int) -> Any:
                return {"a": pairs[i][0]}, int(pairs[i][1])

        return StreamedData(Items(), 2)

    x = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    assert data_digest(streamed(x)) == data_digest(streamed(x.clone()))
    assert data_digest(streamed(x)) != data_digest(streamed(x + 1))
    assert data_digest(streamed(x)) != data_digest(streamed(x[:99]))


def test_a_flipped_bit_anywhere_is_found_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    run(path, model={"dim": 8, "width": 0.1})
    whole = path.read_bytes()
    generator = torch.Generator().manual_seed(0)
    expected = torch.load(path, weights_only=True)["model"]
    refused = 0
    for place in torch.randint(len(whole), (60,), generator=generator).tolist():
        content = bytearray(whole)
        content[place] ^= 1 << (place % 8)
        path.write_bytes(content)
        try:
            run(path, model={"dim": 8, "width": 0.1})
        except CheckpointError:
            refused += 1
        else:
            found = torch.load(path, weights_only=True)["model"]
            assert all(torch.equal(v, found[k]) for k, v in expected.items()), f"bit {place}"
    assert refused > 20, "padding and names of the format aside, a flip is found"


@pytest.mark.parametrize("content", [{"format": 1}, {"format": 2}, [], {}, {"format": 2, "config": []}, {"format": "x"}])
def test_other_files_of_torch_are_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "run.pt")
    with pytest.raises(CheckpointError, match="is not a checkpoint of|of another version|it has no"):
        run(tmp_path / "run.pt")


def test_another_number_of_threads_is_said(tmp_path: Path) -> None:
    run(tmp_path / "run.pt")
    torch.set_num_threads(2)
    try:
        with pytest.warns(UserWarning, match="begun with 1 threads, going on with 2"):
            run(tmp_path / "run.pt")
    finally:
        torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(tmp_path / "run.pt", epochs=2)


def test_what_a_killed_save_left_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "run.pt.part").write_text("half of it")
    run(tmp_path / "run.pt")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.pt"]


def test_a_full_disk_is_called_so_and_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.pt"
    checkpoint.save(path, {"config": {}})
    before = path.read_bytes()

    def full(self: Path, content: Any) -> int:
        with self.open("wb") as file:
            file.write(bytes(content)[:10])
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"checkpoint: cannot write .*run.pt: No space left on device"):
        checkpoint.save(path, {"config": {"more": 1}})
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.pt"]
