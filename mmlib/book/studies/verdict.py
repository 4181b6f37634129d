"""Chapter "The verdict": every method on every data set, with one budget.

Each row of a data set gets the same search (`mmlib.tune`): twelve trials, the first with the defaults, then eleven points of one
quasi-random sequence in learning rate, weight decay, normalisation of features and the method's own one or two constants; two
seeds each, and validation accuracy decides. What it chose stands in ``verdict_choices.json``, which a test compares with the
stored trials. The winner then meets ten other seeds, or twelve where the seed turns six speakers round.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from mmlib.book.cosines import cosine_5, cosine_20
from mmlib.book.studies import natural
from mmlib.book.studies.base import DIGITS, TWO_SPEED, alone
from mmlib.book.studies.blending import VARIANT
from mmlib.metrics.measures import calibration_error, without_each
from mmlib.metrics.memory import step_memory
from mmlib.setting import Setting
from mmlib.tuning import Between, Space, trials

BUDGET, TRIAL_SEEDS, SEEDS = 12, 2, 10
CHOICES = Path(__file__).with_name("verdict_choices.json")

MOTION = Setting("", data="motion", data_options={"train_people": natural.TUNED_AT}, fit_options={"epochs": 15, "lr": 3e-3})
VOICES = Setting("", data="avmnist", fit_options={"epochs": 10, "lr": 3e-3})


class Data(NamedTuple):
    """A column of the table."""

    base: Setting  #: with the book's learning rate
    modalities: tuple[str, ...]
    holdout: dict[str, Any]  #: what Gradient-Blending holds out: whole groups, where there are any
    balanced: bool = False  #: whether classes are of such different size that balanced accuracy is shown
    overlap: float = 0.0  #: test for each training unit (people, emoji, voices), where every seed splits one pool anew
    seeds: int = SEEDS  #: on which its winners are run


DATA: dict[str, Data] = {
    "two_speed": Data(TWO_SPEED, ("fast", "slow"), {}),
    "motion, two": Data(
        MOTION.with_("", data_options={"modalities": ["phone", "watch"]}), ("phone", "watch"), {"holdout": "person"}, True, 7 / 8
    ),
    "emoji": Data(
        Setting("", data="emoji", fit_options={"epochs": 15, "lr": 3e-3}), ("image", "text"), {"holdout": "emoji"}, True, 0.55
    ),
    "digits, two": Data(
        DIGITS.with_("", data_options={"modalities": ["image", "audio"]}),
        ("image", "audio"),
        {"holdout": "voice", "holdout_fraction": 0.5},
        overlap=0.5,
    ),
    "motion, four": Data(MOTION, natural.SENSORS, {"holdout": "person"}, True, 7 / 8),
    "digits, three": Data(
        DIGITS, ("image", "audio", "text"), {"holdout": ["voice", "language"], "holdout_fraction": 0.4}, overlap=0.5
    ),
    "avmnist": Data(  # the seed's remainder by six says who is heard where: twelve seeds are each rotation twice
        VOICES, ("image", "audio"), {"holdout": "voice", "holdout_fraction": 0.5}, overlap=1.0, seeds=12
    ),
}


RUN: tuple[str, ...] = tuple(DATA)  #: the columns, in order


#: whose winners' time and memory is measured, on a machine that does nothing else
COSTED = "digits, three"


class Row(NamedTuple):
    """A row of the table: how it differs from joint training, and its own constants."""

    changes: dict[str, Any]
    space: Space = MappingProxyType({})


def _method(name: str, space: Space | None = None, **options: Any) -> Row:
    own = {f"method_options.{key}": axis for key, axis in (space or {}).items()}
    return Row({"method": name, "method_options": options}, own)


STRENGTH = Between(0.1, 10.0, log=True)
#: of Gradient-Blending: epochs between two checkpoints, and whether it estimates once or again and again
PACE: Space = {"super_epoch": (3, 5, 10), "mode": ("offline", "online")}

CONTROLS: dict[str, Row] = {
    "late fusion": _method("late_fusion"),
    "UME": _method("late_fusion", average="logits"),
    "multi-loss": _method("multi_loss", {"weight": STRENGTH}),
    "multi-loss, vote": _method("multi_loss", {"weight": STRENGTH}, predict="vote"),
    "UMT": _method("umt", {"strength": STRENGTH}),
    "joint": Row({}),
    "joint, other fusion": Row({}, {"fusion": ("sum", "gated", "film", "squeeze_excitation", "non_local")}),
}
BALANCING: dict[str, Row] = {
    "Gradient-Blending, to the letter": _method("gradient_blending", PACE),
    "Gradient-Blending, ours": _method("gradient_blending", PACE, estimate="shared", **VARIANT),
    "Gradient-Blending, ours, vote": _method("gradient_blending", PACE, estimate="shared", predict="vote", **VARIANT),
    "OGM": _method("ogm_ge", {"alpha": Between(0.1, 2.0)}, noise=None),
    "OGM-GE": _method("ogm_ge", {"alpha": Between(0.1, 2.0)}),
    "MLA": _method("mla", {"ridge": Between(0.01, 10.0, log=True), "fusion": ("uncertainty", "mean")}),
    "OPM": _method("opm", {"base": Between(0.1, 0.9), "warmup": (0, 2, 5)}),
    "Data Remixing": _method("remix", {"warmup": (2, 5, 10)}),
    "RNA": _method("rna", {"strength": STRENGTH}),
    "MMCosine": Row({"fusion": "cosine"}, {"fusion": ("cosine", cosine_5, cosine_20)}),
    "MMPareto": _method("mmpareto", {"gamma": Between(1.0, 3.0)}),
    "DGL": _method("dgl", {"alpha": Between(1.0, 10.0, log=True)}),
    "AGM": _method("agm", {"alpha": Between(0.3, 3.0)}),
    "MLB": _method("mlb", {"alpha": Between(0.2, 2.0, log=True)}),
    "Re-learning": _method("relearning", {"every": (3, 5, 10), "strength": Between(0.3, 3.0, log=True)}),
    "QMF": _method("qmf", {"temperature": Between(1.0, 10.0, log=True), "rank": Between(0.03, 3.0, log=True)}),
}
ROWS = CONTROLS | BALANCING
#: ends the label of a row whose search was confined to features as the encoders make them
PLAIN = ", as they are"
#: what every row searches, first in its space, so that all rows of all data try the same points
COMMON: Space = {
    "fit_options.lr": Between(3e-4, 0.1, log=True),
    "fit_options.weight_decay": (0.0, 1e-4, 1e-3, 1e-2),
    "model_options.normalise": (None, "batch", "layer"),
}


def labels(name: str) -> list[str]:
    """The rows of a data set: each modality alone, then `ROWS`."""
    return [*(f"{m} alone" for m in DATA[name].modalities), *ROWS]


def rows(name: str) -> dict[str, tuple[Setting, Space]]:
    """label -> the setting with defaults, and what it searches."""
    base, modalities, holdout, *_ = DATA[name]
    made: dict[str, tuple[Setting, Space]] = {f"{m} alone": (alone(base, m), COMMON) for m in modalities}
    for label, row in ROWS.items():
        setting = base.with_("", **row.changes)
        if setting.method == "gradient_blending":
            setting = setting.with_("", method_options=holdout)
        made[label] = setting, {**COMMON, **row.space}
    return {label: (setting.with_(f"{label}, {name}"), space) for label, (setting, space) in made.items()}


def searched(name: str) -> dict[str, dict[int, tuple[Setting, dict[str, Any]]]]:
    """label -> the trials of the row."""
    return {label: trials(setting, space, BUDGET) for label, (setting, space) in rows(name).items()}


def tried(name: str) -> list[Setting]:
    """All trials of a data set; of these runs validation accuracy alone is used."""
    return [setting for made in searched(name).values() for setting, _ in made.values()]


def choices() -> dict[str, dict[str, int]]:
    """data -> label -> the number of the trial that validation data chose."""
    found: dict[str, dict[str, int]] = json.loads(CHOICES.read_text("utf8"))
    return found


def chosen(name: str) -> list[Setting]:
    """Every row of a data set with what was chosen for it, and all that the table measures; then the same rows with features as
    they are, with the best of the four trials that leave them so."""
    made, picked = searched(name), choices()[name]
    plain = [f"{label}{PLAIN}" for label in ROWS]
    return [
        made[label.removesuffix(PLAIN)][picked[label]][0].with_(f"{label}, {name}", measures=(calibration_error, without_each))
        for label in [*labels(name), *plain]
    ]


def costs() -> list[Setting]:
    """What the winners cost on the largest of the small data sets: seconds of training, as in every run, and memory."""
    made, picked = searched(COSTED), choices()[COSTED]
    return [made[label][picked[label]][0].with_(label, measures=(step_memory,)) for label in ROWS]


def key(name: str) -> str:
    """The name of a data set in the names of the stored results: ``verdict_trials_{key}`` and ``verdict_{key}``."""
    return name.replace(", ", "_")
