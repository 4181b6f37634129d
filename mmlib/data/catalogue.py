"""The data sets by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmlib.data import avmnist, avmnist_files, digits, emoji, motion, motion_files, two_speed
from mmlib.data.core import Splits


class DataSet(NamedTuple):
    """How a data set is made, and from which files of the package (a stored result is tied to their hashes)."""

    make: Callable[..., Splits]
    assets: tuple[Path, ...] = ()
    download: Callable[[], Path] | None = None  #: fetches and verifies what does not come with the package


DATASETS: dict[str, DataSet] = {
    "two_speed": DataSet(two_speed.make),
    "digits": DataSet(digits.make, (digits.ASSETS / "speech.npz", digits.ASSETS / "words.tsv")),
    "emoji": DataSet(emoji.make, (emoji.ASSETS / "emoji.npz", emoji.ASSETS / "emoji.tsv")),
    "avmnist": DataSet(avmnist.make, download=avmnist_files.download),
    "motion": DataSet(motion.make, download=motion_files.download),
}


def load(name: str, modalities: Sequence[str] | None = None, seed: int = 0, **knobs: Any) -> Splits:
    """Load a data set by its name.

    Args:
        name: ``"two_speed"`` (`mmlib.data.two_speed.make`), ``"digits"`` (`mmlib.data.digits.make`) or ``"emoji"``
            (`mmlib.data.emoji.make`), which come with the package; or ``"avmnist"`` (`mmlib.data.avmnist.make`, 18 MB) or
            ``"motion"`` (`mmlib.data.motion.make`, 28 MB or more), which are downloaded and verified the first time; or
            ``"cremad"`` (`mmlib.data.cremad.make`), which is read from a copy of CREMA-D (``folder=...``).
        modalities: which modalities, in which order; by default all.
        seed: of everything that is drawn. One seed gives the same bits, another a different draw.
        knobs: how hard it is; listed and explained in the functions named above.

    Returns:
        Training, validation and test data; the knobs stand in ``.settings``.

    Raises:
        TypeError, ValueError: an unknown name, modality or knob (the message lists the known ones), or a value out of range.
        mmlib.data.download.DownloadError: a file could not be downloaded, verified or written; the message says what to do.

    >>> load("two_speed", modalities=["slow"], samples=200)
    Splits 'two_speed': train 200, val 500, test 2,000; 2 classes
      slow     [4]
      seed=0, samples=200, fast_noise=1.0, slow_noise=0.35, fast_gain=2.0, slow_gain=0.1, fast_dims=64, slow_dims=4
    """
    if name not in DATASETS:
        raise ValueError(f"name: unknown data set {name!r}; known: {', '.join(DATASETS)}")
    make = DATASETS[name].make
    known = [k for k in inspect.signature(make).parameters if k not in ("modalities", "seed")]
    for knob in knobs:
        if knob not in known:
            raise TypeError(f"unknown knob {knob!r} of {name!r}; known: {', '.join(known)}")
    return make(modalities=modalities, seed=seed, **knobs)
