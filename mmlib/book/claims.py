"""Claims: the sentences of the book that a run could refute, each printed with its numbers and checked where it is made.

`mmlib.book.ledger` collects them, over chapters and over seeds that nobody chose.
"""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmlib.book import results
from mmlib.metrics.intervals import Interval
from mmlib.metrics.paired import Paired
from mmlib.randomness import seed_offset

#: an estimate, with its interval where there is one; several by name; or words
Shown = Interval | Paired | float | str | Mapping[str, Any]
RECORD = "MMLIB_CLAIMS"  #: environment variable: the file to which claims are added, a line each
ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")
#: ids in the order of the chapter, so that a cell which is run again keeps its numbers
_order: list[str] = []


class ClaimError(AssertionError):
    """A claim that does not hold on the runs that are here."""


@dataclass(frozen=True, repr=False)
class Claim:
    """A sentence and what is behind it.

    Attributes:
        holds: None where it rests on stored results that were not made with these seeds, or on data that are not here.
    """

    id: str
    number: str
    sentence: str
    shown: str
    n: str
    of: tuple[str, ...]
    holds: bool | None

    @property
    def mark(self) -> str:
        return {True: "✓", False: "✗", None: "–"}[self.holds]

    def __str__(self) -> str:
        return f"{self.mark} {self.number} {self.sentence}. {self.shown}; {self.n}."

    __repr__ = __str__  # what a terminal shows

    def _repr_html_(self) -> str:
        said = {True: "holds", False: "does not hold", None: "not computed"}[self.holds]
        return (
            f'<p class="mm-claim" id="{self.id}"><span class="mm-mark" role="img" aria-label="{said}">{self.mark}</span> '
            f"<b>{self.number}</b> {_code(self.sentence)}. "
            f'<span class="mm-shown">{_code(self.shown)}; {_code(self.n)}.</span></p>'
        )


def claim(
    id: str,
    sentence: str,
    *,
    shown: Shown,
    n: str,
    holds: bool,
    unit: str = "points",
    of: str | Sequence[str] = (),
    there: bool = True,
) -> None:
    """Print a claim with its numbers, and fail where it does not hold.

    Args:
        id: the chapter's number or short name, and words: "02-joint-below-image". Unique in the book, as the ledger counts by it.
        sentence: the claim, without a full stop.
        shown: the estimate; `mmlib.metrics.Interval` and `mmlib.metrics.Paired` bring their interval. Several by name, or words.
        n: how many of what: "10 draws", "6 rotations", "no seeds: algebra".
        unit: of the estimate. "points" are percentage points of a difference of shares, "share" is a share from 0 to 1 as it is,
            anything else is written behind the number.
        of: the stored results that it rests on; none if everything was computed here. With shifted seeds (MMLIB_SEED_OFFSET)
            a claim whose results were not made with them is neither held nor refuted.
        there: whether the data that it needs are here; without them it is neither, too.

    Raises:
        ClaimError: it does not hold, and claims are not being recorded. ValueError: an id of another form, a full stop, an
            unknown result. TypeError: ``holds`` is no boolean.
    """
    if not ID.fullmatch(id):
        raise ValueError(f"id: expected the chapter and words, such as '02-joint-below-image', found {id!r}")
    if not sentence or sentence.endswith(".") or not n:
        raise ValueError(f"{id}: expected a sentence without a full stop, and n, found {sentence!r}, {n!r}")
    if not isinstance(holds, bool | np.bool_):
        raise TypeError(f"{id}: holds: expected True or False, found {holds!r}")
    names = (of,) if isinstance(of, str) else tuple(of)
    for name in names:
        results.study(name)
    if id not in _order:
        _order.append(id)
    chapter = id.partition("-")[0]
    number = f"{int(chapter) if chapter.isdigit() else chapter}.{_order.index(id) + 1}"
    made_here = seed_offset() == 0 or all((results.folder() / f"{name}.json").is_file() for name in names)
    verdict = bool(holds) if there and made_here else None
    made = Claim(id, number, sentence, written(shown, unit), n, names, verdict)
    if os.environ.get(RECORD):
        with Path(os.environ[RECORD]).open("a", encoding="utf8") as file:
            file.write(json.dumps(asdict(made), ensure_ascii=False) + "\n")
    elif made.holds is False:
        raise ClaimError(str(made))
    from IPython.display import display

    display(made)


def written(shown: Shown, unit: str = "points") -> str:
    """The estimate in words: "-18.2 points (-22.4 to -14.1)".

    Raises:
        TypeError: nothing that can be shown.
    """
    if isinstance(shown, str):
        return shown
    if isinstance(shown, Mapping):
        return "; ".join(f"{name} {written(value, unit)}" for name, value in shown.items())
    if isinstance(shown, Paired):
        shown = shown.difference
    if isinstance(shown, Interval):
        mean, *ends = (_number(x, unit) for x in shown)
        return f"{mean}{_behind(unit)} ({ends[0]} to {ends[1]})"
    if isinstance(shown, int | float | np.number):
        return f"{_number(float(shown), unit)}{_behind(unit)}"
    raise TypeError(f"shown: expected an interval, a number, words, or several by name, found {shown!r}")


def _code(text: str) -> str:
    """Words as HTML, with what stands between backticks as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _behind(unit: str) -> str:
    return "" if unit in ("share", "") else f" {unit}"


def _number(x: float, unit: str) -> str:
    if unit == "points":
        return f"{100 * x:+.1f}"
    if unit == "share":
        return f"{x:.3f}"
    return f"{x:.3g}"
