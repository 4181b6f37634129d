"""Write ``mmlib/data/assets/cremad_split.csv``: which actors of CREMA-D are on which side.

    python tools/make_cremad_split.py

The actors are drawn once, women and men apart, so that each split has them in the proportions of the whole (43 and 48). The list
has every clip that the naming scheme allows: sixteen of the first sentence (three levels, and neutral), six of each other one; of
these 7,462 the repository has 7,442.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from mmlib.data.cremad import OFFICIAL, TEST_ACTORS, VAL_ACTORS
from mmlib.data.cremad_files import ACTORS, EMOTIONS, SENTENCES

SEED = 2014  # the year of the data
# VideoDemographics.csv of the repository
WOMEN = (
    1002, 1003, 1004, 1006, 1007, 1008, 1009, 1010, 1012, 1013, 1018, 1020, 1021, 1024, 1025, 1028, 1029, 1030, 1037, 1043, 1046,
    1047, 1049, 1052, 1053, 1054, 1055, 1056, 1058, 1060, 1061, 1063, 1072, 1073, 1074, 1075, 1076, 1078, 1079, 1082, 1084, 1089,
    1091,
)  # fmt: skip


def sides() -> dict[int, str]:
    """actor -> split."""
    rng, found = np.random.default_rng(SEED), {}
    for group in (WOMEN, tuple(a for a in ACTORS if a not in WOMEN)):
        order = rng.permutation(group).tolist()
        test, val = (round(len(group) * part / len(ACTORS)) for part in (TEST_ACTORS, VAL_ACTORS))
        for i, actor in enumerate(order):
            found[actor] = "test" if i < test else "val" if i < test + val else "train"
    return found


def clips(actor: int) -> list[str]:
    """The names that an actor's clips can have."""
    codes = [code for code, _ in EMOTIONS.values()]
    names = [f"{actor}_{SENTENCES[0]}_{c}_{level}" for c in codes if c != "NEU" for level in ("LO", "MD", "HI")]
    names.append(f"{actor}_{SENTENCES[0]}_NEU_XX")
    names += [f"{actor}_{sentence}_{c}_XX" for sentence in SENTENCES[1:] for c in codes]
    return sorted(names)


def write(path: Path) -> None:
    where = sides()
    with path.open("w", newline="", encoding="utf8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("clip", "split"))
        table.writerows((name, where[actor]) for actor in ACTORS for name in clips(actor))


if __name__ == "__main__":
    write(OFFICIAL)
