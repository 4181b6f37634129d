"""What ails joint training on one's own data, if anything: `mmlib.diagnose`.

Three networks are trained, a few times each: every modality alone (whose vote is late fusion), joint training with an eye on its
gradients, and joint training with features on one scale. The test split is never read: all is measured on validation data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mmlib.compare import compare
from mmlib.comparison import Comparison
from mmlib.data.core import Splits
from mmlib.metrics.intervals import Interval
from mmlib.metrics.measures import without_each
from mmlib.metrics.watched_joint import WatchedJoint, looked_at, unread
from mmlib.setting import Setting

if TYPE_CHECKING:
    import pandas as pd

Finding = Literal["scale", "overfitting", "starvation", "nothing to mend", "cannot tell"]
MARGIN = 0.03  #: by how much something must be better than joint training to be worth mending
APART = 5.0  #: features that differ in length by so many times before anything is learned differ in scale
HALF = 0.5  #: of what there is to gain beside the leader, less than so much is too little
NETWORKS = ("late fusion", "joint", "joint, one scale")
#: what to try first, by the chapter "The verdict": the search before the method
FIRST: dict[Finding, str] = {
    "scale": 'normalise the features (mmlib.build(..., normalise="rms") or "layer"), or the inputs; see the chapter Scale',
    "overfitting": "search joint training with normalised features (mmlib.tune), and late fusion beside it; see The verdict",
    "starvation": "search the learning rate and normalisation of joint training (mmlib.tune), and multi-loss; see The verdict",
    "nothing to mend": "leave joint training as it is; tune its learning rate (mmlib.tune) before anything else",
    "cannot tell": "more validation samples or more seeds; meanwhile late fusion is the safe choice",
}


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found. ``print`` tells it in words; `frame` and
    `mmlib.diagnosis_report.draw` show the evidence, `mmlib.diagnosis_report.write_html` makes a page of it."""

    finding: Finding
    reasons: tuple[str, ...]  #: sentences, each with its numbers
    networks: dict[str, Interval]  #: validation accuracy: the best single modality, late fusion, joint, joint on one scale
    gains: dict[str, Interval]  #: the same over joint training
    modalities: dict[str, dict[str, float]]  #: modality -> evidence, the columns of `frame`
    seeds: int
    samples: int  #: of validation data

    @property
    def first(self) -> str:
        """What to try first."""
        return FIRST[self.finding]

    @property
    def frame(self) -> pd.DataFrame:
        """One row per modality.

        ``alone``, ``train_alone``: accuracy of a network with this modality alone, on validation and on training data;
        ``ogr``: its overfitting-to-generalisation ratio from a guess to its lowest validation loss; ``in_joint``: accuracy of
        its share of the joint head; ``probe_alone``, ``probe_joint``: of a linear probe on its encoder; ``without``: of joint
        training where it is missing; ``length_start``, ``length``: of its features in joint training; ``ratio``: discrepancy
        ratio; ``gradient``: norm of its encoder's gradient.
        """
        import pandas as pd

        return pd.DataFrame.from_dict(self.modalities, orient="index").rename_axis("modality")

    def __str__(self) -> str:
        lines = [f"finding: {self.finding}", *(f"  - {reason}" for reason in self.reasons), f"try first: {self.first}", ""]
        lines += [f"  {name:<22}{i.mean:.3f} ({i.low:.3f} to {i.high:.3f})" for name, i in self.networks.items()]
        how = f"validation accuracy, {self.samples} samples, {self.seeds} seeds; 95 % intervals over samples and seeds"
        return "\n".join([*lines, f"  ({how})", "", self.frame.T.to_string(float_format=lambda x: f"{x:.3g}")])


def diagnose(
    splits: Splits,
    *,
    seeds: int | Sequence[int] = 5,
    margin: float = MARGIN,
    fit_options: Mapping[str, Any] | None = None,
    model_options: Mapping[str, Any] | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Diagnosis:
    """Look for what keeps joint training from using all modalities, on validation data alone. Minutes on a CPU for small data.

    In this order: *nothing to mend*, where nothing tried is better than joint training by ``margin``; *scale*, where features
    differ `APART` times in length before anything is learned, and one number per modality makes up for it; *overfitting*,
    where the modality that leads (its share of the head is surest, as OGM-GE measures it) overfits more than it generalises;
    *starvation*, where the leader generalises, another modality is better, and joint training stops near the leader: it has
    less than half of what there is to gain. Where the intervals leave it open: *cannot tell*. An interval counts validation
    samples and seeds, and takes samples for independent: where few people made them, say, it is too narrow.

    Args:
        splits: your data. The test split is not read.
        seeds: of training: how many, or which.
        margin: what counts as better, a share of samples.
        fit_options: of `mmlib.train.fit`: epochs, learning rate and so on. model_options: of `mmlib.model.build`, without
            ``normalise``.

    Raises:
        ValueError: fewer than two modalities, fewer than two seeds, a margin outside (0, 1), ``normalise`` among the options.
        TypeError: no `Splits`.
    """
    if not isinstance(splits, Splits):
        raise TypeError(f"splits: expected mmlib.Splits, such as mmlib.from_arrays makes, found {type(splits).__name__}")
    if not 0 < margin < 1:
        raise ValueError(f"margin: expected a share between 0 and 1, found {margin}")
    if "normalise" in (model_options or {}):
        raise ValueError("model_options: diagnose tries features as they are and on one scale; expected no 'normalise'")
    base = Setting("", data=splits, fit_options=dict(fit_options or {}), model_options=dict(model_options or {}))
    if (seeds if isinstance(seeds, int) else len(seeds)) < 2:
        raise ValueError("seeds: expected 2 or more, or nothing can be said of how sure a number is")
    asked = rows(replace(base, data=unread(splits)))
    return read(compare(asked, seeds, workers=workers, progress=progress), splits.modalities, margin=margin)


def rows(base: Setting, tail: str = "") -> list[Setting]:
    """The three networks of a diagnosis; ``tail`` ends their labels."""
    base = base.with_("", fit_options={"train_metrics": "evaluated"}, probe=True, measures=(without_each, looked_at))
    return [
        base.with_(f"late fusion{tail}", method="late_fusion"),
        base.with_(f"joint{tail}", method=WatchedJoint),
        base.with_(f"joint, one scale{tail}", method=WatchedJoint, model_options={"normalise": "rms"}),
    ]


def read(
    found: Comparison,
    modalities: Sequence[str],
    *,
    tail: str = "",
    seeds: Sequence[int] | None = None,
    margin: float = MARGIN,
) -> Diagnosis:
    """The diagnosis from the runs of `rows`, by default of all seeds."""
    which = list(seeds or found.seeds)
    runs = {name: [r for r in found.runs if r["label"] == f"{name}{tail}" and r["seed"] in which] for name in NETWORKS}
    evidence = {m: _evidence(m, runs) for m in modalities}
    samples = int(runs["joint"][0]["samples"])
    accuracy = {name: [float(r["test_accuracy"]) for r in runs[name]] for name in NETWORKS}
    best = max(modalities, key=lambda m: evidence[m]["alone"])
    accuracy = {f"{best} alone": [float(r[f"test_accuracy_{best}"]) for r in runs["late fusion"]], **accuracy}
    gains = {name: gain(accuracy[name], accuracy["joint"], samples) for name in accuracy if name != "joint"}
    networks = {name: _spread(values, samples) for name, values in accuracy.items()}
    finding: Finding
    lost = {name: sum(bool(r["diverged"]) for r in runs[name]) for name in NETWORKS}
    if any(lost.values()):
        told = ", ".join(f"{n} of {len(which)} of {name}" for name, n in lost.items() if n)
        finding, reasons = "cannot tell", [f"runs diverged: {told}; lower the learning rate"]
    else:
        finding, reasons = _find(gains, evidence, runs, samples, margin)
    return Diagnosis(finding, tuple(reasons), networks, gains, evidence, len(which), samples)


def gain(values: Sequence[float], others: Sequence[float], samples: int, level: float = 0.95) -> Interval:
    """``values`` minus ``others``, accuracies of the same samples seed by seed, with an interval over seeds *and* samples.

    The variance over seeds is that of the paired differences. That over samples is bounded from above: two networks can only
    differ where one of them is wrong, on a share of at most the sum of both errors, so that it is at most
    ``(e + e' - d^2) / samples``. Degrees of freedom by Welch and Satterthwaite.
    """
    d = np.asarray(values) - np.asarray(others)
    errors = min(1.0, float((1 - np.asarray(values)).mean() + (1 - np.asarray(others)).mean()))
    return _interval(d, max(errors - float(d.mean()) ** 2, 0.0) / samples, samples, level)


def _spread(values: Sequence[float], samples: int) -> Interval:
    """An accuracy, with its interval over seeds and samples."""
    p = float(np.mean(values))
    mean, low, high = _interval(np.asarray(values), p * (1 - p) / samples, samples, 0.95)
    return Interval(mean, max(low, 0.0), min(high, 1.0))


def _interval(values: Any, over_samples: float, samples: int, level: float) -> Interval:
    from scipy import stats

    mean, n = float(np.mean(values)), len(values)
    over_seeds = float(np.var(values, ddof=1)) / n
    variance = over_seeds + over_samples
    if variance == 0:
        return Interval(mean, mean, mean)
    freedom = variance**2 / (over_seeds**2 / (n - 1) + over_samples**2 / max(samples - 1, 1))
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * math.sqrt(variance)
    return Interval(mean, mean - half, mean + half)


def _evidence(m: str, runs: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """The columns of `Diagnosis.frame` for one modality: means over the seeds, of ratios the geometric mean."""
    apart, joint = runs["late fusion"], runs["joint"]

    def mean(which: list[dict[str, Any]], column: str) -> float:
        return float(np.mean([r[column] for r in which]))

    def watched(column: str) -> list[float]:
        return [row[column] for r in joint for row in r["history"] if column in row]

    ratios = watched(f"ratio_{m}")
    return {
        "alone": mean(apart, f"test_accuracy_{m}"),
        "train_alone": float(np.mean([_at_lowest(r, m)[f"train_accuracy_{m}"] for r in apart if r["history"]] or [math.nan])),
        "ogr": float(np.median([_ogr(r, m) for r in apart])),
        "in_joint": mean(joint, f"test_accuracy_{m}"),
        "probe_alone": mean(apart, f"probe_{m}"),
        "probe_joint": mean(joint, f"probe_{m}"),
        "without": mean(joint, f"test_accuracy_without_{m}"),
        "length_start": float(np.mean(watched(f"start_{m}") or [math.nan])),
        "length": mean(joint, f"length_{m}"),
        "ratio": math.exp(float(np.mean(np.log(ratios)))) if ratios else math.nan,
        "gradient": float(np.mean(watched(f"gradient_{m}") or [math.nan])),
    }


def _at_lowest(run: dict[str, Any], m: str) -> dict[str, float]:
    """The epoch at which a modality's own validation loss is lowest."""
    row: dict[str, float] = min(run["history"], key=lambda row: row[f"val_loss_{m}"])
    return row


def _ogr(run: dict[str, Any], m: str) -> float:
    """|dO / dG| of a modality alone from a guess by class frequency to its lowest validation loss; infinite where that gained
    nothing (Wang et al., CVPR 2020, with the untrained network as the first checkpoint)."""
    if not run["history"]:
        return math.nan
    row = _at_lowest(run, m)
    overfitting, gained = row[f"val_loss_{m}"] - row[f"train_loss_{m}"], run["prior"] - row[f"val_loss_{m}"]
    return abs(overfitting / gained) if gained > 0 else math.inf


def _find(
    gains: dict[str, Interval],
    evidence: dict[str, dict[str, float]],
    runs: dict[str, list[dict[str, Any]]],
    samples: int,
    margin: float,
) -> tuple[Finding, list[str]]:
    """The finding, and why."""

    def told(i: Interval) -> bool:
        return i.low > 0 and i.mean >= margin

    better = {name: i for name, i in gains.items() if told(i)}
    if not better:
        narrow = {name: _narrow(name, runs, samples) for name in gains}
        if all(i.high < margin for i in narrow.values()):
            return "nothing to mend", [f"{name} against joint training: {i.points}" for name, i in gains.items()]
        left_open = [name for name, i in narrow.items() if i.high >= margin]
        return "cannot tell", [f"{name} against joint training: {gains[name].points}, which leaves it open" for name in left_open]
    reasons = [f"{name} is above joint training: {i.points}" for name, i in better.items()]
    start = {m: e["length_start"] for m, e in evidence.items()}
    short, long = min(start, key=lambda m: start[m]), max(start, key=lambda m: start[m])
    apart = start[long] / start[short] if start[short] > 0 else math.inf
    if apart >= APART and "joint, one scale" in better:
        return "scale", [
            f"before anything is learned the features of {long} are {apart:.0f} times as long as those of {short}",
            *reasons,
        ]
    leader, best = (max(evidence, key=lambda m: evidence[m][column]) for column in ("ratio", "alone"))
    mean_joint = float(np.mean([r["test_accuracy"] for r in runs["joint"]]))
    lead = evidence[leader]
    if lead["ogr"] > 1:
        why = (
            f"{leader} leads (discrepancy ratio {lead['ratio']:.2f}), and alone it overfits more than it generalises: "
            f"overfitting-to-generalisation ratio {lead['ogr']:.2g}, accuracy {lead['train_alone']:.2f} on training data, "
            f"{lead['alone']:.2f} on new"
        )
        return "overfitting", [why, *reasons]
    aim = max(i.mean for name, i in gains.items() if name != "joint, one scale") + mean_joint
    could, did = aim - lead["alone"], mean_joint - lead["alone"]
    if better.keys() & {"late fusion", f"{best} alone"} and best != leader and could > 0 and did < HALF * could:
        why = (
            f"{leader} leads (discrepancy ratio {lead['ratio']:.2f}) and generalises, and joint training stops near it: of "
            f"{100 * could:.1f} points that there are above {leader} alone, it has {100 * did:.1f}"
        )
        return "starvation", [why, *reasons]
    return "cannot tell", [*reasons, "but neither scale, nor overfitting, nor starvation explains it"]


def _narrow(name: str, runs: dict[str, list[dict[str, Any]]], samples: int) -> Interval:
    """The 90 % interval, for two one-sided tests at 5 %."""
    if name in runs:
        values = [float(r["test_accuracy"]) for r in runs[name]]
    else:
        values = [float(r[f"test_accuracy_{name.removesuffix(' alone')}"]) for r in runs["late fusion"]]
    return gain(values, [float(r["test_accuracy"]) for r in runs["joint"]], samples, level=0.9)
