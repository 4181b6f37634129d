"""Chapter "After MLA": controls and newer methods, with their default constants and with constants that validation chose.

Everybody tries six things, three seeds each, and validation accuracy decides (`after_rates`, `after_constants`): four learning
rates with the default constants, then, at the best of these, two other constants. A row that has no constant tries two more
learning rates, just below and above. So do DGL and MMPareto, whose constants multiply all gradients of an encoder, which Adam
does not see. `CHOICES` holds what was chosen, and a test compares it with the stored runs.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from mmlib.book.cosines import cosine_5, cosine_20
from mmlib.book.studies.after_choices import CHOICES
from mmlib.book.studies.base import DIGITS, TWO_SPEED, alone
from mmlib.book.studies.natural import SENSORS, TUNED_AT
from mmlib.setting import Setting

#: data -> setting, modalities, learning rates
DATA: dict[str, tuple[Setting, tuple[str, ...], tuple[float, ...]]] = {
    "two_speed": (TWO_SPEED, ("fast", "slow"), (3e-3, 1e-2, 3e-2, 1e-1)),
    "digits": (DIGITS, ("image", "audio", "text"), (1e-3, 3e-3, 1e-2, 3e-2)),
    "motion": (
        Setting("", data="motion", data_options={"train_people": TUNED_AT}, fit_options={"epochs": 15}),
        SENSORS,
        (1e-3, 3e-3, 1e-2, 3e-2),
    ),
}


class Row(NamedTuple):
    """A row of the table: what is changed in a data set's setting, and the two other constants that it may choose."""

    changes: dict[str, Any]
    others: tuple[dict[str, Any], ...] = ()


def _method(name: str, *others: dict[str, Any], **options: Any) -> Row:
    changes = {"method": name} | ({"method_options": options} if options else {})
    return Row(changes, tuple({"method_options": other} for other in others))


CONTROLS: dict[str, Row] = {
    "late fusion": _method("late_fusion"),
    "UME": _method("late_fusion", average="logits"),
    "joint": Row({}),
    "joint, layer": Row({"model_options": {"normalise": "layer"}}),
    "joint, batch": Row({"model_options": {"normalise": "batch"}}),
    "multi-loss": _method("multi_loss", {"weight": 0.3}, {"weight": 3.0}),
    "multi-loss, vote": _method("multi_loss", {"weight": 0.3}, {"weight": 3.0}, predict="vote"),
    "UMT": _method("umt", {"strength": 0.1}, {"strength": 10.0}),
}
BEFORE: dict[str, Row] = {
    "OGM-GE": _method("ogm_ge", {"alpha": 0.2}, {"alpha": 2.0}),
    "MLA": _method("mla", {"ridge": 0.1}, {"ridge": 0.01}),
}
NEWER: dict[str, Row] = {
    "OPM": _method("opm", {"base": 0.25}, {"warmup": 0}),
    "Data Remixing": _method("remix", {"warmup": 5}, {"warmup": 2}),
    "RNA": _method("rna", {"strength": 0.1}, {"strength": 10.0}),
    "MMCosine": Row({"fusion": "cosine"}, ({"fusion": cosine_5}, {"fusion": cosine_20})),
    "MMPareto": _method("mmpareto"),
    "DGL": _method("dgl"),
    "AGM": _method("agm", {"alpha": 0.5}, {"alpha": 2.5}),
    "MLB": _method("mlb", {"alpha": 0.4}, {"alpha": 1.6}),
    "Re-learning": _method("relearning", {"every": 5}, {"every": 10}),
    "QMF": _method("qmf", {"temperature": 1.0}, {"rank": 1.0}),
}
ROWS = CONTROLS | BEFORE | NEWER


def singles(name: str) -> list[str]:
    """The labels of one modality alone."""
    return [f"{m} alone" for m in DATA[name][1]]


def rows(name: str) -> dict[str, Setting]:
    """label -> setting with default constants; the learning rate is not set yet."""
    base, modalities, _ = DATA[name]
    made = dict(zip(singles(name), (alone(base, m) for m in modalities), strict=True))
    return made | {label: base.with_(label, **row.changes) for label, row in ROWS.items()}


def at_rates(name: str) -> dict[str, list[Setting]]:
    """label -> with each learning rate of the grid."""
    return {
        label: [s.with_(f"{label}, {name}, lr {rate:g}", fit_options={"lr": rate}) for rate in DATA[name][2]]
        for label, s in rows(name).items()
    }


def others(name: str) -> dict[str, list[Setting]]:
    """label -> the two other settings that are tried, from the best learning rate of the grid."""
    made = {}
    for label, s in rows(name).items():
        best = DATA[name][2][CHOICES[name][label][0]]
        changes = ROWS[label].others if label in ROWS else ()
        beside = [{"fit_options": {"lr": round(best * k, 6)}} for k in (1 / math.sqrt(3), math.sqrt(3))]
        at = s.with_(label, fit_options={"lr": best})
        made[label] = [at.with_(f"{label}, {name}, other {i}", **c) for i, c in enumerate(changes or beside)]
    return made


def after_rates() -> list[Setting]:
    """Every row with its default constants and every learning rate; of these runs validation accuracy alone is used."""
    return [s for name in DATA for tried in at_rates(name).values() for s in tried]


def after_constants() -> list[Setting]:
    """Every row with its two other constants; of these runs validation accuracy alone is used."""
    return [s for name in DATA for tried in others(name).values() for s in tried]


def after() -> list[Setting]:
    """Every row twice: with default constants and the best learning rate of the grid, and with the best of all it tried."""
    made = []
    for name in DATA:
        grid, more = at_rates(name), others(name)
        for label, (rate, chosen) in CHOICES[name].items():
            default = grid[label][rate]
            tuned = default if chosen is None else more[label][chosen]
            made += [default.with_(f"{label}, {name}, default"), tuned.with_(f"{label}, {name}, tuned")]
    return made
