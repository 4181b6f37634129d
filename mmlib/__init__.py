"""mmlib: balanced multimodal learning, small enough to read.

import mmlib

splits = mmlib.load("digits", modalities=("image", "audio"), seed=0)
model = mmlib.build(splits, fusion="concat", seed=0)
history = mmlib.fit(model, splits, mmlib.methods.Joint(), epochs=20, seed=0)
mmlib.evaluate(model, splits.test)
"""

from mmlib import needs  # noqa: F401  # isort: skip  # first: it says what is missing
from mmlib import compare, data, encoders, fusion, methods, metrics
from mmlib.data import MultimodalData, Splits, from_arrays, load
from mmlib.diagnosis import diagnose
from mmlib.history import History
from mmlib.keep import load_trained, predict, save
from mmlib.metrics.intervals import mean_interval
from mmlib.model import MultimodalClassifier, Output, build
from mmlib.randomness import seeds
from mmlib.setting import Setting
from mmlib.train import evaluate, fit
from mmlib.tuning import tune

__version__ = "0.1.0"

__all__ = [
    "History",
    "MultimodalClassifier",
    "MultimodalData",
    "Output",
    "Setting",
    "Splits",
    "build",
    "compare",
    "data",
    "diagnose",
    "encoders",
    "evaluate",
    "fit",
    "from_arrays",
    "fusion",
    "load",
    "load_trained",
    "mean_interval",
    "methods",
    "metrics",
    "predict",
    "save",
    "seeds",
    "tune",
]
