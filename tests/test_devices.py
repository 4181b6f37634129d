"""The library on every device: each test runs on the CPU, and again on CUDA where there is one.

Without a GPU all lines but two run (those of `torch.cuda.set_sync_debug_mode`); what a GPU would have to wait for is counted
as tests/synchronisation.py explains.
"""

from __future__ import annotations

import functools
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from mmlib.arguments import AUTOCAST, Precision
from mmlib.checkpoint import CheckpointError
from mmlib.data import Splits, load
from mmlib.fusion import FUSIONS
from mmlib.half import GradientScale
from mmlib.history import History, Meter
from mmlib.methods import MLA, OGMGE, GradientBlending, Joint, Method, ModalityDropout
from mmlib.methods.base import Recipe
from mmlib.methods.mla import HGM
from mmlib.model import MultimodalClassifier, build
from mmlib.train import evaluate, fit
from tests.conftest import make_tiny
from tests.synchronisation import Synchronisations
from tests.test_contract import CASES as CONTRACT
from tests.test_stream import streamed

# read when CUDA makes its first matrix product; without it deterministic ones are refused
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

CASES: dict[str, Callable[[], Method]] = {
    **CONTRACT,
    "gradient_blending: given": lambda: GradientBlending(weights=[0.5, 0.0, 0.2, 0.3], predict="vote"),
    **{f"mla: {hgm}": functools.partial(MLA, hgm=hgm) for hgm in get_args(HGM) if hgm != "paper"},
    "mla: shuffled, mean": lambda: MLA(order="shuffled", fusion="mean"),
    "mla: reversed, weights, zero": lambda: MLA(order="reversed", fusion={"a": 1.0, "b": 2.0, "c": 3.0}, missing="zero"),
    "mla: ridge falls": lambda: MLA(ridge=lambda epochs: 1 / (1 + epochs)),
    "mla: together": lambda: MLA(hgm="off", turns="together"),
    "mla: separate": lambda: MLA(hgm="off", head="separate"),
    "modality_dropout: never": lambda: ModalityDropout(rate=0.0),
    "ogm_ge: without noise": lambda: OGMGE(noise=None, form="continuous", gradients=True),
    "ogm_ge: covariance": lambda: OGMGE(noise="covariance"),
    "ogm_ge: outside its window": lambda: OGMGE(window=(7, 9)),
}
#: these draw on the device, where every device draws other numbers
NOISY = {"modality_dropout", "ogm_ge", "ogm_ge: covariance"}
QUIET = {name: make for name, make in CASES.items() if name not in NOISY}
OPTIONS: dict[str, Any] = {"epochs": 3, "batch_size": 16, "lr": 1e-2, "progress": False}
CUDA = pytest.param("cuda", marks=pytest.mark.gpu)

every_case = pytest.mark.parametrize("make", CASES.values(), ids=CASES.keys())
with_and_without = pytest.mark.parametrize("missing", [0.0, 0.3], ids=["complete", "missing"])


@pytest.fixture(params=["cpu", CUDA])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


@pytest.fixture
def _deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def data(missing: float = 0.2) -> Splits:
    return make_tiny(("a", "b", "c"), missing=missing)


def numbers(history: History) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history.rows]


def agree(one: History, other: History, same_device: bool) -> None:
    """Bit for bit on one device. On two, training losses within 2 %: sums in another order, amplified by Adam."""
    if same_device:
        assert numbers(one) == numbers(other)
    losses = [[v for row in h.rows for k, v in row.items() if k.startswith("train_loss")] for h in (one, other)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


@pytest.mark.parametrize("make", QUIET.values(), ids=QUIET.keys())
def test_same_losses_as_on_the_cpu(make: Callable[[], Method], device: torch.device) -> None:
    here, there = (fit(build(data()), data(), make(), device=d, **OPTIONS) for d in ("cpu", device))
    agree(here, there, same_device=device.type == "cpu")


@every_case
@pytest.mark.usefixtures("_deterministic")
def test_same_seed_same_numbers(make: Callable[[], Method], device: torch.device) -> None:
    """With flat vectors: pictures are pooled, and CUDA has no deterministic gradient of `torch.nn.AdaptiveMaxPool2d`."""

    def train(seed: int) -> list[dict[str, float]]:
        return numbers(fit(build(data(), dropout=0.3), data(), make(), seed=seed, device=device, **OPTIONS))

    torch.manual_seed(1)
    first = train(0)
    torch.manual_seed(2)  # whatever the state of the global generators, of the CPU and of CUDA
    assert train(0) == first
    assert train(1) != first


@pytest.fixture
def _traced_only(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU compiled code is traced, but not translated to C++."""
    if device.type == "cpu":
        monkeypatch.setattr(torch.nn.Module, "compile", functools.partialmethod(torch.nn.Module.compile, backend="aot_eager"))


@pytest.mark.parametrize(
    ("precision", "compiled"), [("bf16", False), ("fp16", False), ("fp32", True), ("bf16", True), ("fp16", True)]
)
@pytest.mark.usefixtures("_traced_only")
def test_precision_and_compile(precision: Precision, compiled: bool, device: torch.device) -> None:
    """All encoders: convolutions, a sequence, letters."""
    splits = load("digits", samples=96).map(lambda part: part.select(range(96)))
    plain, fast = build(splits), build(splits)
    options = {**OPTIONS, "epochs": 2, "batch_size": 48, "lr": 1e-3, "device": device}
    expected = fit(plain, splits, **options).rows[-1]["train_loss"]
    found = fit(fast, splits, precision=precision, compile=compiled, **options).rows[-1]["train_loss"]
    assert found == pytest.approx(expected, rel=0.02 if precision == "fp32" else 0.1)
    assert fast.compiled is compiled
    assert not (precision != "fp32" and found == expected)  # half precision rounds, and rounding shows


#: two backward passes through one graph, which a compiled network does not allow
NOT_COMPILED = {"mmpareto", "ogm_ge: covariance"}


@pytest.mark.parametrize("name", [name for name in CASES if name not in NOT_COMPILED])
@pytest.mark.usefixtures("_traced_only")
def test_every_method_compiled(name: str, device: torch.device) -> None:
    torch.compiler.reset()
    options = {**OPTIONS, "epochs": 2, "device": device}
    plain = fit(build(data(0)), data(0), CASES[name](), **options)
    model = build(data(0))
    compiled = fit(model, data(0), CASES[name](), compile=True, **options)
    assert model.compiled
    assert compiled.rows[0]["train_loss"] == pytest.approx(plain.rows[0]["train_loss"], rel=1e-3)


@every_case
@with_and_without
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_every_method_in_half_precision(
    make: Callable[[], Method], missing: float, precision: Precision, device: torch.device
) -> None:
    """Losses of the first epoch near those in float32; remix chooses samples by their losses, others where they are close."""
    splits, options = data(missing), {**OPTIONS, "device": device}
    plain = fit(build(splits), splits, make(), **options)
    half = fit(build(splits), splits, method := make(), precision=precision, **options)
    assert half.rows[0]["train_loss"] == pytest.approx(plain.rows[0]["train_loss"], rel=0.15 if method.name == "remix" else 0.05)
    assert all(math.isfinite(row["val_loss"]) for row in half.rows)


PLACES = [("cpu", "cpu"), *(pytest.param(a, b, marks=pytest.mark.gpu) for a, b in (("cpu", "cuda"), ("cuda", "cpu")))]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("first", "second"), PLACES)
def test_written_on_one_device_resumed_on_the_other(name: str, first: str, second: str, tmp_path: Path) -> None:
    def train(device: str, **options: Any) -> History:
        return fit(build(data()), data(), CASES[name](), device=device, **{**OPTIONS, **options})

    whole, path = train(first), tmp_path / "run.pt"
    part = train(first, epochs=2, checkpoint=path)
    resumed = train(second, checkpoint=path, resume=True)
    assert resumed.rows[:2] == part.rows
    assert all(math.isfinite(v) for v in resumed.rows[2].values())
    if first == second or name not in NOISY:
        agree(resumed, whole, same_device=first == second)


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "SGD"])
@pytest.mark.parametrize(("first", "second"), [(True, None), (None, True)], ids=["from CUDA", "to CUDA"])
def test_resumed_with_the_optimizer_of_the_other_device(
    optimizer: str, first: bool | None, second: bool | None, tmp_path: Path
) -> None:
    """What `fit` makes is fused on CUDA and not on the CPU; the two differ in how they compute, and in nothing else."""
    made: list[torch.optim.Optimizer] = []

    def train(form: bool | None, **options: Any) -> History:
        def make(parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
            made.append(fused(optimizer, form)(parameters))
            return made[-1]

        return fit(build(data()), data(), MLA(), optimizer=make, device="cpu", **{**OPTIONS, **options})

    whole, path = train(first), tmp_path / "run.pt"
    train(first, epochs=2, checkpoint=path)
    agree(train(second, checkpoint=path, resume=True), whole, same_device=False)
    assert [group["fused"] for group in made[-1].param_groups] == [second]  # as it was made, not as it was saved
    with pytest.raises(CheckpointError, match="optimizer"):  # but no other optimiser
        fit(build(data()), data(), MLA(), optimizer="adagrad", checkpoint=path, resume=True, device="cpu", **OPTIONS)


@every_case
def test_evaluates_and_predicts_on_the_device(make: Callable[[], Method], device: torch.device) -> None:
    splits = data()
    model, method = build(splits), make()
    fit(model, splits, method, device="cpu", **OPTIONS)
    expected = evaluate(model, splits.test, method)
    model.to(device), method.to(device)
    assert evaluate(model, splits.test, method) == pytest.approx(expected, rel=1e-3)  # the data are still on the host
    batch = next(splits.test.to(device).batches(16))
    for inputs, present in ((batch.inputs, batch.present), (batch.inputs, None), ({"a": batch.inputs["a"]}, None)):
        output = method.predict(model, inputs, present)
        assert {x.device.type for x in [output.logits, *output.unimodal.values(), *output.features.values()]} == {device.type}
        assert bool(torch.isfinite(output.logits).all())


@with_and_without
def test_where_the_data_are_makes_no_difference(missing: float, device: torch.device) -> None:
    splits = data(missing)
    options = {**OPTIONS, "device": device}
    moved = fit(build(splits), splits, **options)
    agree(fit(build(splits), splits.to(device), **options), moved, same_device=device.type == "cpu")
    agree(fit(build(splits), streamed(splits), **options), moved, same_device=device.type == "cpu")
    assert splits.train.device.type == "cpu"


@contextmanager
def counted(device: torch.device) -> Iterator[list[str]]:
    """What makes the host wait; on CUDA also an error as soon as it does."""
    with Synchronisations(device) as waits:
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("error")
        try:
            yield waits.found
        finally:
            if device.type == "cuda":
                torch.cuda.set_sync_debug_mode("default")


def fused(optimizer: str, form: bool | None = True) -> Callable[[Iterable[Tensor]], torch.optim.Optimizer]:
    """As `fit` makes it on CUDA. Without ``fused`` torch's optimisers keep and read numbers on the host."""
    momentum = {"momentum": 0.9} if optimizer == "SGD" else {}
    return functools.partial(getattr(torch.optim, optimizer), lr=1e-2, fused=form, **momentum)


Prepared = tuple[MultimodalClassifier, Method, Splits]


def prepare(
    make: Callable[[], Method], splits: Splits, device: torch.device, fusion: str = "concat", precision: Precision = "fp32"
) -> Prepared:
    """What `fit` does before the first step."""
    splits = splits.to(device)
    model, method = build(splits, fusion, dropout=0.1).to(device), make()
    model.autocast = AUTOCAST[precision]
    model.scale_gradients(GradientScale().to(device) if precision == "fp16" else None)
    method.recipe = Recipe(3, 16, lambda nets: fused("Adam")([p for net in nets for part in net for p in part.parameters()]))
    method.setup(model, splits.train, 0)
    method.to(device)
    method.start_epoch(0, model, splits.train)
    return model, method, splits


def waits_in_steps(
    prepared: Prepared, device: torch.device, make_optimizer: Callable[[Iterable[Tensor]], torch.optim.Optimizer], chunk: int = 2
) -> list[str]:
    """Where the host waits in all steps but the first, and in what is noted down between them."""
    model, method, splits = prepared
    optimizer, meter = make_optimizer([*model.parameters(), *method.parameters()]), Meter(chunk)
    batches = list(splits.train.batches(16))
    method.step(model, batches[0], optimizer)  # the first step allocates
    with counted(device) as found:
        for batch in batches[1:]:
            _, output = method.step(model, batch, optimizer)
            meter.add(output, batch)
            if model.gradient_scale is not None:
                model.gradient_scale.update()
    assert meter.reduced  # which it did on the way
    return found


@every_case
@with_and_without
@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "SGD"])
def test_no_host_synchronisation_inside_a_step(
    make: Callable[[], Method], missing: float, optimizer: str, device: torch.device
) -> None:
    assert waits_in_steps(prepare(make, data(missing), device), device, fused(optimizer)) == []


@every_case
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_no_host_synchronisation_in_half_precision(
    make: Callable[[], Method], precision: Precision, device: torch.device
) -> None:
    assert waits_in_steps(prepare(make, data(), device, precision=precision), device, fused("Adam")) == []


@pytest.mark.parametrize(
    "name", ["joint", "modality_dropout", "gradient_blending", "ogm_ge", "ogm_ge: covariance", "agm", "opm", "mlb"]
)
@pytest.mark.parametrize("fusion", FUSIONS)
@with_and_without
def test_no_host_synchronisation_in_any_fusion(name: str, fusion: str, missing: float, device: torch.device) -> None:
    assert waits_in_steps(prepare(CASES[name], data(missing), device, fusion), device, fused("Adam")) == []


@pytest.mark.parametrize("make", [Joint, MLA, lambda: OGMGE(scale="conv")], ids=["joint", "mla", "ogm_ge"])
@with_and_without
def test_no_host_synchronisation_in_any_encoder(make: Callable[[], Method], missing: float, device: torch.device) -> None:
    modalities = ("image", "audio") if make not in (Joint, MLA) else None  # no convolution over pictures in text
    splits = load("digits", modalities, samples=96)
    if missing:
        splits = splits.drop("audio", missing)
    assert waits_in_steps(prepare(make, splits, device), device, fused("Adam")) == []


def test_a_wait_in_a_step_is_found(device: torch.device) -> None:
    """An optimiser that is not fused cannot be told on the device that a batch lacks a modality: MLA asks, once a turn."""
    model, method, splits = prepare(MLA, data(), device)
    optimizer = torch.optim.SGD([*model.parameters(), *method.parameters()], lr=0.1)
    batches = list(splits.train.batches(16))
    with Synchronisations(device) as waits:
        for batch in batches:
            method.step(model, batch, optimizer)
    assert len(waits) == 3 * len(batches)
    assert {found.partition(":")[0] for found in waits.found} == {"_local_scalar_dense at mmlib/methods/mla.py"}


@pytest.mark.parametrize("order", [lambda: None, torch.Generator], ids=["in order", "shuffled"])
@with_and_without
def test_an_epoch_of_batches_waits_once(
    missing: float, order: Callable[[], torch.Generator | None], device: torch.device
) -> None:
    """For the order, which is drawn on the host and copied to the device as a whole."""
    train = data(missing).to(device).train
    with Synchronisations(device) as waits:
        batches = list(train.batches(8, order()))
    assert len(batches) == math.ceil(len(train) / 8)
    assert [found.partition(":")[0] for found in waits.found] == ["to at mmlib/data/core.py"]


def test_a_meter_waits_once_for_its_result(device: torch.device) -> None:
    model, method, splits = prepare(Joint, data(), device)
    model.eval()
    meter = Meter(chunk=2)
    with Synchronisations(device) as waits:
        for batch in splits.val.batches(8):
            meter.add(method.predict(model, batch.inputs, batch.present), batch)
        assert len(waits) == 1  # for the order of the batches
        row = meter.result()
    assert [found.partition(":")[0] for found in waits.found[1:]] == ["cpu at mmlib/history.py"]
    scores = evaluate(model, splits.val, method)
    assert row == pytest.approx({k: scores[k] for k in row}, rel=1e-5)


@every_case
def test_training_waits_as_often_for_many_batches_as_for_few(make: Callable[[], Method], device: torch.device) -> None:
    def waits(batch_size: int) -> Counter[str]:
        splits, method = data(), make()
        model = build(splits)
        with Synchronisations(device) as found:
            fit(model, splits, method, epochs=2, batch_size=batch_size, optimizer=fused("Adam"), device=device, progress=False)
        return Counter(found.found)

    few = waits(42)
    assert waits(14) == few
    assert any(place.startswith("cpu at mmlib/history.py") for place in few)  # once an epoch, for the numbers
