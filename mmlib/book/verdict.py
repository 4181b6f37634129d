"""Chapter "The verdict": what the searches chose, the stored table, and what may be said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmlib import tuning
from mmlib.book import results
from mmlib.book.studies import verdict as study
from mmlib.cache import write_json
from mmlib.metrics import Paired, discoveries, paired

MARGIN = 0.01  #: stated before any run: a mean difference within one point is level
REFERENCES = ("joint", "late fusion", "multi-loss")
Word = Literal["better", "level", "worse", "not told"]


def searches(name: str) -> dict[str, tuning.Tuned]:
    """label -> what the search of a row found, from the stored trials of a data set."""
    stored = results.load(f"verdict_trials_{study.key(name)}")
    return {label: tuning.read(label, made, stored) for label, made in study.searched(name).items()}


def choose() -> dict[str, dict[str, int]]:
    """data -> label -> the number of the trial with the highest validation accuracy, for all data whose trials are stored; for
    labels that end in "as they are" among the trials without a normalisation."""
    made: dict[str, dict[str, int]] = {}
    for name in study.RUN:
        found = searches(name)
        made[name] = {label: search.chosen for label, search in found.items()}
        made[name] |= {f"{label}{study.PLAIN}": _plain(found[label]) for label in study.ROWS}
    return made


def _plain(found: tuning.Tuned) -> int:
    """The best trial of those that leave the features as they are; of equals the first."""
    among = [i for i, trial in enumerate(found.trials) if not trial.values.get("model_options.normalise")]
    return max(among, key=lambda i: (found.trials[i].score, -i))


class Table:
    """The fresh runs of every row, ten or more a data set.

    Where classes are of very different size, ``score`` is balanced accuracy, elsewhere accuracy.
    """

    def __init__(self, names: Sequence[str] = study.RUN) -> None:
        self.names = tuple(names)
        self.stored = {name: results.load(f"verdict_{study.key(name)}") for name in self.names}

    def values(self, name: str, label: str, column: str = "score") -> list[float]:
        """One number per seed. ``column``: "score", one of the stored ones, or "without", the mean score over the modalities
        that each in turn are missing from every test sample.

        Raises:
            KeyError: an unknown data set, row or column; the message lists the known ones.
        """
        if name not in self.stored:
            raise KeyError(f"name: unknown {name!r}; known: {', '.join(self.names)}")
        data, row = study.DATA[name], f"{label}, {name}"
        score = "balanced_accuracy" if data.balanced else "accuracy"
        if column == "without":
            each = [self.stored[name].values(row, f"test_{score}_without_{m}") for m in data.modalities]
            return [float(v) for v in np.mean(each, axis=0)]
        return self.stored[name].values(row, f"test_{score}" if column == "score" else column)

    def mean(self, name: str, label: str, column: str = "score") -> float:
        return float(np.mean(self.values(name, label, column)))

    def single(self, name: str) -> str:
        """The row of the single modality that was best on the validation data of the search."""
        found = searches(name)
        return max((f"{m} alone" for m in study.DATA[name].modalities), key=lambda row: found[row].score)

    def paired(self, name: str, label: str, other: str, corrected: bool = False) -> Paired:
        """``label`` minus ``other``, seed by seed.

        Seeds split one pool of people, emoji or voices anew. Given that pool they are independent draws, and Student's paired
        test speaks of such draws. ``corrected`` asks about another pool of the same kind: test samples are shared between
        seeds, which the corrected resampled t test counts (`mmlib.metrics.paired.paired`, ``overlap``).
        """
        a, b = self.values(name, label), self.values(name, other)
        return paired(a, b, margin=MARGIN, overlap=study.DATA[name].overlap if corrected else 0.0)

    def against(
        self, references: Iterable[str] = REFERENCES, tail: str = "", corrected: bool = False
    ) -> dict[tuple[str, str, str], tuple[Paired, Word]]:
        """(data, row, reference) -> the difference and what may be said of it; all of them corrected as one table.

        "level": within one point, by two one-sided tests, whatever its sign. "better" and "worse": among the discoveries of
        Benjamini and Hochberg at 5 %. All else is not told. With `study.PLAIN` as ``tail`` the rows whose features stay as the
        encoders make them; ``corrected`` as in `paired`.
        """
        found = {
            (name, label, other): self.paired(name, label + tail, other + tail, corrected)
            for other in references
            for name in self.names
            for label in study.ROWS
            if label != other
        }
        told = dict(zip(found, discoveries(list(found.values())), strict=True))
        return {key: (pair, _word(pair, told[key])) for key, pair in found.items()}

    def detectable(self, name: str, corrected: bool = False) -> float:
        """How large a difference to joint training must be to be told from none, looked at alone: half the width of the 95 %
        interval, the median over the rows."""
        gaps = [self.paired(name, label, "joint", corrected).difference for label in study.ROWS if label != "joint"]
        return float(np.median([(gap.high - gap.low) / 2 for gap in gaps]))

    def ranks(self, labels: Sequence[str] = tuple(study.ROWS)) -> Ranks:
        """Ranks by mean score; see `Ranks`."""
        return ranks(np.array([[self.mean(name, label) for label in labels] for name in self.names]), labels)


def _word(pair: Paired, told: bool) -> Word:
    if pair.level:
        return "level"
    if not told:
        return "not told"
    return "better" if pair.difference.mean > 0 else "worse"


class Ranks(NamedTuple):
    """Mean ranks over data sets (1 is best), and how far two of them must lie apart (Demsar, 2006)."""

    mean: dict[str, float]
    p: float  #: of Friedman's test that all rows are alike
    critical: float  #: the critical difference of Nemenyi's test at 5 %, in ranks


def ranks(scores: NDArray[np.float64], labels: Sequence[str]) -> Ranks:
    """Ranks of the rows within each data set; equals share the mean of theirs. ``scores``: [data sets, rows], higher is better.

    The unit is the data set, of which each counts once, as an independent one. scipy has the studentised range; a library for
    one formula would be one more to install.

    Raises:
        ValueError: fewer than two data sets or three rows, or labels that do not fit.
    """
    from scipy import stats

    n, k = scores.shape
    if n < 2 or k < 3 or len(labels) != k:
        raise ValueError(f"scores: expected 2 data sets or more, 3 rows or more, a label each, found {n}, {k}, {len(labels)}")
    within = stats.rankdata(-scores, axis=1)
    q = float(stats.studentized_range.ppf(0.95, k, np.inf)) / np.sqrt(2)
    mean = dict(zip(labels, within.mean(0).tolist(), strict=True))
    return Ranks(mean, float(stats.friedmanchisquare(*scores.T).pvalue), float(q * np.sqrt(k * (k + 1) / (6 * n))))


def tuning_gain(name: str, label: str) -> float:
    """What the search brought a row, in validation accuracy: the chosen trial minus the defaults; never below 0."""
    found = searches(name)[label]
    return found.score - found.trials[0].score


def questions(names: Sequence[str], margin: float = MARGIN) -> dict[str, Callable[[str], bool]]:
    """What a guide may ask of a data set, in the order in which it prefers to: each answered by validation accuracy of the
    searches. "Better" is better by more than the margin."""
    found = {name: searches(name) for name in names}

    def best(name: str, label: str) -> float:
        return max(trial.score for trial in found[name][label].trials)

    def joint(name: str, normalised: bool) -> float:
        among = found[name]["joint"].trials
        return max(t.score for t in among if bool(t.values.get("model_options.normalise")) == normalised)

    def single(name: str) -> float:
        return max(best(name, f"{m} alone") for m in study.DATA[name].modalities)

    return {
        "Is a modality alone better than joint training, both tuned?": lambda n: single(n) > best(n, "joint") + margin,
        "Is late fusion better than joint training, both tuned?": lambda n: best(n, "late fusion") > best(n, "joint") + margin,
        "Does joint training gain by features on one scale?": lambda n: joint(n, True) > joint(n, False) + margin,
        "Are there more than two modalities?": lambda n: len(study.DATA[n].modalities) > 2,
    }


if __name__ == "__main__":
    write_json(study.CHOICES, choose())
    print(f"written to {study.CHOICES}")
