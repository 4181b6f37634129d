"""The methods, one file each."""

from mmlib.methods.base import Method
from mmlib.methods.joint import Joint
from mmlib.methods.late_fusion import LateFusion
from mmlib.methods.unimodal import Unimodal

#: name on the command line -> class
METHODS: dict[str, type[Method]] = {method.name: method for method in (Joint, Unimodal, LateFusion)}

__all__ = ["METHODS", "Joint", "LateFusion", "Method", "Unimodal"]
