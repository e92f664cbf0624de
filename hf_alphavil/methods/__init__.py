"""The methods, all behind one base class, and their names."""

from .alphavil import AlphaVIL
from .base import Method, Objective, Objectives
from .deltas import DeltaBank
from .diw import DIW
from .dynamics import Dynamics
from .forkmerge import ForkMerge
from .joint import Multitask, Single
from .stilts import Stilts

METHODS: dict[str, type[Method]] = {
    method.name: method for method in (AlphaVIL, Multitask, Single, DIW, Dynamics, ForkMerge, Stilts)
}

__all__ = [
    "DIW",
    "METHODS",
    "AlphaVIL",
    "DeltaBank",
    "Dynamics",
    "ForkMerge",
    "Method",
    "Multitask",
    "Objective",
    "Objectives",
    "Single",
    "Stilts",
]
