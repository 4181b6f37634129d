"""Checks that need a CUDA device; skipped without one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mmlib.data import load
from mmlib.methods import MLA, OGMGE, Joint, LateFusion, Method, ModalityDropout, Unimodal
from mmlib.model import build
from mmlib.train import fit

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
CASES: dict[str, Callable[[], Method]] = {
    "joint": Joint,
    "unimodal": lambda: Unimodal("image"),
    "late_fusion": LateFusion,
    "mla": MLA,
    "ogm": lambda: OGMGE(noise=None),  # without noise, which is another on each device
}
NOISY: dict[str, Callable[[], Method]] = {
    "modality_dropout": ModalityDropout,
    "ogm_ge": OGMGE,
    "ogm_ge, covariance": lambda: OGMGE(noise="covariance"),
}


@pytest.mark.parametrize("make", CASES.values(), ids=CASES.keys())
def test_same_losses_as_on_the_cpu(make: Callable[[], Method]) -> None:
    """Within 2 % after 3 epochs: sums in another order, amplified by 48 steps of Adam."""
    splits = load("digits", seed=0)
    losses = [fit(build(splits), splits, make(), epochs=3, device=d, progress=False).frame["train_loss"] for d in ("cpu", "cuda")]
    assert losses[1].to_numpy() == pytest.approx(losses[0].to_numpy(), rel=0.02)


@pytest.mark.parametrize("make", [*CASES.values(), *NOISY.values()], ids=[*CASES, *NOISY])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_no_host_synchronisation_inside_a_step(make: Callable[[], Method], missing: float) -> None:
    splits = load("digits", seed=0)
    if missing:
        splits = splits.drop("audio", missing)
    splits = splits.to("cuda")
    model, method = build(splits).to("cuda"), make()
    method.setup(model, splits.train, 0)
    method.to("cuda")
    optimizer = torch.optim.Adam([*model.parameters(), *method.parameters()], fused=True)
    batches = list(splits.train.batches(64))
    method.step(model, batches[0], optimizer)  # the first step allocates
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches[1:]:
            method.step(model, batch, optimizer)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_bf16_and_compile() -> None:
    splits = load("digits", seed=0)
    plain = fit(build(splits), splits, epochs=3, device="cuda", progress=False)
    fast = fit(build(splits), splits, epochs=3, device="cuda", bf16=True, compile=True, progress=False)
    assert fast.rows[-1]["train_loss"] == pytest.approx(plain.rows[-1]["train_loss"], rel=0.1)


def test_same_seed_same_numbers() -> None:
    splits = load("digits", seed=0)
    torch.use_deterministic_algorithms(True)
    try:
        runs = [
            fit(build(splits), splits, epochs=2, device="cuda", progress=False).frame["train_loss"].tolist() for _ in range(2)
        ]
    finally:
        torch.use_deterministic_algorithms(False)
    assert runs[0].tolist() == runs[1].tolist()
