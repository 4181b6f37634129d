"""Measures, each in a file of its own; and methods that take notes."""

from mmlib.metrics.calibration import calibration_by_modality, expected_calibration_error, reliability
from mmlib.metrics.classification import class_scores, confusion_matrix
from mmlib.metrics.forgetting import WatchedMLA, forgetting, update_angle
from mmlib.metrics.gap import gap_direction, modality_gap, shift_along_gap, within_spread
from mmlib.metrics.intervals import Interval, mean_interval, separable
from mmlib.metrics.measures import calibration_error, without_each
from mmlib.metrics.overfitting import Overfitting, overfitting
from mmlib.metrics.paired import Paired, discoveries, paired
from mmlib.metrics.probes import features, linear_probe
from mmlib.metrics.recall import class_recall
from mmlib.metrics.watch import GapWatch

__all__ = [
    "GapWatch",
    "Interval",
    "Overfitting",
    "Paired",
    "WatchedMLA",
    "calibration_by_modality",
    "calibration_error",
    "class_recall",
    "class_scores",
    "confusion_matrix",
    "discoveries",
    "expected_calibration_error",
    "features",
    "forgetting",
    "gap_direction",
    "linear_probe",
    "mean_interval",
    "modality_gap",
    "overfitting",
    "paired",
    "reliability",
    "separable",
    "shift_along_gap",
    "update_angle",
    "within_spread",
    "without_each",
]
