"""Keep a trained model, and use it: one file without pickle, probabilities without the training data."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmlib.arguments import AUTOCAST
from mmlib.backbones import TimmEncoder
from mmlib.checkpoint import write_whole
from mmlib.data.checks import as_mask, check_finite
from mmlib.data.core import MultimodalData
from mmlib.data.prepare import Prepare
from mmlib.encoders import ConvEncoder, MLPEncoder, SequenceEncoder, TemporalEncoder
from mmlib.encoders_frames import FrameEncoder
from mmlib.fusion import FUSIONS
from mmlib.intermediate import MMTM, CentralNet, LayeredEncoder
from mmlib.methods import METHODS, Method
from mmlib.model import MultimodalClassifier
from mmlib.normalise import NormalisedEncoder
from mmlib.remembers import Remembers

FORMAT = 1
#: parts that can be made again from what they were asked for
KNOWN: dict[str, Callable[..., nn.Module]] = {
    kind.__name__: kind
    for kind in (
        ConvEncoder,
        MLPEncoder,
        SequenceEncoder,
        TemporalEncoder,
        FrameEncoder,
        TimmEncoder,
        NormalisedEncoder,
        LayeredEncoder,
        CentralNet,
        MMTM,
        *FUSIONS.values(),
        *METHODS.values(),
    )
}


class TrainedModelError(RuntimeError):
    """A file that is no kept model, is damaged or of another version, or needs parts that were not passed in."""


def save(
    path: str | os.PathLike[str], model: MultimodalClassifier, method: Method | None = None, *, overwrite: bool = False
) -> Path:
    """Keep a trained model in one file: all weights, and what it takes to build it again and to prepare raw arrays for it.

    The format is safetensors, with a JSON text in its metadata. Encoders, fusions and methods of the library build
    themselves again; own ones are passed to `load_trained`.

    Args:
        method: that trained the model; by default the one `mmlib.fit` used.
        overwrite: replace a file that is there.

    Raises:
        ValueError: a model that was not trained. FileExistsError: the file is there, and ``overwrite`` is not set.
        OSError: it cannot be written; a file that was there still is.
    """
    from safetensors.torch import save as to_bytes

    target = Path(path)
    method = method or model.method
    if method is None:
        raise ValueError("model: was never trained; call mmlib.fit first, or pass the method that trained it")
    if target.exists() and not overwrite:
        raise FileExistsError(f"path: {target} exists; pass overwrite=True, or name another file")
    from mmlib import __version__

    told = {
        "format": FORMAT,
        "library": __version__,
        "classes": [_class_name(c) for c in model.classes],
        "prepare": {m: prepare.to_json() for m, prepare in model.prepare.items()},
        "encoders": {m: _describe(model.encoders[m]) for m in model.modalities},
        "dims": model.dims,
        "num_classes": model.num_classes,
        "fusion": _describe(model.fusion),
        "exchange": None if model.exchange is None else _describe(model.exchange),
        "method": {"name": method.name, **_describe(method)},
        "precision": next(name for name, kind in AUTOCAST.items() if kind is model.autocast),
    }
    state = {f"{part}.{k}": v for part, module in (("model", model), ("method", method)) for k, v in module.state_dict().items()}
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in state.items() if isinstance(v, Tensor)}
    told["digest"] = _digest(told, tensors)
    write_whole(target, to_bytes(tensors, {"mmlib": json.dumps(told)}), "path")
    return target


def _digest(told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Of everything in a file: safetensors has no sums of its own, and a flipped bit is another weight."""
    total = hashlib.sha256(json.dumps({k: v for k, v in told.items() if k != "digest"}, sort_keys=True).encode())
    for name, x in sorted(tensors.items()):
        total.update(f"{name} {x.dtype} {list(x.shape)}".encode())
        total.update(x.contiguous().view(-1).view(torch.uint8).numpy().tobytes() if x.numel() else b"")
    return total.hexdigest()


def load_trained(
    path: str | os.PathLike[str],
    encoders: Mapping[str, nn.Module | Callable[[], nn.Module]] | None = None,
    method: Method | None = None,
    fusion: Callable[[Mapping[str, int], int], nn.Module] | None = None,
    device: str | torch.device = "cpu",
) -> MultimodalClassifier:
    """A model kept by `save`, ready for `predict` and `mmlib.evaluate`: its method, classes and preparation are bound to it.

    Args:
        encoders: modality -> own encoder (any weights: they are replaced), or a function without arguments that makes it.
        method, fusion: as the model was trained with, where they are own ones.

    Raises:
        FileNotFoundError: no such file. ValueError: an encoder for a modality that the model does not have.
        TrainedModelError: not a kept model, damaged, of another version, or with parts that are not of the library and
            were not passed in, or are not those that it was trained with.
    """
    from safetensors import SafetensorError, safe_open

    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"path: no file {source}")
    try:
        with safe_open(source, framework="pt") as file:
            told = json.loads((file.metadata() or {}).get("mmlib", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
    except (SafetensorError, ValueError, OSError, RecursionError) as error:
        raise TrainedModelError(f"path: {source} is damaged or no kept model ({str(error)[:200]})") from None
    if not isinstance(told, dict) or not isinstance(told.get("format"), int):
        raise TrainedModelError(f"path: {source} was not written by mmlib.save")
    if told["format"] != FORMAT:
        raise TrainedModelError(
            f"path: {source} has format {told['format']}, of mmlib {told.get('library')}; this version reads {FORMAT}"
        )
    if told.get("digest") != _digest(told, tensors):
        raise TrainedModelError(f"path: {source} is damaged: its content is not what mmlib.save wrote")
    unknown = [m for m in encoders or {} if m not in told["encoders"]]
    if unknown:
        raise ValueError(f"encoders: unknown modality {unknown[0]!r}; the model has {', '.join(told['encoders'])}")
    own = {m: e if isinstance(e, nn.Module) else e() for m, e in (encoders or {}).items()}
    try:
        built = {m: _encoder(spec, own.get(m), f"encoders[{m!r}]") for m, spec in told["encoders"].items()}
        make = fusion or (lambda dims, classes: _build(told["fusion"], None, "fusion", dims=dims, num_classes=classes))
        exchange = _build(told["exchange"], None, "exchange") if told.get("exchange") else None
        model = MultimodalClassifier(built, make, told["num_classes"], told["dims"], exchange)  # type: ignore[arg-type]
        trained: Any = method if method is not None else _build(told["method"], None, "method")
        trained.make_heads(model, 0)
        model.prepare = {m: Prepare.from_json(spec) for m, spec in told["prepare"].items()}
        model.classes = tuple(told["classes"])
    except (KeyError, TypeError, AttributeError) as error:
        raise TrainedModelError(f"path: {source} cannot be built again: {type(error).__name__} {error}") from error
    for part, module in (("model", model), ("method", trained)):
        weights = {k.removeprefix(f"{part}."): v for k, v in tensors.items() if k.startswith(f"{part}.")}
        try:
            module.load_state_dict({**{k: v for k, v in module.state_dict().items() if not isinstance(v, Tensor)}, **weights})
        except RuntimeError as error:
            lines = " ".join(str(error).split())
            raise TrainedModelError(f"{part}: not the {part} that {source} was trained with: {lines[:400]}") from None
    model.autocast = AUTOCAST["bf16" if told.get("bf16") else told.get("precision", "fp32")]  # "bf16" wrote the first edition
    model.trained_by(trained.eval())
    trained.to(device)
    return model.eval().to(device)


def predict(
    model: MultimodalClassifier,
    inputs: Mapping[str, Any] | MultimodalData,
    present: Mapping[str, Any] | None = None,
    *,
    batch_size: int = 1024,
) -> np.ndarray[Any, Any]:
    """Probabilities of the classes, by the method that trained the model, on the model's device.

    Args:
        inputs: modality -> raw arrays [N, ...] as they were given to `mmlib.from_arrays` (arrays, tensors, lists, data frames);
            they are prepared as the training data were. A modality that is not passed is missing in every sample.
            Or `MultimodalData`, such as ``splits.test``, which is prepared already and says itself what is missing.
        present: modality -> [N] booleans, where some samples lack it.
        batch_size: samples at a time.

    Returns:
        [N, C], float32, each row adding up to 1; column k is the class ``model.classes[k]``.

    Raises:
        ValueError: a model that was not trained, no modality or an unknown one, arrays of another shape or length, a sample
            without any modality.
    """
    method = model.method
    if method is None:
        raise ValueError("model: was never trained; call mmlib.fit first")
    prepared = inputs if isinstance(inputs, MultimodalData) else None
    if prepared is not None:
        inputs, present = prepared.inputs, prepared.present
    assert isinstance(inputs, Mapping)
    unknown = [m for m in [*inputs, *(present or {})] if m not in model.modalities]
    if unknown or not inputs:
        found = ", ".join(map(str, unknown)) or "none"
        raise ValueError(f"inputs: expected some of the modalities {', '.join(model.modalities)}, found {found}")
    for m in present or {}:
        if m not in inputs:
            raise ValueError(f"present[{m!r}]: expected a modality among the inputs, found {', '.join(inputs)}")
    arrays = {m: x if prepared is not None else model.prepare[m](x, (present or {}).get(m)) for m, x in inputs.items()}
    size = len(next(iter(arrays.values())))
    for m, x in arrays.items():
        if len(x) != size:
            raise ValueError(f"inputs[{m!r}]: expected {size} samples as in {next(iter(arrays))!r}, found {len(x)}")
        check_finite(f"inputs[{m!r}]", x)
    masks = _masks(present, arrays, size)
    training = model.training, method.training
    model.eval(), method.eval()
    parts: list[Tensor] = []
    with torch.no_grad():
        for start in range(0, size, batch_size):
            there = {m: x[start : start + batch_size].to(model.device) for m, x in arrays.items()}
            who = None if masks is None else {m: p[start : start + batch_size].to(model.device) for m, p in masks.items()}
            parts.append(torch.softmax(method.predict(model, there, who).logits.float(), dim=1).cpu())
    model.train(training[0]), method.train(training[1])
    return torch.cat(parts).numpy() if parts else np.zeros((0, model.num_classes), dtype=np.float32)


def _masks(present: Mapping[str, Any] | None, arrays: Mapping[str, Tensor], size: int) -> dict[str, Tensor] | None:
    """{m: [N] booleans} for the modalities that were passed; None where nothing is missing in them."""
    if not present:
        return None
    everywhere = torch.ones(size, dtype=torch.bool)
    masks = {m: as_mask(f"present[{m!r}]", present[m], size).cpu() if m in present else everywhere for m in arrays}
    nobody = ~torch.stack(list(masks.values())).any(0)
    if bool(nobody.any()):
        raise ValueError(f"present: every sample needs a modality, {int(nobody.sum())} of {size} have none")
    return masks


def _describe(part: nn.Module) -> dict[str, Any]:
    """Class and arguments, nested; of what is not the library's own the class's name alone."""
    name = type(part).__name__
    if KNOWN.get(name) is not type(part) or not isinstance(part, Remembers):
        return {"own": f"{type(part).__module__}.{type(part).__qualname__}"}
    options = {k: _argument(v) for k, v in part.options().items()}
    return {"class": name, "options": options}


def _argument(value: Any) -> Any:
    if isinstance(value, Path):  # a file that was read when the part was made: what it held is among the weights
        return None
    if isinstance(value, nn.Linear):  # a head that was passed in
        return {"linear": [value.in_features, value.out_features, value.bias is not None]}
    if isinstance(value, nn.Module):
        return {"module": _describe(value)}
    if isinstance(value, Tensor):  # its values are among the weights
        return {"zeros": list(value.shape)}
    if isinstance(value, Mapping):
        return {"dict": {k: _argument(v) for k, v in value.items()}}
    if isinstance(value, list | tuple):
        return [_argument(v) for v in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return {"own": f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__name__)}"}


def _build(spec: Mapping[str, Any], own: nn.Module | None, what: str, **given: Any) -> nn.Module:
    """The part that was described."""
    if "own" in spec:
        raise TrainedModelError(f"{what}: the model was trained with {spec['own']}, which is not the library's; pass it in")
    if spec["class"] not in KNOWN:
        raise TrainedModelError(f"{what}: unknown {spec['class']!r}, perhaps of another version of mmlib")
    options = {k: _value(v, own, f"{what}, {k}") for k, v in spec["options"].items() if k not in given}
    return KNOWN[spec["class"]](**given, **options)


def _value(spec: Any, own: nn.Module | None, what: str) -> Any:
    if isinstance(spec, list):
        return tuple(_value(v, own, what) for v in spec)
    if not isinstance(spec, dict):
        return spec
    if "linear" in spec:
        return nn.Linear(spec["linear"][0], spec["linear"][1], bias=spec["linear"][2])
    if "zeros" in spec:
        return torch.zeros(spec["zeros"])
    if "dict" in spec:
        return {k: _value(v, own, what) for k, v in spec["dict"].items()}
    if "module" in spec:
        return _encoder(spec["module"], own, what)
    raise TrainedModelError(
        f"{what}: the model was trained with {spec['own']}, which is not the library's; pass the whole part in"
    )


def _encoder(spec: Mapping[str, Any], own: nn.Module | None, what: str) -> nn.Module:
    """The library's, or the one passed in, with the library's parts around it that the model was trained with."""
    if own is None:
        return _build(spec, None, what)
    if "class" in spec and "encoder" in spec["options"] and type(own).__name__ != spec["class"]:  # around an own encoder
        return _build(spec, own, what)
    return own


def _class_name(name: Any) -> Any:
    return name if isinstance(name, str | int | float | bool) else str(name)
