"""A comparison as JSON holds it: settings, seeds, versions, hashes of code and data, machine, seconds, and every run."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from mmlib.cache import write_json
from mmlib.comparison import Comparison
from mmlib.setting import Setting

#: what a file must hold, and of which type
SHAPE: dict[str, type] = {"name": str, "configuration": dict, "seeds": list, "code": dict, "runs": list}


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


def write(path: Path, content: dict[str, Any]) -> None:
    """Write what `payload` returns, whole or not at all, with a digest that tells an edit by hand."""
    write_json(path, {**content, "digest": _digest(content)})


def read(path: Path) -> Comparison:
    """A comparison that ``python -m mmlib compare`` wrote (or `write`), as `mmlib.compare.compare` would return it; of the
    learning curves, what was stored. Data, methods and fusions from outside the library are there by their description alone.

    Raises:
        FileNotFoundError: there is no such file. ValueError: it is not what was written.
    """
    content = stored(Path(path))
    settings = [_setting(path, label, told) for label, told in content["configuration"].items()]
    return Comparison(settings, content["seeds"], runs_of(content), float(content.get("seconds", 0.0)))


class DescribedSetting(Setting):
    """A setting of which a file holds the description: what it names need not be there, and it cannot be run again."""

    def __post_init__(self) -> None:
        """Nothing is looked up."""

    def describe(self) -> dict[str, Any]:
        return self.plain()

    def code(self) -> dict[str, str]:
        raise ValueError(f"setting {self.label!r} was read from a file, without the code and the data that it names")


def _setting(path: Path, label: str, told: Any) -> Setting:
    known = {field.name for field in fields(Setting)}
    if not isinstance(told, dict) or not set(told) <= known - {"label"}:
        raise ValueError(f"{path}: setting {label!r} is described in another way, perhaps by another version of mmlib")
    try:
        return Setting(label, **told)
    except (TypeError, ValueError):
        return DescribedSetting(label, **told)


def stored(path: Path, name: str | None = None, way_out: str = "restore it, or make it again") -> dict[str, Any]:
    """The content of a file that `write` wrote, under that name.

    Raises:
        FileNotFoundError: there is none. ValueError: truncated, edited by hand, or something else altogether; ``way_out`` is
            said then.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    wrong = "it is not JSON, or only the beginning of it"
    try:
        content = json.loads(path.read_text("utf8"))
        wrong = _misshapen(content, name)
    except (ValueError, RecursionError):
        content = None
    if wrong:
        raise ValueError(f"{path}: edited by hand or damaged ({wrong}); {way_out}")
    return dict(content)


def _misshapen(content: Any, name: str | None) -> str:
    """What is wrong with the content of a file; nothing where it is as it was written."""
    if not isinstance(content, dict):
        return f"expected an object, found {type(content).__name__}"
    for key, kind in SHAPE.items():
        if not isinstance(content.get(key), kind):
            return f"{key}: expected {kind.__name__}, found {type(content.get(key)).__name__}"
    if name is not None and content["name"] != name:
        return f"name: expected {name!r}, found {content['name']!r}"
    if not all(isinstance(run, dict) for run in content["runs"]):
        return "runs: expected objects"
    expected = [(label, seed) for label in content["configuration"] for seed in content["seeds"]]
    if [(run.get("label"), run.get("seed")) for run in content["runs"]] != expected:
        return "runs: expected one for each setting and seed, in their order"
    if "digest" not in content:
        return "it carries no digest"
    return "" if content["digest"] == _digest(content) else "its digest is not that of the rest"


def runs_of(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a stored comparison, as `mmlib.setting.run` returns them; of the history, the columns that were kept."""
    return [
        {"history": _rows(run.get("curves", {})), "diverged": False, **{k: v for k, v in run.items() if k != "curves"}}
        for run in content["runs"]
    ]


def _rows(curves: Mapping[str, str]) -> list[dict[str, float]]:
    """Curves {column: E numbers in a text} as one dict per epoch."""
    columns = [map(float, text.split()) for text in curves.values()]
    return [dict(zip(curves, values, strict=True)) for values in zip(*columns, strict=True)]


def _digest(content: Mapping[str, Any]) -> str:
    return digest({k: v for k, v in content.items() if k != "digest"})
