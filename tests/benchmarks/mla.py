"""MLA: an epoch against one of joint training, and one update and use of the projection against the outer-product form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmlib.data import load
from mmlib.methods import MLA, Joint, Method
from mmlib.methods.mla_projection import project_gradient, update_projection
from mmlib.model import build
from mmlib.train import fit
from tests.benchmarks.timing import in_turns

DIM, CLASSES, RIDGE, REPEATS = 512, 10, 1.0, 200


def epochs(make: Any, device: str, n: int = 3) -> None:
    splits = load("digits", seed=0)
    method: Method = make()
    fit(build(splits, seed=0), splits, method, epochs=n, device=device, keep="last", progress=False)


def recursive(projection: Tensor, feature: Tensor, gradient: Tensor) -> Tensor:
    projection = update_projection(projection, feature, RIDGE)
    project_gradient(gradient, projection)
    return projection


def outer_product(projection: Tensor, feature: Tensor, gradient: Tensor) -> Tensor:
    """The form that divides element by element by a matrix, and by the norm of P, as a public code would if it ran."""
    r = feature[None]  # [1, D]
    k = projection @ r.T  # [D, 1]
    projection = projection - (k @ k.T) / (RIDGE + k @ r)
    projection = projection / torch.linalg.matrix_norm(projection)
    gradient @ projection.T
    return projection


def repeated(update: Any, device: str) -> None:
    g = torch.Generator().manual_seed(0)
    features = torch.rand(REPEATS, DIM, generator=g).to(device)
    gradient, projection = torch.randn(CLASSES, DIM, generator=g).to(device), torch.eye(DIM, device=device)
    for feature in features:
        projection = update(projection, feature, gradient)


def measure() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        for name, make in (("mla", MLA), ("mla, no projection", lambda: MLA(hgm="off"))):
            found[f"{name} / joint, an epoch of digits, {device}"] = in_turns(
                lambda m=make, d=device: epochs(m, d), lambda d=device: epochs(Joint, d)
            )
        found[f"projection, D = {DIM}: recursive least squares / outer product, {device}"] = in_turns(
            lambda d=device: repeated(recursive, d), lambda d=device: repeated(outer_product, d)
        )
    return found
