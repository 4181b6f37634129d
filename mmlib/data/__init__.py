"""Data: named modalities, labels, and which sample has which modality."""

from mmlib.data.catalogue import DATASETS, DataSet, load
from mmlib.data.core import Batch, MultimodalData, Splits, from_arrays

__all__ = ["DATASETS", "Batch", "DataSet", "MultimodalData", "Splits", "from_arrays", "load"]
