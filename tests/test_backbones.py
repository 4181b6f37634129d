"""Encoders from a library, and one encoder for all frames of a clip."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mmlib
from mmlib import backbones
from mmlib.data import MultimodalData, Splits
from mmlib.encoders import ConvEncoder, MLPEncoder
from mmlib.encoders_frames import FrameEncoder
from mmlib.keep import TrainedModelError
from mmlib.methods import METHODS


def recordings(**shapes: tuple[int, ...]) -> Splits:
    """Noise of these shapes with three classes."""
    draws = torch.Generator().manual_seed(0)

    def part(n: int) -> MultimodalData:
        inputs = {m: torch.randn(n, *shape, generator=draws) for m, shape in shapes.items()}
        return MultimodalData(inputs, torch.arange(n) % 3, 3)

    return Splits(part(18), part(9), part(9))


def timm() -> Any:
    try:
        return backbones._timm()
    except ModuleNotFoundError as error:
        pytest.skip(f"{error}")


def test_a_clip_is_the_mean_of_its_frames() -> None:
    clips = torch.randn(5, 4, 3, 12, 12)
    encoder = FrameEncoder(ConvEncoder(3, 8, (4, 8)))
    assert encoder.dim == 8
    expected = torch.stack([encoder.encoder(clips[:, k]) for k in range(4)]).mean(0)
    torch.testing.assert_close(encoder(clips), expected)


def test_frames_need_an_encoder_that_knows_its_size() -> None:
    with pytest.raises(ValueError, match="encoder: Linear has no attribute dim"):
        FrameEncoder(nn.Linear(3, 4))


def test_pictures_and_clips_get_encoders_and_the_rest_its_default() -> None:
    splits = recordings(audio=(1, 16, 20), video=(2, 3, 16, 16), words=(7,))
    model = mmlib.build(splits, dim=8)
    assert isinstance(model.encoders["audio"], ConvEncoder)
    assert isinstance(model.encoders["video"], FrameEncoder)
    assert isinstance(model.encoders["video"].encoder, ConvEncoder)
    assert isinstance(model.encoders["words"], MLPEncoder)
    assert model.dims == {"audio": 8, "video": 8, "words": 8}
    assert model(splits.train.inputs).logits.shape == (18, 3)


def test_the_seed_decides_where_they_start() -> None:
    splits = recordings(video=(2, 3, 16, 16))
    a, b, c = (mmlib.build(splits, seed=s) for s in (0, 0, 1))
    first, same, other = (next(iter(m.parameters())) for m in (a, b, c))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_what_cannot_be_is_said() -> None:
    flat = recordings(a=(3,))
    with pytest.raises(ValueError, match="network: 'resnet18' reads pictures, and no modality of 'data' has any"):
        backbones.encoders(flat, "resnet18")


def test_without_timm_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModuleNotFoundError, match=r"timm is not installed; pip install 'mmlib\[scale\]'"):
        backbones.TimmEncoder()


def test_importing_the_library_imports_none_of_it() -> None:
    code = "import sys, mmlib, mmlib.backbones, mmlib.data.cremad; print({'timm', 'torchvision', 'av'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.slow
def test_resnet_18_reads_pictures_spectrograms_and_clips() -> None:
    timm()
    splits = recordings(audio=(1, 32, 40), video=(2, 3, 32, 32))
    model = mmlib.build(splits, encoders=backbones.encoders(splits, "resnet18"))
    assert model.dims == {"audio": 512, "video": 512}
    per = {m: sum(p.numel() for p in model.encoders[m].parameters()) for m in model.modalities}
    assert 11_100_000 < per["audio"] < per["video"] < 11_200_000  # ResNet-18 without its classifier
    history = mmlib.fit(model, splits, epochs=1, batch_size=9, device="cpu", progress=False)
    assert len(history) == 1


@pytest.mark.parametrize("normalise", [None, "layer", "batch"])
def test_a_model_of_clips_is_kept_and_loaded(normalise: Any, tmp_path: Path) -> None:
    splits = recordings(audio=(1, 16, 20), video=(2, 3, 16, 16))
    model = mmlib.build(splits, normalise=normalise, dim=8)
    mmlib.fit(model, splits, epochs=1, device="cpu", progress=False)
    loaded = mmlib.load_trained(mmlib.save(tmp_path / "m", model))
    assert mmlib.evaluate(loaded, splits.test) == mmlib.evaluate(model, splits.test)


class Mine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dim, self.layers = 4, nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.layers(x)
        return features


@pytest.mark.parametrize("normalise", [None, "layer"])
@pytest.mark.parametrize("whole", [True, False], ids=["with its frames", "of one frame"])
def test_an_encoder_of_ones_own_for_frames_is_passed_in(normalise: Any, whole: bool, tmp_path: Path) -> None:
    splits = recordings(video=(2, 3, 16, 16))
    model = mmlib.build(splits, encoders={"video": lambda: FrameEncoder(Mine())}, normalise=normalise)
    mmlib.fit(model, splits, epochs=1, device="cpu", progress=False)
    path = mmlib.save(tmp_path / "m", model)
    loaded = mmlib.load_trained(path, encoders={"video": lambda: FrameEncoder(Mine()) if whole else Mine()})
    assert mmlib.evaluate(loaded, splits.test) == mmlib.evaluate(model, splits.test)
    with pytest.raises(TrainedModelError, match="Mine, which is not the library's; pass it in"):
        mmlib.load_trained(path)


@pytest.mark.slow
def test_a_resnet_is_kept_and_loaded(tmp_path: Path) -> None:
    library = timm()
    weights = tmp_path / "resnet18.pth"
    torch.save(library.create_model("resnet18").state_dict(), weights)
    splits = recordings(audio=(1, 32, 40), video=(2, 3, 32, 32))
    model = mmlib.build(splits, encoders=backbones.encoders(splits, "resnet18", weights), normalise="layer")
    mmlib.fit(model, splits, epochs=1, batch_size=9, device="cpu", progress=False)
    path = mmlib.save(tmp_path / "m", model)
    weights.unlink()  # what it held is among the weights that were kept
    assert mmlib.evaluate(mmlib.load_trained(path), splits.test) == mmlib.evaluate(model, splits.test)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["joint", "ogm_ge", "mla", "gradient_blending", "late_fusion", "multi_loss"])
@pytest.mark.parametrize("normalise", [None, "layer"])
def test_the_methods_and_the_controls_on_it(method: str, normalise: Any) -> None:
    timm()
    splits = recordings(audio=(1, 32, 40), video=(1, 3, 32, 32))
    options: dict[str, Any] = {"estimate": "shared", "super_epoch": 1} if method == "gradient_blending" else {}
    model = mmlib.build(splits, encoders=backbones.encoders(splits, "resnet18"), normalise=normalise)
    history = mmlib.fit(model, splits, METHODS[method](**options), epochs=1, batch_size=9, device="cpu", progress=False)
    assert torch.isfinite(torch.tensor(history.rows[-1]["val_loss"]))


@pytest.mark.slow
def test_weights_come_from_a_file_and_three_channels_are_summed_for_one(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    library = timm()
    torch.manual_seed(3)
    published = library.create_model("resnet18").state_dict()
    for suffix in ("safetensors", "pth"):
        path = tmp_path / f"resnet18.{suffix}"
        save_file(published, path) if suffix == "safetensors" else torch.save(published, path)
        colour, grey = (backbones.TimmEncoder("resnet18", channels, path).network for channels in (3, 1))
        assert torch.equal(colour.state_dict()["layer4.1.conv2.weight"], published["layer4.1.conv2.weight"])
        assert torch.equal(colour.state_dict()["conv1.weight"], published["conv1.weight"])
        torch.testing.assert_close(grey.state_dict()["conv1.weight"], published["conv1.weight"].sum(1, keepdim=True))


@pytest.mark.slow
def test_wrong_names_and_files_are_refused(tmp_path: Path) -> None:
    library = timm()
    with pytest.raises(ValueError, match="network: timm knows no 'resnet81'; among those it knows: .*resnet"):
        backbones.TimmEncoder("resnet81")
    with pytest.raises(FileNotFoundError, match="weights: no file"):
        backbones.TimmEncoder(weights=tmp_path / "none.pth")
    torch.save(library.create_model("resnet34").state_dict(), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"weights: other\.pth does not fit resnet18"):
        backbones.TimmEncoder(weights=tmp_path / "other.pth")
    for content in (b"", b"no weights", b"PK\x03\x04"):
        (tmp_path / "broken.pth").write_bytes(content)
        (tmp_path / "broken.safetensors").write_bytes(content)
        for suffix in ("pth", "safetensors"):
            with pytest.raises(ValueError, match=f"weights: broken.{suffix} cannot be read as weights"):
                backbones.TimmEncoder(weights=tmp_path / f"broken.{suffix}")
    torch.save({"model": {"conv1.weight": torch.zeros(1)}}, tmp_path / "nested.pth")
    with pytest.raises(ValueError, match=r"weights: nested\.pth: expected names and tensors"):
        backbones.TimmEncoder(weights=tmp_path / "nested.pth")
