"""One's own encoders, methods and seeds in a comparison; and what comes out of it beside means."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mmlib
from mmlib.cache import cache_folder
from mmlib.compare import compare, methods_table
from mmlib.comparison import Comparison
from mmlib.encoders import MLPEncoder
from mmlib.methods import MLA, Joint
from mmlib.record import payload
from mmlib.setting import Setting, run
from tests.conftest import make_tiny

FIT = {"epochs": 2, "batch_size": 16, "device": "cpu", "lr": 0.01}
TINY = make_tiny()
BASE = Setting("joint", data=TINY, fit_options=FIT)


def numbers(outcome: Comparison) -> list[float]:
    return [run["test_loss"] for run in outcome.runs]


def make_encoder() -> nn.Module:
    return MLPEncoder(6, 8, (8,))


def own(encoder: Any) -> Setting:
    return BASE.with_("own", model_options={"encoders": {"a": encoder, "b": encoder}})


def test_an_encoder_does_not_leak_from_run_to_run() -> None:
    torch.manual_seed(0)
    encoder = make_encoder()
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    settings = [own(encoder), own(encoder).with_("sum", fusion="sum")]
    outcome = compare(settings, seeds=2, workers=1, progress=False)
    assert all(bool((v == before[k]).all()) for k, v in encoder.state_dict().items()), "it is as it was"
    alone = [compare([s], seeds=[seed], workers=1, progress=False) for s in settings for seed in (0, 1)]
    assert numbers(outcome) == [n for one in alone for n in numbers(one)]
    described = settings[0].describe()["model_options"]["encoders"]["a"]
    assert described["options"]["dim"] == 8
    assert "MLPEncoder" in described["class"]


def test_an_encoder_without_a_name_is_described() -> None:
    sequential = nn.Sequential(nn.Linear(6, 8))
    sequential.dim = 8
    assert own(sequential).describe()["model_options"]["encoders"]["a"] == "torch.nn.modules.container.Sequential ?"
    assert len(compare([own(sequential)], seeds=1, workers=1, progress=False).runs) == 1


def test_a_factory_starts_every_seed_anew() -> None:
    torch.manual_seed(0)
    first = numbers(compare([own(make_encoder)], seeds=2, workers=1, progress=False))
    torch.manual_seed(1)  # the caller's generator decides nothing
    assert numbers(compare([own(make_encoder)], seeds=2, workers=1, progress=False)) == first
    assert first[0] != first[1]


def test_a_method_as_an_object() -> None:
    method = MLA(hgm="off")
    by_object = BASE.with_("x", method=method)
    by_class = BASE.with_("y", method=MLA, method_options={"hgm": "off"})
    by_name = BASE.with_("z", method="mla", method_options={"hgm": "off"})
    outcome = compare([by_object, by_class, by_name], seeds=2, workers=1, progress=False)
    assert outcome.values("x", "test_loss") == outcome.values("y", "test_loss") == outcome.values("z", "test_loss")
    assert not hasattr(method, "recipe"), "the runs had copies"
    described = by_object.describe()["method"]
    assert described["class"].startswith("mmlib.methods.mla.MLA ")
    assert described["options"]["hgm"] == "off"
    assert described["options"]["ridge"] == 1.0
    json.dumps(payload("x", outcome))


def test_what_a_setting_refuses() -> None:
    with pytest.raises(ValueError, match=r"method_options: MLA\(...\) has its options already; give method=MLA, the class"):
        BASE.with_("x", method=MLA(), method_options={"hgm": "off"})
    with pytest.raises(TypeError, match="method: expected a name, or .*, found int 3"):
        Setting("x", method=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="data: expected a name, or .*, found dict"):
        Setting("x", data={"a": 1})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="fit_options: expected a dict of keyword arguments, found list"):
        Setting("x", fit_options=["lr"])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"settings: expected Setting\(label, ...\), found str 'joint'"):
        compare(["joint"])  # type: ignore[list-item]


@pytest.mark.parametrize(("seeds", "found"), [([1, 1, 1], "1 3 times"), ([0, 4, 4], "4 2 times"), ([0, False], "0 2 times")])
def test_a_seed_counts_once(seeds: list[int], found: str) -> None:
    with pytest.raises(ValueError, match=f"seeds: expected each once, found {found}; .* narrows the interval"):
        compare([BASE], seeds=seeds)


def test_seeds_are_whole_numbers() -> None:
    assert compare([BASE], seeds=np.arange(2), workers=1, progress=False).seeds == [0, 1]  # type: ignore[arg-type]
    for bad in ([0.5], "12", ["1"], 2.0):
        with pytest.raises(TypeError, match="seeds: expected how many, or whole numbers"):
            compare([BASE], seeds=bad)  # type: ignore[arg-type]


def test_normalised_features() -> None:
    rows = methods_table(TINY, ["joint"], ["a"], base={"fit_options": FIT, "model_options": {"normalise": "batch"}})
    plain = methods_table(TINY, ["joint"], ["a"], base={"fit_options": FIT})
    assert numbers(compare(rows, seeds=1, progress=False, workers=1)) != numbers(
        compare(plain, seeds=1, progress=False, workers=1)
    )
    options = methods_table(TINY, ["mla", "joint"], ["a"], options={"mla": {"hgm": "off"}})
    assert [s.method_options for s in options] == [{"modality": "a"}, {"hgm": "off"}, {}]


def test_predictions_are_those_of_the_rows() -> None:
    settings = [BASE, BASE.with_("mla", method="mla")]
    outcome = compare(settings, seeds=2, workers=1, progress=False, predictions=True)
    for setting in settings:
        for seed, accuracy, loss in zip(
            (0, 1), outcome.values(setting.label), outcome.values(setting.label, "test_loss"), strict=True
        ):
            probabilities, labels = outcome.predictions(setting.label, seed)
            assert probabilities.shape == (len(TINY.test), 3)
            np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
            assert labels.tolist() == TINY.test.labels.tolist()
            assert float((probabilities.argmax(1) == labels).mean()) == pytest.approx(accuracy)
            assert -np.log(probabilities[np.arange(len(labels)), labels]).mean() == pytest.approx(loss, rel=1e-4)
    again = compare(settings, seeds=2, workers=1, progress=False, predictions=True)
    assert len(list(cache_folder().glob("*.npz"))) == 4
    np.testing.assert_array_equal(again.predictions("mla", 1)[0], outcome.predictions("mla", 1)[0])
    assert all("predictions" not in run for run in outcome.runs)
    assert "predictions" not in json.dumps(payload("x", outcome))
    assert numbers(compare(settings, seeds=2, workers=1, progress=False)) == numbers(outcome)


def test_predictions_are_made_where_only_the_row_was_kept() -> None:
    compare([BASE], seeds=1, workers=1, progress=False)
    with_them = compare([BASE], seeds=1, workers=1, progress=False, predictions=True)
    first = with_them.predictions("joint", 0)
    (file,) = cache_folder().glob("*.npz")
    file.write_bytes(b"no zip")
    again = compare([BASE], seeds=1, workers=1, progress=False, predictions=True)
    np.testing.assert_array_equal(again.predictions("joint", 0)[0], first[0])


def test_predictions_that_are_not_there() -> None:
    outcome = compare([BASE], seeds=1, workers=1, progress=False)
    with pytest.raises(ValueError, match=r"ask for them with compare\(..., predictions=True\)"):
        outcome.predictions("joint", 0)
    with pytest.raises(KeyError, match="seed: unknown 3; known: 0"):
        outcome.predictions("joint", 3)
    with pytest.raises(KeyError, match="label: unknown 'x'; known: joint"):
        outcome.predictions("x", 0)


def test_a_diverged_run_guesses() -> None:
    wild = BASE.with_("wild", fit_options={"optimizer": "sgd", "lr": 1e30})
    row = run(wild, 0, predictions=True)
    assert row["diverged"] is True
    assert row["test_balanced_accuracy"] == row["test_macro_f1"] == row["test_accuracy"] == pytest.approx(1 / 3)
    assert row["predictions"].probabilities == pytest.approx(np.full((len(TINY.test), 3), 1 / 3))


def test_more_measures_on_request() -> None:
    outcome = compare([BASE], seeds=2, workers=1, progress=False)
    usual = outcome.table()
    assert not [c for c in usual.columns if "balanced" in c or "f1" in c]
    table = outcome.table(measures=["macro_f1", "balanced_accuracy"])
    assert set(table.columns) - set(usual.columns) == {"test_macro_f1", "test_balanced_accuracy"}
    assert table.loc["joint", "test_macro_f1"] == pytest.approx(np.mean(outcome.values("joint", "test_macro_f1")))
    assert "macro_f1" in outcome.text(measures=["macro_f1"])
    assert "macro_f1" not in str(outcome)
    with pytest.raises(ValueError, match="measures: unknown 'f1'; known: balanced_accuracy, macro_f1"):
        outcome.table(measures=["f1"])


def test_a_curve_ends_with_the_shortest_run() -> None:
    lengths = [3, 2, 5]
    runs = [
        {"label": "x", "seed": s, "test_accuracy": 0.5, "history": [{"val_loss": 10 * s + e} for e in range(n)]}
        for s, n in enumerate(lengths)
    ]
    epochs, mean, low, high = Comparison([Setting("x")], [0, 1, 2], runs).curve("x", "val_loss")
    assert epochs.tolist() == [0, 1]
    assert mean.tolist() == [10.0, 11.0], "over the same three runs at each point"
    assert (low < mean).all()
    assert (mean < high).all()
    with pytest.raises(KeyError, match="column: unknown 'loss'; known: val_loss"):
        Comparison([Setting("x")], [0, 1, 2], runs).curve("x", "loss")
    bare = [{**run, "history": []} for run in runs]
    with pytest.raises(ValueError, match="none was kept"):
        Comparison([Setting("x")], [0, 1, 2], bare).curve("x", "val_loss")


def test_early_stopping_and_curves() -> None:
    outcome = compare([BASE.with_("x", fit_options={"patience": 1, "epochs": 12})], seeds=4, workers=1, progress=False)
    lengths = {len(run["history"]) for run in outcome.runs}
    assert len(lengths) > 1, "they stop at different epochs: otherwise this test shows nothing"
    assert len(outcome.curve("x", "val_accuracy")[0]) == min(lengths)


def test_the_same_numbers_as_fit_on_one_thread() -> None:
    """The promise: bit for bit, with the same number of threads."""
    row = run(BASE, 3)
    model = mmlib.build(TINY, seed=3)
    mmlib.fit(model, TINY, Joint(), seed=3, progress=False, **FIT)  # type: ignore[arg-type]
    assert torch.get_num_threads() == 1
    assert mmlib.evaluate(model, TINY.test)["loss"] == row["test_loss"]
    assert math.isfinite(row["test_loss"])
