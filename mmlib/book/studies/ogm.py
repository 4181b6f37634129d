"""Chapter 5: OGM and OGM-GE, on `two_speed` and on `digits`."""

from __future__ import annotations

from typing import Any

from mmlib.book.studies.base import DIGITS, TWO_SPEED, alone
from mmlib.setting import Setting

ALPHAS = (1.0, 3.0, 10.0)
#: learning rates, the same for everyone; with `adamw` there is a weight decay of 0.01
SPEED_RATES: dict[str, tuple[float, ...]] = {"sgd": (0.03, 0.1, 0.3), "adam": (1e-3, 3e-3, 1e-2), "adamw": (1e-3, 1e-2)}
#: first and last epoch of 30 in which gradients are changed; the last one is all of them
WINDOWS = ((0, 4), (0, 9), (10, 29), (0, 29))
#: `two_speed` with SGD, as the paper trains: here slow is starved altogether
SPEED_SGD = TWO_SPEED.with_("joint", fit_options={"optimizer": "sgd", "lr": 0.1})


def ogm(base: Setting, alpha: float, label: str = "", **options: Any) -> Setting:
    """OGM, without noise unless ``options`` ask for it, in the setting of ``base``."""
    return base.with_(label or f"OGM {alpha:g}", method="ogm_ge", method_options={"alpha": alpha, "noise": None, **options})


def watched(base: Setting = SPEED_SGD) -> list[Setting]:
    """Runs whose history tells ratios, coefficients and gradient norms. With alpha 0, OGM is joint training, bit for bit."""
    return [ogm(base, alpha, "joint" if alpha == 0 else "", gradients=True) for alpha in (0, 0.3, *ALPHAS)]


def speed_cell(optimizer: str, lr: float) -> list[Setting]:
    """Everything on `two_speed` with one optimiser and learning rate."""
    decay = {"weight_decay": 0.01} if optimizer == "adamw" else {}
    base = TWO_SPEED.with_("", fit_options={"optimizer": optimizer, "lr": lr, **decay})
    tail = f", {optimizer} {lr:g}"
    rows = [base.with_(f"joint{tail}"), base.with_(f"late fusion{tail}", method="late_fusion")]
    rows += [alone(base, "slow", f"slow alone{tail}"), *(ogm(base, a, f"OGM {a:g}{tail}") for a in ALPHAS)]
    if optimizer != "adamw":
        rows += [ogm(base, a, f"OGM-GE {a:g}{tail}", noise="released") for a in ALPHAS]
        if lr == SPEED_RATES[optimizer][0]:
            rows += [ogm(base, a, f"OGM-GE, covariance {a:g}{tail}", noise="covariance") for a in ALPHAS]
    return rows


def ogm_two_speed() -> list[Setting]:
    """Optimisers and learning rates; windows; the continuous coefficient; every fusion."""
    rows = [s for optimizer, rates in SPEED_RATES.items() for lr in rates for s in speed_cell(optimizer, lr)]
    for first, last in WINDOWS[:-1]:
        rows += [ogm(SPEED_SGD, a, f"OGM {a:g}, epochs {first} to {last}", window=[first, last]) for a in ALPHAS]
    rows += [ogm(SPEED_SGD, a, f"OGM {a:g}, continuous", form="continuous") for a in ALPHAS]
    for fusion in ("sum", "film", "gated", "squeeze_excitation", "non_local"):
        base = SPEED_SGD.with_(f"joint, {fusion}", fusion=fusion)
        rows += [base, ogm(base, ALPHAS[-1], f"OGM {ALPHAS[-1]:g}, {fusion}")]
    return rows


#: what to train on -> knobs of `digits`
DIGIT_MODALITIES: dict[str, dict[str, Any]] = {
    "three modalities": {},
    "image and audio": {"modalities": ["image", "audio"]},
    "image and text": {"modalities": ["image", "text"]},
}
DIGIT_ALPHAS = (1.0, 10.0)


def digits_base(modalities: str = "three modalities") -> Setting:
    """`digits` with some of its modalities, at the learning rate of the other chapters."""
    return DIGITS.with_("", data_options=DIGIT_MODALITIES[modalities], fit_options={"optimizer": "adam"})


def digits_cell(modalities: str) -> list[Setting]:
    """Joint (as OGM with alpha 0, which tells the ratios), OGM, OGM-GE and late fusion with some of the modalities."""
    base, tail = digits_base(modalities), f", {modalities}, adam"
    rows = [ogm(base, 0.0, f"joint{tail}"), *(ogm(base, a, f"OGM {a:g}{tail}") for a in DIGIT_ALPHAS)]
    return [*rows, base.with_(f"late fusion{tail}", method="late_fusion"), ogm(base, 1.0, f"OGM-GE 1{tail}", noise="released")]


def ogm_digits() -> list[Setting]:
    """Where OGM helps on `digits` and where it hurts, with Adam."""
    singles = [alone(digits_base(), m, f"{m} alone, adam") for m in ("image", "audio", "text")]
    return singles + [s for modalities in DIGIT_MODALITIES for s in digits_cell(modalities)]


#: SGD on three modalities: the book's setting at its learning rate, and one with a third voice and few languages, where joint
#: training is fine
DIGIT_SGD: dict[str, dict[str, Any]] = {
    "2 voices, 15 languages": {"fit_options": {"lr": 0.05}},
    "3 voices, 6 languages": {"fit_options": {"lr": 0.02}, "data_options": {"train_voices": 3, "train_languages": 6}},
}


def ogm_digits_sgd() -> list[Setting]:
    """The same question under SGD."""
    rows = []
    for name, options in DIGIT_SGD.items():
        base = DIGITS.with_("", fit_options={"optimizer": "sgd"}).with_("", **options)
        rows += [alone(base, m, f"{m} alone, {name}") for m in ("image", "audio", "text")]
        rows += [base.with_(f"late fusion, {name}", method="late_fusion"), ogm(base, 0.0, f"joint, {name}")]
        rows += [ogm(base, a, f"OGM {a:g}, {name}") for a in DIGIT_ALPHAS]
    return rows
