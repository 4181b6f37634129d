"""Chapter "Real recordings and real people": every method on natural data, with features as they are and on one scale.

The learning rate of every row is one of the same four, chosen on validation data (`*_rates`, three seeds), and then the row is
run over ten seeds with it (`RATES`; a test compares it with the stored choice).
"""

from __future__ import annotations

from typing import Any

from mmlib.book.studies.base import alone
from mmlib.book.studies.natural_rates import RATES
from mmlib.setting import Setting

LEARNING_RATES = (3e-4, 1e-3, 3e-3, 1e-2)
#: label of a normalisation -> `normalise` of `mmlib.model.build`
NORMALISED: dict[str, str | None] = {"as they are": None, "batch": "batch", "layer": "layer", "length one": "l2"}
PEOPLE = (4, 8, 12)
SENSORS = ("phone_accel", "phone_gyro", "watch_accel", "watch_gyro")
MOTION = Setting("joint", data="motion", fit_options={"epochs": 15})
MOTION_HELD: dict[str, Any] = {"holdout": "person"}
EMOJI_HELD: dict[str, Any] = {"holdout": "emoji"}


def methods(held_out: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """label -> method and its options: defaults, but Gradient-Blending holds out a quarter of the people or emoji."""
    return {
        "late fusion": ("late_fusion", {}),
        "multi-loss": ("multi_loss", {}),
        "multi-loss, vote": ("multi_loss", {"predict": "vote"}),
        "joint": ("joint", {}),
        "Gradient-Blending": ("gradient_blending", held_out),
        "Gradient-Blending, vote": ("gradient_blending", {**held_out, "predict": "vote"}),
        "OGM-GE": ("ogm_ge", {}),
        "MLA": ("mla", {}),
    }


def rows(base: Setting, modalities: tuple[str, ...], held_out: dict[str, Any], tail: str = "") -> dict[str, Setting]:
    """label -> every single modality and every method, each with every normalisation; the learning rate is not set yet."""
    made = {f"{m} alone": alone(base, m) for m in modalities}
    made |= {
        label: base.with_(label, method=name, method_options=options) for label, (name, options) in methods(held_out).items()
    }
    return {
        f"{label}, {scale}{tail}": row.with_(f"{label}, {scale}{tail}", model_options={"normalise": kind} if kind else {})
        for scale, kind in NORMALISED.items()
        for label, row in made.items()
    }


def motion_rows() -> dict[str, Setting]:
    """All rows on `motion`, with 4, 8 and 12 people to train on."""
    made: dict[str, Setting] = {}
    for people in PEOPLE:
        base = MOTION.with_("joint", data_options={"train_people": people})
        made |= rows(base, SENSORS, MOTION_HELD, f", {people} people")
    return made


def with_rate(row: Setting, rate: float, label: str = "") -> Setting:
    return row.with_(label or row.label, fit_options={"lr": rate})


def _tried(made: dict[str, Setting]) -> list[Setting]:
    return [with_rate(row, rate, f"{label}, lr {rate:g}") for label, row in made.items() for rate in LEARNING_RATES]


def motion_rates() -> list[Setting]:
    """Every row on `motion` with every learning rate; of these runs the validation accuracy alone is used."""
    return _tried(motion_rows())


def motion() -> list[Setting]:
    """Every row on `motion` with the learning rate chosen for it."""
    return [with_rate(row, RATES["motion"][label]) for label, row in motion_rows().items()]
