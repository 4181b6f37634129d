"""Chapter "The verdict": what the searches chose, and the stored table."""

from __future__ import annotations

from mmlib import tuning
from mmlib.book import results
from mmlib.book.studies import verdict as study
from mmlib.cache import write_json


def searches(name: str) -> dict[str, tuning.Tuned]:
    """label -> what the search of a row found, from the stored trials of a data set."""
    stored = results.load(f"verdict_trials_{study.key(name)}")
    return {label: tuning.read(label, made, stored) for label, made in study.searched(name).items()}


def choose() -> dict[str, dict[str, int]]:
    """data -> label -> the number of the trial with the highest validation accuracy, for all data whose trials are stored; for
    labels that end in "as they are" among the trials without a normalisation."""
    made: dict[str, dict[str, int]] = {}
    for name in study.SEARCHED:
        found = searches(name)
        made[name] = {label: search.chosen for label, search in found.items()}
        made[name] |= {f"{label}{study.PLAIN}": _plain(found[label]) for label in study.ROWS}
    return made


def _plain(found: tuning.Tuned) -> int:
    """The best trial of those that leave the features as they are; of equals the first."""
    among = [i for i, trial in enumerate(found.trials) if not trial.values.get("model_options.normalise")]
    return max(among, key=lambda i: (found.trials[i].score, -i))


if __name__ == "__main__":
    write_json(study.CHOICES, choose())
    print(f"written to {study.CHOICES}")
