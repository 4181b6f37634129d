"""The methods, one file each."""

from mmlib.methods.agm import AGM
from mmlib.methods.base import Method
from mmlib.methods.dgl import DGL
from mmlib.methods.gradient_blending import GradientBlending
from mmlib.methods.joint import Joint
from mmlib.methods.late_fusion import LateFusion
from mmlib.methods.mla import MLA
from mmlib.methods.mlb import MLB
from mmlib.methods.mmpareto import MMPareto
from mmlib.methods.modality_dropout import ModalityDropout
from mmlib.methods.multi_loss import MultiLoss
from mmlib.methods.ogm_ge import OGMGE
from mmlib.methods.opm import OPM
from mmlib.methods.qmf import QMF
from mmlib.methods.relearning import Relearning
from mmlib.methods.remix import Remix
from mmlib.methods.rna import RNA
from mmlib.methods.umt import UMT
from mmlib.methods.unimodal import Unimodal

#: name on the command line -> class
METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        Joint,
        Unimodal,
        LateFusion,
        ModalityDropout,
        GradientBlending,
        OGMGE,
        MLA,
        AGM,
        OPM,
        MLB,
        QMF,
        Remix,
        Relearning,
        MultiLoss,
        RNA,
        DGL,
        MMPareto,
        UMT,
    )
}

__all__ = [
    "AGM",
    "DGL",
    "METHODS",
    "MLA",
    "MLB",
    "OGMGE",
    "OPM",
    "QMF",
    "RNA",
    "UMT",
    "GradientBlending",
    "Joint",
    "LateFusion",
    "MMPareto",
    "Method",
    "ModalityDropout",
    "MultiLoss",
    "Relearning",
    "Remix",
    "Unimodal",
]
