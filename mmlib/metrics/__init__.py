"""Measures: intervals over seeds, linear probes."""

from mmlib.metrics.intervals import Interval, mean_interval, separable
from mmlib.metrics.probes import features, linear_probe

__all__ = ["Interval", "features", "linear_probe", "mean_interval", "separable"]
