"""A trained model is kept and used: what comes back is the same model, and nothing else passes for one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from mmlib.data.own import from_arrays
from mmlib.fusion import FUSIONS, Concat
from mmlib.keep import TrainedModelError, _digest, load_trained, predict, save
from mmlib.methods import MLA, Joint, LateFusion
from mmlib.model import MultimodalClassifier, build
from mmlib.train import evaluate, fit
from tests.conftest import make_tiny

OPTIONS: dict[str, Any] = {"epochs": 1, "batch_size": 16, "lr": 1e-2, "device": "cpu", "progress": False}


def trained(method: Any = None, **options: Any) -> MultimodalClassifier:
    splits = make_tiny(("a", "b"))
    model = build(splits, **options)
    fit(model, splits, method or Joint(), **OPTIONS)
    return model


def raw() -> dict[str, Any]:
    return {m: x.numpy() for m, x in make_tiny(("a", "b")).test.inputs.items()}


class Own(nn.Module):
    """An encoder of a user's own, without an attribute dim."""

    def __init__(self, size: int = 5) -> None:
        super().__init__()
        self.linear = nn.Linear(6, size)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).relu()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_fusion_builds_itself_again(fusion: str, tmp_path: Path) -> None:
    model = trained(fusion=fusion, dim=8, width=0.5, dropout=0.1)
    loaded = load_trained(save(tmp_path / "m", model))
    assert type(loaded.fusion) is FUSIONS[fusion]
    assert (predict(model, raw()) == predict(loaded, raw())).all()


def test_a_fresh_process_without_the_data_predicts_with_a_modality_missing(tmp_path: Path) -> None:
    model = trained(MLA(ridge=2.0))
    save(tmp_path / "m.safetensors", model)
    np.savez(tmp_path / "new.npz", a=raw()["a"])
    code = (
        "import mmlib, numpy as np; model = mmlib.load_trained('m.safetensors'); "
        "np.save('out.npy', mmlib.predict(model, {'a': np.load('new.npz')['a']}))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert np.load(tmp_path / "out.npy") == pytest.approx(predict(model, {"a": raw()["a"]}), abs=1e-6)


@pytest.mark.parametrize("normalise", [None, "batch"])
def test_own_encoders_are_passed_in(normalise: Any, tmp_path: Path) -> None:
    model = trained(encoders={"a": Own}, dims={"a": 5}, normalise=normalise)
    path = save(tmp_path / "m", model)
    with pytest.raises(TrainedModelError, match=r"encoders\['a'\].*trained with tests.test_keep.Own, which is not the library's"):
        load_trained(path)
    for own in (Own, Own()):
        assert (predict(load_trained(path, {"a": own}), raw()) == predict(model, raw())).all()
    with pytest.raises(TrainedModelError, match="model: not the model that .* was trained with"):
        load_trained(path, {"a": Own(7)})
    with pytest.raises(ValueError, match="encoders: unknown modality 'c'; the model has a, b"):
        load_trained(path, {"a": Own, "c": Own})


def test_own_methods_and_fusions_are_passed_in(tmp_path: Path) -> None:
    class Mine(LateFusion):
        pass

    class MyConcat(Concat):
        pass

    path = save(tmp_path / "m", trained(Mine(), fusion=MyConcat))
    with pytest.raises(TrainedModelError, match="fusion: the model was trained with .*MyConcat"):
        load_trained(path)
    with pytest.raises(TrainedModelError, match="method: the model was trained with .*Mine"):
        load_trained(path, fusion=MyConcat)
    loaded = load_trained(path, fusion=MyConcat, method=Mine())
    assert isinstance(loaded.method, Mine)
    with pytest.raises(TrainedModelError, match="method: not the method that"):
        load_trained(path, fusion=MyConcat, method=Joint())


def test_a_head_that_was_passed_in_and_a_ridge_that_is_a_function(tmp_path: Path) -> None:
    model = trained(MLA(head=nn.Linear(64, 3), fusion={"a": 1.0, "b": 3.0}))
    loaded = load_trained(save(tmp_path / "m", model))
    assert (predict(loaded, raw()) == predict(model, raw())).all()
    path = save(tmp_path / "f", trained(MLA(ridge=lambda epochs: 1.0 + epochs)))
    with pytest.raises(TrainedModelError, match="method, ridge: the model was trained with"):
        load_trained(path)
    assert load_trained(path, method=MLA()).method.name == "mla"  # the ridge plays no part in predicting


def test_what_is_there_stays_unless_asked(tmp_path: Path) -> None:
    path, model = tmp_path / "m", trained()
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="pass overwrite=True"):
        save(path, model)
    assert path.read_text() == "mine"
    save(path, model, overwrite=True)
    assert load_trained(path).classes == (0, 1, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m"]
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="path: cannot write .*file/m: "):
        save(tmp_path / "file" / "m", model)


def test_a_model_that_was_never_trained_is_refused(tmp_path: Path) -> None:
    model = build(make_tiny(("a", "b")))
    for use in (lambda: save(tmp_path / "m", model), lambda: predict(model, raw())):
        with pytest.raises(ValueError, match=r"model: was never trained; call mmlib.fit first"):
            use()
    assert not (tmp_path / "m").exists()


def test_damaged_foreign_and_other_versions_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "m", trained())
    content = path.read_bytes()
    with safe_open(path, framework="pt") as kept:
        told = json.loads(kept.metadata()["mmlib"])
    tensors = from_bytes(content)

    def file(told: dict[str, Any], tensors: dict[str, Tensor] = tensors) -> bytes:
        return to_bytes(tensors, {"mmlib": json.dumps({**told, "digest": _digest(told, tensors)})})

    def refused(changed: bytes, why: str) -> None:
        path.write_bytes(changed)
        with pytest.raises(TrainedModelError, match=why):
            load_trained(path)

    refused(content[: len(content) // 2], "damaged or no kept model")
    refused(b"", "damaged or no kept model")
    refused(b"no model at all, but a text of some length", "damaged or no kept model")
    refused(to_bytes(tensors), "was not written by mmlib.save")
    refused(to_bytes(tensors, {"mmlib": "[1]"}), "was not written by mmlib.save")
    refused(to_bytes(tensors, {"mmlib": "[" * 100000}), "damaged or no kept model")
    refused(to_bytes(tensors, {"mmlib": json.dumps({**told, "format": 99})}), "format 99, of mmlib .*; this version reads")
    refused(to_bytes(tensors, {"mmlib": '{"format": 1}'}), "is damaged: its content is not what")
    refused(to_bytes(tensors, {"mmlib": json.dumps({**told, "num_classes": 4})}), "is damaged: its content is not what")
    refused(file({"format": 1}), "cannot be built again")
    refused(file({**told, "fusion": {"class": "Later", "options": {}}}), "fusion: unknown 'Later'")
    refused(file(told, dict(list(tensors.items())[1:])), "not the model that")
    with pytest.raises(FileNotFoundError, match="path: no file"):
        load_trained(tmp_path / "nothing")


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_a_flipped_bit_among_the_weights_is_found(place: float, tmp_path: Path) -> None:
    path = save(tmp_path / "m", trained())
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 4
    path.write_bytes(content)
    with pytest.raises(TrainedModelError, match="damaged"):
        load_trained(path)


@pytest.mark.parametrize(
    ("inputs", "present", "why"),
    [
        ({}, None, "expected some of the modalities a, b, found none"),
        ({"c": [[0.0] * 6]}, None, "expected some of the modalities a, b, found c"),
        ({"a": [[0.0] * 5]}, None, r"inputs\['a'\]: expected shape \[N, 6\] \(ND\) as in training, found \[1, 5\]"),
        ({"a": [[0.0] * 6], "b": [[0.0] * 6] * 2}, None, r"inputs\['b'\]: expected 1 samples as in 'a', found 2"),
        ({"a": [[float("nan")] * 6]}, None, "found NaN or infinity in 1 of 1 samples"),
        ({"a": [[0.0] * 6]}, {"b": [True]}, r"present\['b'\]: expected a modality among the inputs"),
        ({"a": [[0.0] * 6]}, {"a": [True, False]}, r"present\['a'\]: expected shape \[1\], found \[2\]"),
        ({"a": [[0.0] * 6]}, {"a": [0.2]}, r"present\['a'\]: expected booleans, or 0 and 1"),
        ({"a": [[0.0] * 6]}, {"a": [float("nan")]}, r"present\['a'\]: expected booleans"),
        ({"a": [[0.0] * 6]}, {"a": [False]}, "every sample needs a modality, 1 of 1 have none"),
    ],
)
def test_arrays_that_do_not_fit(inputs: Any, present: Any, why: str) -> None:
    with pytest.raises((ValueError, TypeError), match=why):
        predict(trained(), inputs, present)


def test_nan_where_a_modality_is_missing_and_no_sample_at_all() -> None:
    model = trained()
    arrays = {m: x.copy() for m, x in raw().items()}
    there = np.ones(len(arrays["a"]), bool)
    there[3] = False
    arrays["a"][3] = np.nan
    found = predict(model, arrays, {"a": there})
    assert np.isfinite(found).all()
    assert predict(model, {"a": np.zeros((0, 6), np.float32)}).shape == (0, 3)


def test_scaled_data_is_scaled_once() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 200)
    table = generator.normal(size=(200, 3)) * [1, 50, 1000] + [0, 7, 5000]
    table[:, 1] += 100 * labels
    splits = from_arrays({"table": table}, labels, scale="standard", split=["train"] * 100 + ["val"] * 50 + ["test"] * 50)
    model = build(splits)
    fit(model, splits, **{**OPTIONS, "epochs": 20})
    raw_test = predict(model, {"table": table[150:]})
    assert (raw_test == predict(model, splits.test)).all(), "data of a split is prepared already"
    assert (raw_test.argmax(1) == splits.test.labels.numpy()).mean() > 0.7
    assert predict(model, splits.test)[:, 1] != pytest.approx(predict(model, {"table": splits.test.inputs["table"]})[:, 1])


@pytest.mark.parametrize(("precision", "kind"), [("fp32", None), ("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_precision_is_kept(precision: Any, kind: torch.dtype | None, tmp_path: Path) -> None:
    splits = make_tiny(("a", "b"))
    model = build(splits)
    fit(model, splits, Joint(), precision=precision, **OPTIONS)
    loaded = load_trained(save(tmp_path / "m", model))
    assert loaded.autocast is kind
    assert evaluate(loaded, splits.test) == evaluate(model, splits.test)
