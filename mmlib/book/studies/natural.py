"""Chapter "Real recordings and real people": every method on natural data, with features as they are and on one scale.

Each row has one of the same four learning rates. Validation data chose it (`motion_rates`, `emoji_rates`: three seeds; on
`motion` with eight people to train on), and `RATES` holds the choice, which a test compares with the stored runs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mmlib.book.studies.base import alone
from mmlib.book.studies.natural_rates import RATES
from mmlib.book.studies.real_voices import REAL
from mmlib.data.incomplete import incomplete
from mmlib.setting import Setting

LEARNING_RATES = (1e-3, 3e-3, 1e-2, 3e-2)
#: label of a normalisation -> `normalise` of `mmlib.model.build`
SCALES: dict[str, str | None] = {"as they are": None, "batch": "batch", "layer": "layer", "length one": "l2"}
PEOPLE = (4, 8, 12)
TUNED_AT = 8  #: people
SENSORS = ("phone_accel", "phone_gyro", "watch_accel", "watch_gyro")
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "late fusion": ("late_fusion", {}),
    "multi-loss": ("multi_loss", {}),
    "multi-loss, vote": ("multi_loss", {"predict": "vote"}),
    "joint": ("joint", {}),
    "Gradient-Blending": ("gradient_blending", {}),
    "Gradient-Blending, vote": ("gradient_blending", {"predict": "vote"}),
    "OGM-GE": ("ogm_ge", {}),
    "MLA": ("mla", {}),
}
#: data -> setting, modalities, and the group of which Gradient-Blending holds out a quarter
DATA: dict[str, tuple[Setting, tuple[str, ...], str]] = {
    "motion": (Setting("", data="motion", fit_options={"epochs": 15}), SENSORS, "person"),
    "emoji": (Setting("", data="emoji", fit_options={"epochs": 15}), ("image", "text"), "emoji"),
}


def rows(name: str, tail: str = "", **data_options: Any) -> dict[str, Setting]:
    """label -> every single modality and every method, each on every scale; the learning rate is not set yet."""
    base, modalities, group = DATA[name]
    base = base.with_("", data_options=data_options)
    made = {f"{m} alone": alone(base, m) for m in modalities}
    for label, (method, options) in METHODS.items():
        held = {"holdout": group} if method == "gradient_blending" else {}
        made[label] = base.with_(label, method=method, method_options={**options, **held})
    return {
        f"{label}, {scale}{tail}": row.with_(f"{label}, {scale}{tail}", model_options={"normalise": kind} if kind else {})
        for scale, kind in SCALES.items()
        for label, row in made.items()
    }


def tried(name: str, **data_options: Any) -> list[Setting]:
    """Every row with every learning rate; of these runs the validation accuracy alone is used."""
    return [
        row.with_(f"{label}, lr {rate:g}", fit_options={"lr": rate})
        for label, row in rows(name, **data_options).items()
        for rate in LEARNING_RATES
    ]


def chosen(name: str, tail: str = "", **data_options: Any) -> list[Setting]:
    """Every row with the learning rate that was chosen for it."""
    rates = RATES[name]
    made = rows(name, tail, **data_options)
    return [row.with_(label, fit_options={"lr": rates[label.removesuffix(tail)]}) for label, row in made.items()]


def motion_rates() -> list[Setting]:
    """`motion` with eight people to train on, every row with every learning rate."""
    return tried("motion", train_people=TUNED_AT)


def emoji_rates() -> list[Setting]:
    """`emoji`, every row with every learning rate."""
    return tried("emoji")


def emoji() -> list[Setting]:
    """`emoji`, every row with the learning rate chosen for it."""
    return chosen("emoji")


def motion() -> list[Setting]:
    """`motion` with 4, 8 and 12 people to train on."""
    return [row for people in PEOPLE for row in chosen("motion", f", {people} people", train_people=people)]


def _of(name: str, label: str) -> Setting:
    """One row of a data set, with features as they are."""
    if name == "avmnist":
        return REAL.with_(f"{label}, avmnist", method=METHODS[label][0])
    knobs: dict[str, Any] = {"train_people": TUNED_AT} if name == "motion" else {}
    [row] = [s for s in chosen(name, **knobs) if s.label == f"{label}, as they are"]
    return row.with_(f"{label}, {name}")


def natural_curves() -> list[Setting]:
    """Late fusion and joint training on every natural data set: accuracy of each modality after each epoch, and on each class."""
    made = [_of(name, label) for name in (*DATA, "avmnist") for label in ("late fusion", "joint")]
    return [replace(s, by_class=True).with_(s.label, fit_options={"train_metrics": "evaluated"}) for s in made]


#: data -> how half of the samples lose something, in training, validation and test: one device of two, or one modality of two
HALF: dict[str, dict[str, Any]] = {
    "motion": {"missing": 0.5},
    "emoji": {"rate": 0.5},
}


def natural_missing() -> list[Setting]:
    """Joint training, late fusion, MLA and modality dropout where half of the samples are incomplete."""
    made = []
    for name, knobs in HALF.items():
        for label in ("late fusion", "joint", "MLA"):
            row = _of(name, label)
            if "rate" in knobs:
                row = replace(row, data=incomplete).with_(row.label, data_options={"name": name})
            made.append(row.with_(row.label, data_options=knobs))
        [joint] = [s for s in made if s.label == f"joint, {name}"]
        made.append(joint.with_(f"modality dropout, {name}", method="modality_dropout"))
    return made


def natural_people() -> list[Setting]:
    """`motion` with one and with two people to train on: each sensor alone, late fusion, joint training and MLA."""
    wanted = [*(f"{m} alone" for m in SENSORS), "late fusion", "joint", "MLA"]
    made = [row for people in (1, 2) for row in chosen("motion", f", {people} people", train_people=people)]
    return [row for row in made if row.label.endswith(" people") and row.label.partition(", as they are, ")[0] in wanted]
