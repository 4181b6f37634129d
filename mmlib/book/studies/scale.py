"""Chapter "Scale": the ratio of feature lengths set by hand, and normalisation taken apart; and how far that reaches: under SGD,
in encoders with normalisation inside, in one modality alone.

Every row tries the four learning rates of its data set (three seeds, validation accuracy) and has the best of them
(`SCALE_RATES`, which a test compares with the stored runs).
"""

from __future__ import annotations

from typing import Any

from mmlib.book.lengths import MeasuredJoint
from mmlib.book.scaled import DosedJoint, InsideJoint, PartlyNormalisedJoint
from mmlib.book.studies import after, natural
from mmlib.book.studies.base import alone
from mmlib.book.studies.scale_rates import SCALE_RATES
from mmlib.setting import Setting

VOICES = Setting("", data="avmnist", fit_options={"epochs": 10})
#: data -> setting, modalities, learning rates
DATA = after.DATA | {"avmnist": (VOICES, ("image", "audio"), (1e-3, 3e-3, 1e-2, 3e-2))}
SGD_RATES = (0.01, 0.03, 0.1, 0.3)

RATIOS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
#: data sets with two modalities for the dose: name -> what is changed in that of `DATA`
PAIRS: dict[str, tuple[str, tuple[str, str], Setting]] = {
    "two_speed": ("two_speed", ("fast", "slow"), DATA["two_speed"][0]),
    "digits": ("digits", ("image", "audio"), DATA["digits"][0].with_("", data_options={"modalities": ["image", "audio"]})),
    "motion": ("motion", ("phone", "watch"), DATA["motion"][0].with_("", data_options={"modalities": ["phone", "watch"]})),
}
#: a row of the decomposition -> how its setting differs from joint training
PARTS: dict[str, dict[str, Any]] = {
    "as they are": {},
    "centred": {"model_options": {"normalise": "centre"}},
    "divided by √D": {"method": PartlyNormalisedJoint, "method_options": {"part": "divide"}},
    "one number per modality": {"model_options": {"normalise": "rms"}},
    "RNA loss": {"method": "rna"},
    "batch": {"model_options": {"normalise": "batch"}},
    "batch, learned parameters": {"method": PartlyNormalisedJoint, "method_options": {"part": "parameters"}},
    "batch, running statistics": {"method": PartlyNormalisedJoint, "method_options": {"part": "running"}},
    "layer": {"model_options": {"normalise": "layer"}},
    "length one": {"model_options": {"normalise": "l2"}},
    "cosine head": {"fusion": "cosine"},
}
#: kinds that are tried beyond joint training under Adam -> `normalise`
KINDS: dict[str, dict[str, Any]] = {
    "as they are": {},
    "one number per modality": {"model_options": {"normalise": "rms"}},
    "batch": {"model_options": {"normalise": "batch"}},
    "layer": {"model_options": {"normalise": "layer"}},
}


def dose_rows() -> dict[str, Setting]:
    """label -> joint training with a ratio of feature lengths set by hand; the learning rate is not set yet."""
    return {
        f"ratio {ratio:g}, {name}": base.with_("", method=DosedJoint, method_options={"ratio": ratio})
        for name, (_, _, base) in PAIRS.items()
        for ratio in RATIOS
    }


def part_rows() -> dict[str, Setting]:
    """label -> joint training with a part of a normalisation; the learning rate is not set yet."""
    made = {f"{part}, {name}": base.with_("", **changes) for name, (base, *_) in DATA.items() for part, changes in PARTS.items()}
    return made | beyond_rows()


def beyond_rows() -> dict[str, Setting]:
    """label -> each kind under SGD, in late fusion and in one modality alone, and joint training of encoders with batch
    normalisation after every hidden layer; the learning rate is not set yet."""
    made: dict[str, Setting] = {}
    for name, (base, modalities, _) in after.DATA.items():
        for kind, changes in KINDS.items():
            made[f"SGD, {kind}, {name}"] = base.with_("", fit_options={"optimizer": "sgd"}, **changes)
            made[f"late fusion, {kind}, {name}"] = base.with_("", method="late_fusion", **changes)
            made |= {f"{m} alone, {kind}, {name}": alone(base, m).with_("", **changes) for m in modalities}
        inside = base.with_("", method=InsideJoint)
        made |= {f"inside, {kind}, {name}": inside.with_("", **KINDS[kind]) for kind in ("as they are", "layer")}
    return made


def _name(label: str) -> str:
    return label.rpartition(", ")[2]


def rates(label: str) -> tuple[float, ...]:
    """The learning rates that a row may choose from."""
    return SGD_RATES if label.startswith("SGD, ") else DATA[_name(label)][2]


def tried(rows: dict[str, Setting]) -> list[Setting]:
    """Every row with every learning rate of its data set."""
    return [row.with_(f"{label}, lr {rate:g}", fit_options={"lr": rate}) for label, row in rows.items() for rate in rates(label)]


def chosen(rows: dict[str, Setting]) -> list[Setting]:
    """Every row with the learning rate that validation data chose."""
    return [row.with_(label, fit_options={"lr": SCALE_RATES[label]}) for label, row in rows.items()]


def scale_rates() -> list[Setting]:
    """The decomposition with every learning rate; of these runs validation accuracy alone is used."""
    return tried(part_rows())


def scale() -> list[Setting]:
    """The decomposition, each row with its learning rate."""
    return chosen(part_rows())


def dose_rates() -> list[Setting]:
    """The dose with every learning rate; of these runs validation accuracy alone is used."""
    return tried(dose_rows())


def dose() -> list[Setting]:
    """The dose, each ratio with its learning rate."""
    return chosen(dose_rows())


#: data -> its setting with the book's learning rate, which is the same for all but `two_speed`
MEASURED: dict[str, tuple[Setting, tuple[str, ...]]] = {
    "two_speed": (DATA["two_speed"][0], DATA["two_speed"][1]),
    **{name: (DATA[name][0].with_("", fit_options={"lr": 3e-3}), DATA[name][1]) for name in ("digits", "avmnist", "motion")},
    "emoji": (natural.DATA["emoji"][0].with_("", fit_options={"lr": 3e-3}), natural.DATA["emoji"][1]),
}


def lengths() -> list[Setting]:
    """Joint training on every data set, the length of its features noted after every epoch."""
    return [base.with_(name, method=MeasuredJoint, fit_options={"keep": "last"}) for name, (base, _) in MEASURED.items()]
