"""Chapter "The verdict": a decision guide that is made by rule, so that it can be tested on data that had no part in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

#: what a guide may ask: question -> data set -> the answer, from validation data alone
Questions = Mapping[str, Callable[[str], bool]]
#: row -> data set -> mean score of the fresh runs
Scores = Mapping[str, Mapping[str, float]]


class Guide(NamedTuple):
    """One question at most, and the row to take for each answer; without a question ``yes`` and ``no`` are the same."""

    question: str | None
    yes: str
    no: str

    def follow(self, name: str, questions: Questions) -> str:
        """The row that it names for a data set."""
        return self.yes if self.question is None or questions[self.question](name) else self.no


def losses(scores: Scores, name: str) -> dict[str, float]:
    """row -> how far its mean lies below that of the best row on this data set; 0 for the best."""
    best = max(of[name] for of in scores.values())
    return {row: best - of[name] for row, of in scores.items()}


def make(scores: Scores, questions: Questions, names: Sequence[str]) -> Guide:
    """The guide with the smallest mean loss over ``names``. Of equals the first question wins, and no question before any; of
    equal rows the first. A question that has the same answer for all of them is not asked.

    Raises:
        ValueError: no data set, or no row.
    """
    if not names or not scores:
        raise ValueError(f"names, scores: expected a data set and a row at least, found {len(names)} and {len(scores)}")
    lost = {name: losses(scores, name) for name in names}

    def best_row(among: Sequence[str]) -> tuple[str, float]:
        total = {row: sum(lost[name][row] for name in among) for row in scores}
        row = min(total, key=lambda r: total[r])
        return row, total[row]

    row, least = best_row(names)
    found = Guide(None, row, row)
    for question, answer in questions.items():
        yes = [name for name in names if answer(name)]
        no = [name for name in names if name not in yes]
        if not yes or not no:
            continue
        (row_yes, lost_yes), (row_no, lost_no) = best_row(yes), best_row(no)
        if lost_yes + lost_no < least - 1e-12:
            found, least = Guide(question, row_yes, row_no), lost_yes + lost_no
    return found


def leave_one_out(
    scores: Scores, questions: Questions, names: Sequence[str], source: Mapping[str, str] | None = None
) -> dict[str, tuple[Guide, str, float]]:
    """data set left out -> the guide that the others made, the row it names there, and what that lost against the best row.

    Args:
        source: data set -> where it comes from. All that come from one source are left out together: the same people with two
            and with four sensors are no new data. By default each has a source of its own.

    Raises:
        ValueError: fewer than two sources.
    """
    source = source or {name: name for name in names}
    if len({source[name] for name in names}) < 2:
        raise ValueError(f"names: expected data of two sources or more, found {len(names)} of one at most")
    found = {}
    for name in names:
        guide = make(scores, questions, [other for other in names if source[other] != source[name]])
        row = guide.follow(name, questions)
        found[name] = guide, row, losses(scores, name)[row]
    return found


def mean_loss(scores: Scores, names: Sequence[str], rows: Mapping[str, str]) -> float:
    """Of a rule that names ``rows[name]``: the mean over the data sets of what it lost against the best row."""
    return float(np.mean([losses(scores, name)[rows[name]] for name in names]))
