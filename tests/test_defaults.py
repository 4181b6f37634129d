"""Defaults are part of the interface: chapters and stored results rely on them without naming them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from mmlib.compare import compare, methods_table
from mmlib.comparison import Comparison
from mmlib.data import MultimodalData, Splits, from_arrays, lose
from mmlib.fusion import Cosine, FiLM, Gated, SqueezeExcitation
from mmlib.methods import (
    AGM,
    DGL,
    MLA,
    MLB,
    OGMGE,
    OPM,
    QMF,
    RNA,
    UMT,
    GradientBlending,
    LateFusion,
    MMPareto,
    ModalityDropout,
    MultiLoss,
    Relearning,
    Remix,
)
from mmlib.methods.blending_estimate import train_aside
from mmlib.methods.gradient_blending import blend_weights
from mmlib.methods.mlb import balancing_coefficients
from mmlib.methods.mmpareto import pareto_gradient
from mmlib.methods.ogm_ge import coefficient, modulation_coefficients
from mmlib.methods.opm import drop_probability
from mmlib.methods.qmf import energy_confidence
from mmlib.methods.relearning import pull
from mmlib.metrics import linear_probe, mean_interval, overfitting
from mmlib.model import MultimodalClassifier, build
from mmlib.setting import Setting
from mmlib.train import fit, make_optimizer
from mmlib.tuning import Between, tune

PLAIN = (bool, int, float, str, tuple)
DEFAULTS: dict[Callable[..., Any], dict[str, Any]] = {
    fit: {
        "epochs": 20, "batch_size": 64, "optimizer": "adam", "lr": 1e-3, "weight_decay": 0.0, "monitor": "val_accuracy",
        "keep": "best", "train_metrics": "running", "seed": 0, "precision": "fp32", "compile": False, "resume": False,
        "progress": True,
    },
    make_optimizer: {"weight_decay": 0.0},
    build: {"fusion": "concat", "dim": 64, "width": 1.0, "dropout": 0.0, "seed": 0},
    MultimodalClassifier: {"num_classes": 2},
    compare: {"seeds": 5, "cache": True, "progress": True, "predictions": False},
    Setting: {
        "data": "digits", "method": "joint", "fusion": "concat", "pretrain_epochs": 0, "probe": False, "by_class": False,
        "measures": (),
    },
    tune: {"budget": 12, "seeds": 2, "progress": True},
    Between: {"log": False, "whole": False},
    Comparison: {"seconds": 0.0},
    Comparison.values: {"column": "test_accuracy"},
    Comparison.interval: {"column": "test_accuracy"},
    Comparison.difference: {"column": "test_accuracy"},
    methods_table: {},
    Cosine: {"scale": 10.0},
    FiLM: {},
    Gated: {},
    SqueezeExcitation: {"reduction": 4},
    ModalityDropout: {"rate": 0.3},
    GradientBlending: {
        "mode": "offline", "estimate": "separate", "super_epoch": 5, "holdout": "random", "holdout_fraction": 0.25,
        "weights_on": "loss", "predict": "joint", "floor": 0.01,
    },
    blend_weights: {"floor": 0.01},
    train_aside: {"idle": False},
    MLA: {
        "hgm": "paper", "ridge": 1.0, "fusion": "uncertainty", "order": "fixed", "missing": "skip", "head": "shared",
        "turns": "alternating",
    },
    OGMGE: {"alpha": 0.8, "noise": "released", "scale": "all", "form": "paper", "gradients": False},
    coefficient: {"form": "paper"},
    modulation_coefficients: {"form": "paper"},
    LateFusion: {"average": "probabilities"},
    MultiLoss: {"weight": 1.0, "heads": "own", "predict": "fused"},
    RNA: {"strength": 1.0},
    DGL: {"alpha": 4.0},
    MMPareto: {"gamma": 1.5, "gradients": "pareto"},
    pareto_gradient: {"gamma": 1.5},
    UMT: {"strength": 1.0},
    AGM: {"alpha": 1.5},
    OPM: {"base": 0.5, "strength": 0.5, "share": 0.7, "warmup": 5},
    drop_probability: {"base": 0.5, "strength": 0.5},
    MLB: {"alpha": 0.8},
    balancing_coefficients: {"alpha": 0.8},
    QMF: {"temperature": 10.0, "rank": 0.1},
    energy_confidence: {"temperature": 10.0},
    Remix: {"warmup": 10, "unimodal": 0.5, "gamma": 1.0},
    Relearning: {"every": 20, "strength": 3.0, "times": 3, "holdout": "random", "holdout_fraction": 0.2},
    pull: {"strength": 3.0},
    MultimodalData: {"num_classes": 0},
    MultimodalData.drop: {"seed": 0},
    Splits: {"name": "data", "classes": ()},
    Splits.drop: {"seed": 0, "splits": ("train", "val", "test")},
    from_arrays: {"fractions": (0.6, 0.2, 0.2), "num_classes": 0, "name": "own", "seed": 0},
    lose: {"seed": 0},
    mean_interval: {"level": 0.95},
    overfitting: {"start": 0, "end": -1},
    linear_probe: {"strength": 1.0},
}  # fmt: skip


@pytest.mark.parametrize(("what", "expected"), DEFAULTS.items(), ids=[f.__qualname__ for f in DEFAULTS])
def test_defaults(what: Callable[..., Any], expected: dict[str, Any]) -> None:
    """Plain values alone: what a default of None stands for is left to the tests of what is then done."""
    found = {name: p.default for name, p in inspect.signature(what).parameters.items() if isinstance(p.default, PLAIN)}
    assert {name: (value, type(value)) for name, value in found.items()} == {k: (v, type(v)) for k, v in expected.items()}


@pytest.mark.parametrize(
    ("what", "last"), [(fit, "method"), (compare, "seeds"), (GradientBlending, "weights"), (methods_table, "modalities")]
)
def test_options_are_given_by_name(what: Callable[..., Any], last: str) -> None:
    """So that one may be added in between; ``last`` is the last that has a place."""
    parameters = list(inspect.signature(what).parameters.values())
    places = [p.name for p in parameters if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    assert places[-1] == last
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters[len(places) :])
