"""The same small search for every row of a comparison: `mmlib.tune`.

Points come from one quasi-random sequence that is fixed before anything is run: a scrambled Sobol sequence (Sobol, 1967; Owen,
1998) of scipy, whose points fill a space more evenly than independent draws. Who searches the same space tries the same
points. scipy is here already (scikit-learn needs it), and `mmlib.compare` keeps finished runs; a library for tuning would add
a second memory of trials beside it, and a search that depends on what was found before, so that no two rows try the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmlib.compare import compare
from mmlib.comparison import Comparison
from mmlib.randomness import seed_offset
from mmlib.setting import Setting

if TYPE_CHECKING:
    import pandas as pd

SEQUENCE = 20260101  #: the seed of the scrambling
AXES = 8  #: drawn always, so that the first axes are the same however many a space has
FIRST_SEED = 1000  #: of tuning; `mmlib.compare` starts at 0, so that what is chosen meets fresh seeds


class Between(NamedTuple):
    """Numbers from ``low`` to ``high``, both included; with ``log`` every factor is as likely as any other of its size."""

    low: float
    high: float
    log: bool = False
    whole: bool = False  #: whole numbers only

    def at(self, share: float) -> float | int:
        """The number at a share of the way, 0 to 1."""
        if self.log:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        return round(value) if self.whole else float(f"{value:.4g}")


#: name of an argument -> `Between`, or a sequence of choices
Space = Mapping[str, "Between | Sequence[Any]"]


class Trial(NamedTuple):
    """One point of the search."""

    setting: Setting
    values: dict[str, Any]  #: name of an argument -> what was tried; empty: the setting as it was given
    scores: list[float]  #: validation accuracy, one per seed; a run that diverged counts as a guess
    diverged: int  #: how many of the runs did

    @property
    def score(self) -> float:
        """The mean over the seeds."""
        return float(np.mean(self.scores))


@dataclass(frozen=True)
class Tuned:
    """What a search found: every trial in the order of the sequence, and the seeds."""

    label: str
    trials: list[Trial]
    seeds: list[int]
    seconds: float  #: of training, all runs together

    @property
    def chosen(self) -> int:
        """The number of the trial with the highest mean validation accuracy; of equals the first."""
        return int(np.argmax([trial.score for trial in self.trials]))

    @property
    def score(self) -> float:
        """Mean validation accuracy of the chosen trial. The best of many: a little too large."""
        return self.trials[self.chosen].score

    @property
    def best(self) -> Setting:
        """The chosen setting, under the label of the one that was given."""
        return self.trials[self.chosen].setting.with_(self.label)

    @property
    def frame(self) -> pd.DataFrame:
        """One row per trial, best first: what was tried, ``val_accuracy`` (mean over seeds), ``diverged`` (runs)."""
        import pandas as pd

        rows = [{**t.values, "val_accuracy": t.score, "diverged": t.diverged} for t in self.trials]
        frame = pd.DataFrame(rows).rename_axis("trial")
        values = [c for c in frame if c not in ("val_accuracy", "diverged")]
        return frame[[*values, "val_accuracy", "diverged"]].sort_values("val_accuracy", ascending=False, kind="stable")

    def __str__(self) -> str:
        runs = len(self.trials) * len(self.seeds)
        lost = sum(t.diverged for t in self.trials)
        seeds = f"{len(self.seeds)} seed{'s' if len(self.seeds) > 1 else ''}"
        head = f"{self.label}: {len(self.trials)} trials x {seeds}, {runs} runs, {self.seconds:.0f} s of training"
        found = self.trials[self.chosen]
        values = ", ".join(f"{k} {v}" for k, v in found.values.items()) or "as given"
        return f"{head}; {lost} diverged\nchosen: trial {self.chosen}: {values}; validation accuracy {found.score:.3f}"


def points(budget: int, axes: int = AXES) -> NDArray[np.float64]:
    """The first ``budget`` points of the sequence, [budget, axes], each number from 0 to 1.

    Raises:
        ValueError: no point, or no axis.
    """
    from scipy.stats import qmc

    if budget < 1 or axes < 1:
        raise ValueError(f"points: expected 1 or more points and axes, found {budget} and {axes}")
    drawn = qmc.Sobol(max(axes, AXES), scramble=True, rng=np.random.default_rng(SEQUENCE))
    return np.asarray(drawn.random_base2(math.ceil(math.log2(budget)))[:budget, :axes])


def trials(setting: Setting, space: Space, budget: int) -> dict[int, tuple[Setting, dict[str, Any]]]:
    """number -> setting and what was changed in it: 0 is the setting as it is, then the points of the sequence.

    Labels are ``"{label}, trial {number}"``. Errors as in `tune`.
    """
    names = _checked(setting, space)
    if budget < 1:
        raise ValueError(f"budget: expected 1 trial or more, found {budget}")
    made: dict[int, tuple[Setting, dict[str, Any]]] = {0: (setting.with_(f"{setting.label}, trial 0"), {})}
    for number, row in enumerate(points(budget - 1, len(names)) if budget > 1 and names else [], start=1):
        values = {name: _value(space[name], float(share)) for name, share in zip(names, row, strict=True)}
        made[number] = (changed(setting, values, f"{setting.label}, trial {number}"), values)
    return made


def tune(
    setting: Setting,
    space: Space,
    budget: int = 12,
    seeds: int | Sequence[int] = 2,
    *,
    workers: int | None = None,
    progress: bool = True,
) -> Tuned:
    """Search for the arguments with the highest validation accuracy; the test data is not asked.

    Trial 0 is the setting as it is, so that no search ends below the defaults. Finished runs are kept on disk, as by
    `mmlib.compare.compare`: an interrupted search goes on where it stopped.

    Args:
        setting: the row to tune.
        space: argument -> what to try, such as ``{"fit_options.lr": Between(1e-4, 1e-1, log=True),
            "model_options.normalise": (None, "batch", "layer"), "method_options.alpha": Between(0.1, 2.0)}``. A name is a
            field of `Setting`, or an option inside one. At most `AXES` of them have the same points in every search.
        budget: how many trials. seeds: how many for each (from `FIRST_SEED` on, so that `mmlib.compare` meets fresh ones), or
            which.

    A run that diverges counts as tried, as a guess. A trial of which a run fails in another way ends the search
    (`mmlib.compare.RunsFailedError`): its arguments are wrong.

    Raises:
        ValueError: an unknown argument, an empty range, no choice, a budget below 1, a method that has its options already.
        TypeError: neither a range nor a sequence.
    """
    made = trials(setting, space, budget)
    which = [FIRST_SEED + seed_offset() + i for i in range(seeds)] if isinstance(seeds, int) else list(seeds)
    found = compare([s for s, _ in made.values()], which, workers=workers, progress=progress)
    return read(setting.label, made, found)


def read(label: str, made: Mapping[int, tuple[Setting, dict[str, Any]]], found: Comparison) -> Tuned:
    """The outcome of the `trials` of a row, out of a comparison that holds them."""
    told = [
        Trial(s, values, found.values(s.label, "val_accuracy"), found.diverged(s.label))
        for _, (s, values) in sorted(made.items())
    ]
    labels = {trial.setting.label for trial in told}
    seconds = sum(run["seconds"] for run in found.runs if run["label"] in labels)
    return Tuned(label, told, list(found.seeds), seconds)


def changed(setting: Setting, values: Mapping[str, Any], label: str) -> Setting:
    """The setting with these arguments, such as ``{"fit_options.lr": 0.01}``, under another label."""
    changes: dict[str, Any] = {}
    for name, value in values.items():
        field, _, option = name.partition(".")
        changes |= {field: {**changes.get(field, {}), option: value}} if option else {field: value}
    return setting.with_(label, **changes)


def _value(axis: Between | Sequence[Any], share: float) -> Any:
    return axis.at(share) if isinstance(axis, Between) else axis[min(int(share * len(axis)), len(axis) - 1)]


def _checked(setting: Setting, space: Space) -> list[str]:
    """The names of a space, in its order."""
    fields = ("data_options", "method_options", "model_options", "fit_options")
    whole = ("data", "method", "fusion", "pretrain_epochs")
    for name, axis in space.items():
        field, _, option = name.partition(".")
        if (field not in fields or not option) and name not in whole:
            known = ", ".join([*(f"{f}.NAME" for f in fields), *whole])
            raise ValueError(f"space: unknown argument {name!r}; known: {known}")
        if field == "method_options" and not isinstance(setting.method, str | type):
            raise ValueError(f"space[{name!r}]: {type(setting.method).__name__}(...) has its options already; give the class")
        if isinstance(axis, Between):
            if not (math.isfinite(axis.low) and math.isfinite(axis.high) and axis.low < axis.high):
                raise ValueError(f"space[{name!r}]: expected low < high, both finite, found {axis.low} and {axis.high}")
            if axis.log and axis.low <= 0:
                raise ValueError(f"space[{name!r}]: expected low above 0 for log, found {axis.low}")
        elif isinstance(axis, str) or not isinstance(axis, Sequence):
            what = f"{type(axis).__name__} {axis!r}"
            raise TypeError(f"space[{name!r}]: expected Between(low, high) or a sequence of choices, found {what}")
        elif not axis:
            raise ValueError(f"space[{name!r}]: expected at least one choice, found none")
    return list(space)
