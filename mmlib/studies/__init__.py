"""The experiments of the book, each defined once: chapters run them, or read them from `book/results`."""

from mmlib.studies.base import DIGITS, DIGITS_MANY, TWO_SPEED, Study, alone
from mmlib.studies.laziness import (
    NOISES,
    RATES,
    VOICES,
    laziness_map,
    many,
    map_cell,
    naive_fusion,
    optimizers,
    remedies,
    two_speed,
)

# Which two voices are drawn decides much: the spread over seeds is wide where voices are few, and five seeds can by chance
# look far steadier than they are. Ten, where the budget allows.
STUDIES: dict[str, Study] = {
    "naive_fusion": Study(naive_fusion, 10),
    "remedies": Study(remedies, 10),
    "optimizers": Study(optimizers, 10),
    "laziness_map": Study(laziness_map, 5),
}

__all__ = [
    "DIGITS",
    "DIGITS_MANY",
    "NOISES",
    "RATES",
    "STUDIES",
    "TWO_SPEED",
    "VOICES",
    "Study",
    "alone",
    "laziness_map",
    "many",
    "map_cell",
    "naive_fusion",
    "optimizers",
    "remedies",
    "two_speed",
]
