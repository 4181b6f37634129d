"""`emoji`: a picture of an emoji, and its English name. Natural pairs: each name was given to that picture.

======== =================== ==========================================================================
modality one sample          what
======== =================== ==========================================================================
image    [3, 32, 32]         a colour picture in one of two styles, Noto or Twemoji, standardised
text     [L], int64          letters of the Unicode short name: 1 for a to 26 for z, 27 a space, then 28 for 0 to 37 for 9
======== =================== ==========================================================================

The class is one of eight groups of Unicode's: smileys and emotion, people and body, animals and nature, and so on. Variants of
one emoji (skin tones, genders, hair, direction) are one *family*, and a family stands in one split. So the test asks for emoji
that were never seen in any form. Where each part comes from, and what it is not: the book's data card.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmlib.data.checks import check_between, check_modalities, check_seed
from mmlib.data.core import MultimodalData, Splits
from mmlib.data.prepare import Prepare

MODALITIES = ("image", "text")
ASSETS = Path(__file__).parent / "assets"  #: the files that tools/make_emoji.py made
GROUPS = (
    "Smileys & Emotion", "People & Body", "Animals & Nature", "Food & Drink",
    "Travel & Places", "Activities", "Objects", "Symbols",
)  # fmt: skip
STYLES = ("noto", "twemoji")
VOCABULARY = 38  #: text ids are 0 (nothing), 1 .. 26 (a .. z), 27 (space), 28 .. 37 (0 .. 9)
LENGTH = 40  #: of the text; what is longer is cut
TEST_SHARE, VAL_SHARE = 0.3, 0.15  #: of the families of each group

Style = Literal["noto", "twemoji", "both"]


class Emoji(NamedTuple):
    """The shipped emoji, variants with a skin tone among them, in Unicode's order."""

    pictures: dict[str, NDArray[np.uint8]]  # style -> [N, 32, 32, 3], 0 to 31
    ids: Tensor  # [N, LENGTH], int64
    written: list[str]  # N emoji, as text
    names: list[str]  # N
    label: NDArray[np.int64]  # [N], place in GROUPS
    family: NDArray[np.int64]  # [N]
    toned: NDArray[np.bool_]  # [N], a skin tone other than the usual one


def make(
    modalities: Sequence[str] | None = None,
    seed: int = 0,
    *,
    families: int = 0,
    variants: bool = False,
    style: Style = "noto",
    test_style: Style | None = None,
    image_noise: float = 0.0,
    text_noise: float = 0.0,
) -> Splits:
    """Draw `emoji`.

    The seed draws, of every group, 30 % of the families for the test, 15 % for validation, and the rest for training. Each
    family is represented by one of its emoji without a skin tone. Validation and test depend on the seed, the styles and the
    noise alone.

    Args:
        modalities: ``image``, ``text`` or both, in which order; by default both.
        seed: of everything drawn: families, representatives, noise.
        families: of the training split, as many of each group as in the whole, at least 8; 0 for all.
        variants: have all variants of the training families in the training data, not one of each. Two in three samples are
            then of people.
        style: of the pictures in training and validation: "noto", "twemoji", or "both", which has every emoji twice.
        test_style: of the pictures in the test; by default as in training. Another one is a shift that users meet.
        image_noise: standard deviation of Gaussian noise on the picture, whose colours go from 0 to 1. Drawn once, on all splits.
        text_noise: share of the letters, 0 to 1, that are replaced by a random one. Drawn once, on all splits.

    Returns:
        Splits. ``groups``: ``emoji``, the family. ``raw``: ``emoji`` and ``name``, texts, and ``style``. ``prepare`` takes
        pictures as bytes [3, 32, 32].

    Raises:
        TypeError, ValueError: an unknown modality or style, or a knob out of its range.
    """
    chosen = MODALITIES if modalities is None else tuple(modalities) if not isinstance(modalities, str) else modalities
    check_modalities(chosen, MODALITIES)
    check_seed(seed)
    styles = [
        _styles("style", style),
        _styles("style", style),
        _styles("test_style", style if test_style is None else test_style),
    ]
    if not isinstance(variants, bool):
        raise TypeError(f"variants: expected True or False, found {variants!r}")
    check_between("image_noise", image_noise, 0, 100)
    check_between("text_noise", text_noise, 0, 1)
    known = emoji()
    drawn = _draw(seed, families)
    standing = [_representatives(part, seed) for part in drawn]
    if variants:
        standing[0] = np.flatnonzero(np.isin(known.family, drawn[0]))
    parts = [
        _part(known, rows, shown, chosen, (seed, number), image_noise, text_noise)
        for number, (rows, shown) in enumerate(zip(standing, styles, strict=True))
    ]
    prepare: dict[str, Prepare] = {}
    if "image" in chosen:
        reference = parts[0].inputs["image"].double()
        mean, std = reference.mean((0, 2, 3)), reference.std((0, 2, 3)).clamp(min=1e-6)
        shape = tuple(reference.shape[1:])
        prepare["image"] = Prepare("image", shape, bytes=True, mean=tuple(mean.tolist()), std=tuple(std.tolist()))
        for part in parts:
            scaled = (part.inputs["image"].double() - mean[:, None, None]) / std[:, None, None]
            part.inputs["image"] = scaled.float()
    if "text" in chosen:
        prepare["text"] = Prepare("text", (LENGTH,), vocabulary=VOCABULARY)
    settings = {
        "seed": seed, "families": families, "variants": variants, "style": style, "test_style": test_style,
        "image_noise": image_noise, "text_noise": text_noise,
    }  # fmt: skip
    return Splits(parts[0], parts[1], parts[2], name="emoji", settings=settings, classes=GROUPS, prepare=prepare)


def _styles(what: str, asked: str) -> tuple[str, ...]:
    if asked not in (*STYLES, "both"):
        raise ValueError(f"{what}: unknown {asked!r}; known: {', '.join(STYLES)}, both")
    return STYLES if asked == "both" else (asked,)


def _draw(seed: int, count: int) -> list[NDArray[np.int64]]:
    """The families of training, validation and test."""
    known = emoji()
    rng = np.random.default_rng([seed, 0])
    of_group = [rng.permutation(np.unique(known.family[known.label == g])) for g in range(len(GROUPS))]
    test = [round(TEST_SHARE * len(f)) for f in of_group]
    val = [round(VAL_SHARE * len(f)) for f in of_group]
    left = [f[a + b :] for f, a, b in zip(of_group, test, val, strict=True)]
    total = sum(map(len, left))
    if count != 0:
        check_between("families", count, len(GROUPS), total, whole=True, why=" (or 0 for all)")
        left = [f[: max(1, round(count * len(f) / total))] for f in left]
    cuts = [np.concatenate([f[:a] for f, a in zip(of_group, test, strict=True)])]
    cuts.append(np.concatenate([f[a : a + b] for f, a, b in zip(of_group, test, val, strict=True)]))
    return [np.concatenate(left), cuts[1], cuts[0]]


def _representatives(families: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """One emoji of each family, without a skin tone: the same whichever families are asked for."""
    known = emoji()
    turn = np.random.default_rng([seed, 1]).random(int(known.family.max()) + 1)  # of each family, where in it
    rows = [np.flatnonzero((known.family == f) & ~known.toned) for f in families]
    return np.array([r[int(turn[f] * len(r))] for f, r in zip(families, rows, strict=True)])


def _part(
    known: Emoji, rows: NDArray[np.int64], styles: tuple[str, ...], chosen: Sequence[str], seed: tuple[int, int],
    image_noise: float, text_noise: float,
) -> MultimodalData:  # fmt: skip
    """One split, its pictures from 0 to 1."""
    inputs: dict[str, Tensor] = {}
    for modality in chosen:
        # a stream for each modality and split: leaving one out changes nothing in the other
        rng = np.random.default_rng([seed[0], 2 + MODALITIES.index(modality), seed[1]])
        if modality == "image":
            whole = np.concatenate([known.pictures[s][rows] for s in styles]).astype(np.float32) / 31
            if image_noise:
                whole = whole + image_noise * rng.standard_normal(whole.shape)
            inputs["image"] = torch.from_numpy(whole.astype(np.float32)).permute(0, 3, 1, 2).contiguous()
        else:
            ids = known.ids[torch.from_numpy(np.tile(rows, len(styles)))].clone()
            if text_noise:
                hit = torch.from_numpy(rng.random(tuple(ids.shape)) < text_noise) & (ids > 0)
                ids[hit] = torch.from_numpy(rng.integers(1, VOCABULARY, tuple(ids.shape)))[hit]
            inputs["text"] = ids
    every = np.tile(rows, len(styles))
    return MultimodalData(
        inputs=inputs,
        labels=torch.from_numpy(known.label[every]),
        num_classes=len(GROUPS),
        groups={"emoji": torch.from_numpy(known.family[every])},
        raw={
            "emoji": [known.written[i] for i in every],
            "name": [known.names[i] for i in every],
            "style": [s for s in styles for _ in rows],
        },
    )


def letters(name: str) -> list[int]:
    """The ids of a name: small letters without accents, digits, and one space between words; the rest counts as space.

    >>> letters("Piñata 1")
    [16, 9, 14, 1, 20, 1, 27, 29]
    """
    apart = [c for c in unicodedata.normalize("NFKD", name.lower()) if not unicodedata.combining(c)]
    words = "".join(c if c.isascii() and c.isalnum() else " " for c in apart).split()
    return [27 if c == " " else 28 + int(c) if c.isdigit() else ord(c) - 96 for c in " ".join(words)]


@lru_cache(maxsize=1)
def emoji() -> Emoji:
    """Read the shipped files once."""
    lines = [line.split("\t") for line in (ASSETS / "emoji.tsv").read_text("utf8").splitlines()[1:]]
    ids = torch.zeros(len(lines), LENGTH, dtype=torch.int64)
    for row, line in enumerate(lines):
        found = letters(line[4])[:LENGTH]
        ids[row, : len(found)] = torch.tensor(found)
    with np.load(ASSETS / "emoji.npz", allow_pickle=False) as file:
        pictures = {style: file[style] for style in STYLES}
    return Emoji(
        pictures,
        ids,
        [line[0] for line in lines],
        [line[4] for line in lines],
        np.array([GROUPS.index(line[1]) for line in lines]),
        np.array([int(line[2]) for line in lines]),
        np.array([line[3] == "1" for line in lines]),
    )
