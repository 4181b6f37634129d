"""Chapter 2: naive fusion, remedies, optimisers, and the map of laziness."""

from __future__ import annotations

from mmlib.book.studies.base import DIGITS, DIGITS_MANY, TWO_SPEED, alone
from mmlib.setting import Setting

#: SGD ends at 0.05: at 0.1 the loss of the audio encoder, trained alone, became infinite
RATES = {"adam": (3e-4, 1e-3, 3e-3, 1e-2), "sgd": (0.005, 0.01, 0.02, 0.05)}
VOICES = (1, 2, 4, 8, 16, 32)
NOISES = (0.0, 0.15, 0.3, 0.5, 0.8)


def naive_fusion() -> list[Setting]:
    """Each modality alone, late fusion, and joint training with four fusions."""
    single = [alone(DIGITS, m) for m in ("image", "audio", "text")]
    late = DIGITS.with_("late fusion", method="late_fusion", probe=True)
    fusions = [DIGITS.with_(f"joint, {f}", fusion=f, probe=f == "concat") for f in ("concat", "sum", "film", "gated")]
    return [*single, late, *fusions]


def many() -> list[Setting]:
    """A setting in which joint training is fine: every voice and language there is."""
    single = [alone(DIGITS, m, **DIGITS_MANY) for m in ("image", "audio", "text")]
    late = DIGITS.with_("late fusion", method="late_fusion", data_options=DIGITS_MANY)
    return [*single, late, DIGITS.with_("joint, concat", data_options=DIGITS_MANY)]


def two_speed() -> list[Setting]:
    """Starvation: the quick modality alone, the slow one alone, late fusion, joint."""
    late = TWO_SPEED.with_("late fusion", method="late_fusion", probe=True)
    return [alone(TWO_SPEED, "fast"), alone(TWO_SPEED, "slow"), late, TWO_SPEED.with_("joint, concat", probe=True)]


def remedies() -> list[Setting]:
    """What people try first. A strength is one of four; validation picks."""
    joint = DIGITS.with_("joint")
    rows = [alone(DIGITS, "image"), DIGITS.with_("late fusion", method="late_fusion"), joint]
    rows.append(joint.with_("no selection: last epoch", fit_options={"keep": "last"}))
    rows.append(joint.with_("early stopping, patience 3", fit_options={"patience": 3}))
    rows += [joint.with_(f"dropout {p}", model_options={"dropout": p}) for p in (0.2, 0.5, 0.8, 0.9)]
    decay = {"optimizer": "adamw"}
    rows += [joint.with_(f"weight decay {w}", fit_options={**decay, "weight_decay": w}) for w in (0.01, 0.1, 1.0, 10.0)]
    rows += [joint.with_(f"network x {w}", model_options={"width": w, "dim": round(64 * w)}) for w in (0.25, 0.5, 2, 4)]
    rows += [joint.with_(f"encoders pre-trained {n} epochs", pretrain_epochs=n) for n in (5, 10, 20, 40)]
    rows.append(joint.with_("squeeze-and-excitation gate", fusion="squeeze_excitation"))
    rows.append(joint.with_("non-local gate", fusion="non_local"))
    return rows


def optimizers() -> list[Setting]:
    """Adam and SGD with momentum, four learning rates each, for the best single modality, late fusion and joint."""
    rows = []
    for optimizer, rates in RATES.items():
        for lr in rates:
            base = DIGITS.with_("", fit_options={"optimizer": optimizer, "lr": lr})
            rows.append(alone(base, "image", f"image alone, {optimizer} {lr}"))
            rows.append(base.with_(f"late fusion, {optimizer} {lr}", method="late_fusion"))
            rows.append(base.with_(f"joint, {optimizer} {lr}"))
    return rows


def map_cell(voices: int, noise: float) -> Setting:
    """Joint training of image and audio in one cell of the map."""
    options = {"modalities": ["image", "audio"], "train_voices": voices, "image_noise": noise}
    return DIGITS.with_(f"joint, {voices} voices, noise {noise}", data_options=options)


def laziness_map() -> list[Setting]:
    """Joint training of image and audio over training voices x image noise, and each of the two alone."""
    image = [alone(DIGITS, "image", f"image, noise {n}", image_noise=n) for n in NOISES]
    audio = [alone(DIGITS, "audio", f"audio, {v} voices", train_voices=v) for v in VOICES]
    return image + audio + [map_cell(v, n) for v in VOICES for n in NOISES]
