"""A comparison as JSON holds it: settings, seeds, versions, hashes of code and data, device, seconds, and every run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mmlib.compare import Comparison, Setting


def code_of(settings: Sequence[Setting]) -> dict[str, str]:
    """Every file that decides the numbers of these settings, with its hash."""
    return {file: digest for setting in settings for file, digest in setting.code().items()}


def payload(name: str, outcome: Comparison, keep: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a stored comparison holds; of the learning curves the columns whose names begin as in ``keep``, to four digits."""
    from mmlib import __version__

    runs = [{k: _rounded(v) for k, v in run.items() if k != "history"} for run in outcome.runs]
    for run, outcome_run in zip(runs, outcome.runs, strict=True):
        rows = outcome_run["history"]
        if keep:  # by column, and on one line: shorter
            run["curves"] = {k: " ".join(f"{row[k]:.4g}" for row in rows) for k in rows[0] if k.startswith(keep)}
    return {
        "name": name,
        "configuration": {s.label: s.describe() for s in outcome.settings},
        "seeds": outcome.seeds,
        "library": __version__,
        "torch": torch.__version__.split("+")[0],
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "seconds": round(sum(run["seconds"] for run in outcome.runs), 1),
        "code": code_of(outcome.settings),
        "runs": runs,
    }


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value
