"""Chapter 6: MLA, and what is left of it without its parts."""

from __future__ import annotations

from typing import Any

from mmlib.book.resting import RestingMLA
from mmlib.book.studies.base import DIGITS, TWO_SPEED, alone
from mmlib.setting import Setting

RIDGES = (0.1, 1.0, 10.0, 100.0)
MODALITIES = ("image", "audio", "text")
SPEEDS = ("fast", "slow")


def mla(base: Setting, label: str, **options: Any) -> Setting:
    """MLA in the setting of ``base``."""
    return base.with_(label, method="mla", method_options=options)


def ablation(base: Setting) -> list[Setting]:
    """From the whole of MLA to an ensemble of networks that never met, and to joint training."""
    rows = [mla(base, f"HGM + DF, ridge {r:g}", ridge=r) for r in RIDGES]
    rows += [mla(base, f"HGM, ridge {r:g}", ridge=r, fusion="mean") for r in RIDGES]
    for name, options in {
        "alternating": {},
        "one backward pass": {"turns": "together"},
        "late fusion": {"head": "separate"},
    }.items():
        rows.append(mla(base, f"{name} + DF", hgm="off", **options))
        if name != "late fusion":  # with separate heads and equal weights MLA is late fusion, bit for bit
            rows.append(mla(base, name, hgm="off", fusion="mean", **options))
    return [*rows, base.with_("late fusion", method="late_fusion"), base.with_("joint")]


def variants(base: Setting, ridge: float = 0.1) -> list[Setting]:
    """Other projections, and other orders of the turns."""
    rows = [mla(base, f"HGM {hgm} + DF", hgm=hgm, ridge=ridge) for hgm in ("update_before", "others")]
    rows += [mla(base, f"HGM + DF, {order}", ridge=ridge, order=order) for order in ("reversed", "shuffled")]
    return rows + [mla(base, f"alternating + DF, {order}", hgm="off", order=order) for order in ("reversed", "shuffled")]


def mla_digits() -> list[Setting]:
    """`digits`, three modalities."""
    return [*(alone(DIGITS, m) for m in MODALITIES), *ablation(DIGITS), *variants(DIGITS)]


def mla_two_speed() -> list[Setting]:
    """`two_speed`: starvation."""
    return [*(alone(TWO_SPEED, m) for m in SPEEDS), *ablation(TWO_SPEED), *variants(TWO_SPEED)]


REST_AFTER, REST_EPOCHS = 6, 12  #: a modality takes its turns for so many epochs, of so many
PROJECTIONS = ("off", "paper")


def mla_rest() -> list[Setting]:
    """One modality after the other rests, with the projection and without; what it loses is read on validation data."""
    rows = []
    for name, base, modalities in (("digits", DIGITS, MODALITIES), ("two_speed", TWO_SPEED, SPEEDS)):
        for m in modalities:
            for hgm in PROJECTIONS:
                options = {"resting": m, "after": REST_AFTER, "hgm": hgm}
                row = base.with_(f"{m} rests, {hgm}, {name}", method=RestingMLA, method_options=options)
                rows.append(row.with_(row.label, fit_options={"epochs": REST_EPOCHS, "keep": "last"}))
    return rows
