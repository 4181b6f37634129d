"""Chapter "Diagnose your own": does `mmlib.diagnose` find what is known to ail a setting?

Four settings whose ailment was made, or is known from earlier chapters, ten draws of the data each, five trainings a draw. The
thresholds of `mmlib.diagnose` were set on draws from 200 on, and not changed after these.
"""

from __future__ import annotations

from typing import Any

from mmlib import diagnosis
from mmlib.book.drawn import TRAININGS, ShortFeatures, drawn
from mmlib.book.studies.base import DIGITS, TWO_SPEED
from mmlib.comparison import Comparison
from mmlib.setting import Setting

DRAWS = 10


#: voices enough that the audio generalises
EIGHT: dict[str, Any] = {"train_voices": 8, "train_languages": 24}
TWO: dict[str, Any] = {"modalities": ["image", "audio"]}
#: setting -> what is known to ail it, its modalities, and how it is trained
SETTINGS: dict[str, tuple[diagnosis.Finding, tuple[str, ...], Setting]] = {
    "two_speed": ("starvation", ("fast", "slow"), TWO_SPEED.with_("", data=drawn, data_options={"name": "two_speed"})),
    "digits": ("overfitting", ("image", "audio"), DIGITS.with_("", data=drawn, data_options={"name": "digits", **TWO})),
    "digits, eight voices, short image": (
        "scale",
        ("image", "audio"),
        DIGITS.with_(
            "",
            data=drawn,
            data_options={"name": "digits", **TWO, **EIGHT},
            model_options={"encoders": {"image": ShortFeatures}},
        ),
    ),
    "two_speed, equal gains": (
        "nothing to mend",
        ("fast", "slow"),
        TWO_SPEED.with_("", data=drawn, data_options={"name": "two_speed", "fast_gain": 1.0, "slow_gain": 1.0}),
    ),
}


def diagnoses() -> list[Setting]:
    """The three networks of a diagnosis in every setting."""
    return [row for name, (_, _, base) in SETTINGS.items() for row in diagnosis.rows(base, f", {name}")]


def found(outcome: Comparison, name: str) -> list[diagnosis.Diagnosis]:
    """One diagnosis per draw of a setting."""
    draws = [outcome.seeds[i : i + TRAININGS] for i in range(0, len(outcome.seeds), TRAININGS)]
    modalities = SETTINGS[name][1]
    return [diagnosis.read(outcome, modalities, tail=f", {name}", seeds=draw) for draw in draws]
