"""Intermediate fusion, MMTM and CentralNet: by hand, by property, and with every method."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mmlib.data.core import MultimodalData, Splits
from mmlib.encoders import ConvEncoder, MLPEncoder, SequenceEncoder, TemporalEncoder, stages
from mmlib.intermediate import MMTM, CentralNet, LayeredEncoder, hidden_sizes, squeezed
from mmlib.keep import load_trained, predict, save
from mmlib.methods import AGM, METHODS, MLA, MLB, OGMGE, GradientBlending, Joint, Method, MMPareto, MultiLoss, Unimodal
from mmlib.methods.modulation import trained_tensors
from mmlib.model import MultimodalClassifier, build
from mmlib.normalise import NormalisedEncoder
from mmlib.train import evaluate, fit

OPTIONS: dict[str, Any] = {"epochs": 2, "batch_size": 16, "lr": 1e-2, "device": "cpu", "progress": False}
SHAPES = {"picture": (2, 8, 8), "signal": (20, 3), "table": (6,)}
kinds = pytest.mark.parametrize("kind", ["mmtm", "centralnet"])


def mixed(missing: float = 0.0, samples: int = 80, modalities: tuple[str, ...] = tuple(SHAPES)) -> Splits:
    """Three kinds of input, with hidden layers of unlike shape and number."""
    rng = torch.Generator().manual_seed(0)
    parts = []
    for _ in range(3):
        labels = torch.arange(samples) % 3
        inputs = {m: torch.randn(samples, *SHAPES[m], generator=rng) + labels.view(-1, *[1] * len(SHAPES[m])) for m in modalities}
        present = None
        if missing:
            present = {m: torch.rand(samples, generator=rng) >= missing for m in modalities}
            present[modalities[0]] |= ~torch.stack(list(present.values())).any(0)
        parts.append(MultimodalData(inputs, labels, 3, present))
    return Splits(*parts)  # type: ignore[arg-type]


def made(kind: Any, splits: Splits | None = None, **options: Any) -> MultimodalClassifier:
    return build(splits or mixed(), intermediate=kind, dim=8, **options)


@pytest.mark.parametrize(
    ("encoder", "example", "hidden"),
    [
        (MLPEncoder(6, 8, (5, 4)), torch.randn(3, 6), [(3, 5), (3, 4)]),
        (MLPEncoder(6, 8, ()), torch.randn(3, 6), []),
        (ConvEncoder(2, 8, (3, 4)), torch.randn(3, 2, 8, 8), [(3, 3, 8, 8), (3, 4, 4, 4)]),
        (SequenceEncoder(vocabulary=9, dim=8), torch.randint(0, 9, (3, 7)), [(3, 7, 8)]),
        (TemporalEncoder(3, 8, (4, 5, 6)), torch.randn(3, 20, 3), [(3, 10, 4), (3, 5, 5), (3, 3, 6)]),
        (NormalisedEncoder(MLPEncoder(6, 8, (5,)), 8, "layer"), torch.randn(3, 6), [(3, 5)]),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, nn.Module) else "",
)
def test_stages_are_the_forward_pass_bit_for_bit(encoder: nn.Module, example: Tensor, hidden: list[tuple[int, ...]]) -> None:
    x, shapes = example, []
    for stage in encoder.stages():  # type: ignore[operator]
        x = stage(x)
        shapes.append(tuple(x.shape))
    assert torch.equal(x, encoder(example))
    assert shapes == [*hidden, (3, 8)]


def test_squeezing() -> None:
    x = torch.randn(2, 3, 4, 5)
    assert torch.equal(squeezed(x), x.mean((2, 3)))
    assert torch.equal(squeezed(x.movedim(1, 3).flatten(1, 2)), x.movedim(1, 3).flatten(1, 2).mean(1))
    assert torch.equal(squeezed(x[:, :, 0, 0]), x[:, :, 0, 0])


def test_the_last_hidden_layers_of_all_meet() -> None:
    splits = mixed()
    encoders = dict(build(splits, dim=8).encoders.items())
    assert hidden_sizes(encoders, splits.train.example) == {"picture": [32], "signal": [64], "table": [64]}
    del encoders["table"]
    assert hidden_sizes(encoders, splits.train.example) == {"picture": [16, 32], "signal": [32, 64]}


def test_mmtm_by_hand() -> None:
    mmtm = MMTM({"a": [4], "b": [2], "c": [3]}, reduction=3)
    hidden = {"a": torch.randn(5, 4, 3, 3), "b": torch.randn(5, 7, 2), "c": torch.randn(5, 3)}
    everybody = {m: torch.ones(5, 1) for m in hidden}
    found = mmtm.exchange(0, hidden, everybody)
    means = torch.cat([hidden["a"].mean((2, 3)), hidden["b"].mean(1), hidden["c"]], dim=1)
    z = (means @ mmtm.squeeze[0].weight.T + mmtm.squeeze[0].bias).relu()
    assert z.shape == (5, 3)
    gates = {m: 2 * torch.sigmoid(mmtm.excite[0][m](z)) for m in hidden}  # type: ignore[index]
    torch.testing.assert_close(found["a"], hidden["a"] * gates["a"][:, :, None, None])
    torch.testing.assert_close(found["b"], hidden["b"] * gates["b"][:, None])
    torch.testing.assert_close(found["c"], hidden["c"] * gates["c"])


def test_mmtm_runs_what_comes_before_between_and_after() -> None:
    splits = mixed(modalities=("picture", "signal"))
    model = made("mmtm", splits)
    inputs = {m: x[:5] for m, x in splits.train.inputs.items()}
    picture, signal = (stages(model.encoders[m]) for m in ("picture", "signal"))
    everybody = {m: torch.ones(5, 1) for m in inputs}
    mmtm: Any = model.exchange
    first = mmtm.exchange(
        0, {"picture": picture[0](inputs["picture"]), "signal": signal[1](signal[0](inputs["signal"]))}, everybody
    )
    second = mmtm.exchange(1, {"picture": picture[1](first["picture"]), "signal": signal[2](first["signal"])}, everybody)
    features = model(inputs).features
    torch.testing.assert_close(features["picture"], picture[2](second["picture"]))
    torch.testing.assert_close(features["signal"], signal[3](second["signal"]))
    gates = [p for name, p in mmtm.named_parameters() if name.startswith("excite")]
    with torch.no_grad():
        for p in gates:
            p.zero_()  # every gate is 2 sigmoid(0) = 1: as if there were no exchange
    features = model(inputs).features
    for m in inputs:
        torch.testing.assert_close(features[m], model.encoders[m](inputs[m]))


def test_centralnet_by_hand() -> None:
    net = CentralNet({"a": 7, "b": 9}, 3, sizes={"a": [3, 4], "b": [4, 5]}, width=6)
    assert net.alpha.tolist() == [[pytest.approx(1 / 3)] * 3] * 2
    with torch.no_grad():
        net.alpha.copy_(torch.tensor([[0.5, 2.0, 9.0], [1.5, -1.0, 0.25]]))
    a, b = torch.randn(5, 7), torch.randn(5, 9)
    maps: Any = net.maps
    first = 0.5 * a[:, :3] @ maps["a"][0].weight.T + 2 * b[:, :4] @ maps["b"][0].weight.T
    centre = net.layers[0](first).relu()
    last = 1.5 * a[:, 3:] @ maps["a"][1].weight.T - b[:, 4:] @ maps["b"][1].weight.T + 0.25 * centre
    torch.testing.assert_close(net({"a": a, "b": b})[0], net.head(last))
    with pytest.raises(ValueError, match="sizes: expected layers of"):
        CentralNet({"a": 7, "b": 9}, 3, sizes={"a": [3, 4], "b": [4, 4]})


def test_centralnet_s_loss_is_multi_loss() -> None:
    """The paper's: the centre's loss, and one for every modality's network, of its features alone."""
    splits = mixed()
    model, method = made("centralnet", splits), MultiLoss()
    method.setup(model, splits.train, 0)
    batch = next(iter(splits.train.batches(16)))
    plain = build(splits, dim=8)
    loss, _ = method.step(model, batch, torch.optim.SGD(model.parameters(), lr=0.0))
    expected = nn.functional.cross_entropy(model(batch.inputs).logits, batch.labels)
    for m in splits.modalities:
        features = plain.encoders[m](batch.inputs[m])  # [16, 8], as the same seed makes them
        expected = expected + nn.functional.cross_entropy(method.heads[m].linear(features), batch.labels)
    torch.testing.assert_close(loss, expected)


@kinds
def test_what_is_absent_has_no_say(kind: str) -> None:
    splits = mixed(missing=0.4)
    model, data = made(kind, splits), splits.test
    assert data.present is not None
    before = model(data.inputs, data.present)
    changed = {
        m: torch.where(data.present[m].view(-1, *[1] * (x.ndim - 1)), x, torch.full_like(x, 99.0)) for m, x in data.inputs.items()
    }
    torch.testing.assert_close(model(changed, data.present).logits, before.logits)
    nobody = {**data.present, "signal": torch.zeros(len(data), dtype=torch.bool)}
    without = {m: x for m, x in data.inputs.items() if m != "signal"}
    torch.testing.assert_close(model(without, data.present).logits, model(data.inputs, nobody).logits)


def test_in_mmtm_the_encoders_interact_and_in_centralnet_they_do_not() -> None:
    splits = mixed()
    inputs = splits.test.inputs
    other = {**inputs, "table": -inputs["table"]}
    for kind, interact in (("mmtm", True), ("centralnet", False)):
        model = made(kind, splits)
        one, two = model(inputs).features["picture"], model(other).features["picture"]
        assert torch.allclose(one, two) != interact
        assert (model.exchange is not None) == interact


@kinds
@pytest.mark.parametrize("name", METHODS)
def test_every_method_runs_or_says_why_not(kind: str, name: str) -> None:
    splits = mixed(samples=40)
    options: dict[str, dict[str, Any]] = {
        "unimodal": {"modality": "table"}, "gradient_blending": {"super_epoch": 1}, "relearning": {"every": 1, "times": 1},
        "umt": {"epochs": 1}, "opm": {"warmup": 0}, "remix": {"warmup": 0},
    }  # fmt: skip
    method, model = METHODS[name](**options.get(name, {})), made(kind, splits)
    apart = {"late_fusion", "unimodal", "mla", "dgl", "qmf", "umt", "relearning", "mmpareto"}
    if kind == "mmtm" and name in apart:
        with pytest.raises(ValueError, match=r"encoders interact \(MMTM\)|needs encoders that do not interact, found MMTM"):
            fit(model, splits, method, **OPTIONS)
        return
    if kind == "centralnet" and name == "mla":  # what the encoders tell is of unlike size here
        with pytest.raises(ValueError, match="a shared head needs features of one size from all modalities"):
            fit(model, splits, method, **OPTIONS)
        method = MLA(hgm="off", head="separate", fusion="mean")
    before = copy.deepcopy(model.state_dict())
    fit(model, splits, method, **OPTIONS)
    assert 0 <= evaluate(model, splits.test)["accuracy"] <= 1
    assert any(not torch.equal(before[k], v) for k, v in model.state_dict().items())


@kinds
@pytest.mark.parametrize("make", [OGMGE, AGM, MLB], ids=lambda m: m.name)
def test_only_what_is_a_modality_s_own_is_rescaled(kind: str, make: type[Method]) -> None:
    splits = mixed()
    model = made(kind, splits)
    own = trained_tensors(model)
    shared = {n for n, _ in model.named_parameters() if not n.startswith("encoders.")}
    assert {n.split(".")[0] for n in shared} == ({"exchange", "fusion"} if kind == "mmtm" else {"fusion"})
    assert sum(map(len, own.values())) == len(list(model.parameters())) - len(shared)
    batch = next(iter(splits.train.batches(32)))
    gradients = []
    control = MultiLoss() if make is MLB else Joint()
    for method in (control, make(alpha=5.0) if make is not OGMGE else OGMGE(alpha=5.0, noise=None)):
        this = copy.deepcopy(model)
        method.setup(this, splits.train, 0)
        optimizer = torch.optim.SGD(this.parameters(), lr=0.0)
        for _ in range(2):  # AGM compares with the step before
            method.step(this, batch, optimizer)
        gradients.append({n: p.grad for n, p in this.named_parameters()})
    plain, scaled = gradients
    assert all(torch.equal(plain[n], scaled[n]) for n in shared)  # type: ignore[arg-type]
    if make is not AGM:  # whose coefficients are 1 where nothing changed between two steps
        assert any(not torch.equal(plain[n], scaled[n]) for n in plain if n not in shared)  # type: ignore[arg-type]


@kinds
def test_neutral_methods_are_joint_training_bit_for_bit(kind: str) -> None:
    splits, weights = mixed(missing=0.2), []
    for method in (Joint(), AGM(alpha=0.0), MultiLoss(weight=0.0), GradientBlending([0, 0, 0, 1])):
        model = made(kind, splits)
        fit(model, splits, method, **OPTIONS)
        weights.append(model.state_dict())
    assert all(torch.equal(v, other[k]) for other in weights[1:] for k, v in weights[0].items())


@kinds
@pytest.mark.parametrize("normalise", [None, "layer", "batch"])
def test_kept_models_come_back(kind: str, normalise: Any, tmp_path: Path) -> None:
    splits = mixed()
    model = made(kind, splits, normalise=normalise)
    fit(model, splits, MultiLoss(), **OPTIONS)
    if normalise:
        inner = [e.encoder if kind == "centralnet" else e for e in model.encoders.values()]
        assert all(isinstance(e, NormalisedEncoder) for e in inner)
    arrays = {m: x.numpy() for m, x in splits.test.inputs.items() if m != "signal"}
    again = load_trained(save(tmp_path / "model.safetensors", model))
    np.testing.assert_allclose(predict(again, arrays), predict(model, arrays), rtol=1e-5)
    assert type(again.exchange) is type(model.exchange)


@kinds
def test_resumed_is_not_interrupted_and_another_architecture_is_refused(kind: str, tmp_path: Path) -> None:
    splits, path = mixed(), tmp_path / "run.pt"
    whole, part = made(kind, splits), made(kind, splits)
    fit(whole, splits, **{**OPTIONS, "epochs": 4}, keep="last")
    fit(part, splits, **OPTIONS, keep="last", checkpoint=path)
    part = made(kind, splits)
    fit(part, splits, **{**OPTIONS, "epochs": 4}, keep="last", checkpoint=path, resume=True)
    assert all(torch.equal(p, q) for p, q in zip(whole.state_dict().values(), part.state_dict().values(), strict=True))
    with pytest.raises(Exception, match="checkpoint"):
        fit(made(None, splits), splits, **{**OPTIONS, "epochs": 4}, keep="last", checkpoint=path, resume=True)


@kinds
def test_one_modality_and_one_seed(kind: str) -> None:
    splits = mixed(modalities=("picture",))
    model = made(kind, splits)
    fit(model, splits, **OPTIONS)
    assert evaluate(model, splits.test)["accuracy"] > 0.3
    assert all(torch.equal(p, q) for p, q in zip(made(kind).parameters(), made(kind).parameters(), strict=True))
    plain = {n: p for n, p in made(None).named_parameters() if n.startswith("encoders.")}
    for name, p in made(kind).named_parameters():
        plainly = name.replace(".encoder.", ".", 1)
        if plainly in plain:
            assert torch.equal(p, plain[plainly]), "encoders start as they would without it"


def test_learning_rates_by_group_reach_the_exchange() -> None:
    splits = mixed()
    model = made("mmtm", splits)
    before = copy.deepcopy(model.exchange.state_dict())  # type: ignore[union-attr]
    fit(model, splits, **{**OPTIONS, "lr": {"encoders": 1e-3, "head": 1e-2}})
    assert any(not torch.equal(before[k], v) for k, v in model.exchange.state_dict().items())  # type: ignore[union-attr]


class Plain(nn.Module):
    dim = 8

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


@kinds
def test_bad_input(kind: Any) -> None:
    splits = mixed()
    with pytest.raises(TypeError, match=r"encoders\['table'\]: Plain: intermediate fusion needs a method stages\(\) .*; found 0"):
        build(splits, intermediate=kind, encoders={"table": Plain})
    with pytest.raises(TypeError, match=r"encoders\['table'\]: MLPEncoder: .*; found 1"):
        build(splits, intermediate=kind, encoders={"table": lambda: MLPEncoder(6, 8, ())})
    with pytest.raises(ValueError, match="intermediate: unknown 'film'; known: mmtm, centralnet"):
        build(splits, intermediate="film")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="intermediate: centralnet is a fusion of its own; leave fusion as it is"):
        build(splits, "sum", intermediate="centralnet")
    with pytest.raises(ValueError, match="channels: expected one number of layers"):
        MMTM({"a": [1, 2], "b": [1]})
    with pytest.raises(ValueError, match="reduction: expected 1 or more, found 0"):
        MMTM({"a": [1]}, reduction=0)
    with pytest.raises(ValueError, match="needs encoders that do not interact, found MMTM"):
        fit(made("mmtm", splits), splits, MMPareto(), **OPTIONS)
    with pytest.raises(ValueError, match=r"its encoders interact \(MMTM\)"):
        fit(made("mmtm", splits), splits, Unimodal("table"), **OPTIONS)
    assert isinstance(made("centralnet", splits).encoders["table"], LayeredEncoder)
