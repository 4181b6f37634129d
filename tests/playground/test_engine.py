"""The playground's networks against mmlib: same start, same batches, same numbers. Node runs the page's own script."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import mmlib
from mmlib.data.core import Batch, MultimodalData, Splits
from mmlib.encoders import MLPEncoder
from mmlib.methods import Method
from mmlib.methods.ogm_ge import modulation_coefficients, unimodal_scores
from mmlib.optimizers import make_optimizer
from mmlib.train import evaluate

HERE = Path(__file__).parent
ENGINE = HERE.parents[1] / "book/assets/playground/playground_engine.js"
NODE = shutil.which("node")
STEPS = 100
CLOSE = 1e-4  # absolute, of losses, gradients and coefficients after a hundred steps

pytestmark = pytest.mark.skipif(NODE is None, reason="node is not here; it comes with npm")


def node(script: str | Path, **given: Any) -> Any:
    """What a script prints, as JSON."""
    assert NODE is not None
    command = [NODE, str(script)] if isinstance(script, Path) else [NODE, "-e", script]
    given = {"engine": str(ENGINE), **given}
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ask(body: str, **given: Any) -> Any:
    """``body`` is JavaScript that returns a value; ``P`` is the engine, ``given`` what was passed."""
    head = "const given = JSON.parse(require('fs').readFileSync(0, 'utf8')); const P = require(given.engine);"
    return node(f"{head} process.stdout.write(JSON.stringify((() => {{ {body} }})()))", **given)


def splits_of(played: dict[str, Any]) -> Splits:
    parts = []
    for part in ("train", "test"):
        y = torch.tensor(played["y"][part])
        inputs = {m: torch.tensor(x[part], dtype=torch.float64).view(len(y), x["dims"]) for m, x in played["x"].items()}
        parts.append(MultimodalData(inputs, y, 2))
    return Splits(parts[0], parts[1], parts[1], name="playground", settings={})


def fill(tensors: list[torch.Tensor], values: list[list[float]]) -> None:
    with torch.no_grad():
        for tensor, numbers in zip(tensors, values, strict=True):
            tensor.copy_(torch.tensor(numbers, dtype=torch.float64).view_as(tensor))


#: what the playground calls a method -> the method of the library with its constants
METHODS: dict[str, Any] = {
    "joint": lambda c: mmlib.methods.Joint(),
    "fast": lambda c: mmlib.methods.Joint(),
    "slow": lambda c: mmlib.methods.Joint(),
    "multi_loss": lambda c: mmlib.methods.MultiLoss(c["weight"], predict=c["predict"]),
    "ogm": lambda c: mmlib.methods.OGMGE(c["alpha"], noise=None, gradients=True),
    "blending": lambda c: mmlib.methods.GradientBlending(
        {"fast": c["blendFast"], "slow": c["blendSlow"], "joint": c["blendJoint"]},
        predict={"fused": "joint", "vote": "vote"}[c["predict"]],
    ),
    "mla": lambda c: mmlib.methods.MLA(ridge=c["ridge"]),
}


class Twin:
    """The same network in mmlib, from the same start."""

    def __init__(self, played: dict[str, Any]) -> None:
        self.config, self.splits = played["config"], splits_of(played)
        width = len(next(iter(played["before"].values()))[1])
        self.model = mmlib.build(
            self.splits,
            encoders={m: (lambda d=x["dims"]: MLPEncoder(d, width, (width,))) for m, x in played["x"].items()},
            normalise=None if self.config["normalise"] == "none" else self.config["normalise"],
        )
        self.method: Method = METHODS[self.config["method"]](self.config)
        self.method.setup(self.model, self.splits.train, 0)
        self.model.double(), self.method.double()
        self.write(played["before"])
        parameters = [*self.model.parameters(), *self.method.parameters()]
        self.optimizer = make_optimizer(self.config["optimizer"], parameters, self.config["lr"])
        self.model.train()

    def tensors(self) -> dict[str, list[torch.Tensor]]:
        """name -> the tensors, as tests/playground/steps.js names them."""
        found: dict[str, list[torch.Tensor]] = {m: list(self.model.encoders[m].parameters()) for m in self.model.modalities}
        heads = getattr(self.method, "heads", {})
        found |= {f"head {m}": list(head.parameters()) for m, head in heads.items()}
        return found | {"head": list((self.method.head if self.config["method"] == "mla" else self.model.fusion).parameters())}

    def write(self, values: dict[str, list[list[float]]]) -> None:
        mine = self.tensors()
        assert sorted(mine) == sorted(values)
        for name, tensors in mine.items():
            fill(tensors, values[name])

    def step(self, numbers: list[int]) -> dict[str, Any]:
        at = torch.tensor(numbers)
        data = self.splits.train
        batch = Batch({m: x[at] for m, x in data.inputs.items()}, data.labels[at])
        loss, output = self.method.step(self.model, batch, self.optimizer)
        told: dict[str, Any] = {"loss": float(loss.detach()), "gradient": {}, "output": output, "labels": batch.labels}
        for m in self.model.modalities:
            squares = [p.grad.square().sum() for p in self.model.encoders[m].parameters() if p.grad is not None]
            told["gradient"][m] = math.sqrt(sum(float(s) for s in squares))
        return told


CASES: dict[str, dict[str, Any]] = {
    "joint": {},
    "joint, sgd": {"optimizer": "sgd", "lr": 0.05},
    "joint, one number": {"normalise": "rms"},
    "joint, batch": {"normalise": "batch"},
    "joint, batch, a last batch of one sample": {"normalise": "batch", "samples": 129},
    "joint, few samples": {"samples": 90, "lr": 0.003},
    "joint, slow in a plain way": {"bend": 0.3, "slowGain": 0.5, "fastNoise": 0.6},
    "fast": {"method": "fast"},
    "slow": {"method": "slow", "normalise": "batch", "optimizer": "sgd", "lr": 0.05},
    "multi-loss": {"method": "multi_loss", "weight": 0.7},
    "multi-loss, vote, one number": {"method": "multi_loss", "predict": "vote", "normalise": "rms"},
    "multi-loss of weight 0": {"method": "multi_loss", "weight": 0},
    "OGM": {"method": "ogm", "alpha": 1.5},
    "OGM, sgd, batch": {"method": "ogm", "alpha": 0.3, "normalise": "batch", "optimizer": "sgd", "lr": 0.05},
    "blending": {"method": "blending"},
    "blending, vote, a head without weight": {"method": "blending", "blendFast": 0, "predict": "vote"},
    "blending without a joint loss": {"method": "blending", "blendJoint": 0},
    "MLA": {"method": "mla"},
    "MLA, sgd, a small ridge": {"method": "mla", "ridge": 0.05, "optimizer": "sgd", "lr": 0.05},
    "MLA, batch": {"method": "mla", "normalise": "batch", "ridge": 0.1},
}


@pytest.fixture(scope="module", autouse=True)
def in_double_precision() -> Iterator[None]:
    """As the page computes. In single precision Adam magnifies the rounding of gradients that are zero, such as those of a bias
    in front of a standardisation, and two correct programs part after some dozens of steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", lambda tensor: tensor)  # features and logits stay as exact as they are
        yield


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[dict[str, Any], Twin, list[dict[str, Any]]]:
    """What the playground did in a hundred steps, mmlib's network after the same steps, and what mmlib measured in each."""
    played = node(HERE / "steps.js", config={"seed": 3, **CASES[request.param]}, steps=STEPS)
    twin = Twin(played)
    return played, twin, [twin.step(batch) for batch in played["batches"]]


def test_losses_gradients_and_coefficients_are_those_of_mmlib(case: tuple[dict[str, Any], Twin, list[dict[str, Any]]]) -> None:
    played, twin, told = case
    assert len(told) == STEPS
    pairs = len(twin.model.modalities) == 2
    for here, there in zip(told, played["told"], strict=True):
        assert here["loss"] == pytest.approx(there["loss"], abs=CLOSE)
        kept = [twin.model.modalities[-1]] if twin.config["method"] == "mla" else twin.model.modalities  # turns clear gradients
        for m in kept:
            left = there["gradient"][m] * there["coefficient"][m]  # of what was measured before it was made smaller
            assert here["gradient"][m] == pytest.approx(left, abs=CLOSE, rel=CLOSE)
        if pairs:
            unimodal = {m: u.detach() for m, u in here["output"].unimodal.items()}
            if twin.config["method"] != "mla":  # there the second turn speaks by a head that the first has moved
                scores = unimodal_scores(unimodal, here["labels"])
                assert float(scores["fast"] / scores["slow"]) == pytest.approx(there["ratio"], rel=CLOSE)
            if twin.config["method"] == "ogm":
                k = modulation_coefficients(unimodal, here["labels"], twin.config["alpha"])
                assert {m: float(v) for m, v in k.items()} == pytest.approx(there["coefficient"], abs=CLOSE)
        lengths = {m: float(f.detach().norm(dim=1).mean()) for m, f in here["output"].features.items()}
        assert lengths == pytest.approx(there["length"], abs=CLOSE, rel=CLOSE)


def test_weights_after_a_hundred_steps_are_those_of_mmlib(case: tuple[dict[str, Any], Twin, list[dict[str, Any]]]) -> None:
    played, twin, _ = case
    moved = 0.0
    idle = 3 if twin.config["normalise"] == "batch" else None  # standardising takes the last bias away: Adam magnifies rounding
    for name, tensors in twin.tensors().items():
        for i, (tensor, start, end) in enumerate(zip(tensors, played["before"][name], played["after"][name], strict=True)):
            if i == idle:
                continue
            mine = tensor.detach().flatten().numpy()
            np.testing.assert_allclose(mine, end, atol=CLOSE)
            moved = max(moved, float(np.abs(mine - start).max()))
    assert moved > 100 * CLOSE  # something was learned, or nothing was compared


def test_what_the_page_judges_is_what_mmlib_evaluates(case: tuple[dict[str, Any], Twin, list[dict[str, Any]]]) -> None:
    played, twin, _ = case
    for part, data in (("train", twin.splits.train), ("test", twin.splits.test)):
        row = evaluate(twin.model, data, twin.method)
        for head, found in played["last"][part].items():
            tail = "" if head == "both" else f"_{head}"
            assert row[f"loss{tail}"] == pytest.approx(found["loss"], abs=10 * CLOSE)
            assert row[f"accuracy{tail}"] == pytest.approx(found["accuracy"], abs=2.5 / len(data))  # a sample on the edge


def test_where_two_scripts_would_differ_this_test_would_see_it() -> None:
    """One step at another learning rate is far outside the tolerance, so that the tests above can fail."""
    played = node(HERE / "steps.js", config={"seed": 3}, steps=20)
    played["config"]["lr"] *= 1.2
    twin = Twin(played)
    told = [twin.step(batch) for batch in played["batches"]]
    assert abs(told[-1]["loss"] - played["told"][-1]["loss"]) > 10 * CLOSE


# ---- data -----------------------------------------------------------------------------------------------------------------


def test_the_data_is_drawn_by_the_law_of_two_speed() -> None:
    """Fast: two clouds along u; slow: the sign of a product. Moments as `mmlib.data.two_speed` has them."""
    for seed in (0, 7):
        drawn = ask(
            "const c = P.configure({seed: given.seed}); const l = P.layout(c.seed); const d = P.draw(c, 2, 4000, l);"
            "return {fast: [...d.x.fast], slow: [...d.x.slow], y: [...d.y], l: Object.fromEntries(Object.entries(l)"
            ".map(([k, v]) => [k, [...v]]))}",
            seed=seed,
        )
        y, u = np.array(drawn["y"]), np.array(drawn["l"]["u"])
        v, w, z = (np.array(drawn["l"][k]) for k in "vwz")
        np.testing.assert_allclose(np.array([v, w, z]) @ np.array([v, w, z]).T, np.eye(3), atol=1e-12)
        assert sorted(np.bincount(y)) == [2000, 2000]
        s = 2 * y - 1
        fast = np.array(drawn["fast"]).reshape(4000, 64) / 2
        noise = fast - s[:, None] * u
        assert abs(noise.mean()) < 0.01
        assert noise.std() == pytest.approx(1, abs=0.01)
        assert np.abs(np.cov(noise.T) - np.eye(64)).max() < 0.12
        slow = np.array(drawn["slow"]).reshape(4000, 4) / 0.1
        assert ((slow @ v) * (slow @ w) * s > 0).mean() > 0.98  # an XOR
        for direction in (v, w, z):
            assert abs((slow @ direction * s).mean()) < 0.06  # nothing along a straight line
        assert (slow @ z).std() == pytest.approx(0.35, abs=0.02)


def test_bend_gives_slow_a_straight_hint() -> None:
    drawn = ask(
        "const c = P.configure({bend: 0.25}); const l = P.layout(0); const d = P.draw(c, 2, 4000, l);"
        "return {slow: [...d.x.slow], y: [...d.y], z: [...l.z]}"
    )
    s = 2 * np.array(drawn["y"]) - 1
    along = np.array(drawn["slow"]).reshape(4000, 4) @ np.array(drawn["z"]) / 0.1 * s
    assert along.mean() == pytest.approx(0.75, abs=0.02)


def test_random_numbers_are_random() -> None:
    drawn = np.array(ask("const r = new P.Random(1, 2); return {u: Array.from({length: 20000}, () => r.uniform())}")["u"])
    assert np.histogram(drawn, 20, (0, 1))[0].std() < 60
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.03
    normal = np.array(ask("const r = new P.Random(1, 3); return Array.from({length: 20000}, () => r.normal())"))
    assert abs(normal.mean()) < 0.03
    assert normal.std() == pytest.approx(1, abs=0.02)
    assert (np.abs(normal) > 1.96).mean() == pytest.approx(0.05, abs=0.01)
    orders = ask("return [0, 1].map((s) => [...new P.Random(0, s).permutation(50)])")
    assert sorted(orders[0]) == list(range(50)) == sorted(orders[1])
    assert orders[0] != orders[1]


# ---- a run ----------------------------------------------------------------------------------------------------------------


def test_the_same_setting_gives_the_same_run_and_every_sample_once_an_epoch() -> None:
    found = ask(
        "const play = () => { const r = new P.Run({samples: 200, epochs: 3, seed: 5}); const seen = []; const at = [];"
        "const next = r.nextBatch.bind(r); r.nextBatch = () => { const b = next(); at.push(...b); return b; };"
        "while (!r.done) { r.epoch(); seen.push(at.splice(0)); } return [r.history, seen]; }; return [play(), play()]"
    )
    assert found[0] == found[1]
    assert len(found[0][0]) == 4  # before the first epoch, too
    for epoch in found[0][1]:
        assert sorted(epoch) == list(range(200))
    assert found[0][1][0] != found[0][1][1]


def test_a_last_batch_of_one_sample_is_left_out_where_the_batch_is_standardised() -> None:
    counts = ask(
        "return ['batch', 'rms'].map((normalise) => { const r = new P.Run({samples: 129, normalise}); let n = 0;"
        "while (r.epochs === 0) { r.step(); n += 1; } return n; })"
    )
    assert counts == [2, 3]


@pytest.mark.parametrize(
    "given", [{"lr": "NaN"}, {"lr": -5, "method": "nonsense", "samples": 1e9}, {"alpha": ""}, {"x": 1}, {"seed": 1.7}]
)
def test_whatever_stands_in_an_address_becomes_a_setting_that_works(given: dict[str, Any]) -> None:
    config, numbers, choices = ask("return [P.configure(given.given), P.NUMBERS, P.CHOICES]", given=given)
    assert set(config) == set(numbers) | set(choices)
    assert all(numbers[n]["low"] <= config[n] <= numbers[n]["high"] for n in numbers)
    assert all(config[c] in choices[c] for c in choices)


def test_a_run_that_diverges_says_so_and_ends() -> None:
    done, kind, epochs = ask(
        "const r = new P.Run({lr: 1, optimizer: 'sgd', method: 'blending', samples: 300});"
        "r.network.head.weight.w.fill(1e200); while (!r.done) r.epoch();"
        "return [r.done, P.describe(r).kind, r.epochs]"
    )
    assert done
    assert kind == "diverged"
    assert epochs == 1


@pytest.mark.parametrize("method", ["joint", "slow", "multi_loss", "mla"])
def test_the_picture_of_a_decision_shows_what_the_network_says(method: str) -> None:
    """At the four clusters of slow, a network that has learned them says their classes; the corners are where they lie."""
    grid, points = ask(
        "const r = new P.Run({method: given.method, slowGain: 1}); while (!r.done) r.epoch();"
        "return [[...r.plane('slow', 21)], r.points('slow', 40)]",
        method=method,
    )
    picture = np.array(grid).reshape(21, 21)
    near, far = 6, 14  # a cluster stands at 1 / 2.5 of the way out
    assert picture[near, far] > 0.5
    assert picture[far, near] > 0.5
    assert picture[near, near] < 0.5
    assert picture[far, far] < 0.5
    inside = [p for p in points if abs(p["right"]) < 1 and abs(p["up"]) < 1]
    assert len(inside) > 35
    assert np.mean([(p["right"] * p["up"] > 0) == (p["label"] == 1) for p in inside]) > 0.9


# ---- the stories ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ask("return Object.keys(P.STORIES)") if NODE else [])
def test_a_story_ends_as_it_promises(name: str) -> None:
    """On five seeds; the page tells what it promises."""
    ends, kinds = ask(
        "const s = P.STORIES[given.name]; return [s.ends, [0, 1, 2, 3, 4].map((seed) => {"
        "const r = new P.Run({...s.set, seed}); while (!r.done) r.epoch(); return P.describe(r).kind; })]",
        name=name,
    )
    assert set(kinds) <= set(ends.split())


def test_starvation_in_numbers() -> None:
    """What the first story claims: slow alone is learned, beside fast it is not, and the gradient of its encoder withers."""
    starved, alone = ask(
        "return ['starve', 'alone'].map((n) => {"
        "const r = new P.Run(P.STORIES[n].set); while (!r.done) r.epoch(); return r.history; })"
    )
    assert alone[-1]["test"]["slow"]["accuracy"] > 0.9
    assert starved[-1]["test"]["slow"]["accuracy"] < 0.6
    assert starved[-1]["gradient"]["slow"] < starved[1]["gradient"]["slow"] / 20


def test_the_files_are_small() -> None:
    files = sorted(ENGINE.parent.iterdir())
    assert {"playground_engine.js", "playground.js", "playground.css"} <= {f.name for f in files}
    assert sum(f.stat().st_size for f in files) < 60_000


def test_the_loss_is_a_cross_entropy() -> None:
    """By hand, apart from everything above: one logit pair, one label."""
    loss = ask(
        "const r = new P.Run({method: 'slow', samples: 50});"
        "return [r.judge().train.slow.loss, [...r.network.forward(r.train.x, 50, false).fused],"
        "[...r.train.y]]"
    )
    logits = torch.tensor(loss[1]).view(50, 2)
    assert float(F.cross_entropy(logits, torch.tensor(loss[2]))) == pytest.approx(loss[0], abs=1e-6)
