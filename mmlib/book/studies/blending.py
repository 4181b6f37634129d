"""Chapter 4: Gradient-Blending against naive joint training, and what its estimate needs."""

from __future__ import annotations

from typing import Any

from mmlib.book.studies.base import DIGITS, TWO_SPEED, alone
from mmlib.setting import Setting

#: SGD at the learning rate that validation prefers for the image alone and for joint training (study `optimizers`)
SGD: dict[str, Any] = {"optimizer": "sgd", "lr": 0.05}
#: training losses are read at the end of each epoch, like validation losses
BLENDING = DIGITS.with_("joint", fit_options={**SGD, "train_metrics": "evaluated"})
BLENDING_TWO = BLENDING.with_("joint", data_options={"modalities": ["image", "audio"]})
#: new voices and new languages in what is held out; two of five of each. Ten epochs, as little is left to train on: with
#: five the image has hardly begun to learn (validation prefers ten; the setting "offline, five epochs" shows it)
APART: dict[str, Any] = {"holdout": ["voice", "language"], "holdout_fraction": 0.4, "super_epoch": 10}
APART_TWO: dict[str, Any] = {"holdout": "voice", "holdout_fraction": 0.5, "super_epoch": 10}
#: optimiser -> learning rates that joint training may choose from
OTHERS: dict[str, tuple[float, ...]] = {"adam": (3e-3, 1e-2), "adamw": (3e-3, 1e-2), "adagrad": (0.01, 0.03, 0.1)}


#: what the tables of the chapters show first is our variant, in which the weights act on the encoders alone
VARIANT: dict[str, Any] = {"weights_on": "encoders"}


def blend(base: Setting, label: str, **options: Any) -> Setting:
    """Gradient-Blending in the setting of ``base``, with weights on the encoders unless told otherwise."""
    return base.with_(label, method="gradient_blending", method_options={**VARIANT, **options})


#: the formula to the letter, as the paper has it: its weights on the losses, and every head measured in a network of its own
LETTER: dict[str, Any] = {"weights_on": "loss", "estimate": "separate"}


def blending() -> list[Setting]:
    """Three modalities, SGD: the baselines, Gradient-Blending with every kind of weights and of hold-out, and two remedies."""
    rows = [alone(BLENDING, m) for m in ("image", "audio", "text")]
    rows += [BLENDING.with_("late fusion", method="late_fusion"), BLENDING]
    rows += [blend(BLENDING, f"offline, {e}", estimate=e, **APART) for e in ("separate", "shared")]
    rows += [
        blend(BLENDING, f"online, {e}", mode="online", estimate=e, **{**APART, "super_epoch": 5}) for e in ("separate", "shared")
    ]
    rows.append(blend(BLENDING, "equal weights", weights=[1, 1, 1, 1]))
    rows.append(blend(BLENDING, "by hand", weights={"image": 0.7, "audio": 0.1, "text": 0.1, "joint": 0.1}))
    rows.append(blend(BLENDING, "hold-out: same voices and languages", estimate="shared", **{**APART, "holdout": "random"}))
    rows.append(blend(BLENDING, "hold-out: same languages", estimate="shared", **{**APART, "holdout": "voice"}))
    rows.append(blend(BLENDING, "offline, five epochs", estimate="shared", **{**APART, "super_epoch": 5}))
    rows.append(blend(BLENDING, "offline, all heads vote", estimate="shared", predict="vote", **APART))
    rows.append(blend(BLENDING, "offline, heads weighted", estimate="shared", weights_on="loss", **APART))
    rows.append(BLENDING.with_("joint, dropout 0.9", model_options={"dropout": 0.9}))
    rows.append(BLENDING.with_("joint, weight decay 0.01", fit_options={"weight_decay": 0.01}))
    return (
        rows + to_the_letter() + [blend(BLENDING, f"offline, floor {f:g}", estimate="separate", floor=f, **APART) for f in FLOORS]
    )


FLOORS = (0.001, 0.1)


def to_the_letter() -> list[Setting]:
    """The paper's own form, and what it might lack: the vote of all heads, larger steps, more of them, equal weights."""
    letter = blend(BLENDING, "to the letter", **LETTER, **APART)
    rows = [letter, blend(BLENDING, "to the letter, all heads vote", predict="vote", **LETTER, **APART)]
    rows += [letter.with_(f"to the letter, rate {lr:g}", fit_options={"lr": lr}) for lr in (0.2, 0.5)]
    rows.append(letter.with_("to the letter, 60 epochs", fit_options={"epochs": 60}))
    rows.append(blend(BLENDING, "to the letter, online", mode="online", **LETTER, **{**APART, "super_epoch": 5}))
    return [*rows, blend(BLENDING, "to the letter, equal weights", weights=[1, 1, 1, 1], weights_on="loss")]


def blending_two() -> list[Setting]:
    """The same with image and audio alone."""
    base = BLENDING_TWO
    rows = [alone(base, "image"), alone(base, "audio"), base.with_("late fusion", method="late_fusion"), base]
    rows += [blend(base, f"offline, {e}", estimate=e, **APART_TWO) for e in ("separate", "shared")]
    rows += [blend(base, "online, shared", mode="online", estimate="shared", **{**APART_TWO, "super_epoch": 5})]
    rows.append(blend(base, "hold-out: same voices", estimate="shared", **{**APART_TWO, "holdout": "random"}))
    rows.append(blend(base, "to the letter", **LETTER, **APART_TWO))
    return [*rows, blend(base, "to the letter, all heads vote", predict="vote", **LETTER, **APART_TWO)]


def blending_optimizers() -> list[Setting]:
    """Joint training and Gradient-Blending under three adaptive optimisers."""
    rows = []
    for optimizer, rates in OTHERS.items():
        for lr in rates:
            decay = {"weight_decay": 0.01} if optimizer == "adamw" else {}  # without it AdamW is Adam
            base = BLENDING.with_(f"joint, {optimizer} {lr}", fit_options={"optimizer": optimizer, "lr": lr, **decay})
            quick = {k: v for k, v in APART.items() if k != "super_epoch"}  # five by default: these optimisers are quick
            rows += [base, blend(base, f"blend, {optimizer} {lr}", estimate="shared", **quick)]
            vote = f"blend, all heads vote, {optimizer} {lr}"
            rows.append(blend(base, vote, estimate="shared", predict="vote", **quick))
    return rows


def blending_two_speed() -> list[Setting]:
    """Where the disease is another one: starvation."""
    base = TWO_SPEED.with_("joint", fit_options={"train_metrics": "evaluated"})
    rows = [alone(base, "fast"), alone(base, "slow"), base.with_("late fusion", method="late_fusion"), base]
    rows += [blend(base, f"offline, {e}", estimate=e) for e in ("separate", "shared")]
    rows.append(blend(base, "offline, all heads vote", estimate="shared", predict="vote"))
    rows.append(blend(base, "equal weights", weights=[1, 1, 1]))
    return [*rows, blend(base, "to the letter", **LETTER), blend(base, "to the letter, all heads vote", predict="vote", **LETTER)]
