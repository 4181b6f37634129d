"""A comparison as JSON holds it: settings, seeds, versions, hashes of code and data, machine, seconds, and every run."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from mmlib.comparison import Comparison
from mmlib.setting import Setting


def digest(content: Any) -> str:
    """A hash of what JSON would hold, whatever the order of its keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_of(settings: Sequence[Setting]) -> dict[str, str]:
    """Every file that decides the numbers of these settings, with its hash."""
    return {file: hashed for setting in settings for file, hashed in setting.code().items()}


def describe(settings: Sequence[Setting]) -> dict[str, dict[str, Any]]:
    """What each setting is, by label."""
    return {setting.label: setting.describe() for setting in settings}


def processor() -> str:
    """What computes here. The last bits of a number depend on its vector instructions, not on code and seed alone."""
    name = platform.processor() or platform.machine()
    with suppress(OSError):  # there on Linux, where platform knows the architecture only
        models = [line for line in Path("/proc/cpuinfo").read_text("utf8").splitlines() if line.startswith("model name")]
        name = models[0].partition(":")[2].strip() if models else name
    parts = [name, torch.backends.cpu.get_cpu_capability()]
    return ", ".join([*parts, torch.cuda.get_device_name()] if torch.cuda.is_available() else parts)


def machine() -> dict[str, str]:
    """The versions and the hardware that numbers made here depend on."""
    from mmlib import __version__

    return {
        "library": __version__,
        "torch": torch.__version__.split("+")[0],
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "processor": processor(),
    }


def stored_run(run: Mapping[str, Any], keep: tuple[str, ...] = ()) -> dict[str, Any]:
    """A run as it is stored: numbers to six digits, ``diverged`` only where it is true, and of the learning curves the
    columns whose names begin as in ``keep``, to four digits."""
    stored = {k: _rounded(v) for k, v in run.items() if k != "history" and (k != "diverged" or v)}
    if keep:  # by column, and on one line: shorter
        rows = run["history"]
        stored["curves"] = {k: " ".join(f"{row[k]:.4g}" for row in rows) for k in (rows[0] if rows else {}) if k.startswith(keep)}
    return stored


def payload(name: str, outcome: Comparison, keep: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a stored comparison holds; ``keep`` as in `stored_run`."""
    return {
        "name": name,
        "configuration": describe(outcome.settings),
        "seeds": outcome.seeds,
        **machine(),
        "seconds": round(sum(run["seconds"] for run in outcome.runs), 1),
        "keep": list(keep),
        "code": code_of(outcome.settings),
        "runs": [stored_run(run, keep) for run in outcome.runs],
    }


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value
