"""Data: named modalities, labels, and which sample has which modality."""

from mmlib.data import cremad
from mmlib.data.catalogue import DATASETS, DataSet, load
from mmlib.data.core import Batch, MultimodalData, Splits
from mmlib.data.incomplete import incomplete, lose
from mmlib.data.own import from_arrays
from mmlib.data.prepare import Prepare
from mmlib.data.stream import StreamedData

# here and not in the catalogue: a stored result is tied to all code that the catalogue imports, and none of them reads clips
DATASETS["cremad"] = DataSet(cremad.make)

__all__ = [
    "DATASETS",
    "Batch",
    "DataSet",
    "MultimodalData",
    "Prepare",
    "Splits",
    "StreamedData",
    "from_arrays",
    "incomplete",
    "load",
    "lose",
]
