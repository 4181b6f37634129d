"""The loop: equivalence with a bare one, history, early stopping, resuming, and wrong input."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmlib import checkpoint as checkpoints
from mmlib.arguments import pick_device
from mmlib.checkpoint import CheckpointError
from mmlib.data.core import MultimodalData, Splits
from mmlib.history import Meter, NonFiniteLossError
from mmlib.methods import Joint, LateFusion, Unimodal
from mmlib.methods.base import Method, Recipe, masked_cross_entropy
from mmlib.model import Output, build
from mmlib.randomness import derive
from mmlib.train import evaluate, fit, make_optimizer
from tests.conftest import Bar, make_tiny

OPTIONS: dict[str, Any] = {"epochs": 3, "batch_size": 16, "lr": 1e-2, "device": "cpu", "progress": False}


def rows(history: Any) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history.rows]


def test_joint_is_the_bare_loop_bit_for_bit() -> None:
    splits = make_tiny(("a", "b"))
    ours, bare = build(splits, seed=5), build(splits, seed=5)
    fit(ours, splits, Joint(), keep="last", seed=5, **OPTIONS)

    optimizer = torch.optim.Adam(bare.parameters(), lr=1e-2, fused=True)
    x, y = splits.train.inputs, splits.train.labels
    for epoch in range(3):
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(derive(5, "batches", epoch)))
        for at in order.split(16):
            features = [bare.encoders[m](x[m][at]) for m in ("a", "b")]
            loss = F.cross_entropy(bare.fusion.head(torch.cat(features, 1)), y[at])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(ours.parameters(), bare.parameters(), strict=True))


def test_late_fusion_is_every_modality_alone_bit_for_bit() -> None:
    splits = make_tiny(("a", "b"), missing=0.2)
    together, ensemble = build(splits), LateFusion()
    fit(together, splits, ensemble, keep="last", **OPTIONS)
    for m in ("a", "b"):
        single, alone = build(splits), Unimodal(m)
        fit(single, splits, alone, keep="last", **OPTIONS)
        assert all(
            torch.equal(p, q) for p, q in zip(single.encoders[m].parameters(), together.encoders[m].parameters(), strict=True)
        )
        assert torch.equal(alone.head.weight, ensemble.heads[m].weight)


def test_late_fusion_averages_the_probabilities_of_those_present() -> None:
    splits = make_tiny(("a", "b"))
    model, method = build(splits), LateFusion()
    method.setup(model, splits.train, 0)
    n = len(splits.test)
    present = {"a": torch.arange(n) % 2 == 0, "b": torch.ones(n, dtype=torch.bool)}
    output = method.predict(model, splits.test.inputs, present)
    a, b = (output.unimodal[m].softmax(1) for m in ("a", "b"))
    expected = torch.where(present["a"][:, None], (a + b) / 2, b)
    torch.testing.assert_close(output.logits.exp(), expected)
    torch.testing.assert_close(method.predict(model, {"b": splits.test.inputs["b"]}).logits.exp(), b)


def test_the_unimodal_ensemble_averages_the_logits_of_those_present() -> None:
    """UME, Du et al. (ICML 2023); trained as late fusion is, bit for bit."""
    splits = make_tiny(("a", "b"))
    made = {average: (build(splits), LateFusion(average=average)) for average in ("probabilities", "logits")}  # type: ignore[arg-type]
    for model, method in made.values():
        fit(model, splits, method, keep="last", **OPTIONS)
    (first, _), (model, method) = made.values()
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), model.parameters(), strict=True))
    n = len(splits.test)
    present = {"a": torch.arange(n) % 2 == 0, "b": torch.ones(n, dtype=torch.bool)}
    output = method.predict(model, splits.test.inputs, present)
    a, b = output.unimodal["a"], output.unimodal["b"]
    torch.testing.assert_close(output.logits, torch.where(present["a"][:, None], (a + b) / 2, b))
    torch.testing.assert_close(method.predict(model, {"b": splits.test.inputs["b"]}).logits, b)
    with pytest.raises(ValueError, match="average: unknown 'median'; known: probabilities, logits"):
        LateFusion(average="median")  # type: ignore[arg-type]


def test_unimodal_leaves_the_others_alone() -> None:
    splits = make_tiny(("a", "b"))
    model = build(splits)
    before = [p.clone() for p in model.encoders["b"].parameters()]
    fit(model, splits, Unimodal("a"), **OPTIONS, weight_decay=0.1)
    assert all(torch.equal(p, q) for p, q in zip(before, model.encoders["b"].parameters(), strict=True))


def test_history_by_value() -> None:
    splits = make_tiny(("a", "b"))
    model = build(splits)
    history = fit(model, splits, keep="last", train_metrics="evaluated", **OPTIONS)
    output = model(splits.val.inputs)
    last = history.rows[-1]
    assert last["val_loss"] == pytest.approx(F.cross_entropy(output.logits, splits.val.labels).item(), abs=1e-5)
    assert last["val_accuracy"] == pytest.approx((output.logits.argmax(1) == splits.val.labels).float().mean().item())
    assert last["val_loss_b"] == pytest.approx(F.cross_entropy(output.unimodal["b"], splits.val.labels).item(), abs=1e-5)
    train = model(splits.train.inputs)
    assert last["train_loss"] == pytest.approx(F.cross_entropy(train.logits, splits.train.labels).item(), abs=1e-5)
    assert list(history.frame["epoch"]) == [0, 1, 2]
    tidy = history.tidy
    assert set(tidy["head"]) == {"fused", "a", "b"}
    assert len(tidy) == 3 * 2 * 3
    picked = tidy.query("epoch == 2 and split == 'val' and head == 'b'")["loss"].item()
    assert picked == last["val_loss_b"]
    assert "3 epochs" in repr(history)


def test_metrics_leave_out_samples_without_the_modality() -> None:
    splits = make_tiny(("a", "b"), missing=0.4)
    model = build(splits)
    scores = evaluate(model, splits.test)
    here = splits.test.present["a"]  # type: ignore[index]
    said = model(splits.test.inputs, splits.test.present).unimodal["a"][here]
    assert scores["accuracy_a"] == pytest.approx((said.argmax(1) == splits.test.labels[here]).float().mean().item())


def test_meter_in_pieces_is_meter_in_one() -> None:
    splits = make_tiny(("a", "b"), missing=0.2)
    model = build(splits)
    results = []
    for chunk in (1, 3, 1000):
        meter = Meter(chunk)
        for batch in splits.train.batches(7):
            meter.add(model(batch.inputs, batch.present), batch)
        results.append(meter.result())
    assert results[0] == pytest.approx(results[1])
    assert results[0] == pytest.approx(results[2])


def test_best_epoch_is_kept() -> None:
    splits = make_tiny(("a", "b"))
    for monitor, pick in (("val_accuracy", max), ("val_loss", min)):
        model = build(splits)
        history = fit(model, splits, monitor=monitor, **{**OPTIONS, "epochs": 12, "lr": 0.05})
        scores = [row[monitor] for row in history.rows]
        assert history.best_epoch == scores.index(pick(scores))
        assert evaluate(model, splits.val)[monitor.removeprefix("val_")] == pytest.approx(pick(scores), abs=1e-6)


def test_early_stopping() -> None:
    splits = make_tiny(("a", "b"))
    history = fit(build(splits), splits, monitor="val_loss", patience=2, **{**OPTIONS, "epochs": 60, "lr": 0.1})
    assert history.stopped_early
    assert len(history) == history.best_epoch + 3
    assert "stopped early" in repr(history)


class Scripted(Joint):
    """Whatever was learned, right on as many samples of the validation data as the script has for the epoch."""

    def __init__(self, labels: torch.Tensor, script: list[int]) -> None:
        super().__init__()
        self.labels, self.script = labels, list(script)

    def predict(self, *args: Any) -> Output:
        output = super().predict(*args)
        right = torch.arange(len(self.labels)) < self.script.pop(0)
        said = torch.where(right, self.labels, (self.labels + 1) % 3)
        return Output(output.features, output.unimodal, F.one_hot(said, 3).float())


@pytest.mark.parametrize("monitor", ["val_accuracy", "val_loss"])
@pytest.mark.parametrize("epochs", [1, 2, 5, 9])
def test_the_best_epoch_is_the_first_of_the_best(monitor: Any, epochs: int) -> None:
    splits, script = make_tiny(("a",)), [12, 14, 12, 20, 20, 13, 18, 22, 21][:epochs]
    method = Scripted(splits.val.labels, script)
    history = fit(build(splits), splits, method, monitor=monitor, **{**OPTIONS, "epochs": epochs})
    assert [round(row["val_accuracy"] * len(splits.val)) for row in history.rows] == script
    assert history.best_epoch == script.index(max(script))
    assert not history.stopped_early


@pytest.mark.parametrize(("patience", "length"), [(1, 3), (2, 4), (3, 5), (None, 5)])
def test_patience_counts_the_epochs_since_the_best(patience: int | None, length: int) -> None:
    splits = make_tiny(("a",))
    method = Scripted(splits.val.labels, [12, 14, 13, 13, 20])
    history = fit(build(splits), splits, method, patience=patience, **{**OPTIONS, "epochs": 5})
    assert len(history) == length
    assert history.stopped_early == (length < 5)


def test_the_best_epoch_of_a_methods_own_parameters_is_kept_too() -> None:
    splits = make_tiny(("a", "b"))
    model, method = build(splits), LateFusion()
    history = fit(model, splits, method, **{**OPTIONS, "epochs": 10, "lr": 0.1})
    assert history.best_epoch < 9
    best = history.rows[history.best_epoch]["val_loss"]
    assert evaluate(model, splits.val, method)["loss"] == pytest.approx(best, abs=1e-6)


def test_evaluation_draws_nothing_builds_no_graph_and_leaves_the_modes_as_they_were() -> None:
    splits = make_tiny(("a", "b"))
    model, method, graphs = build(splits, dropout=0.5), LateFusion(), []
    method.setup(model, splits.train, 0)
    model.encoders["a"].register_forward_hook(lambda *_: graphs.append(torch.is_grad_enabled()))
    for mode in (True, False):
        model.train(mode), method.train(mode)
        assert evaluate(model, splits.val, method) == evaluate(model, splits.val, method)
        assert model.training == method.training == mode
    assert graphs == [False] * 4


def test_training_is_training_in_whichever_mode_the_model_came() -> None:
    splits = make_tiny(("a", "b"))
    one, two = (build(splits, dropout=0.5) for _ in range(2))
    assert rows(fit(one, splits, **OPTIONS)) == rows(fit(two.eval(), splits, **OPTIONS))


def test_options_at_their_bounds() -> None:
    splits = make_tiny(("a",))
    history = fit(build(splits), splits, epochs=1, batch_size=1, patience=1, device="cpu", progress=False)
    assert len(history) == 1
    assert 0 < history.rows[0]["seconds"] < 600


@pytest.mark.parametrize("intermediate", [None, "mmtm"])
def test_what_is_compiled_where_that_is_asked_for(intermediate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoders by themselves, whoever calls them; those that interact are called in pieces, by the model."""
    splits, calls = make_tiny(("a", "b")), []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda part, *_, **__: calls.append(part))
    for wanted in (False, True):
        model = build(splits, intermediate=intermediate)
        fit(model, splits, compile=wanted, **{**OPTIONS, "epochs": 1})
        expected = [model] if intermediate else [*model.encoders.values()]
        assert calls == (expected if wanted else [])


def test_progress_is_shown(bars: list[Bar]) -> None:
    splits = make_tiny(("a",))
    history = fit(build(splits), splits, **{**OPTIONS, "progress": True})
    fit(build(splits), splits, **OPTIONS)
    shown, hidden = bars
    assert (shown.total, shown.count, shown.closed, shown.shown, hidden.shown) == (3, 3, True, True, False)
    assert shown.told == {k: f"{history.rows[-1][c]:.3f}" for k, c in (("val", "val_accuracy"), ("loss", "train_loss"))}


def test_the_loss_of_those_present_by_hand() -> None:
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.5, 0.0]]), torch.tensor([0, 0, 1])
    each = F.cross_entropy(logits, labels, reduction="none")
    for there in ([True, False, False], [True, False, True], [True, True, True]):
        mask = torch.tensor(there)
        torch.testing.assert_close(masked_cross_entropy(logits, labels, mask), each[mask].mean())
    assert masked_cross_entropy(logits, labels, torch.zeros(3, dtype=torch.bool)) == 0


def test_the_base_of_methods() -> None:
    splits = make_tiny(("a",))
    batch = next(splits.train.batches(4))
    with pytest.raises(NotImplementedError):
        Method().step(build(splits), batch, torch.optim.SGD([torch.zeros(1)]))
    recipe = Recipe(1, 2, lambda p: torch.optim.SGD(p))
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.epochs = 3  # type: ignore[misc]


def test_learning_rate_follows_the_scheduler() -> None:
    splits = make_tiny(("a",))
    cosine = fit(build(splits), splits, scheduler="cosine", **OPTIONS)
    assert [r["lr"] for r in cosine.rows] == pytest.approx([1e-2, 0.75e-2, 0.25e-2])
    own = fit(build(splits), splits, scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.1), **OPTIONS)
    assert [r["lr"] for r in own.rows] == pytest.approx([1e-2, 1e-3, 1e-4])


def test_optimizers() -> None:
    p = [nn.Parameter(torch.zeros(2))]
    assert isinstance(make_optimizer("adamw", p, 0.1, 0.2), torch.optim.AdamW)
    assert make_optimizer("sgd", p, 0.1).defaults["momentum"] == 0.9
    assert make_optimizer("adagrad", p, 0.1).defaults["lr"] == 0.1
    assert all(make_optimizer(name, p, 0.1).defaults["fused"] for name in ("adam", "adamw", "sgd", "adagrad")), "on the CPU, too"
    assert isinstance(make_optimizer(lambda q: torch.optim.Adagrad(q, lr=0.3), p, 0.1), torch.optim.Adagrad)
    with pytest.raises(ValueError, match="optimizer: unknown 'lion'; known: adam, adamw, adagrad, sgd"):
        make_optimizer("lion", p, 0.1)


class HalfOfIt(Joint):
    """Trains on the first samples only, and counts its epochs."""

    def samples(self, epoch: int, data: MultimodalData) -> MultimodalData:
        return data.select(list(range(20)))

    def report(self) -> dict[str, float]:
        return {"batch_size": self.recipe.batch_size, "epochs": self.recipe.epochs}


@pytest.mark.parametrize("metrics", ["running", "evaluated"])
def test_a_method_may_choose_its_samples_and_add_to_the_history(metrics: Any) -> None:
    splits = make_tiny(("a",))
    first = Splits(splits.train.select(list(range(20))), splits.val, splits.test)
    part, whole = build(splits), build(splits)
    told = fit(part, splits, HalfOfIt(), train_metrics=metrics, **OPTIONS)
    plain = fit(whole, first, Joint(), train_metrics=metrics, **OPTIONS)
    assert [{**r, "batch_size": 16, "epochs": 3} for r in rows(plain)] == rows(told)
    assert all(torch.equal(p, q) for p, q in zip(part.parameters(), whole.parameters(), strict=True))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_stays_close(precision: Any) -> None:
    splits = make_tiny(("a", "b"), samples=300)
    model = build(splits)
    history = fit(model, splits, precision=precision, **OPTIONS)
    plain = fit(build(splits), splits, **OPTIONS)
    assert model(splits.test.inputs).logits.dtype == torch.float32
    assert history.rows[-1]["train_loss"] == pytest.approx(plain.rows[-1]["train_loss"], rel=0.05)
    assert history.rows[-1]["train_loss"] != plain.rows[-1]["train_loss"]  # it did run in the other


def test_test_split_is_never_touched() -> None:
    splits = make_tiny(("a", "b"))
    poisoned = Splits(splits.train, splits.val, splits.test)
    poisoned.test = None  # type: ignore[assignment]
    fit(build(splits), poisoned, **OPTIONS)


# resuming ---------------------------------------------------------------------------------------------------------


def test_prolonged_run_is_the_long_run(tmp_path: Path) -> None:
    splits = make_tiny(("a", "b"))
    model = build(splits)
    fit(model, splits, checkpoint=tmp_path / "x" / "run.pt", **OPTIONS)
    longer = fit(build(splits), splits, checkpoint=tmp_path / "x" / "run.pt", resume=True, **{**OPTIONS, "epochs": 5})
    assert rows(longer) == rows(fit(build(splits), splits, **{**OPTIONS, "epochs": 5}))
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["run.pt"]


def test_existing_checkpoint_is_not_overwritten(tmp_path: Path) -> None:
    splits = make_tiny(("a", "b"))
    path = tmp_path / "run.pt"
    fit(build(splits), splits, checkpoint=path, **OPTIONS)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="exists already; pass resume=True"):
        fit(build(splits), splits, checkpoint=path, **OPTIONS)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": {"dim": 32}}, "encoders.a.dim is 32 here, 64 there"),
        ({"fit": {"lr": 0.5}}, "optimizer.lr is 0.5 here"),
        ({"fit": {"seed": 8}}, "seed is 8 here, 0 there"),
        ({"fit": {"batch_size": 8}}, "batch_size is 8 here, 16 there"),
        ({"method": LateFusion}, "method.class is"),
    ],
)
def test_checkpoint_of_another_run_is_refused(change: dict[str, Any], named: str, tmp_path: Path) -> None:
    splits = make_tiny(("a", "b"))
    path = tmp_path / "run.pt"
    fit(build(splits), splits, checkpoint=path, **OPTIONS)
    with pytest.raises(CheckpointError, match=f"belongs to another run: {named}"):
        fit(
            build(splits, **change.get("model", {})),
            splits,
            change.get("method", Joint)(),
            checkpoint=path,
            resume=True,
            **{**OPTIONS, **change.get("fit", {})},
        )


@pytest.mark.parametrize("damage", ["truncated", "text", "foreign", "pickle"])
def test_damaged_checkpoint(damage: str, tmp_path: Path) -> None:
    splits = make_tiny(("a", "b"))
    path = tmp_path / "run.pt"
    fit(build(splits), splits, checkpoint=path, **OPTIONS)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "text":
        path.write_text("not a checkpoint")
    elif damage == "foreign":
        torch.save({"weights": torch.zeros(2)}, path)
    else:
        torch.save({"format": 1, "danger": Path}, path)
    with pytest.raises(CheckpointError, match="cannot be read|not a checkpoint of"):
        fit(build(splits), splits, checkpoint=path, resume=True, **OPTIONS)


def test_checkpoint_that_cannot_be_written_is_refused_before_training(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    splits = make_tiny(("a", "b"))
    with pytest.raises(OSError, match="checkpoint: cannot write"):
        fit(build(splits), splits, checkpoint=blocker / "run.pt", **OPTIONS)


def test_disk_filling_up_does_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits, path, save, calls = make_tiny(("a", "b")), tmp_path / "run.pt", torch.save, [0]

    def full(*args: Any) -> None:
        calls[0] += 1
        if calls[0] > 2:
            raise OSError(28, "No space left on device")
        save(*args)

    monkeypatch.setattr(torch, "save", full)
    with pytest.warns(UserWarning, match="No space left.*training goes on") as caught:
        history = fit(build(splits), splits, checkpoint=path, **OPTIONS)
    assert {warning.filename for warning in caught} == {__file__}, "it points at who called fit"
    assert len(history) == 3
    monkeypatch.undo()
    assert len(checkpoints.torch.load(path, weights_only=True)["history"]["rows"]) == 1  # the last whole one


# wrong input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"lr": -1e-3}, "lr: expected a positive learning rate, found -0.001"),
        ({"lr": float("nan")}, "lr: expected"),
        ({"lr": 0.0}, "lr: expected a positive learning rate, found 0.0"),
        ({"lr": float("inf")}, "lr: expected a positive learning rate, found inf"),
        ({"epochs": 0}, "epochs: expected 1 or more, found 0"),
        ({"batch_size": 0}, "batch_size: expected 1 or more, found 0"),
        ({"weight_decay": -1}, "weight_decay: expected 0 or more"),
        ({"weight_decay": float("inf")}, "weight_decay: expected 0 or more, found inf"),
        ({"train_metrics": "guessed"}, "train_metrics: unknown 'guessed'; known: running, evaluated"),
        ({"patience": 0}, "patience: expected 1 or more"),
        ({"monitor": "test_accuracy"}, "monitor: unknown 'test_accuracy'; known: val_accuracy, val_loss"),
        ({"keep": "first"}, "keep: unknown 'first'"),
        ({"scheduler": "step"}, "scheduler: unknown 'step'; known: cosine"),
        ({"optimizer": "lion"}, "optimizer: unknown 'lion'"),
    ],
)
def test_bad_options(option: dict[str, Any], message: str) -> None:
    splits = make_tiny(("a", "b"))
    with pytest.raises(ValueError, match=message):
        fit(build(splits), splits, **{**OPTIONS, **option})


def test_model_of_other_data() -> None:
    with pytest.raises(ValueError, match="model: has modalities a, b, the data has a, c"):
        fit(build(make_tiny(("a", "b"))), make_tiny(("a", "c")), **OPTIONS)
    with pytest.raises(ValueError, match="model: has 3 classes, the data has 4"):
        fit(build(make_tiny(("a", "b"))), make_tiny(("a", "b"), classes=4), **OPTIONS)
    with pytest.raises(ValueError, match="modalities: unknown 'x'; known: a, b"):
        fit(build(make_tiny(("a", "b"))), make_tiny(("a", "b")), Unimodal("x"), **OPTIONS)


class Poison(nn.Module):
    """Turns NaN after a number of batches."""

    dim = 4

    def __init__(self, after: int) -> None:
        super().__init__()
        self.layer, self.left = nn.Linear(6, 4), after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.left -= 1
        out: torch.Tensor = self.layer(x)
        return out * (float("nan") if self.left < 0 else 1.0)


def test_nan_names_epoch_step_and_modality(tmp_path: Path) -> None:
    splits = make_tiny(("a", "b"))  # 72 training samples, 5 steps an epoch
    model = build(splits, encoders={"b": Poison(after=7)})
    with pytest.raises(NonFiniteLossError, match="epoch 1, step 2, from modality b;"):
        fit(model, splits, checkpoint=tmp_path / "run.pt", **OPTIONS)
    assert len(torch.load(tmp_path / "run.pt", weights_only=True)["history"]["rows"]) == 1  # the good epoch


def test_loss_that_explodes() -> None:
    splits = make_tiny(("a", "b"))
    with warnings.catch_warnings(), pytest.raises(NonFiniteLossError, match="epoch 0, step"):
        warnings.simplefilter("ignore")
        fit(build(splits), splits, **{**OPTIONS, "optimizer": "sgd", "lr": 1e30})


def test_device() -> None:
    assert pick_device("cpu").type == "cpu"
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert pick_device().type == expected


def test_data_is_not_changed_by_training() -> None:
    splits = make_tiny(("a", "b"), missing=0.3)
    before = splits.train.inputs["a"].clone()
    fit(build(splits), splits, **OPTIONS)
    assert torch.equal(splits.train.inputs["a"], before)
    assert isinstance(splits.train, MultimodalData)


def test_sgd_takes_parameters_that_have_no_gradient_at_first() -> None:
    """A head without weight gets its first gradient late; the fused kernel of torch 2.13 fails on such a mixture."""
    first, second = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = make_optimizer("sgd", [first, second], lr=0.1)
    first.grad = torch.ones(2)
    optimizer.step()
    assert second.tolist() == [1.0, 1.0]
    second.grad = torch.ones(2)
    optimizer.step()
    assert second.tolist() == pytest.approx([0.9, 0.9])
    assert first.tolist() == pytest.approx([0.71, 0.71])  # 1 - 0.1, then - 0.1 (0.9 + 1)
