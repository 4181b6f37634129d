"""What came out of a comparison: settings x seeds."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmlib.metrics.intervals import Interval, mean_interval
from mmlib.setting import Predictions, Setting

if TYPE_CHECKING:
    import pandas as pd

#: scores that a table shows where they are asked for; accuracy says the same where classes are of one size
MEASURES = ("balanced_accuracy", "macro_f1")


@dataclass
class Comparison:
    """The outcome of `compare`: ``runs``, one dict per setting and seed in the order asked for."""

    settings: list[Setting]
    seeds: list[int]
    runs: list[dict[str, Any]]
    seconds: float = 0.0  #: wall clock of the call; cached runs cost nothing
    said: dict[tuple[str, int], Predictions] = field(default_factory=dict, repr=False)  #: see `predictions`

    @property
    def frame(self) -> pd.DataFrame:
        """One row per setting and seed."""
        import pandas as pd

        return pd.DataFrame([{k: v for k, v in r.items() if k != "history"} for r in self.runs])

    @property
    def history(self) -> pd.DataFrame:
        """One row per setting, seed and epoch: the columns of `mmlib.history.History` after ``label`` and ``seed``."""
        import pandas as pd

        return pd.DataFrame([{"label": r["label"], "seed": r["seed"], **row} for r in self.runs for row in r["history"]])

    def values(self, label: str, column: str = "test_accuracy") -> list[float]:
        """One number per seed, in the order of the seeds.

        Raises:
            KeyError: an unknown label or column; the message lists the known ones, of many labels the nearest.
        """
        rows = [r for r in self.runs if r["label"] == label]
        if not rows:
            labels = [s.label for s in self.settings]
            near = difflib.get_close_matches(label, labels, n=8, cutoff=0.0)
            known = ", ".join(labels) if len(labels) <= 20 else f"{len(labels)}, the nearest are {', '.join(near)}"
            raise KeyError(f"label: unknown {label!r}; known: {known}")
        if column not in rows[0]:
            raise KeyError(f"column: unknown {column!r}; known: {', '.join(k for k in rows[0] if k != 'history')}")
        return [float(r[column]) for r in rows]

    def interval(self, label: str, column: str = "test_accuracy") -> Interval:
        """Mean over seeds with its 95 % interval."""
        return mean_interval(self.values(label, column))

    def difference(self, label: str, other: str, column: str = "test_accuracy") -> Interval:
        """Mean of ``label`` minus ``other`` with its 95 % interval, paired by seed (same data, same start)."""
        pairs = zip(self.values(label, column), self.values(other, column), strict=True)
        return mean_interval([a - b for a, b in pairs])

    def diverged(self, label: str) -> int:
        """How many of a setting's runs diverged. They count in the means as guesses, see `mmlib.setting.run`."""
        self.values(label)  # an unknown label is an error
        return sum(_diverged(r) for r in self.runs if r["label"] == label)

    def marked(self, label: str, name: str | None = None) -> str:
        """``name`` (the label by default) for a figure or a table, with the runs that diverged, where there are any."""
        lost = self.diverged(label)
        return (label if name is None else name) + (f" ({lost} of {len(self.seeds)} diverged)" if lost else "")

    def best(self, labels: Sequence[str]) -> str:
        """The setting with the highest mean accuracy on validation data: how to choose without looking at the test."""
        return max(labels, key=lambda label: self.interval(label, "val_accuracy").mean)

    def curve(self, label: str, column: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Epochs, and the mean over seeds of a column of the history with the ends of its 95 % interval; [E] each.

        A run that diverged has no curve to its end, and is not in the mean. Where runs stopped early, the curve ends with the
        shortest: every point is a mean over the same runs, and none over numbers that nobody measured. What the others did
        after it is in ``history``.

        Raises:
            ValueError: all runs diverged, or no curves were kept. KeyError: an unknown label or column.
        """
        self.values(label)  # an unknown label is an error
        whole = [r["history"] for r in self.runs if r["label"] == label and not _diverged(r)]
        if not whole:
            raise ValueError(f"label: {label!r} has no curve, as {self.diverged(label)} of {len(self.seeds)} runs diverged")
        epochs = min(map(len, whole))
        if not epochs:
            raise ValueError(f"label: {label!r} has no curve, none was kept with its runs")
        if column not in whole[0][0]:
            raise KeyError(f"column: unknown {column!r}; known: {', '.join(whole[0][0])}")
        runs = np.array([[row[column] for row in history[:epochs]] for history in whole])
        mean, low, high = np.array([mean_interval(values) for values in runs.T]).T
        return np.arange(len(mean)), mean, low, high

    def predictions(self, label: str, seed: int) -> Predictions:
        """What the model of one run says about its test data: ``probabilities`` [N, C], and the ``labels`` [N].

        Raises:
            KeyError: an unknown label or seed. ValueError: `compare` was not asked for ``predictions``.
        """
        self.values(label)  # an unknown label is an error
        if seed not in self.seeds:
            raise KeyError(f"seed: unknown {seed!r}; known: {', '.join(map(str, self.seeds))}")
        if (label, seed) not in self.said:
            raise ValueError("predictions: none were kept; ask for them with compare(..., predictions=True)")
        return self.said[label, seed]

    def table(self, columns: Sequence[str] | None = None, *, measures: Sequence[str] = ()) -> pd.DataFrame:
        """One row per setting: the mean over seeds of every column, and ``low`` and ``high``, the ends of the 95 %
        interval of ``test_accuracy``. Where runs diverged, ``diverged`` counts them: they are in the means, as guesses.

        Args:
            columns: those to show, by default all but losses and `MEASURES`.
            measures: "balanced_accuracy", "macro_f1", of the test data, to be shown beside them.

        Raises:
            ValueError: an unknown measure.
        """
        import pandas as pd

        for measure in measures:
            if measure not in MEASURES:
                raise ValueError(f"measures: unknown {measure!r}; known: {', '.join(MEASURES)}")
        rows = []
        beside = ["label", "seed", "history", "diverged", "diverged_epoch"]
        for setting in self.settings:
            frame = pd.DataFrame([r for r in self.runs if r["label"] == setting.label]).drop(columns=beside, errors="ignore")
            mean = mean_interval(frame["test_accuracy"].tolist())
            means = frame.mean().to_dict()
            first = {"setting": setting.label, "accuracy": mean.mean, "low": mean.low, "high": mean.high, "seeds": len(frame)}
            if any(map(_diverged, self.runs)):
                first["diverged"] = self.diverged(setting.label)
            asked = [f"test_{measure}" for measure in measures]
            aside = tuple(f"test_{measure}" for measure in MEASURES)
            usual = [c for c in means if c != "test_accuracy" and "loss" not in c and not c.startswith(aside)]
            rest = [*asked, *(usual if columns is None else columns)]
            rows.append({**first, **{c: means.get(c, float("nan")) for c in rest}})
        return pd.DataFrame(rows).set_index("setting")

    def __str__(self) -> str:
        return self.text()

    def text(self, *, measures: Sequence[str] = ()) -> str:
        """The table as it is printed; ``measures`` as in `table`."""
        table = self.table(measures=measures).rename(columns=lambda c: c.removeprefix("test_"))
        return str(table.to_string(float_format=lambda x: f"{x:.3f}", na_rep="-"))


def _diverged(run: dict[str, Any]) -> bool:
    return bool(run.get("diverged"))
